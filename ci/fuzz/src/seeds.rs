//! Where fuzzing starts: the bytes recorded from Apache RocketMQ, cut to what each target takes.

const FRAMES: &str = include_str!("../../../src/protocol/fixtures/frames.hex");
const RECORDS: &str = include_str!("../../../src/protocol/fixtures/records.hex");

/// The first inputs of a target.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let frames = || FRAMES.split("\n= ").skip(1).map(bytes);
    match target {
        "record" => RECORDS.split("\n= ").skip(1).map(bytes).collect(),
        "header" => frames().filter_map(|frame| header_and_body(&frame).map(|(header, _)| header)).collect(),
        "body" => {
            // The first byte chooses the type: try each recorded body as several.
            let bodies: Vec<_> =
                frames().filter_map(|frame| header_and_body(&frame)).map(|(_, body)| body).collect();
            let typed = |body: &Vec<u8>| {
                (0u8..26).map(|kind| [&[kind], body.as_slice()].concat()).collect::<Vec<_>>()
            };
            bodies.iter().filter(|body| body.first() == Some(&b'{')).flat_map(typed).collect()
        }
        _ => frames().collect(),
    }
}

fn bytes(paragraph: &str) -> Vec<u8> {
    let hex: Vec<u8> = paragraph.lines().skip(1).flat_map(str::bytes).filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    hex.chunks(2).filter_map(pair).collect()
}

/// The header behind its encoding's number, and the body.
fn header_and_body(frame: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let [encoding, a, b, c] = *frame.get(4..8)? else { return None };
    let len = u32::from_be_bytes([0, a, b, c]) as usize;
    let (header, body) = frame.get(8..)?.split_at_checked(len)?;
    Some(([&[encoding], header].concat(), body.to_vec()))
}

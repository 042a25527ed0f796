//! The frames on the wire: sends as RocketMQ's Java client writes them, and the cut of a stream into frames.
//!
//! ```text
//! i4 bytes that follow · i1 0 (JSON), i3 header length · header · body
//! ```
//!
//! Sends are copies of one template in which the numbers that differ (opaque, queue, unique key) have fixed widths and
//! places, so that the client's own cost is a copy.

/// Answers to send, one after the other.
pub(crate) struct Sends {
    frame: Vec<u8>,
    opaque_at: usize,
    queue_at: usize,
    key_at: usize,
    next: u32,
}

/// The first opaque: from here to the largest one, all have ten digits.
const OPAQUE_FIRST: u32 = 1_000_000_000;
const QUEUES: u32 = 4;

impl Sends {
    /// Sends of `body` bytes that no compression shortens.
    pub(crate) fn new(body: usize) -> Sends {
        // Times of birth do not differ within a run: nobody looks at them.
        let header = concat!(
            r#"{"code":310,"extFields":{"a":"bench","b":"Bench","c":"TBW102","d":"4","e":"Q","f":"0","#,
            r#""g":"1795176109560","h":"0","i":"UNIQ_KEY\u00017F000001000078DA0000KKKKKKKK\u0002WAIT\u0001true\u0002","#,
            r#""j":"0","k":"false","m":"false","n":"bench"},"flag":0,"language":"JAVA","opaque":OOOOOOOOOO,"#,
            r#""serializeTypeCurrentRPC":"JSON","version":477}"#,
        );
        let mut frame = Vec::new();
        frame.extend_from_slice(&u32_of(4 + header.len() + body).to_be_bytes());
        frame.extend_from_slice(&u32_of(header.len()).to_be_bytes());
        frame.extend_from_slice(header.as_bytes());
        let place = |mark: &str| 8 + header.find(mark).expect("the template holds its marks");
        let places = (place("OOOOOOOOOO"), place("\"Q\"") + 1, place("KKKKKKKK"));
        frame.extend(noise(body));
        Sends { frame, opaque_at: places.0, queue_at: places.1, key_at: places.2, next: 0 }
    }

    /// The next send; each has an opaque and a unique key of its own.
    pub(crate) fn next(&mut self) -> &[u8] {
        let number = self.next;
        self.next += 1;
        digits(&mut self.frame[self.opaque_at..self.opaque_at + 10], OPAQUE_FIRST + number);
        digits(&mut self.frame[self.key_at..self.key_at + 8], number % 100_000_000);
        digits(&mut self.frame[self.queue_at..self.queue_at + 1], number % QUEUES);
        &self.frame
    }
}

/// Bytes of the first frame of `buffer` with its length field; `None` while it is not whole.
pub(crate) fn whole(buffer: &[u8]) -> Option<usize> {
    let length = buffer.first_chunk::<4>()?;
    let whole = u32::from_be_bytes(*length) as usize + 4;
    (buffer.len() >= whole).then_some(whole)
}

/// Whether a frame answers "done": code 0 in a JSON header.
pub(crate) fn is_success(frame: &[u8]) -> bool {
    const CODE: &[u8] = b"\"code\":";
    let at = frame.windows(CODE.len()).position(|window| window == CODE);
    at.and_then(|at| frame.get(at + CODE.len()..at + CODE.len() + 2))
        .is_some_and(|value| value[0] == b'0' && !value[1].is_ascii_digit())
}

fn digits(place: &mut [u8], mut number: u32) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// xorshift64.
fn noise(bytes: usize) -> impl Iterator<Item = u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
    .take(bytes)
}

fn u32_of(length: usize) -> u32 {
    u32::try_from(length).expect("a frame is far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::{Sends, is_success, whole};

    #[test]
    fn sends_are_whole_frames_that_differ_in_their_numbers() {
        let mut sends = Sends::new(1_024);
        let first = sends.next().to_vec();
        let second = sends.next().to_vec();
        assert_eq!(whole(&first), Some(first.len()));
        assert_eq!(whole(&first[..first.len() - 1]), None);
        let header: serde_json::Value = {
            let end = 8 + u32::from_be_bytes(*first[4..].first_chunk().expect("a length")) as usize;
            serde_json::from_slice(&first[8..end]).expect("a JSON header")
        };
        assert_eq!(header["opaque"], 1_000_000_000);
        assert_eq!(header["extFields"]["e"], "0");
        let changed = first.iter().zip(&second).filter(|(a, b)| a != b).count();
        assert_eq!((first.len(), changed), (second.len(), 3));
    }

    #[test]
    fn only_code_zero_is_a_success() {
        assert!(is_success(br#"{"code":0,"flag":1}"#));
        assert!(is_success(br#"{"flag":1,"code":0}"#));
        assert!(!is_success(br#"{"code":17}"#));
        assert!(!is_success(br#"{"code":02}"#));
        assert!(!is_success(b"{}"));
    }
}

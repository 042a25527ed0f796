//! Laws of framing: arrival does not matter, what is written is read, hostile bytes are refused by name.

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::protocol::code::Language;
use crate::protocol::code::RequestCode;
use crate::protocol::code::ResponseCode;
use crate::protocol::ext::Ext;
use crate::protocol::text::Text;

const MAX: usize = 16 * 1024 * 1024;

fn headers() -> impl Strategy<Value = Header> {
    let fields = prop::collection::vec(("\\PC{1,8}", "(?s).{1,20}"), 0..20);
    let numbers = (any::<i16>(), any::<i32>(), any::<i32>(), 0..i32::from(i16::MAX));
    (numbers, 0u8..14, prop::option::of("(?s).{1,30}"), fields, any::<bool>()).prop_map(
        |((code, opaque, flag, version), language, remark, fields, binary)| Header {
            code: i32::from(code),
            language: Language::from_u8(language),
            version,
            opaque,
            flag,
            remark: remark.map(Text::from),
            ext: fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            encoding: if binary { Encoding::Binary } else { Encoding::Json },
        },
    )
}

/// All frames of a stream that arrives in pieces.
fn cut_in_pieces(wire: &[u8], pieces: &[usize]) -> (Vec<Frame>, Option<FrameError>) {
    let mut buf = BytesMut::new();
    let mut frames = Vec::new();
    let mut rest = wire;
    let mut sizes = pieces.iter().copied().chain(std::iter::repeat(wire.len().max(1)));
    loop {
        loop {
            match cut(&mut buf, MAX) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
        if rest.is_empty() {
            return (frames, None);
        }
        let (now, later) = rest.split_at(sizes.next().unwrap_or(1).clamp(1, rest.len()));
        buf.extend_from_slice(now);
        rest = later;
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(header in headers(), body: Vec<u8>) {
        let mut wire = BytesMut::new();
        encode_with_body(&header, &body, &mut wire);
        let frame = cut(&mut wire, MAX).unwrap().unwrap();
        prop_assert!(wire.is_empty());
        prop_assert_eq!(frame.header, header);
        prop_assert_eq!(&frame.body[..], &body[..]);
    }

    #[test]
    fn frames_do_not_depend_on_how_their_bytes_arrive(
        headers in prop::collection::vec((headers(), any::<Vec<u8>>()), 1..4),
        garbage in prop::option::of(any::<Vec<u8>>()),
        pieces in prop::collection::vec(1usize..40, 0..60),
    ) {
        let mut wire = BytesMut::new();
        for (header, body) in &headers {
            encode_with_body(header, body, &mut wire);
        }
        wire.extend_from_slice(&garbage.unwrap_or_default());
        let whole = cut_in_pieces(&wire, &[]);
        prop_assert!(whole.0.len() >= headers.len());
        prop_assert_eq!(whole, cut_in_pieces(&wire, &pieces));
    }

    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>, encoding in 0u8..3) {
        cut_in_pieces(&bytes, &[]);
        let mut framed = BytesMut::new();
        framed.put_u32(4 + bytes.len() as u32);
        framed.put_u32(bytes.len() as u32 | u32::from(encoding) << 24);
        framed.extend_from_slice(&bytes);
        cut_in_pieces(&framed, &[]);
    }

    #[test]
    fn a_damaged_frame_never_panics(header in headers(), at: prop::sample::Index, byte: u8) {
        let mut wire = BytesMut::new();
        encode_with_body(&header, b"body", &mut wire);
        let at = at.index(wire.len());
        wire[at] = byte;
        cut_in_pieces(&wire, &[]);
    }
}

fn json(text: &str) -> Result<Header, HeaderError> {
    Header::decode(Encoding::Json, BytesMut::from(text.as_bytes()))
}

#[test]
fn a_header_of_the_cpp_client_is_understood() {
    let header = json(
        "{\"code\":11,\"extFields\":{\"AccessKey\":\"\",\"queueId\":0,\"suspend\":true,\"nothing\":null,\
         \"deep\":{\"a\":[1,{\"b\":\"}\"}]},\"queueOffset\":\"7\"},\"flag\":0,\"language\":\"CPP\",\"opaque\":3,\
         \"remark\":\"\",\"version\":63}\n",
    )
    .unwrap();
    assert_eq!(header.request_code(), Some(RequestCode::PullMessage));
    assert_eq!((header.language, header.version, header.opaque), (Language::Cpp, 63, 3));
    assert_eq!(header.remark, None);
    let fields: Vec<_> = header.ext.iter().collect();
    assert_eq!(fields, [("AccessKey", ""), ("queueId", "0"), ("suspend", "true"), ("queueOffset", "7")]);
}

#[test]
fn missing_and_unknown_keys_are_no_error() {
    let header = json(" { \"x\" : [ ] , \"code\" : \"34\" , \"extFields\" : null , \"y\" : { } } ").unwrap();
    assert_eq!(header.code, 34);
    assert!(header.ext.is_empty());
    assert_eq!(json("{}").unwrap().opaque, 0);
}

#[test]
fn escapes_are_undone() {
    let header = json(
        r#"{"extFields":{"i":"KEYS\u0001k\u0002","s\"\\\/":"\ud83d\ude00\u6f22é\n\b\f\r\t","lone":"\ud83dx\udc00"}}"#,
    )
    .unwrap();
    assert_eq!(header.ext.field("i"), Some("KEYS\u{1}k\u{2}"));
    assert_eq!(header.ext.field("s\"\\/"), Some("😀漢é\n\u{8}\u{c}\r\t"));
    assert_eq!(header.ext.field("lone"), Some("\u{fffd}x\u{fffd}"));
}

#[test]
fn bytes_that_are_no_utf8_are_replaced_as_java_does() {
    let header =
        Header::decode(Encoding::Json, BytesMut::from(&b"{\"extFields\":{\"t\":\"a\xffb\"}}"[..])).unwrap();
    assert_eq!(header.ext.field("t"), Some("a\u{fffd}b"));
}

#[test]
fn a_deep_header_is_skipped_without_recursion() {
    let text = format!("{{\"x\":{}{},\"opaque\":5}}", "[".repeat(200_000), "]".repeat(200_000));
    assert_eq!(json(&text).unwrap().opaque, 5);
}

#[test]
fn errors_say_what_was_wrong_and_where() {
    let error = json(r#"{"code":"ten"}"#).unwrap_err();
    assert_eq!(error.to_string(), "header: code is not a 32-bit number");
    let error = json(r#"{"code":10 "#).unwrap_err();
    assert_eq!(error.to_string(), "header: expected a comma or the end of the object at byte 11");
    assert_eq!(json("").unwrap_err().to_string(), "header: expected an object at byte 0");
    let many: Vec<String> = (0..600).map(|n| format!("\"k{n}\":\"\"")).collect();
    let error = json(&format!("{{\"extFields\":{{{}}}}}", many.join(","))).unwrap_err();
    assert_eq!(error.to_string(), "header: more than 512 ext fields");
}

#[test]
fn other_protocols_are_named() {
    let refuse = |bytes: &[u8]| cut(&mut BytesMut::from(bytes), MAX).unwrap_err();
    assert_eq!(refuse(b"\x16\x03\x01\x02\x00\x01"), FrameError::Tls);
    assert_eq!(refuse(b"PROXY TCP4 1.2.3.4"), FrameError::ProxyProtocol);
    assert_eq!(refuse(b"\r\n\r\n\0\r\nQUIT\n"), FrameError::ProxyProtocol);
    assert_eq!(refuse(b"GET / HTTP/1.1\r\n"), FrameError::Http);
    assert_eq!(refuse(b"\x7f\0\0\0").to_string(), "frame of 2130706436 bytes, at most 16777216 are allowed");
    assert_eq!(refuse(b"\0\0\0\x03").to_string(), "frame of 3 bytes has no room for its header length");
    assert_eq!(refuse(b"\0\0\0\x08\x02\0\0\x02{}{}"), FrameError::UnknownEncoding(2));
    assert_eq!(refuse(b"\0\0\0\x06\0\0\0\x03{}").to_string(), "header of 3 bytes, at most 2 fit");
}

#[test]
fn a_reply_takes_the_encoding_of_its_request_unless_the_code_does_not_fit() {
    let mut request = Header::request(RequestCode::PullMessage);
    request.opaque = 77;
    request.encoding = Encoding::Binary;
    let reply = Header::response_to(&request, ResponseCode::PullNotFound).with_remark("no message");
    assert!(reply.is_response() && !reply.is_oneway());
    assert_eq!((reply.opaque, reply.encoding), (77, Encoding::Binary));
    assert_eq!(reply.response_code(), Some(ResponseCode::PullNotFound));

    let mut pop = Header::request(RequestCode::PopMessage);
    pop.encoding = Encoding::Binary;
    let mut wire = BytesMut::new();
    encode(&pop, 0, &mut wire);
    assert_eq!(cut(&mut wire, MAX).unwrap().unwrap().header.encoding, Encoding::Json);
}

#[test]
fn an_ext_is_written_as_fastjson_would() {
    let mut header =
        Header::response_to(&Header::request(RequestCode::SendMessage), ResponseCode::TopicNotExist);
    header.remark = Some(Text::from("x \" \u{1} é /"));
    header.ext = Ext::from_iter([("a", "1"), ("b", "2")]);
    let mut wire = BytesMut::new();
    encode(&header, 0, &mut wire);
    let expected = "{\"code\":17,\"extFields\":{\"a\":\"1\",\"b\":\"2\"},\"flag\":1,\"language\":\"JAVA\",\"opaque\":0,\
         \"remark\":\"x \\\" \\u0001 é /\",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":513}";
    assert_eq!(std::str::from_utf8(&wire[8..]).unwrap(), expected);
}

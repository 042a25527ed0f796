//! Remoting frames: cutting them out of a byte stream, and writing their front.
//!
//! ```text
//! i4 total      bytes after this field = 4 + header + body
//! i1 encoding   0 JSON, 1 RocketMQ binary
//! i3 header     its length
//! header bytes
//! body bytes    the rest; may be none
//! ```
//!
//! A frame's header text and body are slices of the buffer they were read into. Frames are at most 16 MiB, so their
//! first byte is zero: TLS, PROXY protocol and HTTP are told apart by theirs and refused by name.
//!
//! Not here: sockets (`remoting`), the meaning of a code (`code`, `command`).

use bytes::Buf;
use bytes::BufMut;
use bytes::Bytes;
use bytes::BytesMut;

use crate::protocol::header::Encoding;
use crate::protocol::header::Header;
use crate::protocol::header::HeaderError;

/// Longest header, in bytes. A batch of 32 KiB of properties, every byte escaped, stays far below.
pub const HEADER_BYTES_MAX: usize = 1024 * 1024;

const FRONT_BYTES: usize = 8;

/// One frame off the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub header: Header,
    pub body: Bytes,
}

/// Why a connection does not speak remoting, or no longer does. What follows on it cannot be trusted; close it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("frame of {bytes} bytes, at most {bytes_max} are allowed")]
    TooLong { bytes: u64, bytes_max: usize },
    #[error("frame of {bytes} bytes has no room for its header length")]
    TooShort { bytes: usize },
    #[error("header of {header_bytes} bytes, at most {bytes_max} fit")]
    HeaderTooLong { header_bytes: usize, bytes_max: usize },
    #[error("unknown header encoding {0}, expected 0 (JSON) or 1 (ROCKETMQ)")]
    UnknownEncoding(u8),
    #[error("a TLS ClientHello on a plain-text port")]
    Tls,
    #[error("a PROXY protocol preamble, which is not accepted here")]
    ProxyProtocol,
    #[error("an HTTP request on a remoting port")]
    Http,
    #[error(transparent)]
    Header(#[from] HeaderError),
}

impl Frame {
    /// Bytes on the wire of header and body are gone; this is what the frame holds in memory, roughly.
    pub fn body_len(&self) -> usize {
        self.body.len()
    }
}

/// Takes the next whole frame off the front of `buf`; `None` if more bytes are needed. `bytes_max` bounds the frame
/// with its length field and is checked as soon as the length is known.
pub fn cut(buf: &mut BytesMut, bytes_max: usize) -> Result<Option<Frame>, FrameError> {
    let Some(total) = buf.first_chunk::<4>() else { return Ok(None) };
    let total = u32::from_be_bytes(*total) as usize;
    if total.saturating_add(4) > bytes_max {
        return Err(foreign(buf).unwrap_or(FrameError::TooLong { bytes: total as u64 + 4, bytes_max }));
    }
    if total < 4 {
        return Err(FrameError::TooShort { bytes: total });
    }
    let Some(front) = buf.first_chunk::<FRONT_BYTES>() else { return Ok(None) };
    let [_, _, _, _, encoding, a, b, c] = *front;
    let header_bytes = u32::from_be_bytes([0, a, b, c]) as usize;
    let encoding = match encoding {
        0 => Encoding::Json,
        1 => Encoding::Binary,
        other => return Err(FrameError::UnknownEncoding(other)),
    };
    let header_max = HEADER_BYTES_MAX.min(total - 4);
    if header_bytes > header_max {
        return Err(FrameError::HeaderTooLong { header_bytes, bytes_max: header_max });
    }
    if buf.len() < total + 4 {
        return Ok(None);
    }
    let mut frame = buf.split_to(total + 4);
    frame.advance(FRONT_BYTES);
    let header = frame.split_to(header_bytes);
    let header = Header::decode(encoding, header)?;
    Ok(Some(Frame { header, body: frame.freeze() }))
}

/// How many more bytes `buf` needs to hold its first frame whole, if that is known: what to reserve before reading on.
pub fn missing(buf: &[u8]) -> Option<usize> {
    let total = u32::from_be_bytes(*buf.first_chunk::<4>()?) as usize;
    Some((total + 4).saturating_sub(buf.len()))
}

/// Appends everything but the body: `body_len` bytes of body must follow on the wire.
pub fn encode(header: &Header, body_len: usize, out: &mut BytesMut) {
    let start = out.len();
    out.put_bytes(0, FRONT_BYTES);
    let encoding = header.write(out);
    let header_bytes = out.len() - start - FRONT_BYTES;
    assert!(header_bytes < 1 << 24, "a header fits its 24-bit length");
    let total = u32::try_from(4 + header_bytes + body_len).expect("a frame fits its 32-bit length");
    let meta = header_bytes as u32 | if encoding == Encoding::Binary { 1 << 24 } else { 0 };
    out[start..start + 4].copy_from_slice(&total.to_be_bytes());
    out[start + 4..start + 8].copy_from_slice(&meta.to_be_bytes());
}

/// Appends a whole frame.
pub fn encode_with_body(header: &Header, body: &[u8], out: &mut BytesMut) {
    encode(header, body.len(), out);
    out.extend_from_slice(body);
}

/// A protocol that is often pointed at the wrong port, by its first four bytes.
fn foreign(start: &[u8]) -> Option<FrameError> {
    match start.first_chunk::<4>()? {
        [0x16, 0x03, ..] => Some(FrameError::Tls),
        b"PROX" | b"\r\n\r\n" => Some(FrameError::ProxyProtocol),
        b"GET " | b"POST" | b"PUT " | b"HEAD" | b"PRI " | b"OPTI" => Some(FrameError::Http),
        _ => None,
    }
}

#[cfg(test)]
mod tests;

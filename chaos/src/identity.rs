//! Bodies that say which message they are, so that whoever reads one knows what it got, and that it is whole.
//!
//! ```text
//! 0      4          6       10     14    18                 len - 4   len
//! "SFID" producer:u16 shard:u32 seq:u32 len:u32  filler …   crc:u32        big-endian, CRC-32 of all before it
//! ```
//!
//! A shard is what an order is kept in: one key, one order. Sequence numbers count from 0 per producer and shard.

use std::fmt;

use bytes::BufMut;
use bytes::Bytes;
use bytes::BytesMut;
use serde::Deserialize;
use serde::Serialize;
use staticfire::base::Draw;

const MAGIC: &[u8; 4] = b"SFID";
const HEAD_BYTES: usize = 18;

/// The fewest bytes a body has that says who it is.
pub const BODY_BYTES_MIN: usize = HEAD_BYTES + 4;

/// Which message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageKey {
    /// Unique in a run, also over restarts of the producer's process.
    pub producer: u16,
    pub shard: u32,
    pub seq: u32,
}

/// A body, and what a reader must find again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    pub key: MessageKey,
    pub body: Bytes,
    pub crc: u32,
}

/// The body that was read is not one that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    #[error("a body of {0} bytes is none of ours")]
    Foreign(usize),
    #[error("a body says that it has {says} bytes and has {has}")]
    Length { says: usize, has: usize },
    #[error("the bytes of a body changed on the way")]
    Crc,
}

impl fmt::Display for MessageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{} key={} #{}", self.producer, self.shard, self.seq)
    }
}

impl MessageKey {
    /// A body of `len` bytes (at least [`BODY_BYTES_MIN`]) with filler from `draw`.
    pub fn seal(self, draw: Draw, len: usize) -> Sealed {
        let len = len.max(BODY_BYTES_MIN);
        let mut body = BytesMut::with_capacity(len);
        body.put_slice(MAGIC);
        body.put_u16(self.producer);
        body.put_u32(self.shard);
        body.put_u32(self.seq);
        body.put_u32(u32::try_from(len).expect("a body is shorter than 4 GiB"));
        let subject = (u64::from(self.producer) << 32) | u64::from(self.shard);
        let mut word = draw.at("body", subject, u64::from(self.seq));
        while body.len() < len - 4 {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let take = (len - 4 - body.len()).min(8);
            body.put_slice(&word.to_be_bytes()[..take]);
        }
        let crc = crc32fast::hash(&body);
        body.put_u32(crc);
        Sealed { key: self, body: body.freeze(), crc }
    }

    /// Which message a body is. An error means that it was never sent so.
    pub fn read(body: &[u8]) -> Result<(MessageKey, u32), Damaged> {
        let foreign = Damaged::Foreign(body.len());
        let (rest, crc) = body.split_last_chunk::<4>().ok_or(foreign)?;
        let head = rest.first_chunk::<HEAD_BYTES>().ok_or(foreign)?;
        let [m0, m1, m2, m3, p0, p1, s0, s1, s2, s3, q0, q1, q2, q3, l0, l1, l2, l3] = *head;
        if [m0, m1, m2, m3] != *MAGIC {
            return Err(foreign);
        }
        let says = usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        if says != body.len() {
            return Err(Damaged::Length { says, has: body.len() });
        }
        let crc = u32::from_be_bytes(*crc);
        if crc32fast::hash(rest) != crc {
            return Err(Damaged::Crc);
        }
        let key = MessageKey {
            producer: u16::from_be_bytes([p0, p1]),
            shard: u32::from_be_bytes([s0, s1, s2, s3]),
            seq: u32::from_be_bytes([q0, q1, q2, q3]),
        };
        Ok((key, crc))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_names_its_message_and_shows_every_changed_bit() {
        let key = MessageKey { producer: 3, shard: 42, seq: 17 };
        for len in [0, 22, 23, 31, 300] {
            let sealed = key.seal(Draw::new(1), len);
            assert_eq!(MessageKey::read(&sealed.body), Ok((key, sealed.crc)));
            for bit in 0..sealed.body.len() * 8 {
                let mut bytes = sealed.body.to_vec();
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(MessageKey::read(&bytes).is_err(), "bit {bit} of {len} bytes");
            }
        }
    }
}

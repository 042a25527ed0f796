//! What the checkpoint file keeps of the index, at byte 128.
//!
//! ```text
//! 128 u8 "SFINDEX1"
//! 136 u8 position: every message below is in the files, if the last one is
//! 144 u8 this one (its name as a number; 0: there is none)
//! 152 u4 and its header has this count
//! 156 u4 CRC-32 of bytes 128..156
//! ```

const MAGIC: u64 = u64::from_be_bytes(*b"SFINDEX1");
const CRC_AT: usize = 28;

/// Where the mark is in the checkpoint file, and its bytes.
pub(in crate::store) const MARK_AT: usize = 128;
pub(in crate::store) const MARK_BYTES: usize = 32;

/// How far the files are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Mark {
    pub(super) position: u64,
    pub(super) name: u64,
    pub(super) count: u32,
    /// Store time of the last message in the files, in ms: Apache's part of the checkpoint keeps it.
    pub(in crate::store) store_at: i64,
}

impl Mark {
    pub(in crate::store) fn encode(&self) -> [u8; MARK_BYTES] {
        let mut out = [0; MARK_BYTES];
        let mut put = |at: usize, bytes: &[u8]| {
            out.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
        };
        put(0, &MAGIC.to_be_bytes());
        put(8, &self.position.to_be_bytes());
        put(16, &self.name.to_be_bytes());
        put(24, &self.count.to_be_bytes());
        let crc = crc32fast::hash(out.get(..CRC_AT).unwrap_or_default());
        out.iter_mut().skip(CRC_AT).zip(crc.to_be_bytes()).for_each(|(to, from)| *to = from);
        out
    }

    pub(in crate::store) fn stored_at(self, store_at: i64) -> Mark {
        Mark { store_at, ..self }
    }

    /// The beginning of the log, where `bytes` are no mark. The time is not among them.
    pub(in crate::store) fn decode(bytes: &[u8]) -> Mark {
        Mark::read(bytes).unwrap_or_default()
    }

    fn read(bytes: &[u8]) -> Option<Mark> {
        let word = |at: usize| Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
        let half = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
        let whole = word(0)? == MAGIC && half(CRC_AT)? == crc32fast::hash(bytes.get(..CRC_AT)?);
        Some(Mark { position: word(8)?, name: word(16)?, count: half(24)?, store_at: 0 }).filter(|_| whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_mark_is_the_beginning() {
        let mark = Mark { position: 1 << 40, name: 20_261_121_131_050_188, count: 7, store_at: 0 };
        let mut bytes = mark.encode();
        assert_eq!(Mark::decode(&bytes), mark);
        bytes[15] ^= 1;
        assert_eq!(Mark::decode(&bytes), Mark::default());
        assert_eq!(Mark::decode(&[0; MARK_BYTES]), Mark::default());
        assert_eq!(Mark::decode(&[]), Mark::default());
    }
}

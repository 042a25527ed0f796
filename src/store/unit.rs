//! A unit of a consume queue: where the queue's n-th message is.
//!
//! ```text
//! 0 i8 position in the commit log   8 i4 bytes of the record   12 i8 tags code
//! ```
//!
//! A size of 0 means that nothing was written. Apache marks offsets that never had a message by a size of `i32::MAX`.

use crate::base::Timestamp;
use crate::protocol::properties::name;
use crate::protocol::properties::property;

pub(super) const UNIT_BYTES: usize = 20;

const SIZE_OF_GAP: u32 = i32::MAX as u32;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) physical: u64,
    pub(super) size: u32,
    pub(super) tags_code: i64,
}

impl Unit {
    pub(super) fn is_written(&self) -> bool {
        self.size != 0
    }

    /// The position behind the record.
    pub(super) fn end(&self) -> u64 {
        self.physical + u64::from(self.size)
    }

    /// No message was ever at this offset.
    pub(super) fn is_gap(&self) -> bool {
        self.size == SIZE_OF_GAP
    }

    /// True for a unit of what lies below `position`. In a queue file that is durable up to `position`, it is true for
    /// a prefix of the units and for nothing else.
    pub(super) fn is_below(&self, position: u64) -> bool {
        self.is_written() && self.physical < position
    }

    pub(super) fn encode(&self) -> [u8; UNIT_BYTES] {
        let mut out = [0; UNIT_BYTES];
        let (physical, rest) = out.split_at_mut(8);
        let (size, tags_code) = rest.split_at_mut(4);
        physical.copy_from_slice(&self.physical.to_be_bytes());
        size.copy_from_slice(&self.size.to_be_bytes());
        tags_code.copy_from_slice(&self.tags_code.to_be_bytes());
        out
    }

    /// Zeros where `bytes` are too few.
    pub(super) fn decode(bytes: &[u8]) -> Unit {
        let mut whole = [0; UNIT_BYTES];
        for (to, from) in whole.iter_mut().zip(bytes) {
            *to = *from;
        }
        let [a, b, c, d, e, f, g, h, i, j, k, l, tags_code @ ..] = whole;
        Unit {
            physical: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            size: u32::from_be_bytes([i, j, k, l]),
            tags_code: i64::from_be_bytes(tags_code),
        }
    }

    /// All whole units of `bytes`.
    pub(super) fn decode_all(bytes: &[u8]) -> impl Iterator<Item = Unit> + '_ {
        bytes.chunks_exact(UNIT_BYTES).map(Unit::decode)
    }
}

/// The topic whose units carry a delivery time instead of a tags code.
pub(super) const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";

/// The tags code of a schedule-topic record: when it is due. `plain` without a delay level
/// (`CommitLog.checkMessageAndReturnSize`).
pub(super) fn due_time(plain: i64, properties: &[u8], store_at: Timestamp, levels_ms: &[i64]) -> i64 {
    let level = property(properties, name::DELAY)
        .and_then(|level| level.parse::<usize>().ok())
        .filter(|level| *level > 0);
    let Some(level) = level else { return plain };
    let span = levels_ms.get(level - 1).or(levels_ms.last()).copied().unwrap_or(1_000);
    store_at.0.saturating_add(span)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_unit_is_twenty_big_endian_bytes(physical: u64, size: u32, tags_code: i64) {
            let unit = Unit { physical, size, tags_code };
            prop_assert_eq!(Unit::decode(&unit.encode()), unit);
        }
    }

    #[test]
    fn units_of_the_schedule_topic_say_when_they_are_due() {
        let levels = [1_000, 5_000];
        let due = |properties: &[u8]| due_time(7, properties, Timestamp(100), &levels);
        assert_eq!(due(b"TAGS\x01a\x02DELAY\x012\x02"), 5_100);
        assert_eq!(due(b"DELAY\x0199\x02"), 5_100);
        assert_eq!(due(b"DELAY\x010\x02"), 7);
        assert_eq!(due(b"DELAY\x01soon\x02"), 7);
        assert_eq!(due(b""), 7);
    }
}

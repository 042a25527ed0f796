//! Records of the op topic: what has been settled, and how often a half message was asked about.
//!
//! ```text
//!   tag d   body 12,13,40,        these half-queue offsets are settled (RocketMQ's own record)
//!   tag c   body 12:3,40:1,       so many checks have been delivered for the half at this offset
//! ```
//!
//! RocketMQ skips a tag it does not know and moves on, so it can read a log with both; it counts by storing the whole
//! half message again before each check.

use crate::base::QueueOffset;

/// Entries taken from one record: RocketMQ's bodies end at 4 KiB, ours too.
const ENTRIES_MAX: usize = 65_536;

/// What a record of the op topic says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// These half-queue offsets are settled.
    Settled(Vec<QueueOffset>),
    /// Checks delivered so far, by half-queue offset.
    Checked(Vec<(QueueOffset, u32)>),
}

impl Op {
    pub fn tag(&self) -> &'static str {
        match self {
            Op::Settled(_) => "d",
            Op::Checked(_) => "c",
        }
    }

    /// The record's body.
    pub fn body(&self) -> String {
        match self {
            Op::Settled(offsets) => offsets.iter().map(|offset| format!("{offset},")).collect(),
            Op::Checked(counts) => {
                counts.iter().map(|(offset, count)| format!("{offset}:{count},")).collect()
            }
        }
    }

    /// Reads a record; nothing for a tag nobody knows. Entries that are not numbers are skipped: one of them must not
    /// hide the others.
    pub fn parse(tag: &str, body: &[u8]) -> Option<Op> {
        let text = String::from_utf8_lossy(body);
        let entries = text.split(',').take(ENTRIES_MAX);
        match tag {
            "d" => Some(Op::Settled(entries.filter_map(parse_offset).collect())),
            "c" => {
                let parse = |entry: &str| {
                    let (offset, count) = entry.split_once(':')?;
                    Some((parse_offset(offset)?, count.trim().parse().ok()?))
                };
                Some(Op::Checked(entries.filter_map(parse).collect()))
            }
            _ => None,
        }
    }

    /// The greatest half-queue offset the record speaks of: once all halves up to it are settled, nobody needs it.
    pub(super) fn highest(&self) -> Option<QueueOffset> {
        match self {
            Op::Settled(offsets) => offsets.iter().copied().max(),
            Op::Checked(counts) => counts.iter().map(|&(offset, _)| offset).max(),
        }
    }
}

fn parse_offset(text: &str) -> Option<QueueOffset> {
    // Java's offsets are signed.
    let offset: i64 = text.trim().parse().ok()?;
    u64::try_from(offset).ok().map(QueueOffset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_settled_record_is_rocketmqs() {
        let op = Op::Settled(vec![QueueOffset(12), QueueOffset(13)]);
        assert_eq!((op.tag(), op.body().as_str()), ("d", "12,13,"));
        // Before 4.9.5 a record named one half, without a comma.
        assert_eq!(Op::parse("d", b"7"), Some(Op::Settled(vec![QueueOffset(7)])));
    }

    #[test]
    fn what_is_not_a_number_does_not_hide_its_neighbours() {
        let offsets = vec![QueueOffset(1), QueueOffset(4)];
        assert_eq!(Op::parse("d", b"1,x,-3,,4,9999999999999999999999,"), Some(Op::Settled(offsets)));
        let counts = vec![(QueueOffset(2), 9)];
        assert_eq!(Op::parse("c", b"1,:,1:,:1,2:9,3:-1,\xff:1"), Some(Op::Checked(counts)));
        assert_eq!(Op::parse("x", b"1,"), None);
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(
            offsets in proptest::collection::vec(0..i64::MAX as u64, 0..50),
            counts in proptest::collection::vec((0..i64::MAX as u64, any::<u32>()), 0..50),
        ) {
            let settled = Op::Settled(offsets.into_iter().map(QueueOffset).collect());
            let checked = Op::Checked(counts.into_iter().map(|(at, count)| (QueueOffset(at), count)).collect());
            for op in [settled, checked] {
                prop_assert_eq!(Op::parse(op.tag(), op.body().as_bytes()), Some(op));
            }
        }
    }
}

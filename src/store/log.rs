//! The commit log in memory: mapped segments and the log's end.
//!
//! ```text
//! first                                        end
//!   |  segment  |  segment  |  active . . . . . |........|   ahead   |
//! ```
//!
//! The end always lies in the active segment, which is the last of `segments`; those `ahead` are empty and durable by
//! name. A record, and the room for a filler behind it, never crosses a segment's end.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::env::Segment;
use crate::protocol::record::FILLER_BYTES;

pub(super) struct Log {
    segment_bytes: u64,
    /// Where the oldest segment starts.
    pub(super) first: u64,
    segments: VecDeque<Arc<dyn Segment>>,
    ahead: VecDeque<Arc<dyn Segment>>,
    /// Where this process began to write.
    began: u64,
    pub(super) end: u64,
}

/// A stretch of records that go into one segment, and the filler that closes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) start: u64,
    /// Records `first..last` of the unit.
    pub(super) first: usize,
    pub(super) last: usize,
    /// Bytes of those records.
    pub(super) bytes: usize,
    /// Bytes left in the segment behind them, which a filler takes.
    pub(super) filler: Option<u32>,
}

/// Where a unit goes.
#[derive(Clone, Debug, Default)]
pub(super) struct Placement {
    pub(super) runs: Vec<Run>,
    pub(super) end: u64,
}

impl Log {
    pub(super) fn new(segment_bytes: u64, first: u64, segments: Vec<Arc<dyn Segment>>, end: u64) -> Log {
        let log =
            Log { segment_bytes, first, segments: segments.into(), ahead: VecDeque::new(), began: end, end };
        assert!(
            log.active_start() <= end && end < log.active_start() + segment_bytes,
            "the log ends inside its active segment"
        );
        log
    }

    /// Distributes records of the given sizes over segments. `placement` is overwritten; it is passed in to keep its
    /// allocation.
    pub(super) fn place(&self, sizes: &[u32], placement: &mut Placement) {
        placement.runs.clear();
        let mut at = self.end;
        let mut run = Run { start: at, first: 0, last: 0, bytes: 0, filler: None };
        for (index, size) in sizes.iter().enumerate() {
            let room = self.segment_bytes - at % self.segment_bytes;
            if u64::from(*size) + FILLER_BYTES as u64 > room {
                assert!(room >= FILLER_BYTES as u64, "every record leaves room for a filler");
                run.last = index;
                run.filler = Some(u32::try_from(room).expect("a segment has less than 4 GiB"));
                placement.runs.push(run);
                at += room;
                run = Run { start: at, first: index, last: index, bytes: 0, filler: None };
            }
            run.bytes += *size as usize;
            at += u64::from(*size);
        }
        run.last = sizes.len();
        placement.runs.push(run);
        placement.end = at;
    }

    /// How many segments are missing to hold everything below `end`.
    pub(super) fn missing_for(&self, end: u64) -> usize {
        let have = self.active_start() + self.segment_bytes * (1 + self.ahead.len() as u64);
        usize::try_from(end.saturating_sub(have).div_ceil(self.segment_bytes)).unwrap_or(usize::MAX)
    }

    /// Where the next segment to prepare starts, if one is wanted: `wanted` at least, and one from half of the active
    /// segment on.
    pub(super) fn next_wanted(&self, wanted: usize) -> Option<u64> {
        let half_used = self.end - self.active_start() >= self.segment_bytes / 2;
        let wanted = wanted.max(usize::from(half_used));
        let next = self.active_start() + self.segment_bytes * (1 + self.ahead.len() as u64);
        (self.ahead.len() < wanted).then_some(next)
    }

    pub(super) fn push_ahead(&mut self, segment: Arc<dyn Segment>) {
        self.ahead.push_back(segment);
    }

    /// The segment that position `at` is in; takes prepared segments into the log as `at` reaches them.
    pub(super) fn segment_for_write(&mut self, at: u64) -> Arc<dyn Segment> {
        while at >= self.active_start() + self.segment_bytes {
            let next = self.ahead.pop_front().expect("placed only into segments that are ready");
            self.segments.push_back(next);
        }
        Arc::clone(self.segments.back().expect("there is always an active segment"))
    }

    pub(super) fn segment(&self, at: u64) -> Option<&Arc<dyn Segment>> {
        let index = at.checked_sub(self.first)? / self.segment_bytes;
        self.segments.get(usize::try_from(index).ok()?)
    }

    /// From here on, this process wrote everything, and it is no more than `bytes`.
    pub(super) fn fresh_from(&self, bytes: u64) -> u64 {
        self.began.max(self.end.saturating_sub(bytes))
    }

    /// Bytes `at..at + len`, which must lie below the end and in one segment; `None` otherwise.
    pub(super) fn slice(&self, at: u64, len: usize) -> io::Result<Option<Bytes>> {
        let within = at % self.segment_bytes;
        if within + len as u64 > self.segment_bytes || at.saturating_add(len as u64) > self.end {
            return Ok(None);
        }
        match self.segment(at) {
            Some(segment) => segment.slice(within, len).map(Some),
            None => Ok(None),
        }
    }

    /// The pieces of segments that make up `from..to`: start of the segment, offset and length in it.
    pub(super) fn pieces(&self, from: u64, to: u64) -> Vec<(u64, Arc<dyn Segment>, u64, u64)> {
        let mut pieces = Vec::new();
        let mut at = from;
        while at < to {
            let within = at % self.segment_bytes;
            let stop = (at - within + self.segment_bytes).min(to);
            let segment = self.segment(at).expect("what was appended is in a segment");
            pieces.push((at - within, Arc::clone(segment), within, stop - at));
            at = stop;
        }
        pieces
    }

    /// Forgets the oldest segment. Slices of it stay valid.
    pub(super) fn drop_oldest(&mut self) {
        assert!(self.segments.len() > 1, "the active segment is never dropped");
        self.segments.pop_front();
        self.first += self.segment_bytes;
    }

    pub(super) fn segments_len(&self) -> usize {
        self.segments.len()
    }

    pub(super) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    fn active_start(&self) -> u64 {
        self.first + self.segment_bytes * (self.segments.len() as u64 - 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Nothing;

    impl Segment for Nothing {
        fn len(&self) -> u64 {
            1024
        }

        fn fill(&self, _: u64, _: usize, _: &mut dyn FnMut(&mut [u8])) -> io::Result<()> {
            Ok(())
        }

        fn slice(&self, _: u64, _: usize) -> io::Result<Bytes> {
            Ok(Bytes::new())
        }

        fn sync(&self, _: u64, _: u64) -> crate::env::BoxFuture<'_, io::Result<()>> {
            Box::pin(async { Ok(()) })
        }
    }

    proptest! {
        #[test]
        fn a_placement_is_contiguous_and_leaves_room_for_fillers(
            before in 0u64..1_017,
            sizes in prop::collection::vec(91u32..1_017, 1..20),
        ) {
            let segment: Arc<dyn Segment> = Arc::new(Nothing);
            let log = Log::new(1024, 2048, vec![segment], 2048 + before);
            let mut placement = Placement::default();
            log.place(&sizes, &mut placement);
            let mut at = log.end;
            let mut next = 0;
            for run in &placement.runs {
                prop_assert_eq!((run.start, run.first), (at, next));
                prop_assert_eq!(run.start / 1024, (run.start + run.bytes as u64) / 1024);
                let bytes: u32 = sizes[run.first..run.last].iter().sum();
                prop_assert_eq!(bytes as usize, run.bytes);
                at += run.bytes as u64;
                let room = 1024 - at % 1024;
                prop_assert!(room >= 8);
                if let Some(filler) = run.filler {
                    prop_assert_eq!(u64::from(filler), room);
                    at += room;
                }
                next = run.last;
            }
            prop_assert_eq!((at, next), (placement.end, sizes.len()));
            prop_assert_eq!(log.missing_for(placement.end), placement.runs.len() - 1);
        }
    }
}

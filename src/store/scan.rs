//! Reading the log's files from front to end, in chunks, one entry at a time: for recovery, and for a store that is
//! looked at without being opened.
//!
//! Through plain files, not through mappings: recovery clears bytes it has read, and what a mapping has handed out is
//! never written again.

use std::sync::Arc;

use bytes::Bytes;

use super::OpenError;
use super::layout::Layout;
use super::planted;
use super::unit::UNIT_BYTES;
use crate::base::Timestamp;
use crate::env::Access;
use crate::env::Env;
use crate::env::File;
use crate::protocol::record;
use crate::protocol::record::Entry;
use crate::protocol::record::FILLER_BYTES;
use crate::protocol::record::RECORD_BYTES_MIN;
use crate::protocol::record::RecordView;

/// The position of a unit in its queue is a positive i8 of Java's.
const QUEUE_OFFSET_MAX: u64 = i64::MAX as u64 / UNIT_BYTES as u64;
const CHUNK_MIN: usize = 4 * 1024;
const CHUNK_MAX: usize = 1024 * 1024;
/// What a disk writes whole or not at all.
const SECTOR_BYTES: u64 = 512;

/// What stands at a position.
pub(super) enum Step {
    Record(Bytes),
    /// The segment is closed here; the log goes on at this position.
    Next(u64),
    /// Nothing was written here, or there is no file.
    Blank,
    /// Why this is no record, and its size if that much is believable.
    Bad(String, Option<usize>),
}

#[derive(Default)]
pub(super) struct Window {
    file: Option<(u64, Arc<dyn File>)>,
    chunk: Bytes,
    chunk_at: u64,
    chunk_len: usize,
    /// Bytes read from files so far.
    pub(super) read_bytes: u64,
}

/// The files of a log.
#[derive(Clone, Copy)]
pub(super) struct LogFiles<'a> {
    pub(super) env: &'a Env,
    pub(super) layout: &'a Layout,
    pub(super) segment_bytes: u64,
    /// Starts of the segments there are, ascending.
    pub(super) segments: &'a [u64],
    /// A larger record is taken for a damaged one: what is held in memory at a time.
    pub(super) record_bytes_max: u64,
}

impl LogFiles<'_> {
    /// The position behind the last segment.
    pub(super) fn end(&self) -> u64 {
        self.segments.last().map_or(0, |last| last + self.segment_bytes)
    }

    pub(super) async fn step(&self, window: &mut Window, at: u64) -> Result<Step, OpenError> {
        let segment_bytes = self.segment_bytes;
        let start = at - at % segment_bytes;
        if self.segments.binary_search(&start).is_err() {
            return Ok(Step::Blank);
        }
        let room = segment_bytes - at % segment_bytes;
        let head = self.peek(window, at, FILLER_BYTES).await?;
        if head.len() < FILLER_BYTES {
            return Ok(Step::Blank);
        }
        let total = match Entry::classify(&head) {
            Ok(Entry::Blank) => return Ok(Step::Blank),
            Ok(Entry::Filler { remaining }) if remaining as u64 == room => return Ok(Step::Next(at + room)),
            Ok(Entry::Filler { remaining }) => {
                return Ok(Step::Bad(format!("a filler of {remaining} bytes where {room} are left"), None));
            }
            Ok(Entry::Record { total }) => total,
            Err(error) => return Ok(Step::Bad(error.to_string(), None)),
        };
        if total as u64 + FILLER_BYTES as u64 > room {
            return Ok(Step::Bad(format!("a record of {total} bytes where {room} are left"), None));
        }
        if total as u64 > self.record_bytes_max {
            let max = self.record_bytes_max;
            return Ok(Step::Bad(format!("a record of {total} bytes; at most {max} are believed"), None));
        }
        let bytes = self.peek(window, at, total).await?;
        let checks = !self.env.planted(planted::RECOVERY_SKIPS_CRC);
        let checked = RecordView::decode(&bytes).and_then(|view| {
            if checks {
                view.verify_body()?;
            }
            Ok((view.physical.0, view.queue_offset.0, Properties::of(&view, at)))
        });
        Ok(match checked {
            // The CRC covers the body alone.
            Ok((_, _, Properties::LostSector)) if checks => {
                Step::Bad("a lost sector among the properties".to_owned(), Some(total))
            }
            Ok((_, _, Properties::EndInZero))
                if checks && self.is_blank(window, at + total as u64).await? =>
            {
                Step::Bad("its properties end in zeros, and nothing follows".to_owned(), Some(total))
            }
            Ok((_, offset, _)) if offset > QUEUE_OFFSET_MAX => {
                Step::Bad(format!("no queue has an offset {offset:#x}"), Some(total))
            }
            Ok((physical, ..)) if physical == at => Step::Record(bytes),
            Ok((physical, ..)) => {
                Step::Bad(format!("the record belongs to position {physical:#x}"), Some(total))
            }
            Err(error) => Step::Bad(error.to_string(), Some(total)),
        })
    }

    async fn is_blank(&self, window: &mut Window, at: u64) -> Result<bool, OpenError> {
        let head = self.peek(window, at, FILLER_BYTES).await?;
        Ok(head.iter().all(|byte| *byte == 0))
    }

    /// The start of the last segment whose first record was stored at or before `time`, by Apache's margin of three
    /// seconds; the first segment if none was.
    pub(super) async fn segment_before(&self, window: &mut Window, time: i64) -> Result<u64, OpenError> {
        for start in self.segments.iter().rev() {
            let stored = self.store_time_at(window, *start).await?;
            if stored.is_some_and(|at| at.0 <= time.saturating_sub(3_000)) {
                return Ok(*start);
            }
        }
        Ok(self.segments.first().copied().unwrap_or(0))
    }

    async fn store_time_at(&self, window: &mut Window, at: u64) -> Result<Option<Timestamp>, OpenError> {
        let head = self.peek(window, at, RECORD_BYTES_MIN).await?;
        Ok(record::peek_store_time(&head).ok())
    }

    /// `len` bytes from `at` on, fewer at the end of a short file. Must not cross a segment's end.
    async fn peek(&self, window: &mut Window, at: u64, len: usize) -> Result<Bytes, OpenError> {
        if let Some(inside) = window.inside(at, len) {
            return Ok(inside);
        }
        let segment_bytes = self.segment_bytes;
        let start = at - at % segment_bytes;
        let path = self.layout.segment(start);
        let file = match &window.file {
            Some((open, file)) if *open == start => Arc::clone(file),
            _ => {
                let opened = self.env.disk.open(&path, Access::Read).await;
                let file = opened.map_err(OpenError::io("open", &path))?;
                window.file = Some((start, Arc::clone(&file)));
                file
            }
        };
        window.chunk_len = (window.chunk_len * 4).clamp(CHUNK_MIN, CHUNK_MAX);
        let room = usize::try_from(segment_bytes - at % segment_bytes).unwrap_or(usize::MAX);
        let wanted = window.chunk_len.max(len).min(room);
        let chunk = file.read_at(at % segment_bytes, wanted).await.map_err(OpenError::io("read", &path))?;
        window.read_bytes += chunk.len() as u64;
        let inside = chunk.slice(..len.min(chunk.len()));
        window.chunk = chunk;
        window.chunk_at = at;
        Ok(inside)
    }
}

impl Window {
    fn inside(&self, at: u64, len: usize) -> Option<Bytes> {
        let from = usize::try_from(at.checked_sub(self.chunk_at)?).ok()?;
        let to = from.checked_add(len)?;
        (to <= self.chunk.len()).then(|| self.chunk.slice(from..to))
    }
}

/// What a record's properties look like, which no CRC covers. Zeros alone are no damage: a client of Apache RocketMQ may
/// send one in a property's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Properties {
    Whole,
    /// Some sector's share of them is nothing but zeros: the disk did not write that sector.
    LostSector,
    /// A process that was killed while it copied the record leaves zeros from there on, and nothing behind the record.
    EndInZero,
}

impl Properties {
    /// Of a record at position `at`.
    fn of(view: &RecordView<'_>, at: u64) -> Properties {
        Properties::classify(view.properties, at + (view.total - view.properties.len()) as u64)
    }

    /// Of a block at position `at`.
    fn classify(block: &[u8], at: u64) -> Properties {
        if !block.contains(&0) {
            return Properties::Whole;
        }
        let first = (SECTOR_BYTES - at % SECTOR_BYTES) as usize;
        let (first, rest) = block.split_at(first.min(block.len()));
        let mut shares = std::iter::once(first).chain(rest.chunks(SECTOR_BYTES as usize));
        if shares.any(|share| !share.is_empty() && share.iter().all(|byte| *byte == 0)) {
            Properties::LostSector
        } else if block.last() == Some(&0) {
            Properties::EndInZero
        } else {
            Properties::Whole
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_in_properties_are_damage_where_a_sector_or_the_end_is_missing() {
        let block = vec![b'x'; 1_500];
        let with_zeros = |zeros: std::ops::Range<usize>| {
            let mut block = block.clone();
            block[zeros].fill(0);
            // It has bytes 700..2200 of the log: 324 of the first sector, two whole ones, 152 of the last.
            Properties::classify(&block, 700)
        };
        assert_eq!(with_zeros(0..0), Properties::Whole);
        assert_eq!(Properties::classify(&[], 700), Properties::Whole);
        assert_eq!(with_zeros(3..4), Properties::Whole, "a zero that was sent");
        for lost in [0..324, 324..836, 836..1_348, 1_348..1_500] {
            assert_eq!(with_zeros(lost.clone()), Properties::LostSector, "{lost:?}");
        }
        for all_but_one in [0..323, 325..836, 836..1_347] {
            assert_eq!(with_zeros(all_but_one.clone()), Properties::Whole, "{all_but_one:?}");
        }
        assert_eq!(with_zeros(1_400..1_500), Properties::EndInZero);
        assert_eq!(with_zeros(1_499..1_500), Properties::EndInZero);
    }
}

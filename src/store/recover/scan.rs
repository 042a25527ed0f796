//! Reading the log's files from front to end, in chunks, one entry at a time.
//!
//! Through plain files, not through mappings: recovery clears bytes it has read, and what a mapping has handed out is
//! never written again.

use std::sync::Arc;

use bytes::Bytes;

use super::Recover;
use crate::base::Timestamp;
use crate::env::Access;
use crate::env::File;
use crate::protocol::record;
use crate::protocol::record::Entry;
use crate::protocol::record::FILLER_BYTES;
use crate::protocol::record::RECORD_BYTES_MIN;
use crate::protocol::record::RecordView;
use crate::store::OpenError;
use crate::store::planted;

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
}

impl Recover {
    pub(super) async fn step(&mut self, window: &mut Window, at: u64) -> Result<Step, OpenError> {
        let segment_bytes = self.config.segment_bytes;
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
        let bytes = self.peek(window, at, total).await?;
        let checks = !self.env.planted(planted::RECOVERY_SKIPS_CRC);
        let checked = RecordView::decode(&bytes).and_then(|view| {
            if checks {
                view.verify_body()?;
            }
            let properties_at = at + (view.total - view.properties.len()) as u64;
            Ok((view.physical.0, has_lost_sector(view.properties, properties_at)))
        });
        Ok(match checked {
            // The CRC covers the body alone; where the disk lost a sector, it reads as zeros.
            Ok((_, true)) if checks => {
                Step::Bad("a lost sector among the properties".to_owned(), Some(total))
            }
            Ok((physical, _)) if physical == at => Step::Record(bytes),
            Ok((physical, _)) => {
                Step::Bad(format!("the record belongs to position {physical:#x}"), Some(total))
            }
            Err(error) => Step::Bad(error.to_string(), Some(total)),
        })
    }

    /// The start of the last segment whose first record was stored at or before `time`, by Apache's margin of three
    /// seconds; the first segment if none was.
    pub(super) async fn segment_before(&mut self, time: i64) -> Result<u64, OpenError> {
        let mut window = Window::default();
        for start in self.segments.clone().into_iter().rev() {
            if self.store_time_at(&mut window, start).await?.is_some_and(|at| at.0 <= time - 3_000) {
                return Ok(start);
            }
        }
        Ok(self.segments.first().copied().unwrap_or(0))
    }

    async fn store_time_at(&mut self, window: &mut Window, at: u64) -> Result<Option<Timestamp>, OpenError> {
        let head = self.peek(window, at, RECORD_BYTES_MIN).await?;
        Ok(record::peek_store_time(&head).ok())
    }

    /// `len` bytes from `at` on, fewer at the end of a short file. Must not cross a segment's end.
    async fn peek(&mut self, window: &mut Window, at: u64, len: usize) -> Result<Bytes, OpenError> {
        if let Some(inside) = window.inside(at, len) {
            return Ok(inside);
        }
        let segment_bytes = self.config.segment_bytes;
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
        self.report.read_bytes += chunk.len() as u64;
        let inside = chunk.slice(..len.min(chunk.len()));
        window.chunk = chunk;
        window.chunk_at = at;
        Ok(inside)
    }
}

/// True when some sector's share of `properties`, which begin at position `at`, is nothing but zeros. A single zero is no
/// damage: Apache's clients may send one in a property's value.
fn has_lost_sector(properties: &[u8], at: u64) -> bool {
    let first = (SECTOR_BYTES - at % SECTOR_BYTES) as usize;
    let (first, rest) = properties.split_at(first.min(properties.len()));
    let mut shares = std::iter::once(first).chain(rest.chunks(SECTOR_BYTES as usize));
    shares.any(|share| !share.is_empty() && share.iter().all(|byte| *byte == 0))
}

impl Window {
    fn inside(&self, at: u64, len: usize) -> Option<Bytes> {
        let from = usize::try_from(at.checked_sub(self.chunk_at)?).ok()?;
        let to = from.checked_add(len)?;
        (to <= self.chunk.len()).then(|| self.chunk.slice(from..to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_in_a_property_is_no_damage_and_a_sector_of_zeros_is() {
        let mut block = vec![b'x'; 1_500];
        assert!(!has_lost_sector(&block, 700));
        assert!(!has_lost_sector(&[], 700));
        block[3] = 0;
        assert!(!has_lost_sector(&block, 700), "one zero");
        // The block has bytes 700..2200 of the log: 324 of the first sector, two whole ones, 152 of the last.
        for share in [0..324, 324..836, 836..1_348, 1_348..1_500] {
            let mut lost = block.clone();
            lost[share.clone()].fill(0);
            assert!(has_lost_sector(&lost, 700), "{share:?} lost");
            lost[share.start] = b'x';
            assert!(!has_lost_sector(&lost, 700), "{share:?} but for one byte");
        }
    }
}

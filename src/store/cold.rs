//! Reading what is not hot: by position, away from the caller's thread, every byte checked.
//!
//! Records of a queue often lie close together in the log. What does is read at once, as a stretch; a record that a stretch
//! does not have as its unit says is read by itself, so a bad sector or a stale read costs none of its neighbours.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::Read;
use super::ReadError;
use super::ReadLimits;
use super::core::Core;
use super::planted;
use super::read::Cursor;
use super::read::Want;
use super::read::is_record_of;
use super::read::locate;
use super::unit::Unit;
use super::unreadable::LASTING_MS;
use super::unreadable::Outlook;
use crate::env::Access;
use crate::env::File;
use crate::protocol::record::RecordView;

/// Two records with more between them are read apart: a call costs about as much as copying so many bytes.
const STRETCH_GAP_BYTES: u64 = 16 * 1024;
/// The longest stretch; an answer keeps it in memory while it is sent.
const STRETCH_BYTES_MAX: u64 = 256 * 1024;

/// A piece of the log that was read at once.
#[derive(Default)]
struct Stretch {
    at: u64,
    bytes: Bytes,
}

impl Stretch {
    fn record(&self, unit: &Unit) -> Option<Bytes> {
        let from = usize::try_from(unit.physical.checked_sub(self.at)?).ok()?;
        let to = from.checked_add(unit.size as usize).filter(|to| *to <= self.bytes.len())?;
        let record = self.bytes.slice(from..to);
        is_intact(&record, unit).then_some(record)
    }
}

impl Core {
    pub(super) async fn read_cold(
        &self,
        want: Want<'_>,
        filter: &(dyn Fn(i64) -> bool + Sync),
    ) -> Result<Read, ReadError> {
        let (mut cursor, name, end, mut units) = {
            let state = self.state.lock();
            let queue = match locate(&state, want) {
                Ok(queue) => queue,
                Err(read) => return Ok(read),
            };
            let slot = state.queues.find_slot(want.topic, want.queue.0).expect("it was just found");
            let end = queue.visible.min(want.from.0.saturating_add(want.limits.scan as u64));
            let units: Vec<Unit> = if want.from.0 < queue.tail_start() {
                Vec::new()
            } else {
                queue.units(want.from.0, end).copied().collect()
            };
            (Cursor::new(queue, want), queue.name(slot), end.min(queue.tail_start().max(want.from.0)), units)
        };
        if units.is_empty() {
            let count = usize::try_from(end - want.from.0).unwrap_or(want.limits.scan);
            units = self.files.read_units(&name, want.from.0, count).await?;
        }
        let mut stretch = Stretch::default();
        for (nth, unit) in units.iter().enumerate() {
            if unit.is_gap() || (unit.is_written() && !filter(unit.tags_code)) {
                cursor.next += 1;
                continue;
            }
            if cursor.is_full(unit, want.limits) {
                break;
            }
            let mut record = stretch.record(unit);
            if record.is_none() {
                stretch = self.read_stretch(&units[nth..], filter, want.limits).await;
                record = stretch.record(unit);
            }
            if record.is_none() {
                record = match self.record_of(unit).await {
                    // What lies before it is handed out first.
                    Err(_) if !cursor.records.is_empty() => break,
                    record => record?,
                };
            }
            match record {
                Some(record) => cursor.take(record),
                None => {
                    if cursor.records.is_empty() {
                        cursor.damaged = true;
                        let hides = self.env.planted(planted::DAMAGE_HIDES_THE_REST);
                        cursor.next += if hides { units.len() as u64 } else { 1 };
                    }
                    break;
                }
            }
        }
        Ok(cursor.finish())
    }

    /// What lies together of the records of `units`, from the first on. Nothing where that is one record alone, or hot, or
    /// cannot be read.
    async fn read_stretch(
        &self,
        units: &[Unit],
        filter: &(dyn Fn(i64) -> bool + Sync),
        limits: &ReadLimits,
    ) -> Stretch {
        let cold = {
            let state = self.state.lock();
            state.log.first..state.log.fresh_from(self.config.hot_bytes)
        };
        let wanted =
            units.iter().filter(|unit| unit.is_written() && !unit.is_gap() && filter(unit.tags_code));
        let together =
            together(wanted.take(limits.messages), cold, self.config.segment_bytes, limits.bytes as u64);
        let Some(Range { start: at, end }) = together else { return Stretch::default() };
        let len = usize::try_from(end - at).expect("a stretch is short");
        // A stretch that cannot be read is not the end of its records: they are read one by one then.
        let Ok(bytes) = self.read_log(at, len).await else { return Stretch::default() };
        self.env.probe("store.stretch_read");
        self.unreadable.read(at..end);
        Stretch { at, bytes }
    }

    /// The record of `unit`; `None` when it is gone or damaged. What looks damaged is read twice: a read may have been
    /// stale, a damaged record stays damaged.
    async fn record_of(&self, unit: &Unit) -> Result<Option<Bytes>, ReadError> {
        if !unit.is_written() {
            return Ok(None);
        }
        for _ in 0..2 {
            let hot = {
                let state = self.state.lock();
                if unit.physical < state.log.first || !self.is_inside(&state, unit) {
                    return Ok(None);
                }
                self.is_hot(&state, unit.physical).then(|| state.log.slice(unit.physical, unit.size as usize))
            };
            let record = match hot {
                Some(slice) => {
                    let path = || self.layout.segment(unit.physical);
                    let slice = slice.map_err(|error| ReadError::Io { path: path(), error })?;
                    slice.filter(|record| is_record_of(record, unit))
                }
                None => {
                    let Some(record) = self.read_record(unit).await? else { return Ok(None) };
                    is_intact(&record, unit).then_some(record)
                }
            };
            if record.is_some() {
                return Ok(record);
            }
        }
        Ok(None)
    }

    /// The bytes that `unit` names; `None` where the disk has given them up.
    async fn read_record(&self, unit: &Unit) -> Result<Option<Bytes>, ReadError> {
        let at = unit.physical;
        let file = self.log_file(at).await?;
        match file.read_at(at % self.config.segment_bytes, unit.size as usize).await {
            Ok(record) => {
                self.unreadable.read(at..at + 1);
                Ok(Some(record))
            }
            Err(error) => {
                let syncs = self.state.lock().counters.syncs;
                let Outlook::Lost { first } = self.unreadable.failed(at, self.env.now(), syncs) else {
                    return Err(ReadError::Io { path: self.layout.segment(at), error });
                };
                if first {
                    self.env.probe("store.unreadable_record");
                    let path = self.layout.segment(at);
                    tracing::warn!(
                        position = at,
                        bytes = unit.size,
                        path = %path.display(),
                        %error,
                        "the disk cannot read a record, for {} s now: readers pass over it",
                        LASTING_MS / 1_000
                    );
                }
                Ok(None)
            }
        }
    }

    pub(super) async fn read_log(&self, at: u64, len: usize) -> Result<Bytes, ReadError> {
        let file = self.log_file(at).await?;
        let read = file.read_at(at % self.config.segment_bytes, len).await;
        read.map_err(|error| ReadError::Io { path: self.layout.segment(at), error })
    }

    async fn log_file(&self, at: u64) -> Result<Arc<dyn File>, ReadError> {
        let path = self.layout.segment(at);
        self.files.open(&path, Access::Read).await.map_err(|error| ReadError::Io { path, error })
    }
}

/// Where the first records of a read lie, if there are two or more so close together that they are read at once.
fn together<'a>(
    mut units: impl Iterator<Item = &'a Unit>,
    cold: Range<u64>,
    segment_bytes: u64,
    bytes_max: u64,
) -> Option<Range<u64>> {
    let range = |unit: &Unit| {
        let end = unit.physical.checked_add(u64::from(unit.size))?;
        let is_whole = unit.physical % segment_bytes + u64::from(unit.size) <= segment_bytes;
        (cold.start <= unit.physical && end <= cold.end && is_whole).then_some(unit.physical..end)
    };
    let first = range(units.next()?)?;
    let (mut end, mut bytes) = (first.end, first.end - first.start);
    for next in units.map_while(range) {
        bytes += next.end - next.start;
        let is_near = (end..=end + STRETCH_GAP_BYTES).contains(&next.start);
        let is_short = next.end - first.start <= STRETCH_BYTES_MAX && bytes <= bytes_max;
        if !is_near || !is_short || next.start / segment_bytes != first.start / segment_bytes {
            break;
        }
        end = next.end;
    }
    (end > first.end).then_some(first.start..end)
}

/// Looks at every byte.
fn is_intact(record: &Bytes, unit: &Unit) -> bool {
    RecordView::decode(record).is_ok_and(|view| {
        view.physical.0 == unit.physical && view.total == unit.size as usize && view.verify_body().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: u64 = 1 << 20;

    fn stretch(units: &[(u64, u32)], cold: Range<u64>) -> Option<Range<u64>> {
        let units: Vec<Unit> = units
            .iter()
            .map(|(physical, size)| Unit { physical: *physical, size: *size, tags_code: 0 })
            .collect();
        together(units.iter(), cold, SEGMENT, STRETCH_BYTES_MAX)
    }

    #[test]
    fn neighbours_are_read_together_and_one_alone_is_not() {
        let cold = 0..SEGMENT;
        assert_eq!(stretch(&[(0, 100), (100, 100), (500, 100)], cold.clone()), Some(0..600));
        assert_eq!(stretch(&[(0, 100)], cold.clone()), None);
        assert_eq!(stretch(&[(0, 100), (100 + STRETCH_GAP_BYTES + 1, 100)], cold.clone()), None);
        assert_eq!(stretch(&[], cold), None);
    }

    #[test]
    fn a_stretch_ends_where_memory_or_the_segment_or_the_room_does() {
        assert_eq!(stretch(&[(0, 100), (100, 100), (200, 100)], 0..250), Some(0..200));
        assert_eq!(stretch(&[(0, 100), (100, 100)], 50..SEGMENT), None);
        let edge = SEGMENT - 200;
        assert_eq!(
            stretch(&[(edge, 100), (edge + 100, 100), (SEGMENT, 100)], 0..2 * SEGMENT),
            Some(edge..SEGMENT)
        );
        let half = STRETCH_BYTES_MAX / 2;
        let units = [(0, half as u32), (half, half as u32), (2 * half, 1)];
        assert_eq!(stretch(&units, 0..SEGMENT), Some(0..STRETCH_BYTES_MAX));
    }

    #[test]
    fn units_of_a_damaged_file_name_nothing_that_is_read() {
        assert_eq!(stretch(&[(u64::MAX, 100), (0, 100)], 0..SEGMENT), None);
        assert_eq!(stretch(&[(100, 100), (0, 100), (300, 100)], 0..SEGMENT), None);
        assert_eq!(stretch(&[(0, u32::MAX), (100, 100)], 0..SEGMENT), None);
    }
}

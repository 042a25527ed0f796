//! The log's records one by one, and the damage between them.

use bytes::Bytes;

use super::ClosedStore;
use super::InspectError;
use crate::protocol::record::RecordView;
use crate::store::scan::Step;
use crate::store::scan::Window;

/// A walk over the log.
pub struct Records<'a> {
    store: &'a ClosedStore,
    window: Window,
    at: u64,
    /// Nothing below is told.
    from: u64,
}

/// What stands at a position of the log.
#[derive(Clone, Debug)]
pub enum Seen {
    /// A whole stored record whose checksum holds.
    Record(Bytes),
    /// No record, for this reason; the walk goes on at `next`.
    Damage { at: u64, why: String, next: u64 },
}

impl ClosedStore {
    /// The records from the first one at or behind `from`, a position of the log, on.
    ///
    /// # Errors
    /// The log does not have the position.
    pub fn records(&self, from: u64) -> Result<Records<'_>, InspectError> {
        let (first, end) = (self.first(), self.log_files().end());
        if from > end {
            return Err(InspectError::NoSuchPosition { at: from, first, end });
        }
        // Records are found from the start of their segment: nothing else says where one begins.
        let at = from.max(first);
        Ok(Records { store: self, window: Window::default(), at: at - at % self.config.segment_bytes, from })
    }

    /// The position that the unit of `offset` names, if there is a unit and the log has a record of it there.
    ///
    /// # Errors
    /// A file cannot be read.
    pub async fn position_of(
        &self,
        topic: &str,
        queue: u32,
        offset: u64,
    ) -> Result<Option<u64>, InspectError> {
        let unit = self.unit_blocks().unit(topic, queue, offset).await?;
        if !unit.is_written() || unit.is_gap() || unit.physical >= self.log_files().end() {
            return Ok(None);
        }
        let Step::Record(bytes) = self.log_files().step(&mut Window::default(), unit.physical).await? else {
            return Ok(None);
        };
        let is_it = RecordView::decode(&bytes)
            .is_ok_and(|view| (view.topic, view.queue.0, view.queue_offset.0) == (topic, queue, offset));
        Ok(is_it.then_some(unit.physical))
    }

    /// As [`ClosedStore::records`], from a position where a record is known to begin.
    pub fn records_at(&self, at: u64) -> Records<'_> {
        Records { store: self, window: Window::default(), at, from: at }
    }
}

impl Records<'_> {
    /// The next record, or damage; `None` at the end of the log.
    ///
    /// # Errors
    /// A file cannot be read.
    pub async fn next(&mut self) -> Result<Option<Seen>, InspectError> {
        loop {
            let at = self.at;
            let segment_bytes = self.store.config.segment_bytes;
            match self.store.log_files().step(&mut self.window, at).await? {
                Step::Next(next) => self.at = next,
                Step::Record(bytes) => {
                    self.at += bytes.len() as u64;
                    if at < self.from {
                        continue;
                    }
                    return Ok(Some(Seen::Record(bytes)));
                }
                Step::Blank => {
                    let Some(next) = self.store.segment_behind(at) else { return Ok(None) };
                    // Prepared ahead, and empty: the log ended before it.
                    let head = self.store.log_files().step(&mut self.window, next).await?;
                    self.at = next;
                    if matches!(head, Step::Blank) && self.store.segment_behind(next).is_none() {
                        return Ok(None);
                    }
                    let why = "nothing is written here, but in a later segment".to_owned();
                    return Ok(Some(Seen::Damage { at, why, next }));
                }
                Step::Bad(why, size) => {
                    let behind = at - at % segment_bytes + segment_bytes;
                    self.at = size.map_or(behind, |size| at + size as u64);
                    return Ok(Some(Seen::Damage { at, why, next: self.at }));
                }
            }
        }
    }
}

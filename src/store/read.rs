//! Reading: a queue's units first, then the records they name.
//!
//! Units come from memory, or from the queue's file. Records that are hot (written by this process, and among the last
//! [`super::Config::hot_bytes`] of the log) are slices of mapped segments; others are read by position (`cold`). Every
//! record is compared with what its unit says before it is handed out. A damaged one ends the read before it; asked for by
//! itself, it is [`ReadStatus::Damaged`] and the next read goes on behind it.

use bytes::Bytes;

use super::Boundary;
use super::Bounds;
use super::Read;
use super::ReadError;
use super::ReadLimits;
use super::ReadStatus;
use super::core::Core;
use super::core::State;
use super::planted;
use super::queues::Queue;
use super::queues::QueueName;
use super::unit::Unit;
use crate::base::PhysicalOffset;
use crate::base::QueueId;
use crate::base::QueueOffset;
use crate::base::Timestamp;
use crate::protocol::record;
use crate::protocol::record::Entry;
use crate::protocol::record::RECORD_BYTES_MIN;
use crate::protocol::record::RecordView;

/// What a read asks for.
#[derive(Clone, Copy)]
pub(super) struct Want<'a> {
    pub(super) topic: &'a str,
    pub(super) queue: QueueId,
    pub(super) from: QueueOffset,
    pub(super) limits: &'a ReadLimits,
}

/// Where a read is in its queue.
pub(super) struct Cursor {
    min: u64,
    max: u64,
    pub(super) next: u64,
    bytes: usize,
    pub(super) records: Vec<Bytes>,
    pub(super) damaged: bool,
}

impl Core {
    pub(super) fn bounds(&self, topic: &str, queue: QueueId) -> Option<Bounds> {
        let state = self.state.lock();
        let queue = state.queues.find(topic, queue.0)?;
        Some(Bounds { min: QueueOffset(queue.first()), max: QueueOffset(queue.visible) })
    }

    /// Answers from memory; `None` when units or records are not there.
    pub(super) fn try_read(&self, want: Want<'_>, filter: &dyn Fn(i64) -> bool) -> Option<Read> {
        let state = self.state.lock();
        let queue = match locate(&state, want) {
            Ok(queue) => queue,
            Err(read) => return Some(read),
        };
        if want.from.0 < queue.tail_start() {
            return None;
        }
        let mut cursor = Cursor::new(queue, want);
        let end = queue.visible.min(want.from.0.saturating_add(want.limits.scan as u64));
        for unit in queue.units(want.from.0, end) {
            if unit.is_gap() || !filter(unit.tags_code) {
                cursor.next += 1;
                continue;
            }
            if cursor.is_full(unit, want.limits) {
                break;
            }
            if !self.is_hot(&state, unit.physical) {
                if cursor.records.is_empty() {
                    return None;
                }
                break;
            }
            let record = state.log.slice(unit.physical, unit.size as usize).ok().flatten();
            match record.filter(|record| is_record_of(record, unit)) {
                Some(record) => cursor.take(record),
                // Worth a second look, by a caller that can wait for one.
                None if cursor.records.is_empty() => return None,
                None => break,
            }
        }
        Some(cursor.finish())
    }

    pub(super) async fn read(
        &self,
        want: Want<'_>,
        filter: &(dyn Fn(i64) -> bool + Sync),
    ) -> Result<Read, ReadError> {
        if let Some(read) = self.try_read(want, filter) {
            return Ok(read);
        }
        let read = self.read_cold(want, filter).await;
        if matches!(&read, Ok(read) if read.status != ReadStatus::Damaged) {
            return read;
        }
        // Retention may have removed it while the disk was asked: that is no damage, and no failure.
        let mut state = self.state.lock();
        if let Err(moved) = locate(&state, want)
            && !self.env.planted(planted::REMOVAL_IS_DAMAGE)
        {
            self.env.probe("store.removed_under_a_read");
            return Ok(moved);
        }
        if read.is_ok() {
            self.env.probe("store.damaged_read");
            state.counters.damaged_reads += 1;
        }
        read
    }

    pub(super) fn record_at(&self, at: PhysicalOffset) -> Result<Option<Bytes>, ReadError> {
        let state = self.state.lock();
        let io = |error| ReadError::Io { path: self.layout.segment(at.0), error };
        if at.0 < state.log.first || at.0 >= self.visible_end(&state) {
            return Ok(None);
        }
        let Some(head) = state.log.slice(at.0, 8).map_err(io)? else { return Ok(None) };
        let Ok(Entry::Record { total }) = Entry::classify(&head) else { return Ok(None) };
        let Some(record) = state.log.slice(at.0, total).map_err(io)? else { return Ok(None) };
        drop(state);
        let intact = RecordView::decode(&record)
            .is_ok_and(|view| view.physical == at && view.total == total && view.verify_body().is_ok());
        Ok(intact.then_some(record))
    }

    /// As [`Core::record_at`]; what is not hot is read away from the caller's thread.
    pub(super) async fn view(&self, at: PhysicalOffset) -> Result<Option<Bytes>, ReadError> {
        let segment_bytes = self.config.segment_bytes;
        {
            let state = self.state.lock();
            if at.0 < state.log.first || at.0 >= self.visible_end(&state) {
                return Ok(None);
            }
            if self.is_hot(&state, at.0) {
                drop(state);
                return self.record_at(at);
            }
        }
        let head = self.read_log(at.0, RECORD_BYTES_MIN).await?;
        let Ok(Entry::Record { total }) = Entry::classify(&head) else { return Ok(None) };
        if at.0 % segment_bytes + total as u64 > segment_bytes {
            return Ok(None);
        }
        let record = self.read_log(at.0, total).await?;
        let intact = RecordView::decode(&record)
            .is_ok_and(|view| view.physical == at && view.total == total && view.verify_body().is_ok());
        Ok(intact.then_some(record))
    }

    /// `len` bytes of the log from `at` on, or as many as its segment has.
    pub(super) async fn log_piece(&self, at: u64, len: usize) -> Result<Bytes, ReadError> {
        let room = self.config.segment_bytes - at % self.config.segment_bytes;
        let len = len.min(usize::try_from(room).unwrap_or(len));
        let hot = {
            let state = self.state.lock();
            self.is_hot(&state, at).then(|| state.log.slice(at, len))
        };
        match hot {
            Some(slice) => {
                let slice = slice.map_err(|error| ReadError::Io { path: self.layout.segment(at), error })?;
                Ok(slice.unwrap_or_default())
            }
            None => self.read_log(at, len).await,
        }
    }

    pub(super) async fn offset_by_time(
        &self,
        topic: &str,
        queue: QueueId,
        time: Timestamp,
        boundary: Boundary,
    ) -> Result<QueueOffset, ReadError> {
        let Some((name, bounds)) = self.named_bounds(topic, queue) else { return Ok(QueueOffset(0)) };
        let (mut low, mut high) = (bounds.min.0, bounds.max.0);
        while low < high {
            let middle = low + (high - low) / 2;
            let stored = self.stored_at(&name, middle).await?;
            let before = match boundary {
                Boundary::Lower => stored < time,
                Boundary::Upper => stored <= time,
            };
            if before {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(match boundary {
            Boundary::Lower => QueueOffset(low),
            Boundary::Upper => QueueOffset(low.saturating_sub(1).max(bounds.min.0)),
        })
    }

    pub(super) async fn store_time_of(
        &self,
        topic: &str,
        queue: QueueId,
        offset: QueueOffset,
    ) -> Result<Option<Timestamp>, ReadError> {
        let Some((name, bounds)) = self.named_bounds(topic, queue) else { return Ok(None) };
        if offset < bounds.min || offset >= bounds.max {
            return Ok(None);
        }
        self.stored_at(&name, offset.0).await.map(Some)
    }

    pub(super) fn earliest_store_time(&self) -> Option<Timestamp> {
        let state = self.state.lock();
        self.store_time_at(&state, state.log.first)
    }

    /// When the record at `at` was stored, if one starts there. Reads the mapping.
    pub(super) fn store_time_at(&self, state: &State, at: u64) -> Option<Timestamp> {
        let head = state.log.slice(at, RECORD_BYTES_MIN).ok().flatten()?;
        record::peek_store_time(&head).ok()
    }

    /// The unit of an offset that has a message.
    pub(super) async fn unit_at(&self, name: &QueueName, offset: u64) -> Result<Unit, ReadError> {
        {
            let state = self.state.lock();
            let queue = state.queues.get(name.slot);
            if offset >= queue.tail_start()
                && let Some(unit) = queue.units(offset, offset + 1).next()
            {
                return Ok(*unit);
            }
        }
        self.files.read_unit(name, offset).await
    }

    /// A gap or a damaged record counts as stored at the beginning of time: a search goes on behind it.
    pub(super) async fn stored_at(&self, name: &QueueName, offset: u64) -> Result<Timestamp, ReadError> {
        let unit = self.unit_at(name, offset).await?;
        if unit.is_gap() {
            return Ok(Timestamp(0));
        }
        let hot = {
            let state = self.state.lock();
            if unit.physical < state.log.first || !self.is_inside(&state, &unit) {
                return Ok(Timestamp(0));
            }
            self.is_hot(&state, unit.physical)
                .then(|| state.log.slice(unit.physical, RECORD_BYTES_MIN).ok().flatten().unwrap_or_default())
        };
        let head = match hot {
            Some(head) => head,
            None => self.read_log(unit.physical, RECORD_BYTES_MIN).await?,
        };
        Ok(record::peek_store_time(&head).unwrap_or(Timestamp(0)))
    }

    fn named_bounds(&self, topic: &str, queue: QueueId) -> Option<(QueueName, Bounds)> {
        let state = self.state.lock();
        let slot = state.queues.find_slot(topic, queue.0)?;
        let queue = state.queues.get(slot);
        let bounds = Bounds { min: QueueOffset(queue.first()), max: QueueOffset(queue.visible) };
        Some((queue.name(slot), bounds))
    }

    pub(super) fn is_hot(&self, state: &State, physical: u64) -> bool {
        physical >= state.log.fresh_from(self.config.hot_bytes)
    }

    /// A unit from a damaged file may name anything: what it names lies in the log and in one segment.
    pub(super) fn is_inside(&self, state: &State, unit: &Unit) -> bool {
        let size = u64::from(unit.size);
        unit.physical.saturating_add(size) <= state.log.end
            && unit.physical % self.config.segment_bytes + size <= self.config.segment_bytes
    }
}

impl Cursor {
    pub(super) fn new(queue: &Queue, want: Want<'_>) -> Cursor {
        Cursor {
            min: queue.first(),
            max: queue.visible,
            next: want.from.0,
            bytes: 0,
            records: Vec::new(),
            damaged: false,
        }
    }

    pub(super) fn is_full(&self, unit: &Unit, limits: &ReadLimits) -> bool {
        !self.records.is_empty()
            && (self.records.len() >= limits.messages
                || self.bytes.saturating_add(unit.size as usize) > limits.bytes)
    }

    pub(super) fn take(&mut self, record: Bytes) {
        self.bytes += record.len();
        self.records.push(record);
        self.next += 1;
    }

    pub(super) fn finish(self) -> Read {
        let status = match (self.records.is_empty(), self.damaged) {
            (false, _) => ReadStatus::Found,
            (true, true) => ReadStatus::Damaged,
            (true, false) => ReadStatus::NoMatch,
        };
        Read {
            status,
            next: QueueOffset(self.next),
            min: QueueOffset(self.min),
            max: QueueOffset(self.max),
            records: self.records,
        }
    }
}

/// The queue, if the offset asked for is one of its messages; the final answer otherwise.
pub(super) fn locate<'a>(state: &'a State, want: Want<'_>) -> Result<&'a Queue, Read> {
    let refuse = |status, next, min, max| {
        let (next, min, max) = (QueueOffset(next), QueueOffset(min), QueueOffset(max));
        Err(Read { status, next, min, max, records: Vec::new() })
    };
    let Some(queue) = state.queues.find(want.topic, want.queue.0) else {
        return refuse(ReadStatus::NoMessageInQueue, 0, 0, 0);
    };
    let (min, max, from) = (queue.first(), queue.visible, want.from.0);
    if max == 0 {
        refuse(ReadStatus::NoMessageInQueue, 0, min, max)
    } else if from < min {
        refuse(ReadStatus::OffsetTooSmall, min, min, max)
    } else if from == max {
        refuse(ReadStatus::OffsetOverflowOne, from, min, max)
    } else if from > max {
        refuse(ReadStatus::OffsetOverflowBadly, max, min, max)
    } else {
        Ok(queue)
    }
}

/// Looks at the head only: what is hot was written by this process.
pub(super) fn is_record_of(record: &Bytes, unit: &Unit) -> bool {
    let physical = record.get(28..36).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
    matches!(Entry::classify(record), Ok(Entry::Record { total }) if total == unit.size as usize)
        && physical.map(u64::from_be_bytes) == Some(unit.physical)
}

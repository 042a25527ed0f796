//! Appending a unit: sizes, placement, each record's place in its queue, then one pass that copies the records into their
//! segment. Places are given for all records first, as each queue is a miss of the cache where there are many: between
//! copies of a record nothing else fits into the processor, and the misses would come one after the other.
//!
//! Everything that can refuse a unit is asked before the first byte is written. A unit crosses segments only where a
//! record does not fit; a filler closes the segment then. Records of a torn unit that a crash left whole come back as
//! the prefix they are: nobody was told about any of them.

use std::sync::Arc;

use super::AppendError;
use super::Appended;
use super::core::Core;
use super::core::Pending;
use super::core::State;
use super::journal::Entry;
use super::log::Placement;
use super::log::Run;
use super::unit::Unit;
use super::unit::due_time;
use crate::base::PhysicalOffset;
use crate::base::QueueOffset;
use crate::base::Timestamp;
use crate::protocol::record;
use crate::protocol::record::FILLER_BYTES;
use crate::protocol::record::NewRecord;

impl Core {
    pub(super) fn append(&self, unit: &[NewRecord], out: &mut Vec<Appended>) -> Result<(), AppendError> {
        if unit.is_empty() {
            return Ok(());
        }
        let mut state = self.state.lock();
        let mut scratch = std::mem::take(&mut state.scratch);
        let answered = out.len();
        let outcome = self
            .admit(&mut state, unit, &mut scratch.sizes, &mut scratch.placement)
            .and_then(|()| self.write(&mut state, unit, &scratch.sizes, &scratch.placement, out));
        state.scratch = scratch;
        match outcome {
            Ok(()) => {
                self.signal(&mut state);
                Ok(())
            }
            Err((error, latched)) => {
                out.truncate(answered);
                drop(state);
                match latched {
                    Some((at, cause)) => {
                        Err(AppendError::Latched(self.latch("write", &self.layout.segment(at), cause)))
                    }
                    None => Err(error),
                }
            }
        }
    }

    fn admit(
        &self,
        state: &mut State,
        unit: &[NewRecord],
        sizes: &mut Vec<u32>,
        placement: &mut Placement,
    ) -> Result<(), Refusal> {
        if let Some(cause) = &state.latched {
            return refuse(AppendError::Latched(Arc::clone(cause)));
        }
        if state.closing {
            return refuse(AppendError::Closed);
        }
        if let Some(path) = state.full.as_ref().or(state.files_full.as_ref()) {
            return refuse(AppendError::DiskFull(Arc::clone(path)));
        }
        if let Some(mark) = &state.over_mark {
            return refuse(AppendError::OverMark(Arc::clone(mark)));
        }
        self.measure(state, unit, sizes).map_err(|error| (error, None))?;
        if unit.iter().any(|record| state.deleting.contains(&record.topic)) {
            state.blocked = true;
            return refuse(AppendError::NotReady);
        }
        state.log.place(sizes, placement);
        if placement.end > state.limit {
            state.blocked = true;
            self.env.probe("store.window_full");
            self.ask_for_checkpoint();
            return refuse(AppendError::NotReady);
        }
        let missing = state.log.missing_for(placement.end);
        if missing > 0 {
            if let Some(path) = &state.segment_full {
                return refuse(AppendError::DiskFull(Arc::clone(path)));
            }
            state.blocked = true;
            self.env.probe("store.segment_not_ready");
            state.segments_wanted = state.segments_wanted.max(placement.runs.len() - 1);
            self.segment_wanted.notify_one();
            return refuse(AppendError::NotReady);
        }
        Ok(())
    }

    fn measure(&self, state: &State, unit: &[NewRecord], sizes: &mut Vec<u32>) -> Result<(), AppendError> {
        sizes.clear();
        let mut total = 0;
        let max = (state.log.segment_bytes() - FILLER_BYTES as u64).min(self.config.unit_bytes_max());
        let mut checked: Option<&Arc<str>> = None;
        for (index, record) in unit.iter().enumerate() {
            let refused = |error| AppendError::Record { index, error };
            if !checked.is_some_and(|topic| Arc::ptr_eq(topic, &record.topic)) {
                record::check_topic(&record.topic).map_err(refused)?;
                checked = Some(&record.topic);
            }
            let len = record::encoded_len_of_topic(record).map_err(refused)? as u64;
            if len > max {
                return Err(AppendError::RecordTooLarge { index, bytes: len, max });
            }
            total += len;
            sizes.push(u32::try_from(len).expect("a segment has less than 4 GiB"));
        }
        let max = self.config.unit_bytes_max();
        if total > max && unit.len() > 1 {
            return Err(AppendError::UnitTooLarge { bytes: total, max });
        }
        Ok(())
    }

    fn write(
        &self,
        state: &mut State,
        unit: &[NewRecord],
        sizes: &[u32],
        placement: &Placement,
        out: &mut Vec<Appended>,
    ) -> Result<(), Refusal> {
        let store_at = self.env.wall();
        for run in &placement.runs {
            if let Err(error) = self.write_run(state, run, unit, sizes, store_at, out) {
                return Err((AppendError::Closed, Some((run.start, error))));
            }
        }
        state.log.end = placement.end;
        state.last_store_at = store_at;
        state.counters.appended_messages += unit.len() as u64;
        state.counters.appended_bytes += sizes.iter().map(|size| u64::from(*size)).sum::<u64>();
        let visible = self.visible_end(state);
        state.publish(visible);
        Ok(())
    }

    fn write_run(
        &self,
        state: &mut State,
        run: &Run,
        unit: &[NewRecord],
        sizes: &[u32],
        store_at: Timestamp,
        out: &mut Vec<Appended>,
    ) -> std::io::Result<()> {
        let offset = run.start % state.log.segment_bytes();
        let filler = if run.filler.is_some() { FILLER_BYTES } else { 0 };
        let in_run = unit.iter().zip(sizes).take(run.last).skip(run.first);
        let noted = out.len();
        let mut at = run.start;
        for (record, size) in in_run.clone() {
            let queue_offset = note_unit(state, record, at, *size, store_at, &self.config.delay_levels_ms);
            out.push(Appended { physical: PhysicalOffset(at), bytes: *size, queue_offset, store_at });
            at += u64::from(*size);
        }
        let segment = state.log.segment_for_write(run.start);
        segment.fill(offset, run.bytes + filler, &mut |mut room| {
            for ((record, size), place) in in_run.clone().zip(out.iter().skip(noted)) {
                let (bytes, rest) = std::mem::take(&mut room).split_at_mut(*size as usize);
                room = rest;
                record::encode_into(record, place.queue_offset, place.physical, store_at, bytes);
            }
            if let (Some(remaining), Some(header)) = (run.filler, room.first_chunk_mut::<FILLER_BYTES>()) {
                record::encode_filler(remaining, header);
            }
        })
    }

    /// Wakes those who have to do with a longer log.
    fn signal(&self, state: &mut State) {
        if !state.flush_signalled {
            state.flush_signalled = true;
            self.flush_wanted.notify_one();
        }
        if state.log.end - state.durable >= self.config.flush_bytes {
            self.flush_now.notify_one();
        }
        if !state.segment_signalled && state.log.next_wanted(0).is_some() {
            state.segment_signalled = true;
            self.segment_wanted.notify_one();
        }
    }

    pub(super) fn ask_for_checkpoint(&self) {
        self.checkpoint_wanted.notify_one();
        self.checkpoint_now.notify_one();
    }
}

/// Why a unit was not stored; with a cause and its position if the store is to be latched by it.
type Refusal = (AppendError, Option<(u64, std::io::Error)>);

fn refuse<T>(error: AppendError) -> Result<T, Refusal> {
    Err((error, None))
}

/// Gives a record its place in its queue; 0 without one.
fn note_unit(
    state: &mut State,
    record: &NewRecord,
    physical: u64,
    size: u32,
    store_at: Timestamp,
    delay_levels_ms: &[i64],
) -> QueueOffset {
    if !record.is_queued() {
        return QueueOffset(0);
    }
    let slot = state.queues.slot_or_create(&record.topic, record.queue.0);
    let queue = state.queues.get(slot);
    let offset = queue.next;
    let mut tags_code = record.tags_code;
    debug_assert!(
        queue.is_schedule() || tags_code == record::tags_code(&record.properties),
        "a tags code is what the properties say"
    );
    if queue.is_schedule() {
        tags_code = due_time(tags_code, &record.properties, store_at, delay_levels_ms);
    }
    let unit = Unit { physical, size, tags_code };
    state.queues.push(slot, unit);
    state.pending.push_back(Pending { entry: Entry { slot, offset, unit }, store_at });
    QueueOffset(offset)
}

//! Replaying records into queues: from the checkpoint, or all of them.

use std::sync::Arc;

use bytes::Bytes;

use super::Plan;
use super::Recover;
use crate::base::FastSet;
use crate::protocol::record::RecordView;
use crate::store::OpenError;
use crate::store::journal::Entry;
use crate::store::planted;
use crate::store::scan::Step;
use crate::store::scan::Window;
use crate::store::unit::Unit;
use crate::store::unit::due_time;

/// Units replayed before they are brought into files, while everything is rebuilt.
const UNITS_IN_MEMORY: u64 = 1024 * 1024;
/// The widest gap between two offsets of a queue that a rebuild fills.
const GAP_MAX: u64 = 1024 * 1024;

/// How far a broker's clock may have been set back between two records.
const CLOCK_STEP_MS: i64 = 3_000;

/// An offset without a record.
const GAP: Unit = Unit { physical: 0, size: i32::MAX as u32, tags_code: 0 };

/// What a record's queue offset says about its queue.
enum Fit {
    Fits,
    Contradicts,
}

/// A rebuild of all queues.
struct Rebuild {
    /// What lies below was acknowledged and is not cut.
    trusted: u64,
    /// No checkpoint of ours vouches for the log: perhaps another broker wrote it.
    is_foreign: bool,
    seen: FastSet<u32>,
}

impl Rebuild {
    /// Whether a queue offset out of turn may belong to the log all the same. Another broker leaves some out: Apache's
    /// batch queues count the messages inside a record. But a record older than the one before it was left by an earlier
    /// end of the log, which Apache does not clear.
    fn explains(&self, store_at: i64, before: i64) -> bool {
        self.is_foreign && store_at >= before - CLOCK_STEP_MS
    }
}

impl Recover {
    /// Replays by `plan`; returns where the log ends.
    pub(super) async fn replay_by(&mut self, plan: Plan) -> Result<u64, OpenError> {
        let first = self.segments.first().copied().unwrap_or(0);
        let with_files = self.queues.in_files();
        if with_files < plan.queues {
            return self.rebuild(plan, "queue files are missing").await;
        }
        if !plan.trusted && plan.from > first && with_files == 0 {
            return self.rebuild(plan, "there are no queue files").await;
        }
        if self.contradicted {
            return self.rebuild(plan, "the journal contradicts the queue files").await;
        }
        match self.replay(plan.from, u64::MAX).await? {
            Some(end) if end > plan.from && self.cuts_one_more() => {
                let stop = self.last_record_at;
                let plan = self.load(Plan { from: self.settled, ..plan }).await?;
                Ok(self.replay(plan.from, stop).await?.unwrap_or(stop))
            }
            Some(end) => Ok(end),
            None => self.rebuild(plan, "a queue contradicts the log").await,
        }
    }

    fn cuts_one_more(&self) -> bool {
        self.env.planted(planted::CUT_ONE_MORE) && !self.report.clean
    }

    /// Replays `from..stop`. `None` when a queue contradicts the log.
    async fn replay(&mut self, from: u64, stop: u64) -> Result<Option<u64>, OpenError> {
        let mut window = Window::default();
        let mut at = from;
        while at < stop {
            match self.step(&mut window, at).await? {
                Step::Next(next) => at = next,
                Step::Blank => return Ok(Some(at)),
                Step::Bad(why, _) => {
                    self.note_torn(at, why);
                    return Ok(Some(at));
                }
                Step::Record(bytes) => {
                    if let Fit::Contradicts = self.apply(&bytes) {
                        return Ok(None);
                    }
                    at += bytes.len() as u64;
                }
            }
        }
        Ok(Some(at))
    }

    /// Rebuilds all queues from all of the log.
    async fn rebuild(&mut self, plan: Plan, why: &'static str) -> Result<u64, OpenError> {
        tracing::warn!("rebuilding all queues from the commit log: {why}");
        self.env.probe("store.rebuild");
        self.report.rebuilt = Some(why);
        self.report.records = 0;
        self.report.torn = None;
        let first = self.segments.first().copied().unwrap_or(0);
        // A crash in the middle of the rebuild must not find a checkpoint that vouches for half-built queues.
        self.write_checkpoint(first, plan.limit).await?;
        self.remove_journal().await?;
        self.load_queues(first).await?;
        let trusted = if plan.trusted { plan.from } else { first };
        let mut rebuild = Rebuild { trusted, is_foreign: !plan.trusted, seen: FastSet::default() };
        let mut window = Window::default();
        let mut at = first;
        let mut replayed = 0;
        loop {
            match self.step(&mut window, at).await? {
                Step::Next(next) => at = next,
                Step::Blank if at >= trusted => break,
                Step::Bad(why, _) if at >= trusted => {
                    self.note_torn(at, why);
                    break;
                }
                Step::Blank => at = self.pass_over(at, trusted, None),
                Step::Bad(_, size) => at = self.pass_over(at, trusted, size),
                Step::Record(bytes) => {
                    if let Fit::Contradicts = self.rebuild_with(&bytes, at, &mut rebuild) {
                        self.note_torn(at, "its queue offset contradicts the records before it".to_owned());
                        break;
                    }
                    at += bytes.len() as u64;
                    replayed += 1;
                    if replayed % UNITS_IN_MEMORY == 0 {
                        tracing::info!("rebuilding queues: {replayed} records so far");
                        self.write_back(at.min(trusted)).await?;
                    }
                }
            }
        }
        self.settle_unseen(&rebuild);
        Ok(at)
    }

    fn note_torn(&mut self, at: u64, why: String) {
        self.env.probe("store.torn_tail");
        tracing::warn!("the log ends at {at:#x}: {why}");
        self.report.torn = Some(why);
    }

    /// Behind a damaged record below the checkpoint: by its size if that is believable, else with the next segment.
    fn pass_over(&self, at: u64, trusted: u64, size: Option<usize>) -> u64 {
        tracing::error!("the commit log is damaged at {at:#x}; going on behind it");
        let segment_bytes = self.config.segment_bytes;
        let next_segment = at - at % segment_bytes + segment_bytes;
        let next = size.map_or(next_segment, |size| at + size as u64);
        next.min(trusted)
    }

    fn apply(&mut self, bytes: &Bytes) -> Fit {
        let Some((view, slot)) = self.queue_of(bytes) else { return Fit::Fits };
        let next = self.queues.get(slot).next;
        if self.env.planted(planted::REPLAY_LAST_SEGMENT) {
            (next..view.queue_offset.0).for_each(|_| self.queues.push(slot, GAP));
        } else if next != view.queue_offset.0 {
            return Fit::Contradicts;
        }
        let unit = self.push(slot, &view);
        self.replayed.push(Entry { slot, offset: view.queue_offset.0, unit });
        Fit::Fits
    }

    fn rebuild_with(&mut self, bytes: &Bytes, at: u64, rebuild: &mut Rebuild) -> Fit {
        let before = self.last_store_at;
        let Some((view, slot)) = self.queue_of(bytes) else { return Fit::Fits };
        let offset = view.queue_offset.0;
        let queue = self.queues.get_mut(slot);
        // An offset of 0 begins a queue, also one that was removed and came back.
        if rebuild.seen.insert(slot) || (offset == 0 && queue.next > 0) {
            let first_file = queue.first_file;
            queue.reset(offset, offset, first_file);
            self.suspects.push(slot);
        }
        let expected = self.queues.get(slot).next;
        if offset != expected && at >= rebuild.trusted && !rebuild.explains(view.store_at.0, before) {
            return Fit::Contradicts;
        }
        if offset < expected || offset - expected > GAP_MAX {
            tracing::error!("the record at {at:#x} has no place in its queue");
            return Fit::Fits;
        }
        for _ in expected..offset {
            self.queues.push(slot, GAP);
        }
        self.push(slot, &view);
        Fit::Fits
    }

    /// A queue without a record in the log keeps its maximum, and nothing else.
    fn settle_unseen(&mut self, rebuild: &Rebuild) {
        for name in self.queues.names() {
            if !rebuild.seen.contains(&name.slot) {
                let queue = self.queues.get_mut(name.slot);
                queue.reset(queue.next, queue.next, queue.first_file);
            }
        }
    }

    /// The record and its queue's slot; `None` for a record without a place in a queue.
    fn queue_of<'a>(&mut self, bytes: &'a Bytes) -> Option<(RecordView<'a>, u32)> {
        let view = RecordView::decode(bytes).ok()?;
        self.report.records += 1;
        self.last_store_at = view.store_at.0;
        self.last_record_at = view.physical.0;
        if !view.is_queued() {
            return None;
        }
        let slot = self.slot_of(view.topic, view.queue.0);
        Some((view, slot))
    }

    pub(super) fn slot_of(&mut self, topic: &str, queue: u32) -> u32 {
        match self.queues.find_slot(topic, queue) {
            Some(slot) => slot,
            None => self.queues.slot_or_create(&Arc::from(topic), queue),
        }
    }

    fn push(&mut self, slot: u32, view: &RecordView<'_>) -> Unit {
        let mut tags_code = view.tags_code();
        if self.queues.get(slot).is_schedule() {
            tags_code = due_time(tags_code, view.properties, view.store_at, &self.config.delay_levels_ms);
        }
        let size = u32::try_from(view.total).expect("a decoded record has less than 2 GiB");
        let unit = Unit { physical: view.physical.0, size, tags_code };
        self.queues.push(slot, unit);
        unit
    }
}

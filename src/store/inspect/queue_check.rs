//! Each queue against the log: the log names a record's place in its queue, the queue file must name the record.
//!
//! ```text
//! first file           first seen                      next
//!     |  gone records . . . |  compared one by one . . . |  nothing
//! ```
//!
//! A topic that was removed left its records in the log, and one that came back began again at 0: what is held against a
//! queue counts only once no later record has begun it anew, and only if the queue has files.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ClosedStore;
use super::Damage;
use super::Finding;
use super::InspectError;
use super::QueueDir;
use super::Report;
use super::check::Check;
use super::unit_blocks::UnitBlocks;
use crate::protocol::record::RecordView;
use crate::store::unit::SCHEDULE_TOPIC;
use crate::store::unit::UNIT_BYTES;
use crate::store::unit::Unit;

/// Findings kept of one queue; more are counted.
const PER_QUEUE_MAX: usize = 4;
/// Units read at a time outside of what the log names.
const SWEEP_UNITS: u64 = 50_000;
/// Units looked at in one gap; the rest of a wider one is taken to be like them.
const GAP_LOOKED_AT: u64 = 4096;

pub(super) struct QueueCheck<'a> {
    store: &'a ClosedStore,
    blocks: UnitBlocks,
    queues: BTreeMap<Arc<str>, BTreeMap<u32, Queue>>,
}

#[derive(Default)]
struct Queue {
    /// First offsets of its files; empty for a queue that is known by the log alone.
    files: Vec<u64>,
    /// First offset that the log names.
    seen_from: Option<u64>,
    next: u64,
    records: u64,
    /// What a later beginning of the queue would make void.
    held: Vec<Finding>,
    more: u64,
    units: u64,
    to_come: u64,
    known_gaps: u64,
}

impl<'a> QueueCheck<'a> {
    pub(super) fn new(store: &'a ClosedStore, dirs: &[QueueDir]) -> QueueCheck<'a> {
        let mut queues: BTreeMap<Arc<str>, BTreeMap<u32, Queue>> = BTreeMap::new();
        for dir in dirs {
            let queue = Queue { files: dir.files.clone(), ..Queue::default() };
            queues.entry(Arc::from(dir.topic.as_str())).or_default().insert(dir.id, queue);
        }
        let file_units = u64::from(store.config.queue_file_units);
        QueueCheck { store, blocks: UnitBlocks::new(&store.env, &store.layout, file_units), queues }
    }

    /// The next record of the log. Units of what lies below `trusted` must be in their files.
    pub(super) async fn record(
        &mut self,
        view: &RecordView<'_>,
        trusted: u64,
        report: &mut Report,
    ) -> Result<(), InspectError> {
        if !self.queues.contains_key(view.topic) {
            self.queues.insert(Arc::from(view.topic), BTreeMap::new());
        }
        let Some(queues) = self.queues.get_mut(view.topic) else { return Ok(()) };
        let queue = queues.entry(view.queue.0).or_default();
        let offset = view.queue_offset.0;
        if offset == 0 && queue.next > 0 {
            // It was removed and came back.
            report.orphans += queue.records;
            *queue = Queue { files: std::mem::take(&mut queue.files), ..Queue::default() };
        }
        queue.records += 1;
        let expected = *queue.seen_from.get_or_insert(offset);
        let expected = if queue.next == 0 { expected } else { queue.next };
        if queue.files.is_empty() {
            // No unit to compare with; the log alone must make sense.
            if offset != expected {
                queue.contradict(self.store, view, expected);
            }
        } else if offset < expected {
            queue.contradict(self.store, view, expected);
        } else {
            gap(queue, self.store, &mut self.blocks, view, expected).await?;
            let unit = self.blocks.unit(view.topic, view.queue.0, offset).await?;
            queue.compare(self.store, view, unit, trusted);
        }
        queue.next = queue.next.max(offset.saturating_add(1));
        Ok(())
    }

    /// What is in the files besides the units of the log's records, and all that is held against a queue.
    pub(super) async fn finish(self, check: &mut Check<'_>) -> Result<(), InspectError> {
        let QueueCheck { store, blocks, queues } = self;
        for (topic, queues) in queues {
            for (id, mut queue) in queues {
                if queue.files.is_empty() {
                    queue.without_files(check);
                    continue;
                }
                sweep(&mut queue, store, &blocks, &topic, id, check).await?;
                let report = &mut check.report;
                report.units += queue.units;
                report.units_to_come += queue.to_come;
                report.known_gaps += queue.known_gaps;
                report.more_findings += queue.more;
                for held in queue.held {
                    report.add(held.damage, held.path, held.at, held.what);
                }
            }
        }
        Ok(())
    }
}

impl Queue {
    /// Removed, or all of its records lie behind the checkpoint. What the log itself contradicts is damage either way.
    fn without_files(self, check: &mut Check<'_>) {
        if self.to_come_all(check) {
            check.report.units_to_come += self.records;
            check.report.more_findings += self.more;
            for held in self.held {
                check.report.add(held.damage, held.path, held.at, held.what);
            }
        } else {
            check.report.orphans += self.records;
        }
    }

    fn to_come_all(&self, check: &Check<'_>) -> bool {
        check.rebuild.is_some() || self.seen_from == Some(0) && check.report.end > check.settled
    }

    fn contradict(&mut self, store: &ClosedStore, view: &RecordView<'_>, expected: u64) {
        let path = store.layout.segment(view.physical.0);
        let what = format!(
            "the record at {} has offset {} of queue {} of {}, where {expected} was due",
            view.physical.0, view.queue_offset.0, view.queue.0, view.topic
        );
        self.hold(Damage::Gap, path, view.physical.0, what);
    }

    fn compare(&mut self, store: &ClosedStore, view: &RecordView<'_>, unit: Unit, trusted: u64) {
        // Units of the schedule topic carry delivery times, which depend on messageDelayLevel.
        let tags = view.topic == SCHEDULE_TOPIC || unit.tags_code == view.tags_code();
        let names_it = unit.physical == view.physical.0 && unit.size as usize == view.total;
        if names_it && tags {
            self.units += 1;
            return;
        }
        if view.physical.0 >= trusted {
            self.to_come += 1;
            return;
        }
        let offset = view.queue_offset.0;
        let path = store.layout.queue_file(view.topic, view.queue.0, offset);
        let record = format!("{} bytes at {}", view.total, view.physical.0);
        let what = if !unit.is_written() {
            format!("the unit of offset {offset} is missing; the log has its record, {record}")
        } else if names_it {
            format!(
                "the unit of offset {offset} has another tags code than its record at {}",
                view.physical.0
            )
        } else {
            let Unit { physical, size, .. } = unit;
            format!("the unit of offset {offset} names {size} bytes at {physical}; its record has {record}")
        };
        self.hold(Damage::Unit, path, offset, what);
    }

    fn hold(&mut self, damage: Damage, path: std::path::PathBuf, at: u64, what: String) {
        if self.held.len() < PER_QUEUE_MAX {
            self.held.push(Finding { damage, path, at: Some(at), what });
        } else {
            self.more += 1;
        }
    }
}

/// Offsets between two records: known to have no message, or lost.
async fn gap(
    queue: &mut Queue,
    store: &ClosedStore,
    blocks: &mut UnitBlocks,
    view: &RecordView<'_>,
    expected: u64,
) -> Result<(), InspectError> {
    let to = view.queue_offset.0;
    let mut lost = None;
    for offset in expected..to.min(expected.saturating_add(GAP_LOOKED_AT)) {
        if blocks.unit(view.topic, view.queue.0, offset).await?.is_gap() {
            queue.known_gaps += 1;
        } else {
            lost.get_or_insert(offset);
        }
    }
    if let Some(from) = lost {
        let path = store.layout.queue_file(view.topic, view.queue.0, from);
        let what = format!("offsets {from} to {} have no record in the log", to - 1);
        queue.hold(Damage::Gap, path, from, what);
    }
    Ok(())
}

/// The units below the first record of the log, and behind the last.
async fn sweep(
    queue: &mut Queue,
    store: &ClosedStore,
    blocks: &UnitBlocks,
    topic: &str,
    id: u32,
    check: &mut Check<'_>,
) -> Result<(), InspectError> {
    let file_units = u64::from(store.config.queue_file_units);
    let (seen_from, next) = (queue.seen_from.unwrap_or(u64::MAX), queue.next);
    let mut before = None;
    for first in queue.files.clone() {
        if before.is_some_and(|before: u64| before + file_units != first) {
            let path = store.layout.queue_file(topic, id, before.unwrap_or(0) + file_units);
            let what = "there is no such file, but files before and behind it".to_owned();
            queue.hold(Damage::QueueFile, path, first, what);
        }
        before = Some(first);
        let mut at = first;
        while at < first + file_units {
            let count = SWEEP_UNITS.min(first + file_units - at);
            let units = blocks.read(topic, id, at, count).await?;
            for (offset, unit) in (at..).zip(&units) {
                let outside = offset < seen_from || offset >= next;
                let path = || store.layout.queue_file(topic, id, offset);
                // A crash may leave a part of a unit.
                if outside && !unit.is_written() && *unit != Unit::default() && check.report.clean {
                    let what =
                        format!("the unit of offset {offset} has no size, but {unit:?} is no empty one");
                    queue.hold(Damage::Unit, path(), offset, what);
                }
                if !outside || !unit.is_written() || unit.is_gap() || unit.physical < check.report.first {
                    continue;
                }
                let place =
                    format!("the unit of offset {offset} names {} bytes at {}", unit.size, unit.physical);
                let what = if unit.physical >= check.report.end {
                    format!("{place}, but the log ends at {}", check.report.end)
                } else {
                    format!("{place}, where the log has no record of this place")
                };
                queue.hold(Damage::Unit, path(), offset, what);
            }
            at += count;
            check.advance(count * UNIT_BYTES as u64);
        }
    }
    Ok(())
}

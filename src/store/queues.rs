//! The consume queues in memory: offsets, and the latest units of each.
//!
//! ```text
//! min              tail starts        written        visible    next
//!  |  in files only  |  in files, cached  |  in memory only ...    |
//! ```
//!
//! `min <= visible <= next`, `tail start <= written <= next`. What is in memory only is also in the log behind the
//! checkpoint. A slot is never used for a second queue, so that a late answer cannot hit the wrong one.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use fixedbitset::FixedBitSet;

use super::unit::SCHEDULE_TOPIC;
use super::unit::UNIT_BYTES;
use super::unit::Unit;
use crate::base::FastMap;

/// Queues and units that one call to the disk writes, and that the state is locked for.
const QUEUES_AT_ONCE: usize = 256;
const UNITS_AT_ONCE: usize = 16 * 1024;

#[derive(Default)]
pub(super) struct Queues {
    numbers: FastMap<Arc<str>, u32>,
    topics: Vec<Topic>,
    slots: Vec<Queue>,
    /// The topic that was asked for last, and its number: a unit's records are mostly of one topic.
    last: Option<(Arc<str>, u32)>,
    /// Slots of queues with units that are in no file.
    dirty: Vec<u32>,
    /// Slots of queues that have much more room in memory than units, as they had many.
    roomy: Vec<u32>,
    /// Slots of queues that were removed.
    dead: FixedBitSet,
    live: usize,
}

pub(super) struct Queue {
    pub(super) topic: Arc<str>,
    pub(super) id: u32,
    /// The first offset whose record is still in the log.
    pub(super) min: u64,
    /// Readers see nothing below, though the log may have it: the topic's own reserve time. Never above `visible`.
    pub(super) floor: u64,
    /// Readers see what is below.
    pub(super) visible: u64,
    pub(super) next: u64,
    /// Units below are in files.
    pub(super) written: u64,
    /// The first unit of the oldest file; `None` without files.
    pub(super) first_file: Option<u64>,
    tail: VecDeque<Unit>,
    dirty: bool,
    schedule: bool,
}

struct Topic {
    name: Arc<str>,
    /// Numbers and slots of its queues, by number.
    queues: Vec<(u32, u32)>,
}

/// A queue's name and slot, for work outside the lock.
#[derive(Clone, Debug)]
pub(super) struct QueueName {
    pub(super) slot: u32,
    pub(super) topic: Arc<str>,
    pub(super) id: u32,
}

/// Units of one queue that are due for its files.
pub(super) struct Batch {
    pub(super) queue: QueueName,
    pub(super) first: u64,
    pub(super) units: Bytes,
}

/// A walk over the units below a position that are in no file, a part at a time: the state is locked for one of them.
pub(super) struct Due<'a> {
    slots: &'a [u32],
    position: u64,
    /// Offsets of the first queue that are behind the walk.
    passed: u64,
    /// Slots, and one behind the last unit of each that the walk has passed.
    ends: Vec<(u32, u64)>,
}

impl Batch {
    /// One behind the last unit.
    pub(super) fn end(&self) -> u64 {
        self.first + (self.units.len() / UNIT_BYTES) as u64
    }
}

impl<'a> Due<'a> {
    pub(super) fn new(slots: &'a [u32], position: u64) -> Due<'a> {
        Due { slots, position, passed: 0, ends: Vec::new() }
    }

    /// The next part; `None` at the end.
    pub(super) fn next(&mut self, queues: &Queues) -> Option<Vec<Batch>> {
        let mut batches = Vec::new();
        let mut room = UNITS_AT_ONCE;
        while let Some((slot, others)) = self.slots.split_first()
            && room > 0
            && batches.len() < QUEUES_AT_ONCE
        {
            if let Some(batch) = queues.due(*slot, self.passed, self.position, room) {
                room -= batch.units.len() / UNIT_BYTES;
                self.passed = batch.end();
                match self.ends.last_mut() {
                    Some((last, end)) if last == slot => *end = batch.end(),
                    _ => self.ends.push((*slot, batch.end())),
                }
                batches.push(batch);
            }
            if room > 0 {
                (self.slots, self.passed) = (others, 0);
            }
        }
        (!batches.is_empty()).then_some(batches)
    }

    /// What to tell [`Queues::written`] once everything is durable in files.
    pub(super) fn ends(self) -> Vec<(u32, u64)> {
        self.ends
    }
}

impl Queues {
    /// The slot of a queue, created empty if it is new.
    pub(super) fn slot_or_create(&mut self, topic: &Arc<str>, id: u32) -> u32 {
        let number = match &self.last {
            Some((last, number)) if Arc::ptr_eq(last, topic) => *number,
            _ => self.number_or_create(topic),
        };
        let known = self.topic(number).slot_of(id);
        known.unwrap_or_else(|| self.create(number, id))
    }

    fn number_or_create(&mut self, topic: &Arc<str>) -> u32 {
        let number = self.numbers.get(topic).copied().unwrap_or_else(|| {
            let number = u32::try_from(self.topics.len()).expect("fewer than 2^32 topics");
            self.topics.push(Topic { name: Arc::clone(topic), queues: Vec::new() });
            self.numbers.insert(Arc::clone(topic), number);
            number
        });
        self.last = Some((Arc::clone(topic), number));
        number
    }

    fn create(&mut self, number: u32, id: u32) -> u32 {
        let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 queues");
        let topic = self.topics.get_mut(number as usize).expect("topics are only ever added");
        topic.add(id, slot);
        self.slots.push(Queue::new(Arc::clone(&topic.name), id));
        self.live += 1;
        slot
    }

    fn topic(&self, number: u32) -> &Topic {
        self.topics.get(number as usize).expect("topics are only ever added")
    }

    pub(super) fn find(&self, topic: &str, id: u32) -> Option<&Queue> {
        let slot = self.find_slot(topic, id)?;
        self.slots.get(slot as usize)
    }

    pub(super) fn find_slot(&self, topic: &str, id: u32) -> Option<u32> {
        let number = self.numbers.get(topic)?;
        self.topic(*number).slot_of(id)
    }

    pub(super) fn get(&self, slot: u32) -> &Queue {
        self.slots.get(slot as usize).expect("slots are only ever added")
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> &mut Queue {
        self.slots.get_mut(slot as usize).expect("slots are only ever added")
    }

    /// Live queues and their slots, in the order of their creation.
    fn live(&self) -> impl Iterator<Item = (u32, &Queue)> {
        (0u32..).zip(&self.slots).filter(|(slot, _)| !self.is_dead(*slot))
    }

    /// Live queues, in the order of their creation.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Queue> {
        self.live().map(|(_, queue)| queue)
    }

    pub(super) fn names(&self) -> Vec<QueueName> {
        self.live().map(|(slot, queue)| queue.name(slot)).collect()
    }

    /// Whether the slot's queue was removed.
    pub(super) fn is_dead(&self, slot: u32) -> bool {
        self.dead.contains(slot as usize)
    }

    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// Adds the unit of the queue's next message.
    pub(super) fn push(&mut self, slot: u32, unit: Unit) {
        let queue = self.slots.get_mut(slot as usize).expect("slots are only ever added");
        queue.tail.push_back(unit);
        queue.next += 1;
        if !queue.dirty {
            queue.dirty = true;
            self.dirty.push(slot);
        }
    }

    /// Takes the queues of `topic` out of the table; their slots stay, dead.
    pub(super) fn remove_topic(&mut self, topic: &str) -> Vec<QueueName> {
        let topic = self.numbers.get(topic).and_then(|number| self.topics.get_mut(*number as usize));
        let queues = topic.map(|topic| std::mem::take(&mut topic.queues)).unwrap_or_default();
        self.live -= queues.len();
        let removed = queues.into_iter().map(|(_, slot)| {
            let queue = self.slots.get_mut(slot as usize).expect("slots are only ever added");
            self.dead.grow_and_insert(slot as usize);
            queue.tail = VecDeque::new();
            queue.name(slot)
        });
        removed.collect()
    }

    /// The queues with units that are in no file. Who takes them settles them, or gives them back by
    /// [`Queues::still_dirty`]. Room that a queue has not needed since the last time is given back.
    pub(super) fn take_dirty(&mut self) -> Vec<u32> {
        for slot in std::mem::take(&mut self.roomy) {
            let queue = self.get_mut(slot);
            if !queue.dirty {
                queue.tail.shrink_to_fit();
            }
        }
        let slots = std::mem::take(&mut self.dirty);
        for slot in &slots {
            self.get_mut(*slot).dirty = false;
        }
        slots
    }

    /// Units of a queue that are in no file, from offset `from` on, below `position`, at most `most`.
    fn due(&self, slot: u32, from: u64, position: u64, most: usize) -> Option<Batch> {
        let queue = self.get(slot);
        let first = queue.written.max(from);
        if self.is_dead(slot) || first >= queue.next {
            return None;
        }
        let count = usize::try_from(queue.next - first).unwrap_or(most).min(most);
        let mut units = Vec::with_capacity(count * UNIT_BYTES);
        for unit in queue.units(first, queue.next).take(most).take_while(|unit| unit.physical < position) {
            units.extend_from_slice(&unit.encode());
        }
        (!units.is_empty()).then(|| Batch { queue: queue.name(slot), first, units: units.into() })
    }

    /// Those of the queues that keep units in memory only are dirty again.
    pub(super) fn still_dirty(&mut self, slots: impl IntoIterator<Item = u32>) {
        for slot in slots {
            let is_dead = self.is_dead(slot);
            let queue = self.get_mut(slot);
            if !queue.dirty && !is_dead && queue.written < queue.next {
                queue.dirty = true;
                self.dirty.push(slot);
            }
        }
    }

    /// Units below `end` are durable in files; keeps at most `keep` of them in memory.
    pub(super) fn written(&mut self, slot: u32, end: u64, file_units: u64, keep: usize) {
        let queue = self.get_mut(slot);
        queue.first_file.get_or_insert(queue.written - queue.written % file_units);
        queue.written = end;
        queue.trim(keep);
        if queue.is_roomy(queue.tail.len()) {
            self.roomy.push(slot);
        }
    }

    /// Slots are numbered below this, those of dead queues too.
    pub(super) fn slots(&self) -> u32 {
        u32::try_from(self.slots.len()).expect("fewer than 2^32 queues")
    }

    /// Queues that have files.
    pub(super) fn in_files(&self) -> u64 {
        self.iter().filter(|queue| queue.first_file.is_some()).count() as u64
    }

    pub(super) fn tail_units(&self) -> usize {
        self.iter().map(|queue| queue.tail.len()).sum()
    }

    pub(super) fn topic_names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = self.iter().map(|queue| Arc::clone(&queue.topic)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl Topic {
    /// Mostly a topic has all queues below some number, and a queue is found where it then is.
    fn slot_of(&self, id: u32) -> Option<u32> {
        match self.queues.get(id as usize) {
            Some((at_its_number, slot)) if *at_its_number == id => Some(*slot),
            _ => {
                let at = self.queues.binary_search_by_key(&id, |(id, _)| *id).ok()?;
                self.queues.get(at).map(|(_, slot)| *slot)
            }
        }
    }

    fn add(&mut self, id: u32, slot: u32) {
        let at = self.queues.partition_point(|(other, _)| *other < id);
        self.queues.insert(at, (id, slot));
    }
}

impl Queue {
    fn new(topic: Arc<str>, id: u32) -> Queue {
        Queue {
            schedule: *topic == *SCHEDULE_TOPIC,
            topic,
            id,
            min: 0,
            floor: 0,
            visible: 0,
            next: 0,
            written: 0,
            first_file: None,
            tail: VecDeque::new(),
            dirty: false,
        }
    }

    /// Sets what the files hold, with nothing in memory.
    pub(super) fn reset(&mut self, min: u64, next: u64, first_file: Option<u64>) {
        assert!(min <= next, "a queue's minimum is not above its maximum");
        self.min = min;
        self.floor = 0;
        self.visible = next;
        self.next = next;
        self.written = next;
        self.first_file = first_file;
        self.tail.clear();
    }

    pub(super) fn name(&self, slot: u32) -> QueueName {
        QueueName { slot, topic: Arc::clone(&self.topic), id: self.id }
    }

    /// Units carry a delivery time.
    pub(super) fn is_schedule(&self) -> bool {
        self.schedule
    }

    /// Where readers begin.
    pub(super) fn first(&self) -> u64 {
        self.min.max(self.floor)
    }

    pub(super) fn tail_start(&self) -> u64 {
        self.next - self.tail.len() as u64
    }

    /// Units `from..to` as far as they are in memory; `from` must not be below [`Queue::tail_start`].
    pub(super) fn units(&self, from: u64, to: u64) -> impl Iterator<Item = &Unit> {
        let start = usize::try_from(from - self.tail_start()).expect("a tail fits into memory");
        let end = usize::try_from(to.max(from) - self.tail_start()).expect("a tail fits into memory");
        self.tail.range(start.min(self.tail.len())..end.min(self.tail.len()))
    }

    /// Drops units that files have. The room that the queue needed since the last time stays: it is likely to need it
    /// again, and memory that was given back is dear to get.
    fn trim(&mut self, keep: usize) {
        let needed = self.tail.len();
        let written = usize::try_from(self.written - self.tail_start()).expect("a tail fits into memory");
        let surplus = self.tail.len().saturating_sub(keep).min(written);
        self.tail.drain(..surplus);
        if self.is_roomy(needed) {
            self.tail.shrink_to(needed);
        }
    }

    fn is_roomy(&self, units: usize) -> bool {
        self.tail.capacity() > 64 && self.tail.capacity() > 4 * units
    }
}

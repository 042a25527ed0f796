//! How far each group has come on each queue: the committed offsets.
//!
//! ```text
//!   commit o ── o > end of queue ───────▶ Beyond     refused: an offset nobody can have consumed
//!            ├─ a reset is not taken yet ▶ Fenced    refused: it was sent before the reset was known
//!            ├─ o < committed ──────────▶ Behind     kept as it was
//!            └─ otherwise ──────────────▶ Advanced / Same
//!
//!   reset r ──▶ committed = r, fenced ──▶ pull from elsewhere: told r ──▶ pull from r: fence gone
//! ```
//!
//! Invariants:
//!
//! * without a reset or a cut, a committed offset never goes back;
//! * while a queue is fenced its offset is the reset's;
//! * an offset, once there, goes away only with its topic or group (never back to -1 or 0 by itself).
//!
//! **Smaller commits.** RocketMQ stores a smaller commit and logs a line. Such a commit is nearly always late: sent by
//! the queue's previous owner, or overtaken on its way. Everything below the greater offset has been settled by whoever
//! committed it, so keeping the greater one loses nothing, while storing the smaller one delivers again what was done.
//! Going back on purpose is [`Offsets::reset`]; the driver also uses it for a commit to a group without live members,
//! which is how old admin tools rewind.
//!
//! **Resets.** A member that has not heard of a reset goes on committing from where it was. Its first pull *from* the
//! reset offset shows that it has thrown away what it held; commits count again from there. The fence is written down
//! with the table, so that a restart in between does not let a late commit win (RocketMQ forgets it).
//!
//! Not here: files, broadcasting groups (their offsets live on the client).

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde::Serialize;

use crate::base::QueueId;
use crate::base::QueueOffset;

#[derive(Debug, Default)]
pub struct Offsets {
    groups: BTreeMap<String, BTreeMap<String, BTreeMap<QueueId, Entry>>>,
    /// Queues behind a reset that no pull has taken. Nearly always empty: one comparison for a commit.
    fenced: usize,
    changes: u64,
    persisted: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    committed: QueueOffset,
    fenced: bool,
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    Advanced,
    Same,
    /// Smaller than what is committed, which stays.
    Behind {
        committed: QueueOffset,
    },
    /// A reset to `reset_to` is waiting to be taken.
    Fenced {
        reset_to: QueueOffset,
    },
    /// Greater than the queue's end.
    Beyond {
        end: QueueOffset,
    },
}

/// `consumerOffset.json`, but for the file's data version: `topic@group` → queue → offset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OffsetTable {
    pub offset_table: BTreeMap<String, BTreeMap<u32, i64>>,
    /// Resets that no pull has taken yet. Ours; left out while empty, unknown to RocketMQ, which skips it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub reset_table: BTreeMap<String, BTreeMap<u32, i64>>,
}

impl Offsets {
    pub fn new() -> Offsets {
        Offsets::default()
    }

    /// The table after a restart. Keys without `@`, and negative offsets, are dropped: the file may be a stranger's.
    pub fn replay(table: &OffsetTable) -> Offsets {
        let mut offsets = Offsets::new();
        for (fenced, source) in [(false, &table.offset_table), (true, &table.reset_table)] {
            for (key, queues) in source {
                let Some((topic, group)) = key.split_once('@') else { continue };
                for (&queue, &offset) in queues {
                    let Ok(offset) = u64::try_from(offset) else { continue };
                    let entry = Entry { committed: QueueOffset(offset), fenced };
                    offsets.set(group, topic, QueueId(queue), entry);
                }
            }
        }
        offsets.persisted = offsets.changes;
        offsets
    }

    /// A consumer says it has settled everything below `offset`; `end` is the queue's end (its max offset).
    pub fn commit(
        &mut self,
        group: &str,
        topic: &str,
        queue: QueueId,
        offset: QueueOffset,
        end: QueueOffset,
    ) -> Commit {
        let before = self.entry(group, topic, queue);
        if let Some(entry) = before.filter(|entry| entry.fenced) {
            return Commit::Fenced { reset_to: entry.committed };
        }
        if end < offset {
            return Commit::Beyond { end };
        }
        match before {
            Some(entry) if entry.committed == offset => Commit::Same,
            Some(entry) if offset < entry.committed => Commit::Behind { committed: entry.committed },
            _ => {
                self.set(group, topic, queue, Entry { committed: offset, fenced: false });
                let after = self.query(group, topic, queue);
                assert!(
                    after == Some(offset) && before.is_none_or(|entry| entry.committed < offset),
                    "a commit only moves forward"
                );
                Commit::Advanced
            }
        }
    }

    /// What the group has committed on a queue; nothing if it never did.
    pub fn query(&self, group: &str, topic: &str, queue: QueueId) -> Option<QueueOffset> {
        self.entry(group, topic, queue).map(|entry| entry.committed)
    }

    /// Moves a queue to `offset`, either way. Commits are ignored until a pull has started from there.
    pub fn reset(&mut self, group: &str, topic: &str, queue: QueueId, offset: QueueOffset) {
        self.set(group, topic, queue, Entry { committed: offset, fenced: true });
        assert_eq!(self.query(group, topic, queue), Some(offset), "a reset holds at once");
    }

    /// As [`Offsets::reset`] but without a fence: for a group nobody is a member of, and for the broker's own groups.
    pub fn rewind(&mut self, group: &str, topic: &str, queue: QueueId, offset: QueueOffset) {
        self.set(group, topic, queue, Entry { committed: offset, fenced: false });
    }

    /// A pull is about to read from `from`. `Some` is where it must read instead: a reset is waiting
    /// (PULL_OFFSET_MOVED with this next offset).
    pub fn on_pull(
        &mut self,
        group: &str,
        topic: &str,
        queue: QueueId,
        from: QueueOffset,
    ) -> Option<QueueOffset> {
        if self.fenced == 0 {
            return None;
        }
        let entry = self.entry(group, topic, queue).filter(|entry| entry.fenced)?;
        if entry.committed != from {
            return Some(entry.committed);
        }
        self.set(group, topic, queue, Entry { fenced: false, ..entry });
        None
    }

    /// The queue ends at `end` after recovery: groups that had come further are cut back with it, or they would skip
    /// the messages that take the lost ones' offsets.
    pub fn cut(&mut self, topic: &str, queue: QueueId, end: QueueOffset) {
        let mut cut = 0;
        for topics in self.groups.values_mut() {
            if let Some(entry) = topics.get_mut(topic).and_then(|queues| queues.get_mut(&queue))
                && end < entry.committed
            {
                entry.committed = end;
                cut += 1;
            }
        }
        self.changes += cut;
    }

    /// Forgets a deleted group.
    pub fn delete_group(&mut self, group: &str) {
        if let Some(topics) = self.groups.remove(group) {
            self.fenced -= topics.values().map(fences).sum::<usize>();
            self.changes += 1;
        }
    }

    /// Forgets a deleted topic, for every group: a topic created again by that name starts afresh.
    pub fn delete_topic(&mut self, topic: &str) {
        let mut gone = 0;
        for topics in self.groups.values_mut() {
            if let Some(queues) = topics.remove(topic) {
                self.fenced -= fences(&queues);
                gone += 1;
            }
        }
        self.groups.retain(|_, topics| !topics.is_empty());
        self.changes += gone;
    }

    /// Topics a group has offsets on, in order.
    pub fn topics_of(&self, group: &str) -> Vec<String> {
        self.groups.get(group).map(|topics| topics.keys().cloned().collect()).unwrap_or_default()
    }

    /// Groups that have offsets on a topic, in order.
    pub fn groups_of(&self, topic: &str) -> Vec<String> {
        let groups = self.groups.iter().filter(|(_, topics)| topics.contains_key(topic));
        groups.map(|(group, _)| group.clone()).collect()
    }

    /// Every queue that some group has an offset on.
    pub fn queues(&self) -> BTreeSet<(String, QueueId)> {
        let of_topics = self.groups.values().flatten();
        of_topics.flat_map(|(topic, queues)| queues.keys().map(|queue| (topic.clone(), *queue))).collect()
    }

    /// Every committed offset, with its group, topic and queue.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, QueueId, QueueOffset)> {
        self.groups.iter().flat_map(|(group, topics)| {
            topics.iter().flat_map(move |(topic, queues)| {
                queues
                    .iter()
                    .map(move |(queue, entry)| (group.as_str(), topic.as_str(), *queue, entry.committed))
            })
        })
    }

    /// A group's offsets on one topic, by queue.
    pub fn queues_of(&self, group: &str, topic: &str) -> Vec<(QueueId, QueueOffset)> {
        let queues = self.groups.get(group).and_then(|topics| topics.get(topic));
        queues
            .map(|queues| queues.iter().map(|(&queue, entry)| (queue, entry.committed)).collect())
            .unwrap_or_default()
    }

    /// Copies every offset of one group to another (CLONE_GROUP_OFFSET), or those on `topic` alone.
    pub fn clone_group(&mut self, from: &str, to: &str, topic: Option<&str>) {
        for name in self.topics_of(from) {
            if topic.is_none_or(|topic| topic == name) {
                for (queue, offset) in self.queues_of(from, &name) {
                    self.rewind(to, &name, queue, offset);
                }
            }
        }
    }

    /// The table as it is written down, and the count of changes it contains: hand the count to
    /// [`Offsets::on_persisted`] once the file is safe.
    pub fn snapshot(&self) -> (OffsetTable, u64) {
        let mut table = OffsetTable::default();
        for (group, topics) in &self.groups {
            for (topic, queues) in topics {
                let key = format!("{topic}@{group}");
                for (queue, entry) in queues {
                    let offset = i64::try_from(entry.committed.0).expect("a queue offset fits Java's long");
                    table.offset_table.entry(key.clone()).or_default().insert(queue.0, offset);
                    if entry.fenced {
                        table.reset_table.entry(key.clone()).or_default().insert(queue.0, offset);
                    }
                }
            }
        }
        (table, self.changes)
    }

    /// There are changes that no file has.
    pub fn is_dirty(&self) -> bool {
        self.persisted != self.changes
    }

    pub fn on_persisted(&mut self, changes: u64) {
        assert!(changes <= self.changes, "only what has happened is written down");
        self.persisted = self.persisted.max(changes);
    }

    pub fn check_invariants(&self) {
        let mut fenced = 0;
        for topics in self.groups.values() {
            assert!(!topics.is_empty(), "a group without offsets is forgotten");
            for queues in topics.values() {
                assert!(!queues.is_empty(), "a topic without offsets is forgotten");
                fenced += fences(queues);
            }
        }
        assert_eq!(self.fenced, fenced, "the count of fences is their number");
        assert!(self.persisted <= self.changes, "nothing is persisted before it happened");
    }

    fn entry(&self, group: &str, topic: &str, queue: QueueId) -> Option<Entry> {
        self.groups.get(group)?.get(topic)?.get(&queue).copied()
    }

    fn set(&mut self, group: &str, topic: &str, queue: QueueId, entry: Entry) {
        let slot = self.groups.get_mut(group).and_then(|topics| topics.get_mut(topic));
        let previous = match slot {
            Some(queues) => queues.insert(queue, entry),
            None => {
                let topics = self.groups.entry(group.to_owned()).or_default();
                topics.entry(topic.to_owned()).or_default().insert(queue, entry)
            }
        };
        self.fenced += usize::from(entry.fenced);
        self.fenced -= usize::from(previous.is_some_and(|previous| previous.fenced));
        self.changes += u64::from(previous != Some(entry));
    }
}

fn fences(queues: &BTreeMap<QueueId, Entry>) -> usize {
    queues.values().filter(|entry| entry.fenced).count()
}

#[cfg(test)]
mod tests;

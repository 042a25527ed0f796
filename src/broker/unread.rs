//! Which groups had not yet read what retention removed: each loss is told once, by group and topic.
//!
//! RocketMQ removes what nobody has read without a word, and the group finds out by a jump of its offset. What is known
//! of a group here is its committed offset; a group that never committed stands nowhere and misses nothing.
//!
//! Not here: removing, and the log the loss is told to.

use std::collections::BTreeMap;
use std::fmt;

use crate::base::QueueId;
use crate::base::QueueOffset;

/// Where a group stands on a queue whose oldest message is at `min`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) group: String,
    pub(crate) topic: String,
    pub(crate) queue: QueueId,
    pub(crate) committed: QueueOffset,
    pub(crate) min: QueueOffset,
}

/// What one removal took from a group in one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) group: String,
    pub(crate) topic: String,
    pub(crate) messages: u64,
    pub(crate) queues: usize,
}

/// What has been told.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    /// The minimum up to which it was told, of each queue on which a group stands below it.
    told: BTreeMap<(String, String, QueueId), QueueOffset>,
}

impl Unread {
    /// What is gone of each group since the last call, by group and topic.
    pub(crate) fn on_removed(&mut self, standings: impl IntoIterator<Item = Standing>) -> Vec<Gap> {
        let mut gaps: BTreeMap<(String, String), Gap> = BTreeMap::new();
        let mut told = BTreeMap::new();
        for Standing { group, topic, queue, committed, min } in standings {
            if min <= committed {
                continue;
            }
            let place = (group, topic, queue);
            let from = self.told.get(&place).copied().unwrap_or_default().max(committed);
            if from < min {
                let (group, topic, _) = place.clone();
                let gap = gaps.entry((group.clone(), topic.clone())).or_insert(Gap {
                    group,
                    topic,
                    messages: 0,
                    queues: 0,
                });
                gap.messages += min.0 - from.0;
                gap.queues += 1;
            }
            told.insert(place, min.max(from));
        }
        self.told = told;
        gaps.into_values().collect()
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Gap { group, topic, messages, queues } = self;
        write!(
            f,
            "group {group} had not read {messages} messages of topic {topic} that were removed ({queues} of its queues)"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(group: &str, queue: u32, committed: u64, min: u64) -> Standing {
        Standing {
            group: group.to_owned(),
            topic: "orders".to_owned(),
            queue: QueueId(queue),
            committed: QueueOffset(committed),
            min: QueueOffset(min),
        }
    }

    fn told(unread: &mut Unread, standings: Vec<Standing>) -> Vec<String> {
        unread.on_removed(standings).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_group_is_told_what_it_had_not_read_and_only_once() {
        let mut unread = Unread::default();
        let said = told(&mut unread, vec![at("fast", 0, 90, 90), at("slow", 0, 10, 90), at("slow", 1, 0, 5)]);
        assert_eq!(
            said,
            ["group slow had not read 85 messages of topic orders that were removed (2 of its queues)"]
        );
        assert!(told(&mut unread, vec![at("slow", 0, 10, 90), at("slow", 1, 0, 5)]).is_empty());
        let said = told(&mut unread, vec![at("slow", 0, 10, 100), at("slow", 1, 7, 5)]);
        assert_eq!(
            said,
            ["group slow had not read 10 messages of topic orders that were removed (1 of its queues)"]
        );
    }

    #[test]
    fn what_was_read_before_a_second_removal_is_not_missed() {
        let mut unread = Unread::default();
        told(&mut unread, vec![at("slow", 0, 10, 90)]);
        assert!(told(&mut unread, vec![at("slow", 0, 95, 90)]).is_empty());
        let said = unread.on_removed(vec![at("slow", 0, 95, 97)]);
        assert_eq!((said.len(), said[0].messages), (1, 2));
    }
}

//! What a history must not show, for the directed scenarios. Each function names the promise it speaks for.
//!
//! Not here: the judges of the swarm, which know excuses.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::cluster::Cluster;
use crate::history::Delivery;
use crate::history::Event;
use crate::history::Name;
use crate::history::Queue;
use crate::history::Record;
use crate::history::SendOutcome;
use crate::history::What;
use crate::identity::MessageKey;
use crate::operator::NotLive;
use crate::operator::wait_until;
use crate::scenario::Broken;
use crate::scenario::Told;

pub const NO_LOSS: &str = "O1 nothing acknowledged is lost";
pub const NO_INVENTION: &str = "O2 what was refused is never visible";
pub const NO_CORRUPTION: &str = "O3 a message is read as it was sent";
pub const IN_ORDER: &str =
    "O6 the messages of one key are handled in the order in which they were acknowledged";
pub const ONLY_FORWARD: &str = "O10 a group's offset goes back only when somebody sets it back";
pub const ONE_HANDLER: &str = "O11 an ordered queue is handled by one member at a time";
pub const KEPT_IS_DELIVERED: &str = "O22 the oldest message never becomes an older one, and retention takes from a group only what it removes";
pub const ATOMIC: &str = "O13 a committed transaction is delivered, and once; no other is";

/// Reads every queue of a topic to its end, into the history.
pub async fn read_everything(cluster: &Cluster, topic: &str) -> Result<(), NotLive> {
    let limit = std::time::Duration::from_secs(60);
    wait_until(cluster.world(), &format!("{topic} to be read"), limit, || async move {
        let operator = cluster.operator();
        let reader = operator.reader("operator").await;
        let queues = reader.queues(topic).await.map_err(|error| error.to_string())?;
        for queue in &queues {
            operator.read_all(queue).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    })
    .await
}

impl Record {
    /// Each message whose send was acknowledged was read where the acknowledgement said. Read everything first.
    pub fn nothing_acknowledged_is_lost(&self) -> Told {
        let read = self.reads();
        for event in &self.events {
            let What::SendEnded { key, outcome: SendOutcome::Ok { queue, offset, .. } } = event.what else {
                continue;
            };
            let found = read.get(&(queue, offset.0));
            if found != Some(&key) {
                let there = found.map_or("nothing".to_owned(), MessageKey::to_string);
                let what = format!(
                    "{key} was acknowledged as {}@{offset}; {there} is there",
                    self.queue_text(queue)
                );
                return Err(Broken::promise(NO_LOSS, Some(key), what));
            }
        }
        Ok(())
    }

    /// Nothing that was refused was read or handled, and nothing that nobody sent.
    pub fn nothing_is_invented(&self) -> Told {
        let mut sent = BTreeMap::new();
        for event in &self.events {
            match event.what {
                What::SendInvoked { key, crc, .. } => _ = sent.insert(key, (crc, false)),
                What::SendEnded { key, outcome: SendOutcome::Fail } => {
                    sent.entry(key).and_modify(|(_, refused)| *refused = true);
                }
                What::Damaged { queue, offset, .. } => {
                    let what = format!("{}@{offset} holds bytes that nobody sent", self.queue_text(queue));
                    return Err(Broken::promise(NO_CORRUPTION, None, what));
                }
                _ => {}
            }
        }
        for event in &self.events {
            let (key, read_crc) = match event.what {
                What::Read { key, crc, .. } => (key, Some(crc)),
                What::HandlerStarted(delivery) => (delivery.key, None),
                _ => continue,
            };
            match sent.get(&key) {
                None => {
                    return Err(Broken::promise(NO_INVENTION, Some(key), format!("{key} was never sent")));
                }
                Some((_, true)) => {
                    return Err(Broken::promise(NO_INVENTION, Some(key), format!("{key} was refused")));
                }
                Some((crc, false)) if read_crc.is_some_and(|read| read != *crc) => {
                    return Err(Broken::promise(NO_CORRUPTION, Some(key), format!("{key} has another body")));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// For each key: a message is first handled after the one before it was done, and nothing is left out. No two
    /// members are inside a handler of one queue. Holds for ordered groups while no broker loses anything.
    pub fn each_key_is_handled_in_order(&self, group: &str) -> Told {
        let Some(group) = self.find(group) else { return Ok(()) };
        let mut done: BTreeMap<(u16, u32), u32> = BTreeMap::new();
        let mut inside: BTreeMap<Queue, (Name, u32, Delivery)> = BTreeMap::new();
        for event in &self.events {
            match event.what {
                What::HandlerStarted(delivery) if delivery.group == group => {
                    self.one_at_a_time(event, delivery, &inside)?;
                    inside.insert(delivery.queue, (event.node, event.life, delivery));
                    let key = delivery.key;
                    let next = done.get(&(key.producer, key.shard)).copied().unwrap_or(0);
                    if key.seq > next {
                        let what = format!("{key} was handled before #{next} was done");
                        return Err(Broken::promise(IN_ORDER, Some(key), what));
                    }
                }
                What::HandlerEnded(delivery, _) if delivery.group == group => {
                    inside.remove(&delivery.queue);
                    let key = delivery.key;
                    let next = done.entry((key.producer, key.shard)).or_insert(0);
                    *next = (*next).max(key.seq + 1);
                }
                // Who is killed leaves its handlers.
                What::FaultStarted(number) => {
                    let (node, words) = &self.faults[number as usize];
                    if words.starts_with("Kill") || words.starts_with("OsCrash") {
                        inside.retain(|_, (inside, ..)| inside != node);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn one_at_a_time(
        &self,
        event: &Event,
        delivery: Delivery,
        inside: &BTreeMap<Queue, (Name, u32, Delivery)>,
    ) -> Told {
        let Some((node, life, other)) = inside.get(&delivery.queue) else { return Ok(()) };
        if (*node, *life) == (event.node, event.life) {
            return Ok(());
        }
        let what = format!(
            "{} began {} of {} while {} was still at {}",
            self.text(event.node),
            delivery.key,
            self.queue_text(delivery.queue),
            self.text(*node),
            other.key
        );
        Err(Broken::promise(ONE_HANDLER, Some(delivery.key), what))
    }

    /// Each message whose send was acknowledged was handled by the group.
    pub fn everything_is_handled(&self, group: &str) -> Told {
        let handled = self.handled(group);
        for event in &self.events {
            let What::SendEnded { key, outcome: SendOutcome::Ok { .. } } = event.what else { continue };
            if !handled.contains_key(&key) {
                let what = format!("{key} was acknowledged and never handled by {group}");
                return Err(Broken::promise(NO_LOSS, Some(key), what));
            }
        }
        Ok(())
    }

    /// Whatever the group did not handle of a queue was removed before the group got there, as the bounds say that were
    /// noted next. Note bounds often, and once more when everything has drained.
    pub fn only_what_was_removed_is_skipped(&self, group: &str) -> Told {
        let bounds = self.minima()?;
        let group = self.find(group);
        let mut starts: BTreeMap<Queue, Vec<(u64, u64)>> = BTreeMap::new();
        for event in &self.events {
            if let What::HandlerStarted(delivery) = event.what
                && Some(delivery.group) == group
            {
                starts.entry(delivery.queue).or_default().push((event.at, delivery.offset.0));
            }
        }
        for (queue, looks) in bounds {
            let Some((_, last_min, max)) = looks.last().copied() else { continue };
            let of_queue = starts.remove(&queue).unwrap_or_default();
            let handled: BTreeSet<u64> = of_queue.iter().map(|(_, offset)| *offset).collect();
            for skipped in (0..max).filter(|offset| !handled.contains(offset)) {
                let passed = of_queue.iter().find(|(_, offset)| *offset > skipped);
                let look = passed.and_then(|(at, _)| looks.iter().find(|look| look.0 >= *at));
                let min = look.map_or(last_min, |look| look.1);
                if min <= skipped {
                    let place = self.queue_text(queue);
                    let what =
                        format!("{place}@{skipped} was there, the queue began at {min}, and was passed over");
                    return Err(Broken::promise(KEPT_IS_DELIVERED, None, what));
                }
            }
        }
        Ok(())
    }

    /// When each queue was looked at, and its minimum and maximum then.
    fn minima(&self) -> Result<BTreeMap<Queue, Vec<(u64, u64, u64)>>, Broken> {
        let mut looks: BTreeMap<Queue, Vec<(u64, u64, u64)>> = BTreeMap::new();
        for event in &self.events {
            let What::Bounds { queue, min, max } = event.what else { continue };
            let of_queue = looks.entry(queue).or_default();
            if let Some((_, before, _)) = of_queue.last().filter(|look| look.1 > min.0) {
                let what = format!("{} began at {before}, then at {min}", self.queue_text(queue));
                return Err(Broken::promise(KEPT_IS_DELIVERED, None, what));
            }
            of_queue.push((event.at, min.0, max.0));
        }
        Ok(looks)
    }

    /// Each message of these was handled exactly once by the group, and no other.
    pub fn exactly_these_are_handled_once(&self, group: &str, wanted: &BTreeSet<MessageKey>) -> Told {
        let handled = self.handled(group);
        for key in wanted {
            let times = handled.get(key).copied().unwrap_or(0);
            if times != 1 {
                let what = format!("{key} was committed, and {group} handled it {times} times");
                return Err(Broken::promise(ATOMIC, Some(*key), what));
            }
        }
        match handled.keys().find(|key| !wanted.contains(key)) {
            Some(key) => {
                let what = format!("{key} was not committed, and {group} handled it");
                Err(Broken::promise(ATOMIC, Some(*key), what))
            }
            None => Ok(()),
        }
    }

    /// Messages that were sent, were not acknowledged, and were not found. Read everything first.
    pub fn unacknowledged_and_gone(&self) -> usize {
        let read: BTreeSet<MessageKey> = self.reads().into_values().collect();
        let acknowledged: BTreeSet<MessageKey> = self
            .events
            .iter()
            .filter_map(|event| match event.what {
                What::SendEnded { key, outcome: SendOutcome::Ok { .. } } => Some(key),
                _ => None,
            })
            .collect();
        let sent = self.events.iter().filter_map(|event| match event.what {
            What::SendInvoked { key, .. } => Some(key),
            _ => None,
        });
        sent.filter(|key| !read.contains(key) && !acknowledged.contains(key)).count()
    }

    /// The half messages that were stored.
    pub fn halves(&self) -> BTreeSet<MessageKey> {
        let halves = self.events.iter().filter_map(|event| match event.what {
            What::Executing { key } => Some(key),
            _ => None,
        });
        halves.collect()
    }

    /// `topic@broker/queue`.
    pub fn queue_text(&self, queue: Queue) -> String {
        format!("{}@{}/{}", self.text(queue.topic), self.text(queue.broker), queue.id)
    }

    /// How often a group finished each message.
    fn handled(&self, group: &str) -> BTreeMap<MessageKey, u32> {
        let group = self.find(group);
        let mut handled = BTreeMap::new();
        for event in &self.events {
            if let What::HandlerEnded(delivery, _) = event.what
                && Some(delivery.group) == group
            {
                *handled.entry(delivery.key).or_insert(0) += 1;
            }
        }
        handled
    }

    /// What was last read where.
    fn reads(&self) -> BTreeMap<(Queue, u64), MessageKey> {
        let mut reads = BTreeMap::new();
        for event in &self.events {
            if let What::Read { queue, offset, key, .. } = event.what {
                reads.insert((queue, offset.0), key);
            }
        }
        reads
    }
}

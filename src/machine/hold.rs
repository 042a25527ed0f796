//! Pulls that found nothing and wait for a message: long polling.
//!
//! ```text
//!   park ──▶ parked ──┬── arrived: a message that may match ──▶ answered (Arrived)
//!     │               ├── on_timer at its deadline ───────────▶ answered (Expired)
//!     │               ├── gone: its connection closed ────────▶ answered (Gone)
//!     │               └── drain: the broker stops ────────────▶ answered (Stopped)
//!     └── refused: the queue grew meanwhile, or no room
//! ```
//!
//! Invariants:
//!
//! * every parked request leaves exactly once, by its deadline at the latest;
//! * a request is parked only while its queue ends where it would read: the caller hands in the end it sees when it
//!   parks, and calls [`Hold::arrived`] after the end has moved, so a message cannot slip between read and park;
//! * parked requests never number more than `parked_max`.
//!
//! A message that does not match leaves a request where it is, offset included: the deadline's answer lets the client
//! skip what was scanned. RocketMQ's `PullRequestHoldService` sweeps every five seconds instead of keeping deadlines.
//!
//! Not here: reading the queue, encoding the answer.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::base::FastMap;
use crate::base::Mono;
use crate::base::QueueId;
use crate::base::QueueOffset;

use crate::machine::ids::ConnectionId;
use crate::protocol::subscription::TagFilter;

/// Names one parked request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldId(pub u64);

#[derive(Clone, Copy, Debug)]
pub struct HoldLimits {
    /// Requests parked at once, over all queues.
    pub parked_max: usize,
}

impl Default for HoldLimits {
    fn default() -> HoldLimits {
        HoldLimits { parked_max: 100_000 }
    }
}

/// Parked requests. `T` is whatever the driver needs to answer one.
#[derive(Debug)]
pub struct Hold<T> {
    limits: HoldLimits,
    parked: BTreeMap<HoldId, Parked<T>>,
    /// Look-up only; what waits in a queue is ordered by arrival, which is the order of ids.
    queues: FastMap<String, BTreeMap<QueueId, BTreeSet<HoldId>>>,
    deadlines: BTreeSet<(Mono, HoldId)>,
    connections: BTreeMap<ConnectionId, BTreeSet<HoldId>>,
    issued: u64,
}

/// A request to park.
#[derive(Clone, Debug)]
pub struct Pull {
    pub topic: String,
    pub queue: QueueId,
    /// The offset the pull wants to read.
    pub from: QueueOffset,
    pub filter: TagFilter,
    pub connection: ConnectionId,
    pub deadline: Mono,
}

#[derive(Debug)]
struct Parked<T> {
    pull: Pull,
    token: T,
}

/// Why a request was not parked. The token comes back: the caller still owes the answer.
#[derive(Debug, PartialEq, Eq)]
pub enum NotParked<T> {
    /// The queue already ends beyond the wanted offset: read again.
    Arrived(T),
    /// As many as allowed are parked: answer at once (RocketMQ's POLLING_FULL, for a pull PULL_NOT_FOUND).
    Full(T),
}

#[derive(Debug, PartialEq, Eq)]
pub enum Effect<T> {
    /// The request is no longer parked: run it again without parking, or, for `Gone`, drop it.
    Answer { id: HoldId, token: T, why: Why },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Arrived,
    Expired,
    Gone,
    Stopped,
}

impl<T> Hold<T> {
    pub fn new(limits: HoldLimits) -> Hold<T> {
        assert!(limits.parked_max > 0, "a hold has room for one request");
        Hold {
            limits,
            parked: BTreeMap::new(),
            queues: FastMap::default(),
            deadlines: BTreeSet::new(),
            connections: BTreeMap::new(),
            issued: 0,
        }
    }

    /// Parks a request until a message may match, its deadline, or the end of its connection. `end` is the queue's
    /// end as read *after* the pull found nothing.
    pub fn park(&mut self, pull: Pull, end: QueueOffset, token: T) -> Result<HoldId, NotParked<T>> {
        if pull.from < end {
            return Err(NotParked::Arrived(token));
        }
        if self.parked.len() >= self.limits.parked_max {
            return Err(NotParked::Full(token));
        }
        let id = HoldId(self.issued);
        self.issued += 1;
        let queue = self.queues.entry(pull.topic.clone()).or_default().entry(pull.queue).or_default();
        assert!(queue.insert(id), "an id waits once in its queue");
        assert!(self.deadlines.insert((pull.deadline, id)), "an id has one deadline");
        assert!(self.connections.entry(pull.connection).or_default().insert(id), "an id has one connection");
        let previous = self.parked.insert(id, Parked { pull, token });
        assert!(previous.is_none(), "an id is issued once");
        Ok(id)
    }

    /// The message at `offset` of a queue, with this tags code, can be read now. Costs one comparison while nothing
    /// is parked and one look-up while nothing is parked for the topic.
    pub fn arrived(
        &mut self,
        topic: &str,
        queue: QueueId,
        offset: QueueOffset,
        tags_code: i64,
        effects: &mut Vec<Effect<T>>,
    ) {
        if self.parked.is_empty() {
            return;
        }
        let Some(waiting) = self.queues.get(topic).and_then(|queues| queues.get(&queue)) else { return };
        let due: Vec<HoldId> = waiting
            .iter()
            .copied()
            .filter(|id| {
                let parked = self.parked.get(id).expect("what waits in a queue is parked");
                parked.pull.from <= offset && parked.pull.filter.matches_code(tags_code)
            })
            .collect();
        for id in due {
            self.answer(id, Why::Arrived, effects);
        }
    }

    /// Messages of unknown tags, up to the one at `offset`, can be read now: whoever waits in the queue looks again.
    pub fn arrived_some(
        &mut self,
        topic: &str,
        queue: QueueId,
        offset: QueueOffset,
        effects: &mut Vec<Effect<T>>,
    ) {
        let Some(waiting) = self.queues.get(topic).and_then(|queues| queues.get(&queue)) else { return };
        let from = |id: &HoldId| self.parked.get(id).expect("what waits in a queue is parked").pull.from;
        let due: Vec<HoldId> = waiting.iter().copied().filter(|id| from(id) <= offset).collect();
        for id in due {
            self.answer(id, Why::Arrived, effects);
        }
    }

    /// A connection closed: nobody is left to answer.
    pub fn gone(&mut self, connection: ConnectionId, effects: &mut Vec<Effect<T>>) {
        let Some(ids) = self.connections.get(&connection).cloned() else { return };
        for id in ids {
            self.answer(id, Why::Gone, effects);
        }
        assert!(!self.connections.contains_key(&connection), "a closed connection holds nothing");
    }

    /// Answers what is due. Calling it early or often is harmless.
    pub fn on_timer(&mut self, now: Mono, effects: &mut Vec<Effect<T>>) {
        while let Some(&(deadline, id)) = self.deadlines.first() {
            if now < deadline {
                break;
            }
            self.answer(id, Why::Expired, effects);
        }
        assert!(self.next_deadline().is_none_or(|at| now < at), "nothing due is left behind");
    }

    /// Answers everything, in the order of parking: the broker stops.
    pub fn drain(&mut self, effects: &mut Vec<Effect<T>>) {
        while let Some((&id, _)) = self.parked.first_key_value() {
            self.answer(id, Why::Stopped, effects);
        }
        assert!(self.deadlines.is_empty() && self.connections.is_empty(), "a drained hold is empty");
    }

    /// When [`Hold::on_timer`] next has something to do.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    pub fn len(&self) -> usize {
        self.parked.len()
    }

    pub fn is_empty(&self) -> bool {
        self.parked.is_empty()
    }

    pub fn check_invariants(&self) {
        assert!(self.parked.len() <= self.limits.parked_max, "parked requests are bounded");
        assert_eq!(self.parked.len(), self.deadlines.len(), "each parked request has one deadline");
        let by_connection: usize = self.connections.values().map(BTreeSet::len).sum();
        assert_eq!(self.parked.len(), by_connection, "each parked request has one connection");
        let by_queue: usize =
            self.queues.values().flat_map(|queues| queues.values().map(BTreeSet::len)).sum();
        assert_eq!(self.parked.len(), by_queue, "each parked request waits in one queue");
        for (id, parked) in &self.parked {
            assert!(id.0 < self.issued, "only issued ids are parked");
            assert!(
                self.deadlines.contains(&(parked.pull.deadline, *id)),
                "the deadline is the request's own"
            );
            let waits = self.queues.get(&parked.pull.topic).and_then(|queues| queues.get(&parked.pull.queue));
            assert!(waits.is_some_and(|ids| ids.contains(id)), "a request waits in the queue it asked for");
        }
        let empty =
            self.queues.values().any(|queues| queues.is_empty() || queues.values().any(BTreeSet::is_empty));
        assert!(!empty, "an empty queue leaves nothing behind");
    }

    fn answer(&mut self, id: HoldId, why: Why, effects: &mut Vec<Effect<T>>) {
        let Parked { pull, token } =
            self.parked.remove(&id).expect("a request is answered while it is parked");
        assert!(self.deadlines.remove(&(pull.deadline, id)), "a parked request has its deadline");
        let queues = self.queues.get_mut(&pull.topic).expect("a parked request has its topic");
        let waiting = queues.get_mut(&pull.queue).expect("a parked request has its queue");
        assert!(waiting.remove(&id), "a parked request waits in its queue");
        if waiting.is_empty() {
            queues.remove(&pull.queue);
        }
        if queues.is_empty() {
            self.queues.remove(&pull.topic);
        }
        let held = self.connections.get_mut(&pull.connection).expect("a parked request has its connection");
        assert!(held.remove(&id), "a connection knows its parked requests");
        if held.is_empty() {
            self.connections.remove(&pull.connection);
        }
        effects.push(Effect::Answer { id, token, why });
    }
}

#[cfg(test)]
mod tests;

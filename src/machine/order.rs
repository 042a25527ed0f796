//! Queue leases of orderly consumption: at most one client of a group works on a queue.
//!
//! ```text
//!            lock by anyone                     lock by the holder: renewed for the whole span
//!   free ────────────────────▶ held ──────────────────────────────────────▶ held
//!     ▲                          │
//!     └── unlock by the holder ──┤
//!     └── span over ─────────────┘
//! ```
//!
//! Invariants:
//!
//! * a queue of a group has at most one holder, and only that client renews or releases it;
//! * a lease that is over is as good as free, whether or not the timer has swept it.
//!
//! A closed connection does not release leases, as in RocketMQ (`RebalanceLockManager` has no such input): the client
//! may be cut off rather than dead, its handler still running on a lease it believes in for thirty seconds from its
//! last renewal. Only its own unlock or the end of the span says that it is done.
//!
//! The table survives a restart ([`Order::snapshot`], [`Order::replay`]); RocketMQ's does not, and a broker that comes
//! back within those thirty seconds hands the queue to a second client. A replayed lease gets its whole span again: when
//! it was last renewed is not written down, since only a change of holder is worth a write ([`Order::changes`]).
//!
//! Time is monotonic: a wall clock set back must not lengthen a lease.
//!
//! Not here: the client's half (its own belief in the lease), writing the snapshot.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::base::Mono;
use crate::base::QueueId;

use crate::machine::ids::ClientId;
use crate::machine::ids::TopicQueue;

#[derive(Clone, Copy, Debug)]
pub struct OrderLimits {
    /// How long a lease lasts after the last lock (`rocketmq.broker.rebalance.lockMaxLiveTime`).
    pub lease: Duration,
    /// Leases over all groups; beyond it no new one is granted.
    pub leases_max: usize,
}

impl Default for OrderLimits {
    fn default() -> OrderLimits {
        OrderLimits { lease: Duration::from_secs(60), leases_max: 1_000_000 }
    }
}

#[derive(Debug)]
pub struct Order {
    limits: OrderLimits,
    groups: BTreeMap<String, BTreeMap<TopicQueue, Lease>>,
    held: usize,
    changes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Lease {
    holder: ClientId,
    until: Mono,
}

/// A lease without its time, for writing down. Members are in alphabetical order, as the writer of bodies requires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaseRecord {
    pub client_id: String,
    pub group: String,
    pub queue_id: QueueId,
    pub topic: String,
}

impl Order {
    pub fn new(limits: OrderLimits) -> Order {
        assert!(limits.lease > Duration::ZERO, "a lease lasts");
        Order { limits, groups: BTreeMap::new(), held: 0, changes: 0 }
    }

    /// The table after a restart: each recorded holder has its whole span from `now`.
    pub fn replay(limits: OrderLimits, now: Mono, records: impl IntoIterator<Item = LeaseRecord>) -> Order {
        let mut order = Order::new(limits);
        for record in records {
            let queue = TopicQueue::new(&record.topic, record.queue_id);
            order.lock_one(now, &record.group, &ClientId(record.client_id), &queue);
        }
        order.changes = 0;
        order
    }

    /// Locks or renews each of `queues` for `client`; returns those it holds now, in the order asked.
    pub fn lock(
        &mut self,
        now: Mono,
        group: &str,
        client: &ClientId,
        queues: &[TopicQueue],
    ) -> Vec<TopicQueue> {
        let granted: Vec<TopicQueue> =
            queues.iter().filter(|queue| self.lock_one(now, group, client, queue)).cloned().collect();
        assert!(
            granted.iter().all(|queue| self.holder(now, group, queue) == Some(client)),
            "who is granted a queue holds it"
        );
        granted
    }

    /// Releases those of `queues` that `client` holds. Another's lease is left alone.
    pub fn unlock(&mut self, now: Mono, group: &str, client: &ClientId, queues: &[TopicQueue]) {
        let Some(leases) = self.groups.get_mut(group) else { return };
        for queue in queues {
            if leases.get(queue).is_some_and(|lease| lease.holder == *client) {
                leases.remove(queue);
                self.held -= 1;
                self.changes += 1;
            }
        }
        if leases.is_empty() {
            self.groups.remove(group);
        }
        assert!(
            queues.iter().all(|queue| self.holder(now, group, queue) != Some(client)),
            "what a client unlocked it no longer holds"
        );
    }

    /// Forgets a deleted group.
    pub fn delete_group(&mut self, group: &str) {
        if let Some(leases) = self.groups.remove(group) {
            self.held -= leases.len();
            self.changes += 1;
        }
    }

    /// Forgets a deleted topic's queues.
    pub fn delete_topic(&mut self, topic: &str) {
        self.retain(|queue, _| queue.topic != topic);
    }

    /// Sweeps leases that are over. Calling it early or often is harmless.
    pub fn on_timer(&mut self, now: Mono) {
        self.retain(|_, lease| now < lease.until);
        assert!(self.next_deadline().is_none_or(|at| now < at), "nothing due is left behind");
    }

    /// When the first lease ends. A pass over all leases: ask once per sleep, not per request.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.groups.values().flat_map(BTreeMap::values).map(|lease| lease.until).min()
    }

    /// Who holds a queue at `now`.
    pub fn holder(&self, now: Mono, group: &str, queue: &TopicQueue) -> Option<&ClientId> {
        let lease = self.groups.get(group)?.get(queue)?;
        (now < lease.until).then_some(&lease.holder)
    }

    /// The group holds some queue at `now`: it consumes in order.
    pub fn is_orderly(&self, now: Mono, group: &str) -> bool {
        self.groups.get(group).is_some_and(|leases| leases.values().any(|lease| now < lease.until))
    }

    /// Counts changes of holders. When it has moved, the snapshot is to be written *before* the lock's answer leaves:
    /// otherwise a crash forgets a lease its holder believes in.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Every lease, in the order of group, topic, queue.
    pub fn snapshot(&self) -> Vec<LeaseRecord> {
        let mut records = Vec::with_capacity(self.held);
        for (group, leases) in &self.groups {
            for (queue, lease) in leases {
                records.push(LeaseRecord {
                    group: group.clone(),
                    topic: queue.topic.clone(),
                    queue_id: queue.queue,
                    client_id: lease.holder.0.clone(),
                });
            }
        }
        records
    }

    pub fn len(&self) -> usize {
        self.held
    }

    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    pub fn check_invariants(&self) {
        assert!(self.groups.values().all(|leases| !leases.is_empty()), "a group without leases is forgotten");
        let counted: usize = self.groups.values().map(BTreeMap::len).sum();
        assert_eq!(self.held, counted, "the count of leases is their number");
        assert!(self.held <= self.limits.leases_max, "leases are bounded");
    }

    fn lock_one(&mut self, now: Mono, group: &str, client: &ClientId, queue: &TopicQueue) -> bool {
        let until = now.plus(self.limits.lease);
        if let Some(lease) = self.groups.get_mut(group).and_then(|leases| leases.get_mut(queue)) {
            if lease.holder != *client {
                if now < lease.until {
                    return false;
                }
                lease.holder = client.clone();
                self.changes += 1;
            }
            // A request that was queued behind a later one must not shorten what the later one was promised.
            lease.until = lease.until.max(until);
            return true;
        }
        if self.held >= self.limits.leases_max {
            return false;
        }
        let lease = Lease { holder: client.clone(), until };
        let previous = self.groups.entry(group.to_owned()).or_default().insert(queue.clone(), lease);
        assert!(previous.is_none(), "a free queue has no lease");
        self.held += 1;
        self.changes += 1;
        true
    }

    fn retain(&mut self, keep: impl Fn(&TopicQueue, &Lease) -> bool) {
        for leases in self.groups.values_mut() {
            let before = leases.len();
            leases.retain(|queue, lease| keep(queue, lease));
            let swept = before - leases.len();
            self.held -= swept;
            self.changes += u64::from(swept > 0);
        }
        self.groups.retain(|_, leases| !leases.is_empty());
    }
}

#[cfg(test)]
mod tests;

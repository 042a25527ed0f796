//! One queue as one consumer works through it: what was pulled, what is being handled, how far may be committed.
//!
//! ```text
//!   on_pulled        take               on_done
//!  ----------> waiting ----> running ------------> settled (forgotten)
//!                 ^             |
//!                 +-------------+
//!              on_failed (not before a moment)
//! ```
//!
//! Invariants, checked by [`ProcessQueue::check_invariants`]:
//!
//! * the commit offset is the least that is not settled: a message is skipped only if nobody will ever need it again;
//!   it never goes back;
//! * an offset is handed out once, and once more after each failure;
//! * [`Order::Orderly`]: one batch at a time, from the head, and only under a lease that is believed valid;
//! * after [`ProcessQueue::revoke`] nothing is handed out and, for [`Order::Concurrent`], nothing is committed: the next
//!   owner may be further already.
//!
//! Not here: pulling, sending back, the broker's side of the lease, what a handler does.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::base::Mono;
use crate::base::QueueOffset;

/// Milliseconds for which a lock that the broker granted is believed (`rebalanceLockMaxLiveTime`). The broker keeps it
/// for 60 s, so a clock may drift by half before two members believe in one queue.
pub const LEASE_MS: u64 = 30_000;

/// How messages of a queue are handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Any number at once, in any order.
    Concurrent,
    /// One batch after the other.
    Orderly,
}

/// How much of a queue may be in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Messages (`pullThresholdForQueue`).
    pub messages_max: usize,
    /// Bytes of bodies (`pullThresholdSizeForQueue`).
    pub bytes_max: usize,
    /// Distance between the first and the last offset (`consumeConcurrentlyMaxSpan`); concurrent only: one stuck message
    /// must not let the rest be repeated without bound after a crash.
    pub span_max: u64,
}

impl Default for Window {
    fn default() -> Window {
        Window { messages_max: 1000, bytes_max: 100 * 1024 * 1024, span_max: 2000 }
    }
}

/// Why no more is pulled at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    Messages,
    Bytes,
    Span,
}

#[derive(Debug)]
pub struct ProcessQueue<M> {
    order: Order,
    window: Window,
    held: BTreeMap<QueueOffset, Held<M>>,
    bytes: usize,
    running: usize,
    next_pull: QueueOffset,
    lease_until: Option<Mono>,
    revoked: bool,
}

#[derive(Debug)]
struct Held<M> {
    message: M,
    bytes: usize,
    state: State,
    failures: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting { not_before: Mono },
    Running,
}

/// A message that is to be handled now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken<M> {
    pub offset: QueueOffset,
    pub message: M,
    /// How often handling it failed here, without having been sent back.
    pub failures: u32,
}

impl<M: Clone> ProcessQueue<M> {
    /// A queue read from `start` on.
    pub fn new(order: Order, window: Window, start: QueueOffset) -> ProcessQueue<M> {
        assert!(window.messages_max >= 1 && window.bytes_max >= 1, "a window admits a message");
        ProcessQueue {
            order,
            window,
            held: BTreeMap::new(),
            bytes: 0,
            running: 0,
            next_pull: start,
            lease_until: None,
            revoked: false,
        }
    }

    /// Where the next pull begins.
    pub fn next_pull(&self) -> QueueOffset {
        self.next_pull
    }

    /// Why nothing should be pulled now, if so.
    pub fn full(&self) -> Option<Full> {
        let first = self.held.first_key_value().map(|(offset, _)| offset.0);
        let last = self.held.last_key_value().map(|(offset, _)| offset.0);
        let span = last.zip(first).map_or(0, |(last, first)| last - first);
        match self.order {
            _ if self.held.len() >= self.window.messages_max => Some(Full::Messages),
            _ if self.bytes >= self.window.bytes_max => Some(Full::Bytes),
            Order::Concurrent if span >= self.window.span_max => Some(Full::Span),
            Order::Concurrent | Order::Orderly => None,
        }
    }

    /// Takes the answer to a pull from `begin`: offset, size in bytes and message of what matched, and where to go on.
    /// False, and nothing is changed, for an answer that is of no use any more or that makes no sense (not ascending,
    /// not within `begin..next`).
    pub fn on_pulled(
        &mut self,
        begin: QueueOffset,
        messages: Vec<(QueueOffset, usize, M)>,
        next: QueueOffset,
    ) -> bool {
        let mut least = begin;
        let ascending = messages.iter().all(|(offset, _, _)| {
            let fits = least <= *offset && *offset < next;
            least = offset.plus(1);
            fits
        });
        if self.revoked || begin != self.next_pull || next < begin || !ascending {
            return false;
        }
        for (offset, bytes, message) in messages {
            self.bytes += bytes;
            let state = State::Waiting { not_before: Mono(0) };
            let previous = self.held.insert(offset, Held { message, bytes, state, failures: 0 });
            assert!(previous.is_none(), "an offset is pulled once");
        }
        self.next_pull = next;
        true
    }

    /// Hands out up to `max` messages that wait, lowest offset first.
    pub fn take(&mut self, now: Mono, max: usize) -> Vec<Taken<M>> {
        if self.revoked || (self.order == Order::Orderly && (self.running > 0 || !self.leased(now))) {
            return Vec::new();
        }
        let mut taken = Vec::new();
        for (offset, held) in &mut self.held {
            let due = matches!(held.state, State::Waiting { not_before } if not_before <= now);
            if taken.len() == max || (!due && self.order == Order::Orderly) {
                break;
            }
            if due {
                held.state = State::Running;
                taken.push(Taken { offset: *offset, message: held.message.clone(), failures: held.failures });
            }
        }
        self.running += taken.len();
        taken
    }

    /// Whether [`ProcessQueue::take`] would hand something out.
    pub fn due(&self, now: Mono) -> bool {
        let ready = |held: &Held<M>| matches!(held.state, State::Waiting { not_before } if not_before <= now);
        match self.order {
            _ if self.revoked => false,
            Order::Concurrent => self.held.values().any(ready),
            Order::Orderly => self.running == 0 && self.leased(now) && self.held.values().take(1).any(ready),
        }
    }

    /// The message at `offset` needs no more attention here: it was handled, or sent back and that was acknowledged.
    pub fn on_done(&mut self, offset: QueueOffset) {
        let held = self.held.remove(&offset);
        assert!(held.as_ref().is_some_and(|held| held.state == State::Running), "only what runs is settled");
        self.running -= 1;
        self.bytes -= held.map_or(0, |held| held.bytes);
    }

    /// The message at `offset` is to be handled again, not before `not_before`.
    pub fn on_failed(&mut self, offset: QueueOffset, not_before: Mono) {
        let held = self.held.get_mut(&offset).filter(|held| held.state == State::Running);
        assert!(held.is_some(), "only what runs can fail");
        if let Some(held) = held {
            held.state = State::Waiting { not_before };
            held.failures += 1;
            self.running -= 1;
        }
    }

    /// The broker granted or renewed the lock, to a request that was sent at `asked`.
    pub fn on_locked(&mut self, asked: Mono) {
        assert!(self.order == Order::Orderly, "only ordered queues are locked");
        self.lease_until = Some(asked.plus_ms(LEASE_MS));
    }

    /// The broker gave the lock to somebody else.
    pub fn on_lock_refused(&mut self) {
        self.lease_until = None;
    }

    /// Whether the lock is believed to be ours. Always true for a concurrent queue.
    pub fn leased(&self, now: Mono) -> bool {
        self.order == Order::Concurrent || self.lease_until.is_some_and(|until| now < until)
    }

    /// When the lock ceases to be believed; `None` for a concurrent queue and for one that is not locked.
    pub fn lease_ends(&self) -> Option<Mono> {
        self.lease_until
    }

    /// Gives the queue up. What runs may end; see [`ProcessQueue::idle`].
    pub fn revoke(&mut self) {
        self.revoked = true;
    }

    pub fn revoked(&self) -> bool {
        self.revoked
    }

    /// No handler is at work: an ordered queue may be unlocked.
    pub fn idle(&self) -> bool {
        self.running == 0
    }

    /// Everything below is settled.
    pub fn settled_below(&self) -> QueueOffset {
        self.held.first_key_value().map_or(self.next_pull, |(offset, _)| *offset)
    }

    /// What may be committed now, if anything: an ordered queue commits under its lease only, for the next owner may be
    /// further; a concurrent one not after it was revoked.
    pub fn commit(&self, now: Mono) -> Option<QueueOffset> {
        let ours = match self.order {
            Order::Concurrent => !self.revoked,
            Order::Orderly => self.leased(now),
        };
        ours.then(|| self.settled_below())
    }

    /// When [`ProcessQueue::take`] may hand out something that failed before.
    pub fn next_deadline(&self) -> Option<Mono> {
        let waiting = self.held.values().filter_map(|held| match held.state {
            State::Waiting { not_before } => Some(not_before),
            State::Running => None,
        });
        match self.order {
            _ if self.revoked => None,
            Order::Concurrent => waiting.min(),
            Order::Orderly if self.running > 0 => None,
            Order::Orderly => waiting.take(1).next(),
        }
    }

    /// Messages in memory.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub fn check_invariants(&self) {
        let running = self.held.values().filter(|held| held.state == State::Running).count();
        assert_eq!(running, self.running, "the count of running messages is theirs");
        assert_eq!(self.bytes, self.held.values().map(|held| held.bytes).sum::<usize>(), "so is the size");
        assert!(self.settled_below() <= self.next_pull, "nothing is settled that was not pulled");
        let first_running = self.held.values().take(self.running).all(|held| held.state == State::Running);
        assert!(
            self.order == Order::Concurrent || first_running,
            "an ordered batch is the head of its queue"
        );
    }
}

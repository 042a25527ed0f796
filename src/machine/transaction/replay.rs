//! Restart: the half and op queues, read from where the progress stands, give the live state again.
//!
//! Also the progress itself: how far the two queues are no longer needed.

use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::time::Duration;

use crate::base::Mono;
use crate::base::PhysicalOffset;
use crate::base::QueueOffset;
use crate::base::Timestamp;
use crate::machine::transaction::HalfRecord;
use crate::machine::transaction::Op;
use crate::machine::transaction::TransactionLimits;
use crate::machine::transaction::Transactions;

/// What the two queues hold, from the progress committed for the transaction group on.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The range of the half queue that was read; records in it that cannot be read are left out of `halves`.
    pub half_start: QueueOffset,
    pub half_end: QueueOffset,
    /// In the order of their offsets.
    pub halves: Vec<HalfRecord>,
    pub op_start: QueueOffset,
    pub op_end: QueueOffset,
    /// In the order of their offsets; unknown tags left out.
    pub ops: Vec<(QueueOffset, Op)>,
    /// Prepared offsets of the committed messages in the log's tail: where their halves lie. A crash may have come
    /// between such a message and its op record; knowing it saves a second copy, and a rollback of what is visible.
    /// Recovery reads the tail anyway. May be left empty: then the half is undecided again.
    pub committed: Vec<PhysicalOffset>,
}

/// How far the half and op queues are no longer needed.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Everything below is settled or superseded.
    pub(super) half: QueueOffset,
    /// Every op record below speaks only of halves below `half`.
    pub(super) op: QueueOffset,
    /// Everything below has been seen.
    seen: QueueOffset,
    /// Seen beyond a gap: appends reported out of order.
    beyond: BTreeSet<QueueOffset>,
    op_end: QueueOffset,
    /// Op records from `op` on, with the greatest half offset each speaks of.
    ops: VecDeque<(QueueOffset, QueueOffset)>,
}

impl<T> Transactions<T> {
    /// The state after a restart. What was in flight is undecided again. A half's first check is due when its timeout
    /// is over by the wall clock, at most a whole timeout from now; one that has been checked waits an interval, so
    /// that its producers have time to come back.
    pub fn replay(
        limits: TransactionLimits,
        now: Mono,
        wall: Timestamp,
        history: History,
    ) -> Transactions<T> {
        let mut transactions = Transactions::new(limits);
        let carry_after = limits.carry_after;
        for record in history.halves {
            let age = u64::try_from(wall.ms_since(record.stored_at)).unwrap_or(0);
            let age = Duration::from_millis(age);
            let timeout = record.immunity.unwrap_or(limits.timeout);
            let wait = if record.checks == 0 { timeout.saturating_sub(age) } else { limits.check_interval };
            let (origin, offset, checks) = (record.origin, record.offset, record.checks);
            let known = transactions.halves.get(&origin).map_or(Vec::new(), |half| half.copies.clone());
            let places: Vec<_> =
                known.iter().map(|copy| (*copy, transactions.copies.get(copy).copied())).collect();
            let older = transactions.halves.contains_key(&origin).then(|| transactions.remove(origin));
            transactions.insert(now, now.plus(wait), record);
            let half = transactions.halves.get_mut(&origin).expect("a half was just put in");
            half.stored = Mono(now.0.saturating_sub(nanos(age.min(carry_after))));
            if let Some(older) = older {
                half.checks = checks.max(older.checks);
                half.copies = older.copies;
                half.copies.push(offset);
                for (copy, place) in places {
                    transactions.copies.insert(copy, place.expect("a half's copies lead to it"));
                }
            }
        }
        transactions.progress = Progress::starting(&history.half_start, history.half_end, history.op_start);
        for (offset, op) in history.ops {
            transactions.progress.op_seen(offset, op.highest());
            transactions.apply(now, op);
        }
        transactions.progress.op_end = transactions.progress.op_end.max(history.op_end);
        let committed: BTreeSet<PhysicalOffset> = history.committed.into_iter().collect();
        let of_committed = |(origin, physical): &(QueueOffset, PhysicalOffset)| {
            committed.contains(physical).then_some(*origin)
        };
        let origins: BTreeSet<QueueOffset> = transactions.copies.values().filter_map(of_committed).collect();
        origins.into_iter().for_each(|origin| transactions.recommit(now, origin));
        transactions.advance(&mut Vec::new());
        transactions
    }

    fn apply(&mut self, now: Mono, op: Op) {
        match op {
            Op::Settled(offsets) => {
                for offset in offsets {
                    if let Some(&(origin, _)) = self.copies.get(&offset) {
                        self.remove(origin);
                    }
                }
            }
            Op::Checked(counts) => {
                for (offset, count) in counts {
                    let Some(&(origin, _)) = self.copies.get(&offset) else { continue };
                    let due = now.plus(self.limits.check_interval);
                    let half = self.halves.get_mut(&origin).expect("a copy belongs to a half");
                    half.checks = half.checks.max(count).min(self.limits.checks_max);
                    self.due.remove(&(half.due, origin));
                    half.due = due;
                    self.due.insert((due, origin));
                }
            }
        }
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

impl Progress {
    fn starting(half: &QueueOffset, half_end: QueueOffset, op: QueueOffset) -> Progress {
        Progress {
            half: *half,
            op,
            seen: half_end.max(*half),
            beyond: BTreeSet::new(),
            op_end: op,
            ops: VecDeque::new(),
        }
    }

    pub(super) fn half_seen(&mut self, offset: QueueOffset) {
        if offset < self.seen {
            return;
        }
        self.beyond.insert(offset);
        while self.beyond.remove(&self.seen) {
            self.seen = self.seen.plus(1);
        }
    }

    pub(super) fn op_seen(&mut self, offset: QueueOffset, highest: Option<QueueOffset>) {
        assert!(self.op_end <= offset, "op records are seen in order");
        self.op_end = offset.plus(1);
        self.ops.push_back((offset, highest.unwrap_or(QueueOffset(0))));
    }

    /// One past the last half seen.
    pub(super) fn half_end(&self) -> QueueOffset {
        self.beyond.last().map_or(self.seen, |last| last.plus(1))
    }

    /// `needed` is the oldest copy that is. True if anything moved.
    pub(super) fn advance(&mut self, needed: Option<QueueOffset>) -> bool {
        let before = (self.half, self.op);
        self.half = needed.map_or(self.seen, |needed| needed.min(self.seen)).max(self.half);
        while self.ops.front().is_some_and(|(_, highest)| *highest < self.half) {
            self.ops.pop_front();
        }
        self.op = self.ops.front().map_or(self.op_end, |(offset, _)| *offset).max(self.op);
        before != (self.half, self.op)
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.half <= self.seen, "progress is made over what has been seen");
        assert!(self.op <= self.op_end, "progress is made over what has been seen");
        assert!(self.ops.iter().all(|(offset, _)| self.op <= *offset), "a needed op record is not passed");
        assert!(self.beyond.first().is_none_or(|first| self.seen < *first), "a gap separates what was seen");
    }
}

//! The machine itself: undecided halves, decisions under way, the op record being written.
//!
//! What is on disk and what is in memory differ by the appends in flight: one real message, discard or carried copy
//! per half, one op record in all. A crash loses the flights and nothing else.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::VecDeque;

use crate::base::Mono;
use crate::base::PhysicalOffset;
use crate::base::QueueOffset;
use crate::machine::ids::ConnectionId;
use crate::machine::transaction::Decision;
use crate::machine::transaction::Effect;
use crate::machine::transaction::End;
use crate::machine::transaction::EndError;
use crate::machine::transaction::Ended;
use crate::machine::transaction::HalfRecord;
use crate::machine::transaction::Op;
use crate::machine::transaction::Outcome;
use crate::machine::transaction::TransactionLimits;
use crate::machine::transaction::replay::Progress;

/// Carried copies being appended at once.
const CARRIES_MAX: usize = 64;
/// Bytes of the longest entry of an op record: an offset, a count, two marks.
const OP_ENTRY_BYTES_MAX: usize = 32;

/// All transactions of one broker. `T` is whatever the driver needs to answer an END_TRANSACTION.
#[derive(Debug)]
pub struct Transactions<T> {
    pub(super) limits: TransactionLimits,
    /// By origin: the offset of a half's first copy.
    pub(super) halves: BTreeMap<QueueOffset, Half<T>>,
    /// Every known copy of a half that is not settled, and where it lies if that is known.
    pub(super) copies: BTreeMap<QueueOffset, (QueueOffset, PhysicalOffset)>,
    /// Newest copies, to find the one that holds back the progress.
    pub(super) newest: BTreeSet<QueueOffset>,
    /// When undecided halves are due, for a check or to be discarded.
    pub(super) due: BTreeSet<(Mono, QueueOffset)>,
    pub(super) checks_in_flight: BTreeSet<QueueOffset>,
    /// Checks that left over a connection, and of which nobody knows yet whether they arrived.
    pub(super) asked: BTreeSet<(ConnectionId, QueueOffset)>,
    carries: usize,
    /// Decided, waiting for an op record, in order.
    settling: VecDeque<QueueOffset>,
    /// Checked, waiting for an op record.
    pub(super) counting: BTreeSet<QueueOffset>,
    /// The op record being appended.
    pub(super) op_in_flight: Option<Flight>,
    op_retry_at: Option<Mono>,
    remembered: VecDeque<(QueueOffset, Outcome)>,
    pub(super) progress: Progress,
}

#[derive(Debug)]
pub(super) struct Half<T> {
    pub(super) group: String,
    /// Its newest copy.
    pub(super) record: QueueOffset,
    pub(super) physical: PhysicalOffset,
    /// All known copies, oldest first.
    pub(super) copies: Vec<QueueOffset>,
    pub(super) stored: Mono,
    /// Checks delivered.
    pub(super) checks: u32,
    /// The check of which nobody knows yet whether it arrived: over which connection it left, and when.
    pub(super) asked: Option<(ConnectionId, Mono)>,
    pub(super) due: Mono,
    pub(super) stage: Stage,
    waiting: Vec<(T, Outcome)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Undecided,
    /// A copy is being appended; a decision that comes meanwhile waits for it, or the copy would come after the op
    /// record and look undecided.
    Carrying(Option<Outcome>),
    /// The real message, or the discarded one, is being appended.
    Applying(Outcome),
    /// The op record is still to be written, or being written.
    Settling(Outcome),
}

#[derive(Debug)]
pub(super) struct Flight {
    pub(super) op: Op,
    pub(super) origins: Vec<QueueOffset>,
}

impl<T> Transactions<T> {
    pub fn new(limits: TransactionLimits) -> Transactions<T> {
        assert!(
            limits.checks_max > 0 && limits.checks_in_flight_max > 0,
            "a half is checked before it is discarded"
        );
        assert!(limits.op_body_bytes_max >= OP_ENTRY_BYTES_MAX, "an op record has room for an entry");
        Transactions {
            limits,
            halves: BTreeMap::new(),
            copies: BTreeMap::new(),
            newest: BTreeSet::new(),
            due: BTreeSet::new(),
            checks_in_flight: BTreeSet::new(),
            asked: BTreeSet::new(),
            carries: 0,
            settling: VecDeque::new(),
            counting: BTreeSet::new(),
            op_in_flight: None,
            op_retry_at: None,
            remembered: VecDeque::new(),
            progress: Progress::default(),
        }
    }

    /// Another transaction may begin. Ask before a half is appended; if not, answer SYSTEM_BUSY.
    pub fn has_room(&self) -> bool {
        self.halves.len() < self.limits.undecided_max
    }

    /// A half message was appended, before its sender is answered: the decision may follow at once. Appends may be
    /// reported out of order; progress waits for the missing ones.
    pub fn on_half_appended(&mut self, now: Mono, record: HalfRecord, effects: &mut Vec<Effect<T>>) {
        assert_eq!(record.origin, record.offset, "what a producer sends is a first copy");
        let wait = record.immunity.unwrap_or(self.limits.timeout);
        self.insert(now, now.plus(wait), record);
        self.carry_laggards(now, effects);
        self.advance(effects);
    }

    /// A producer decides.
    pub fn end(&mut self, now: Mono, end: End<'_>, token: T, effects: &mut Vec<Effect<T>>) {
        if let Some(result) = self.end_at_once(&end) {
            effects.push(Effect::Answer { token, result });
            return;
        }
        let (origin, _) = *self.copies.get(&end.record).expect("a half that can be decided has a copy");
        let wanted = match end.decision {
            Decision::Commit => Outcome::Committed,
            Decision::Rollback => Outcome::RolledBack,
            Decision::Unknown => {
                effects.push(Effect::Answer { token, result: Ok(Ended::StillUndecided) });
                return self.answered(end.checked, origin, effects);
            }
        };
        let half = self.halves.get_mut(&origin).expect("a copy belongs to a half");
        if half.waiting.len() >= self.limits.waiting_max {
            effects.push(Effect::Answer { token, result: Err(EndError::Busy) });
            return;
        }
        half.waiting.push((token, wanted));
        match half.stage {
            Stage::Undecided => self.decide(origin, wanted, effects),
            Stage::Carrying(None) => half.stage = Stage::Carrying(Some(wanted)),
            // Decided already; this request is answered when that is durable.
            Stage::Carrying(Some(_)) | Stage::Applying(_) | Stage::Settling(_) => {}
        }
        // The decision may still fail to be stored, and the check was made all the same.
        self.answered(end.checked, origin, effects);
        self.carry_laggards(now, effects);
    }

    /// The real message of a commit is durable.
    pub fn on_real_appended(&mut self, origin: QueueOffset, effects: &mut Vec<Effect<T>>) {
        self.applied(origin, Outcome::Committed, effects);
    }

    /// The copy in the discard topic is durable.
    pub fn on_discard_appended(&mut self, origin: QueueOffset, effects: &mut Vec<Effect<T>>) {
        self.applied(origin, Outcome::Discarded, effects);
    }

    /// A carried copy is durable, at this place.
    pub fn on_carried(
        &mut self,
        now: Mono,
        origin: QueueOffset,
        record: QueueOffset,
        physical: PhysicalOffset,
        effects: &mut Vec<Effect<T>>,
    ) {
        let half = self.halves.get_mut(&origin).expect("a half that is carried is not settled");
        let Stage::Carrying(decided) = half.stage else { panic!("only a half that is carried gets a copy") };
        assert!(half.record < record, "a copy comes after what it copies");
        self.newest.remove(&half.record);
        self.newest.insert(record);
        half.record = record;
        half.physical = physical;
        half.copies.push(record);
        half.stored = now;
        half.stage = Stage::Undecided;
        let due = half.due;
        self.copies.insert(record, (origin, physical));
        self.progress.half_seen(record);
        self.carries -= 1;
        match decided {
            Some(outcome) => self.decide(origin, outcome, effects),
            None => self.arm(origin, due),
        }
        self.carry_laggards(now, effects);
        self.advance(effects);
    }

    /// A real message, a discard or a carried copy could not be appended. The half is undecided again, who waits for
    /// it is told so, and it is tried again after a while.
    pub fn on_append_failed(&mut self, now: Mono, origin: QueueOffset, effects: &mut Vec<Effect<T>>) {
        let half = self.halves.get_mut(&origin).expect("a half whose append fails is not settled");
        let retry = now.plus(self.limits.retry_after);
        match half.stage {
            Stage::Carrying(decided) => {
                self.carries -= 1;
                half.stage = Stage::Undecided;
                // Not at once: a log that is full would be asked for ever.
                half.stored = retry;
                let due = half.due;
                match decided {
                    Some(outcome) => self.decide(origin, outcome, effects),
                    None => self.arm(origin, due),
                }
            }
            Stage::Applying(outcome) => {
                half.stage = Stage::Undecided;
                for (token, _) in std::mem::take(&mut half.waiting) {
                    effects.push(Effect::Answer { token, result: Err(EndError::NotStored) });
                }
                // A half that is still being asked about gets its next time from that report.
                if !self.checks_in_flight.contains(&origin) {
                    let discard = outcome == Outcome::Discarded;
                    let wait = if discard { retry } else { now.plus(self.limits.check_interval) };
                    self.arm(origin, wait);
                }
            }
            Stage::Undecided | Stage::Settling(_) => panic!("an append fails that was asked for"),
        }
    }

    /// Settles a half whose real message a crash left behind without its op record.
    pub(super) fn recommit(&mut self, now: Mono, origin: QueueOffset) {
        let half = self.halves.get_mut(&origin).expect("what is recommitted is not settled");
        if half.stage == Stage::Undecided {
            self.due.remove(&(half.due, origin));
            half.stage = Stage::Settling(Outcome::Committed);
            self.settling.push_back(origin);
            self.op_retry_at = Some(now);
        }
    }

    /// The record of a half cannot be read: it is settled as such, and nothing else stops for it.
    pub fn on_unreadable(&mut self, origin: QueueOffset, effects: &mut Vec<Effect<T>>) {
        self.checks_in_flight.remove(&origin);
        let Some(half) = self.halves.get_mut(&origin) else { return };
        match half.stage {
            Stage::Settling(_) => return,
            Stage::Carrying(_) => self.carries -= 1,
            Stage::Undecided => {
                self.due.remove(&(half.due, origin));
            }
            Stage::Applying(_) => {}
        }
        half.stage = Stage::Settling(Outcome::Unreadable);
        self.settling.push_back(origin);
        self.write_op(effects);
    }

    /// The op record asked for last is durable, at this offset of the op queue.
    pub fn on_op_appended(&mut self, now: Mono, offset: QueueOffset, effects: &mut Vec<Effect<T>>) {
        let flight = self.op_in_flight.take().expect("an op record is reported once, while in flight");
        self.progress.op_seen(offset, flight.op.highest());
        if let Op::Settled(_) = flight.op {
            for origin in flight.origins {
                self.settle(origin, effects);
            }
        }
        self.write_op(effects);
        self.carry_laggards(now, effects);
        self.advance(effects);
    }

    /// The op record asked for last could not be appended; it is asked for again after a while.
    pub fn on_op_failed(&mut self, now: Mono) {
        let flight = self.op_in_flight.take().expect("an op record is reported once, while in flight");
        match flight.op {
            Op::Settled(_) => {
                flight.origins.into_iter().rev().for_each(|origin| self.settling.push_front(origin))
            }
            Op::Checked(_) => self.counting.extend(flight.origins),
        }
        self.op_retry_at = Some(now.plus(self.limits.retry_after));
    }

    /// Checks, discards and carries what is due. Calling it early or often is harmless.
    pub fn on_timer(&mut self, now: Mono, effects: &mut Vec<Effect<T>>) {
        if self.op_retry_at.is_some_and(|at| at <= now) {
            self.op_retry_at = None;
            self.write_op(effects);
        }
        self.carry_laggards(now, effects);
        self.start_due(now, effects);
        assert!(self.next_deadline().is_none_or(|at| now < at), "nothing due is left behind");
    }

    /// When [`Transactions::on_timer`] next has something to do.
    pub fn next_deadline(&self) -> Option<Mono> {
        let room = self.checks_in_flight.len() < self.limits.checks_in_flight_max;
        let due = self.due.first().filter(|_| room).map(|&(at, _)| at);
        let carry = self.oldest().filter(|half| self.may_carry(half)).map(|half| self.carry_at(half));
        [due, carry, self.op_retry_at].into_iter().flatten().min()
    }

    /// Halves that are not settled.
    pub fn len(&self) -> usize {
        self.halves.len()
    }

    pub fn is_empty(&self) -> bool {
        self.halves.is_empty()
    }

    /// What the half and op queues say once all that is in flight has arrived: for each unsettled half its first
    /// offset, its newest, and the checks delivered. A replay must give the same.
    pub fn unsettled(&self) -> Vec<(QueueOffset, QueueOffset, u32)> {
        self.halves.iter().map(|(&origin, half)| (origin, half.record, half.checks)).collect()
    }

    /// Where the half and op queues are to be read from after a restart.
    pub fn progress(&self) -> (QueueOffset, QueueOffset) {
        (self.progress.half, self.progress.op)
    }

    pub fn check_invariants(&self) {
        assert_eq!(self.newest.len(), self.halves.len(), "each half has one newest copy");
        let carrying = |half: &&Half<T>| matches!(half.stage, Stage::Carrying(_));
        assert_eq!(self.carries, self.halves.values().filter(carrying).count(), "carries are counted");
        assert!(self.carries <= CARRIES_MAX, "carries are bounded");
        assert!(self.checks_in_flight.len() <= self.limits.checks_in_flight_max, "checks are bounded");
        assert!(self.remembered.len() <= self.limits.remembered_max, "memory of the settled is bounded");
        for (origin, half) in &self.halves {
            assert!(
                *origin <= half.record && self.newest.contains(&half.record),
                "a half knows its newest copy"
            );
            assert!(half.checks <= self.limits.checks_max, "a half is checked no more than allowed");
            assert!(half.waiting.len() <= self.limits.waiting_max, "waiting requests are bounded");
            assert!(self.progress.half <= half.record, "progress does not pass an unsettled half");
            let known = |copy: &QueueOffset| self.copies.get(copy).is_some_and(|(of, _)| of == origin);
            assert!(half.copies.iter().all(known), "a half's copies lead to it");
            let armed = self.due.contains(&(half.due, *origin));
            let asked = self.checks_in_flight.contains(origin);
            match half.stage {
                Stage::Undecided => assert!(armed != asked, "an undecided half is due or asked about"),
                Stage::Carrying(_) => assert!(!armed && !asked, "a half is carried between checks"),
                Stage::Applying(_) | Stage::Settling(_) => assert!(!armed, "a decided half is not due"),
            }
        }
        let asked = self.halves.iter().filter_map(|(origin, half)| Some((half.asked?.0, *origin)));
        let asked: BTreeSet<_> = asked.collect();
        assert_eq!(asked, self.asked, "checks of unknown fate are known by their connections");
        let copies: usize = self.halves.values().map(|half| half.copies.len()).sum();
        assert_eq!(copies, self.copies.len(), "only unsettled halves have copies");
        assert!(
            self.due.iter().all(|(_, origin)| self.halves.contains_key(origin)),
            "only unsettled halves are due"
        );
        self.progress.check_invariants();
    }

    pub(super) fn insert(&mut self, now: Mono, due: Mono, record: HalfRecord) {
        let HalfRecord { offset, physical, origin, group, checks, .. } = record;
        let half = Half {
            group,
            record: offset,
            physical,
            copies: vec![offset],
            stored: now,
            checks,
            asked: None,
            due,
            stage: Stage::Undecided,
            waiting: Vec::new(),
        };
        let previous = self.halves.insert(origin, half);
        assert!(previous.is_none(), "a half is appended once");
        self.copies.insert(offset, (origin, physical));
        self.newest.insert(offset);
        self.due.insert((due, origin));
        self.progress.half_seen(offset);
    }

    /// Forgets a half; its copies no longer hold back the progress.
    pub(super) fn remove(&mut self, origin: QueueOffset) -> Half<T> {
        let half = self.halves.remove(&origin).expect("a half is settled once");
        for copy in &half.copies {
            self.copies.remove(copy);
        }
        assert!(self.newest.remove(&half.record), "a half has a newest copy");
        self.due.remove(&(half.due, origin));
        self.counting.remove(&origin);
        if let Some((connection, _)) = half.asked {
            self.asked.remove(&(connection, origin));
        }
        half
    }

    /// Moves the progress to the oldest copy that is still needed.
    pub(super) fn advance(&mut self, effects: &mut Vec<Effect<T>>) {
        if self.progress.advance(self.newest.first().copied()) {
            effects.push(Effect::Advance { half: self.progress.half, op: self.progress.op });
        }
    }

    /// The answer that needs no half: refusals, and what was settled before.
    fn end_at_once(&self, end: &End<'_>) -> Option<Result<Ended, EndError>> {
        let Some(&(origin, physical)) = self.copies.get(&end.record) else {
            let remembered = self.remembered.iter().find(|(copy, _)| *copy == end.record);
            return Some(match remembered {
                Some((_, outcome)) => verdict(*outcome, end.decision),
                None => Err(EndError::NotFound),
            });
        };
        let half = self.halves.get(&origin).expect("a copy belongs to a half");
        if half.group != end.group {
            return Some(Err(EndError::WrongGroup));
        }
        (physical != end.physical).then_some(Err(EndError::WrongPhysicalOffset))
    }

    pub(super) fn decide(&mut self, origin: QueueOffset, outcome: Outcome, effects: &mut Vec<Effect<T>>) {
        let half = self.halves.get_mut(&origin).expect("a half is decided before it is settled");
        assert_eq!(half.stage, Stage::Undecided, "the first decision wins");
        self.due.remove(&(half.due, origin));
        let (record, physical) = (half.record, half.physical);
        match outcome {
            Outcome::Committed => {
                half.stage = Stage::Applying(outcome);
                effects.push(Effect::AppendReal { origin, record, physical });
            }
            Outcome::Discarded => {
                assert!(half.checks >= self.limits.checks_max, "a half is discarded after its last check");
                half.stage = Stage::Applying(outcome);
                effects.push(Effect::AppendDiscard { origin, physical });
            }
            Outcome::RolledBack | Outcome::Unreadable => {
                half.stage = Stage::Settling(outcome);
                self.settling.push_back(origin);
                self.write_op(effects);
            }
        }
    }

    fn applied(&mut self, origin: QueueOffset, outcome: Outcome, effects: &mut Vec<Effect<T>>) {
        let half = self.halves.get_mut(&origin).expect("what is applied is not settled");
        assert_eq!(half.stage, Stage::Applying(outcome), "only what was asked for is applied");
        half.stage = Stage::Settling(outcome);
        self.settling.push_back(origin);
        self.write_op(effects);
    }

    fn settle(&mut self, origin: QueueOffset, effects: &mut Vec<Effect<T>>) {
        let half = self.remove(origin);
        let Stage::Settling(outcome) = half.stage else { panic!("only what has been decided is settled") };
        for copy in half.copies {
            self.remembered.push_back((copy, outcome));
        }
        while self.remembered.len() > self.limits.remembered_max {
            self.remembered.pop_front();
        }
        for (token, wanted) in half.waiting {
            let result =
                if wanted == outcome { Ok(Ended::Settled) } else { Err(EndError::AlreadySettled(outcome)) };
            effects.push(Effect::Answer { token, result });
        }
    }

    /// Starts the next op record, if none is in flight: whatever has gathered meanwhile goes into one.
    pub(super) fn write_op(&mut self, effects: &mut Vec<Effect<T>>) {
        if self.op_in_flight.is_some() || self.op_retry_at.is_some() {
            return;
        }
        let Some(flight) = self.next_settled().or_else(|| self.next_checked()) else { return };
        effects.push(Effect::AppendOp { op: flight.op.clone() });
        self.op_in_flight = Some(flight);
    }

    fn next_settled(&mut self) -> Option<Flight> {
        let mut origins = Vec::new();
        let mut offsets = Vec::new();
        while let Some(&origin) = self.settling.front() {
            let half = self.halves.get(&origin).expect("a half is settled once");
            if !offsets.is_empty()
                && (offsets.len() + half.copies.len()) * OP_ENTRY_BYTES_MAX > self.limits.op_body_bytes_max
            {
                break;
            }
            // Every copy: RocketMQ would otherwise ask about the older ones.
            offsets.extend(half.copies.iter().copied());
            origins.push(origin);
            self.settling.pop_front();
        }
        (!origins.is_empty()).then_some(Flight { op: Op::Settled(offsets), origins })
    }

    fn next_checked(&mut self) -> Option<Flight> {
        let room = self.limits.op_body_bytes_max / OP_ENTRY_BYTES_MAX;
        let origins: Vec<QueueOffset> = self.counting.iter().copied().take(room).collect();
        let count = |origin: &QueueOffset| {
            self.counting.remove(origin);
            let half = self.halves.get(origin).expect("a settled half is not counted");
            (half.record, half.checks)
        };
        let counts: Vec<(QueueOffset, u32)> = origins.iter().map(count).collect();
        (!origins.is_empty())
            .then_some(Flight { op: Op::Checked(counts), origins: Vec::new() })
            .map(|flight| Flight { origins, ..flight })
    }

    fn carry_laggards(&mut self, now: Mono, effects: &mut Vec<Effect<T>>) {
        let far = self.limits.carry_lag_max.max(4 * self.halves.len() as u64);
        let end = self.progress.half_end();
        let mut carried = Vec::new();
        for record in self.newest.iter().take(CARRIES_MAX - self.carries) {
            let (origin, _) = self.copies.get(record).expect("a newest copy is a copy");
            let half = self.halves.get(origin).expect("a copy belongs to a half");
            let lags = record.0.saturating_add(far) < end.0 && half.stored <= now;
            if !lags && now < self.carry_at(half) {
                break;
            }
            if self.may_carry(half) {
                carried.push(*origin);
            }
        }
        for origin in carried {
            let half = self.halves.get_mut(&origin).expect("what lags is not settled");
            half.stage = Stage::Carrying(None);
            self.due.remove(&(half.due, origin));
            self.carries += 1;
            effects.push(Effect::Carry { origin, physical: half.physical, checks: half.checks });
        }
    }

    fn carry_at(&self, half: &Half<T>) -> Mono {
        half.stored.plus(self.limits.carry_after)
    }

    fn may_carry(&self, half: &Half<T>) -> bool {
        let asked =
            self.copies.get(&half.record).is_some_and(|(origin, _)| self.checks_in_flight.contains(origin));
        half.stage == Stage::Undecided && !asked && self.carries < CARRIES_MAX
    }

    fn oldest(&self) -> Option<&Half<T>> {
        let (origin, _) = self.copies.get(self.newest.first()?)?;
        self.halves.get(origin)
    }

    pub(super) fn arm(&mut self, origin: QueueOffset, at: Mono) {
        let half = self.halves.get_mut(&origin).expect("only an unsettled half is due");
        assert_eq!(half.stage, Stage::Undecided, "only an undecided half is due");
        half.due = at;
        self.due.insert((at, origin));
    }
}

fn verdict(outcome: Outcome, decision: Decision) -> Result<Ended, EndError> {
    match (outcome, decision) {
        (Outcome::Committed, Decision::Commit)
        | (Outcome::RolledBack, Decision::Rollback)
        | (_, Decision::Unknown) => Ok(Ended::Settled),
        (first, Decision::Commit | Decision::Rollback) => Err(EndError::AlreadySettled(first)),
    }
}

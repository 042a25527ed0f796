//! Stories: one rule each. Laws: random senders, producers, disks and crashes against the two logs they leave behind.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::base::Mono;
use crate::base::Timestamp;

type Effects = Vec<Effect<u32>>;

fn seconds(seconds: u64) -> Mono {
    Mono(seconds * 1_000_000_000)
}

fn record(offset: u64) -> HalfRecord {
    HalfRecord {
        offset: QueueOffset(offset),
        physical: PhysicalOffset(offset * 100),
        origin: QueueOffset(offset),
        group: "pay".to_owned(),
        stored_at: Timestamp(0),
        checks: 0,
        immunity: None,
    }
}

fn end(offset: u64, decision: Decision) -> End<'static> {
    let (record, physical) = (QueueOffset(offset), PhysicalOffset(offset * 100));
    End { record, physical, group: "pay", decision, checked: false }
}

/// A check is sent, and its receiver does not know yet.
fn check_answered(machine: &mut Transactions<u32>, now: Mono, offset: u64, effects: &mut Effects) {
    machine.on_check_sent(now, QueueOffset(offset), ConnectionId(1), effects);
    let answer = End { checked: true, ..end(offset, Decision::Unknown) };
    machine.end(now, answer, u32::MAX, effects);
}

fn answers(effects: &Effects) -> Vec<(u32, Result<Ended, EndError>)> {
    let answer = |effect: &Effect<u32>| match effect {
        Effect::Answer { token, result } => Some((*token, *result)),
        _ => None,
    };
    effects.iter().filter_map(answer).collect()
}

fn checks(effects: &Effects) -> Vec<u64> {
    let check = |effect: &Effect<u32>| match effect {
        Effect::Check { origin, .. } => Some(origin.0),
        _ => None,
    };
    effects.iter().filter_map(check).collect()
}

fn started(limits: TransactionLimits, halves: u64) -> (Transactions<u32>, Effects) {
    let (mut machine, mut effects) = (Transactions::new(limits), Vec::new());
    (0..halves).for_each(|offset| machine.on_half_appended(seconds(0), record(offset), &mut effects));
    effects.clear();
    (machine, effects)
}

#[test]
fn a_commit_is_answered_once_message_and_op_record_are_durable() {
    let (mut machine, mut effects) = started(TransactionLimits::default(), 1);
    machine.end(seconds(1), end(0, Decision::Commit), 7, &mut effects);
    let (origin, record, physical) = (QueueOffset(0), QueueOffset(0), PhysicalOffset(0));
    assert_eq!(effects, [Effect::AppendReal { origin, record, physical }]);
    effects.clear();
    machine.on_real_appended(origin, &mut effects);
    assert_eq!(effects, [Effect::AppendOp { op: Op::Settled(vec![QueueOffset(0)]) }]);
    effects.clear();
    machine.on_op_appended(seconds(1), QueueOffset(0), &mut effects);
    assert_eq!(answers(&effects), [(7, Ok(Ended::Settled))]);
    assert!(effects.contains(&Effect::Advance { half: QueueOffset(1), op: QueueOffset(1) }));
    assert!(machine.is_empty());
    machine.check_invariants();
}

#[test]
fn the_first_decision_wins_and_the_second_waits_to_hear_of_it() {
    let (mut machine, mut effects) = started(TransactionLimits::default(), 1);
    machine.end(seconds(1), end(0, Decision::Rollback), 1, &mut effects);
    machine.end(seconds(1), end(0, Decision::Commit), 2, &mut effects);
    machine.end(seconds(1), end(0, Decision::Rollback), 3, &mut effects);
    assert_eq!(answers(&effects), [], "nothing is durable yet");
    machine.on_op_appended(seconds(1), QueueOffset(0), &mut effects);
    let first = Err(EndError::AlreadySettled(Outcome::RolledBack));
    assert_eq!(answers(&effects), [(1, Ok(Ended::Settled)), (2, first), (3, Ok(Ended::Settled))]);
    effects.clear();
    machine.end(seconds(9), end(0, Decision::Commit), 4, &mut effects);
    machine.end(seconds(9), end(0, Decision::Rollback), 5, &mut effects);
    assert_eq!(answers(&effects), [(4, first), (5, Ok(Ended::Settled))], "and is remembered");
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::AppendReal { .. })));
}

#[test]
fn an_end_that_names_another_message_changes_nothing() {
    let (mut machine, mut effects) = started(TransactionLimits::default(), 1);
    let wrong = [
        (End { group: "other", ..end(0, Decision::Commit) }, EndError::WrongGroup),
        (End { physical: PhysicalOffset(1), ..end(0, Decision::Commit) }, EndError::WrongPhysicalOffset),
        (end(1, Decision::Rollback), EndError::NotFound),
    ];
    for (end, error) in wrong {
        machine.end(seconds(1), end, 1, &mut effects);
        assert_eq!(answers(&effects), [(1, Err(error))]);
        effects.clear();
    }
    machine.end(seconds(1), end(0, Decision::Unknown), 2, &mut effects);
    assert_eq!(effects, [Effect::Answer { token: 2, result: Ok(Ended::StillUndecided) }]);
    assert_eq!(machine.unsettled(), [(QueueOffset(0), QueueOffset(0), 0)]);
}

#[test]
fn checks_start_at_the_timeout_and_come_back_at_the_interval() {
    let (mut machine, mut effects) = started(TransactionLimits::default(), 1);
    machine.on_timer(Mono(5_999_999_999), &mut effects);
    assert_eq!(effects, [], "not before the timeout");
    assert_eq!(machine.next_deadline(), Some(seconds(6)));
    for at in [6, 36, 66] {
        machine.on_timer(seconds(at), &mut effects);
        assert_eq!(checks(&effects), [0], "at {at}");
        check_answered(&mut machine, seconds(at), 0, &mut effects);
        effects.clear();
        machine.on_op_appended(seconds(at), QueueOffset(at), &mut effects);
        machine.on_timer(seconds(at + 29), &mut effects);
        assert!(checks(&effects).is_empty());
    }
    assert_eq!(machine.unsettled(), [(QueueOffset(0), QueueOffset(0), 3)]);
}

#[test]
fn a_check_counts_whose_answer_could_not_be_stored() {
    let (mut machine, mut effects) = started(TransactionLimits::default(), 1);
    machine.on_timer(seconds(6), &mut effects);
    machine.on_check_sent(seconds(6), QueueOffset(0), ConnectionId(1), &mut effects);
    machine.end(seconds(6), End { checked: true, ..end(0, Decision::Commit) }, 1, &mut effects);
    machine.on_append_failed(seconds(6), QueueOffset(0), &mut effects);
    assert_eq!(machine.unsettled(), [(QueueOffset(0), QueueOffset(0), 1)]);
}

#[test]
fn the_next_check_waits_until_the_former_is_counted() {
    let (mut machine, mut effects) = started(TransactionLimits::default(), 1);
    machine.on_timer(seconds(6), &mut effects);
    check_answered(&mut machine, seconds(6), 0, &mut effects);
    effects.clear();
    machine.on_timer(seconds(50), &mut effects);
    assert!(checks(&effects).is_empty(), "a crash now would forget that one check, and no more");
    machine.on_op_appended(seconds(50), QueueOffset(0), &mut effects);
    machine.on_timer(seconds(60), &mut effects);
    assert_eq!(checks(&effects), [0]);
}

#[test]
fn a_half_is_discarded_after_its_last_delivered_check_and_not_by_undelivered_ones() {
    let limits = TransactionLimits { checks_max: 2, ..TransactionLimits::default() };
    let (mut machine, mut effects) = started(limits, 1);
    let mut at = 6;
    for _ in 0..100 {
        machine.on_timer(seconds(at), &mut effects);
        machine.on_check_undeliverable(seconds(at), QueueOffset(0), &mut effects);
        at += 30;
    }
    assert_eq!(machine.unsettled(), [(QueueOffset(0), QueueOffset(0), 0)], "nobody was asked");
    for op in 0..2 {
        machine.on_timer(seconds(at), &mut effects);
        check_answered(&mut machine, seconds(at), 0, &mut effects);
        machine.on_op_appended(seconds(at), QueueOffset(op), &mut effects);
        at += 30;
    }
    effects.clear();
    machine.on_timer(seconds(at), &mut effects);
    assert_eq!(effects, [Effect::AppendDiscard { origin: QueueOffset(0), physical: PhysicalOffset(0) }]);
    machine.end(seconds(at), end(0, Decision::Commit), 1, &mut effects);
    machine.on_discard_appended(QueueOffset(0), &mut effects);
    assert_eq!(effects.last(), Some(&Effect::AppendOp { op: Op::Settled(vec![QueueOffset(0)]) }));
    effects.clear();
    machine.on_op_appended(seconds(at), QueueOffset(2), &mut effects);
    assert_eq!(answers(&effects), [(1, Err(EndError::AlreadySettled(Outcome::Discarded)))]);
}

#[test]
fn the_planted_bug_discards_what_nobody_was_asked_about() {
    let planted = TransactionLimits { checks_max: 2, planted_count_undelivered: true, ..Default::default() };
    let (mut machine, mut effects) = started(planted, 1);
    for at in [6, 36, 66] {
        machine.on_timer(seconds(at), &mut effects);
        if checks(&effects) == [0] {
            machine.on_check_undeliverable(seconds(at), QueueOffset(0), &mut effects);
            machine.on_op_appended(seconds(at), QueueOffset(at), &mut effects);
        }
        if at < 66 {
            effects.clear();
        }
    }
    assert!(effects.contains(&Effect::AppendDiscard { origin: QueueOffset(0), physical: PhysicalOffset(0) }));
}

#[test]
fn immunity_takes_the_place_of_the_timeout_and_uses_up_no_checks() {
    let (mut machine, mut effects) = (Transactions::<u32>::new(TransactionLimits::default()), Vec::new());
    let immune = HalfRecord { immunity: Some(Duration::from_secs(100)), ..record(0) };
    // Two halves of one instant: rmq#544 lost one of them.
    machine.on_half_appended(seconds(0), immune.clone(), &mut effects);
    machine.on_half_appended(
        seconds(0),
        HalfRecord { offset: QueueOffset(1), origin: QueueOffset(1), ..immune },
        &mut effects,
    );
    machine.on_timer(seconds(99), &mut effects);
    assert_eq!(effects, []);
    machine.on_timer(seconds(100), &mut effects);
    assert_eq!(checks(&effects), [0, 1]);
    assert!(machine.unsettled().iter().all(|(_, _, checks)| *checks == 0));
}

#[test]
fn one_unreadable_half_does_not_stop_the_others() {
    let (mut machine, mut effects) = started(TransactionLimits::default(), 3);
    machine.on_timer(seconds(6), &mut effects);
    assert_eq!(checks(&effects), [0, 1, 2]);
    effects.clear();
    machine.on_unreadable(QueueOffset(0), &mut effects);
    check_answered(&mut machine, seconds(6), 1, &mut effects);
    machine.on_check_undeliverable(seconds(6), QueueOffset(2), &mut effects);
    machine.on_op_appended(seconds(6), QueueOffset(0), &mut effects);
    assert!(effects.contains(&Effect::Advance { half: QueueOffset(1), op: QueueOffset(1) }));
    machine.on_op_appended(seconds(6), QueueOffset(1), &mut effects);
    effects.clear();
    machine.on_timer(seconds(36), &mut effects);
    assert_eq!(checks(&effects), [1, 2]);
}

#[test]
fn a_failed_append_leaves_the_half_undecided_and_tells_who_waits() {
    let (mut machine, mut effects) = started(TransactionLimits::default(), 1);
    machine.end(seconds(1), end(0, Decision::Commit), 1, &mut effects);
    effects.clear();
    machine.on_append_failed(seconds(1), QueueOffset(0), &mut effects);
    assert_eq!(answers(&effects), [(1, Err(EndError::NotStored))]);
    machine.on_timer(seconds(31), &mut effects);
    assert_eq!(checks(&effects), [0], "it is asked about again");
    machine.end(seconds(32), end(0, Decision::Commit), 2, &mut effects);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::AppendReal { .. })), "and may be committed");
    machine.check_invariants();
}

#[test]
fn a_decision_during_a_carry_waits_so_that_its_op_record_names_the_copy() {
    let limits = TransactionLimits { carry_after: Duration::from_secs(5), ..Default::default() };
    let (mut machine, mut effects) = started(limits, 1);
    machine.on_timer(seconds(5), &mut effects);
    assert_eq!(effects, [Effect::Carry { origin: QueueOffset(0), physical: PhysicalOffset(0), checks: 0 }]);
    effects.clear();
    machine.end(seconds(5), end(0, Decision::Rollback), 1, &mut effects);
    assert_eq!(effects, []);
    machine.on_carried(seconds(5), QueueOffset(0), QueueOffset(1), PhysicalOffset(100), &mut effects);
    let both = vec![QueueOffset(0), QueueOffset(1)];
    assert_eq!(effects[0], Effect::AppendOp { op: Op::Settled(both) });
    machine.on_op_appended(seconds(5), QueueOffset(0), &mut effects);
    assert_eq!(answers(&effects), [(1, Ok(Ended::Settled))]);
}

#[test]
fn an_old_offset_is_good_until_the_transaction_is_settled() {
    let limits = TransactionLimits { carry_lag_max: 2, ..Default::default() };
    let (mut machine, mut effects) = started(limits, 1);
    for offset in 1..9 {
        machine.on_half_appended(seconds(1), record(offset), &mut effects);
        machine.end(seconds(1), end(offset, Decision::Rollback), 0, &mut effects);
        machine.on_op_appended(seconds(1), QueueOffset(offset - 1), &mut effects);
    }
    assert!(effects.contains(&Effect::Carry {
        origin: QueueOffset(0),
        physical: PhysicalOffset(0),
        checks: 0
    }));
    machine.on_carried(seconds(1), QueueOffset(0), QueueOffset(9), PhysicalOffset(900), &mut effects);
    assert_eq!(machine.progress(), (QueueOffset(9), QueueOffset(8)), "the straggler holds nothing back");
    effects.clear();
    machine.end(seconds(1), end(0, Decision::Commit), 1, &mut effects);
    let (origin, record, physical) = (QueueOffset(0), QueueOffset(9), PhysicalOffset(900));
    assert_eq!(effects, [Effect::AppendReal { origin, record, physical }]);
}

#[test]
fn halves_of_a_departed_group_do_not_chase_each_other() {
    let limits = TransactionLimits { carry_lag_max: 1, ..Default::default() };
    let (mut machine, mut effects) = started(limits, 50);
    machine.on_timer(seconds(6), &mut effects);
    for offset in checks(&effects) {
        machine.on_check_undeliverable(seconds(6), QueueOffset(offset), &mut effects);
    }
    let carried = effects.iter().any(|effect| matches!(effect, Effect::Carry { .. }));
    assert!(!carried, "a queue of nothing but undecided halves is as short as it gets");
    assert_eq!(machine.next_deadline(), Some(seconds(36)));
}

#[test]
fn appends_reported_out_of_order_do_not_let_progress_pass_a_missing_one() {
    let (mut machine, mut effects) = (Transactions::new(TransactionLimits::default()), Vec::new());
    machine.on_half_appended(seconds(0), record(1), &mut effects);
    machine.end(seconds(0), end(1, Decision::Rollback), 1, &mut effects);
    machine.on_op_appended(seconds(0), QueueOffset(0), &mut effects);
    assert_eq!(machine.progress(), (QueueOffset(0), QueueOffset(0)), "half 0 is still to be heard of");
    machine.on_half_appended(seconds(0), record(0), &mut effects);
    assert_eq!(machine.progress(), (QueueOffset(0), QueueOffset(0)));
    machine.end(seconds(0), end(0, Decision::Rollback), 2, &mut effects);
    machine.on_op_appended(seconds(0), QueueOffset(1), &mut effects);
    assert_eq!(machine.progress(), (QueueOffset(2), QueueOffset(2)));
}

/// The two logs, the real and discard topics, and what producers were told.
struct World {
    machine: Transactions<u32>,
    limits: TransactionLimits,
    now: Mono,
    halves: Vec<HalfRecord>,
    ops: Vec<Op>,
    /// Progress as last written down; may lag.
    persisted: (QueueOffset, QueueOffset),
    flights: Vec<Effect<u32>>,
    real: BTreeMap<QueueOffset, u32>,
    discarded: BTreeSet<QueueOffset>,
    delivered: BTreeMap<QueueOffset, u32>,
    commits_asked: BTreeSet<QueueOffset>,
    /// Requests by token: the half and the decision asked for.
    asked: BTreeMap<u32, (QueueOffset, Decision)>,
    /// Checks that are known to no one, over their connections.
    sent: BTreeMap<QueueOffset, ConnectionId>,
    acknowledged: BTreeMap<QueueOffset, Decision>,
    answered: BTreeSet<u32>,
    crashes: u32,
    /// Recovery tells of committed messages.
    tail_read: bool,
    committed: Vec<PhysicalOffset>,
}

#[derive(Clone, Debug)]
enum Step {
    Send,
    End {
        half: usize,
        copy: usize,
        commit: bool,
    },
    Land {
        flight: usize,
        fails: bool,
    },
    /// Somebody answers a check, and does not know.
    Tell {
        check: usize,
    },
    Close {
        connection: u64,
    },
    Wait {
        seconds: u64,
    },
    Persist,
    Crash {
        landed: u64,
    },
}

/// Of the producer group's members, one of which is asked by the half's offset.
const CONNECTIONS: u64 = 3;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Send),
        4 => (any::<usize>(), any::<usize>(), any::<bool>())
            .prop_map(|(half, copy, commit)| Step::End { half, copy, commit }),
        10 => (any::<usize>(), prop::bool::weighted(0.1)).prop_map(|(flight, fails)| Step::Land { flight, fails }),
        2 => any::<usize>().prop_map(|check| Step::Tell { check }),
        1 => (0..CONNECTIONS).prop_map(|connection| Step::Close { connection }),
        3 => (0u64..40).prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::Persist),
        1 => any::<u64>().prop_map(|landed| Step::Crash { landed }),
    ];
    proptest::collection::vec(step, 1..200)
}

impl World {
    fn new(tail_read: bool) -> World {
        let limits = TransactionLimits {
            checks_max: 3,
            checks_in_flight_max: 2,
            op_body_bytes_max: 64,
            carry_lag_max: 4,
            remembered_max: 8,
            ..TransactionLimits::default()
        };
        World {
            machine: Transactions::new(limits),
            limits,
            now: seconds(0),
            halves: Vec::new(),
            ops: Vec::new(),
            persisted: Default::default(),
            flights: Vec::new(),
            real: BTreeMap::new(),
            discarded: BTreeSet::new(),
            delivered: BTreeMap::new(),
            commits_asked: BTreeSet::new(),
            asked: BTreeMap::new(),
            sent: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            answered: BTreeSet::new(),
            crashes: 0,
            tail_read,
            committed: Vec::new(),
        }
    }

    fn run(&mut self, step: Step) {
        let mut effects = Vec::new();
        match step {
            Step::Send => {
                let half = self.append_half(None, 0);
                self.machine.on_half_appended(self.now, half, &mut effects);
            }
            Step::End { half, copy, commit } => self.end(half, copy, commit, &mut effects),
            Step::Land { flight, fails } => {
                if !self.flights.is_empty() {
                    let flight = self.flights.remove(flight % self.flights.len());
                    self.land(flight, fails, &mut effects);
                }
            }
            Step::Tell { check } => self.tell(check, &mut effects),
            Step::Close { connection } => {
                self.sent.retain(|_, over| over.0 != connection);
                self.machine.on_connection_closed(self.now, ConnectionId(connection), &mut effects);
            }
            Step::Wait { seconds } => {
                self.now = self.now.plus(Duration::from_secs(seconds));
                self.machine.on_timer(self.now, &mut effects);
            }
            Step::Persist => self.persisted = self.machine.progress(),
            Step::Crash { landed } => self.crash(landed),
        }
        self.take(effects);
        self.machine.check_invariants();
    }

    fn append_half(&mut self, origin: Option<QueueOffset>, checks: u32) -> HalfRecord {
        let offset = self.halves.len() as u64;
        let half = HalfRecord {
            origin: origin.unwrap_or(QueueOffset(offset)),
            checks,
            stored_at: Timestamp((self.now.0 / 1_000_000) as i64),
            ..record(offset)
        };
        self.halves.push(half.clone());
        half
    }

    fn end(&mut self, half: usize, copy: usize, commit: bool, effects: &mut Effects) {
        if self.halves.is_empty() {
            return;
        }
        let origin = self.halves[half % self.halves.len()].origin;
        let copies: Vec<u64> =
            self.halves.iter().filter(|half| half.origin == origin).map(|half| half.offset.0).collect();
        let decision = if commit { Decision::Commit } else { Decision::Rollback };
        let token = self.asked.len() as u32;
        self.asked.insert(token, (origin, decision));
        if commit {
            self.commits_asked.insert(origin);
        }
        self.machine.end(self.now, end(copies[copy % copies.len()], decision), token, effects);
    }

    fn tell(&mut self, check: usize, effects: &mut Effects) {
        let Some(origin) = self.sent.keys().copied().nth(check % self.sent.len().max(1)) else { return };
        self.sent.remove(&origin);
        *self.delivered.entry(origin).or_default() += 1;
        let answer = End { checked: true, ..end(origin.0, Decision::Unknown) };
        let mut answers = Vec::new();
        self.machine.end(self.now, answer, u32::MAX, &mut answers);
        // It waits for nothing, whatever it is told.
        effects.extend(answers.into_iter().filter(|effect| !matches!(effect, Effect::Answer { .. })));
    }

    /// An effect is carried out, or fails, and is reported.
    fn land(&mut self, flight: Effect<u32>, fails: bool, effects: &mut Effects) {
        match flight {
            Effect::AppendReal { origin, .. }
            | Effect::AppendDiscard { origin, .. }
            | Effect::Carry { origin, .. }
                if fails =>
            {
                self.machine.on_append_failed(self.now, origin, effects);
            }
            Effect::AppendOp { .. } if fails => self.machine.on_op_failed(self.now),
            Effect::Check { origin, .. } if fails => {
                self.machine.on_check_undeliverable(self.now, origin, effects);
            }
            Effect::Check { origin, .. } => {
                let over = ConnectionId(origin.0 % CONNECTIONS);
                self.sent.insert(origin, over);
                self.machine.on_check_sent(self.now, origin, over, effects);
            }
            Effect::Confirm { origin, .. } => match self.sent.remove(&origin) {
                Some(_) if !fails => {
                    *self.delivered.entry(origin).or_default() += 1;
                    self.machine.on_check_delivered(self.now, origin, effects);
                }
                _ => self.machine.on_check_undeliverable(self.now, origin, effects),
            },
            flight => self.store(flight, Some(effects)),
        }
    }

    /// An append reaches the disk; `report` is where the machine's answer goes if the process lives to tell it.
    fn store(&mut self, flight: Effect<u32>, report: Option<&mut Effects>) {
        match flight {
            Effect::AppendReal { origin, physical, .. } => {
                self.committed.push(physical);
                assert!(self.commits_asked.contains(&origin), "nothing is visible before a commit");
                *self.real.entry(origin).or_default() += 1;
                if let Some(effects) = report {
                    self.machine.on_real_appended(origin, effects);
                }
            }
            Effect::AppendDiscard { origin, .. } => {
                let delivered = self.delivered.get(&origin).copied().unwrap_or(0);
                assert!(
                    delivered >= self.limits.checks_max,
                    "a half is discarded after its last delivered check"
                );
                self.discarded.insert(origin);
                if let Some(effects) = report {
                    self.machine.on_discard_appended(origin, effects);
                }
            }
            Effect::Carry { origin, checks, .. } => {
                let half = self.append_half(Some(origin), checks);
                if let Some(effects) = report {
                    self.machine.on_carried(self.now, origin, half.offset, half.physical, effects);
                }
            }
            Effect::AppendOp { op } => {
                let offset = QueueOffset(self.ops.len() as u64);
                self.ops.push(op);
                if let Some(effects) = report {
                    self.machine.on_op_appended(self.now, offset, effects);
                }
            }
            Effect::Check { .. }
            | Effect::Confirm { .. }
            | Effect::Answer { .. }
            | Effect::Advance { .. } => {}
        }
    }

    fn take(&mut self, effects: Effects) {
        for effect in effects {
            match effect {
                Effect::Answer { token, result } => self.answer(token, result),
                Effect::Advance { .. } => {}
                effect => self.flights.push(effect),
            }
        }
    }

    fn answer(&mut self, token: u32, result: Result<Ended, EndError>) {
        assert!(self.answered.insert(token), "each request is answered once");
        let (origin, decision) = self.asked[&token];
        match result {
            Ok(Ended::Settled) => {
                let first = *self.acknowledged.entry(origin).or_insert(decision);
                assert_eq!(first, decision, "two producers were told different ends");
                let visible = self.real.contains_key(&origin);
                assert!(
                    decision != Decision::Commit || visible,
                    "a commit is acknowledged once it is visible"
                );
            }
            Ok(Ended::StillUndecided) => panic!("nobody was undecided"),
            Err(EndError::WrongGroup | EndError::WrongPhysicalOffset | EndError::NotStored) => {}
            Err(EndError::NotFound | EndError::AlreadySettled(_) | EndError::Busy) => {}
        }
    }

    /// The process dies: some appends under way reach the disk, nobody hears of them.
    fn crash(&mut self, mut landed: u64) {
        self.crashes += 1;
        for flight in std::mem::take(&mut self.flights) {
            if landed & 1 == 1 {
                self.store(flight, None);
            }
            landed >>= 1;
        }
        self.sent.clear();
        // A request whose connection broke is never answered.
        self.answered.extend(self.asked.keys());
        self.machine = self.replayed();
    }

    fn replayed(&self) -> Transactions<u32> {
        let (half_start, op_start) = self.persisted;
        let history = History {
            half_start,
            half_end: QueueOffset(self.halves.len() as u64),
            halves: self.halves.iter().filter(|half| half.offset >= half_start).cloned().collect(),
            op_start,
            op_end: QueueOffset(self.ops.len() as u64),
            ops: (0..)
                .map(QueueOffset)
                .zip(self.ops.iter().cloned())
                .filter(|(at, _)| *at >= op_start)
                .collect(),
            committed: if self.tail_read { self.committed.clone() } else { Vec::new() },
        };
        let wall = Timestamp((self.now.0 / 1_000_000) as i64);
        Transactions::replay(self.limits, self.now, wall, history)
    }

    fn settle_flights(&mut self) {
        while let Some(flight) = self.flights.pop() {
            let mut effects = Vec::new();
            self.land(flight, false, &mut effects);
            self.take(effects);
            self.machine.check_invariants();
        }
        // An op record that failed is asked for again by the timer.
        self.run(Step::Wait { seconds: 1 });
        if !self.flights.is_empty() {
            self.settle_flights();
        }
    }

    fn check(&self) {
        for (origin, copies) in &self.real {
            let repeats = if self.tail_read { 0 } else { self.crashes };
            assert!(*copies <= 1 + repeats, "a commit is repeated by a crash alone");
            let rolled_back = self.acknowledged.get(origin) == Some(&Decision::Rollback);
            assert!(!rolled_back || repeats > 0, "what was rolled back is visible");
        }
        for (origin, delivered) in &self.delivered {
            // A crash loses a count that was on its way to the op topic.
            assert!(
                *delivered <= self.limits.checks_max + self.crashes,
                "{origin:?} was asked about too often"
            );
        }
        let live: BTreeSet<QueueOffset> =
            self.machine.unsettled().iter().map(|(origin, _, _)| *origin).collect();
        for half in self.halves.iter().filter(|half| half.origin == half.offset) {
            let named = self.ops.iter().filter_map(|op| match op {
                Op::Settled(offsets) => Some(offsets),
                Op::Checked(_) => None,
            });
            let settled = named.flatten().any(|offset| self.halves[offset.0 as usize].origin == half.origin);
            assert_eq!(settled, !live.contains(&half.origin), "a half is live until an op record settles it");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_half_is_settled_once_as_first_decided_and_survives_crashes(steps in steps(), tail_read: bool) {
        let mut world = World::new(tail_read);
        for step in steps {
            world.run(step);
        }
        world.settle_flights();
        world.check();
    }

    #[test]
    fn a_replay_is_the_live_state(steps in steps()) {
        let mut world = World::new(true);
        for step in steps {
            world.run(step);
        }
        world.settle_flights();
        let replayed = world.replayed();
        replayed.check_invariants();
        prop_assert_eq!(replayed.unsettled(), world.machine.unsettled());
        world.persisted = world.machine.progress();
        let from_progress = world.replayed();
        from_progress.check_invariants();
        prop_assert_eq!(from_progress.unsettled(), world.machine.unsettled());
        prop_assert_eq!(from_progress.progress(), world.machine.progress());
    }

    #[test]
    fn every_undecided_half_with_a_live_producer_ends(count in 1u64..20) {
        let mut world = World::new(true);
        (0..count).for_each(|_| world.run(Step::Send));
        for _ in 0..40 {
            world.settle_flights();
            world.run(Step::Wait { seconds: 30 });
        }
        world.settle_flights();
        prop_assert!(world.machine.is_empty());
        prop_assert_eq!(world.discarded.len() as u64, count);
        let end = QueueOffset(world.halves.len() as u64);
        prop_assert_eq!(world.machine.progress(), (end, QueueOffset(world.ops.len() as u64)));
    }
}

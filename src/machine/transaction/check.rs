//! Checks: who is asked about an undecided half, whether the question arrived, when the next one is due.
//!
//! ```text
//!   due ─▶ Check ── sent over a connection ─▶ asked ──┬── an answer, be it "unknown" ────────────▶ counted
//!    ▲       │ nobody there                           ├── due again ─▶ Confirm ─▶ heard of ──────▶ counted
//!    └───────┴─────────────── silent, or the connection ended ◀──────┘
//! ```
//!
//! Invariant: a half is asked about again only when the fate of the last check is known, and, if it arrived, durable: a
//! crash forgets one check at most.

use crate::base::Mono;
use crate::base::QueueOffset;
use crate::machine::ids::ConnectionId;
use crate::machine::transaction::Effect;
use crate::machine::transaction::Op;
use crate::machine::transaction::Outcome;
use crate::machine::transaction::state::Flight;
use crate::machine::transaction::state::Stage;
use crate::machine::transaction::state::Transactions;

impl<T> Transactions<T> {
    /// A check has left for a member of the group. It counts once that member has answered, or was heard of later over the
    /// same connection.
    pub fn on_check_sent(
        &mut self,
        now: Mono,
        origin: QueueOffset,
        connection: ConnectionId,
        effects: &mut Vec<Effect<T>>,
    ) {
        assert!(self.checks_in_flight.remove(&origin), "a check is reported once, while in flight");
        if let Some(half) = self.halves.get_mut(&origin)
            && !matches!(half.stage, Stage::Settling(_))
        {
            assert!(half.asked.is_none(), "a half is asked about again when the last check's fate is known");
            half.asked = Some((connection, now));
            self.asked.insert((connection, origin));
            if half.stage == Stage::Undecided {
                self.arm(origin, now.plus(self.limits.check_interval));
            }
        }
        self.start_due(now, effects);
    }

    /// The member that was asked last has been heard of since: the check reached it.
    pub fn on_check_delivered(&mut self, now: Mono, origin: QueueOffset, effects: &mut Vec<Effect<T>>) {
        let arrived = self.forget_asked(origin);
        self.check_reported(now, now, origin, arrived, effects);
    }

    /// No member of the group could be asked, or the one that was has not been heard of since. That does not count as a
    /// check; in the second case another one is asked at once.
    pub fn on_check_undeliverable(&mut self, now: Mono, origin: QueueOffset, effects: &mut Vec<Effect<T>>) {
        let counts = self.limits.planted_count_undelivered;
        let next = if self.forget_asked(origin) { now } else { now.plus(self.limits.check_interval) };
        self.check_reported(now, next, origin, counts, effects);
    }

    /// A connection has ended. Checks that left over it, and were not answered, do not count.
    pub fn on_connection_closed(
        &mut self,
        now: Mono,
        connection: ConnectionId,
        effects: &mut Vec<Effect<T>>,
    ) {
        let first = (connection, QueueOffset(0));
        let lost: Vec<QueueOffset> = self
            .asked
            .range(first..)
            .take_while(|(over, _)| *over == connection)
            .map(|(_, origin)| *origin)
            .collect();
        for origin in lost {
            self.forget_asked(origin);
            let half = self.halves.get(&origin).expect("a settled half is not asked about");
            if half.stage == Stage::Undecided && !self.checks_in_flight.contains(&origin) {
                // Not at once: a member that dies of its checks would be asked as fast as it comes back.
                let soon = now.plus(self.limits.retry_after).min(half.due);
                self.due.remove(&(half.due, origin));
                self.arm(origin, soon);
            }
        }
        self.start_due(now, effects);
    }

    fn check_reported(
        &mut self,
        now: Mono,
        next: Mono,
        origin: QueueOffset,
        counts: bool,
        effects: &mut Vec<Effect<T>>,
    ) {
        assert!(self.checks_in_flight.remove(&origin), "a check is reported once, while in flight");
        // The answer may have been faster than the report. A decision that is not stored yet may still fail, and the check
        // was made all the same.
        if let Some(half) = self.halves.get_mut(&origin)
            && !matches!(half.stage, Stage::Settling(_))
        {
            if counts {
                half.checks += 1;
                self.counting.insert(origin);
            }
            if half.stage == Stage::Undecided {
                self.arm(origin, next);
            }
            self.write_op(effects);
        }
        self.start_due(now, effects);
    }

    /// A member answered; if it had been asked, that check reached it.
    pub(super) fn answered(&mut self, checked: bool, origin: QueueOffset, effects: &mut Vec<Effect<T>>) {
        if !checked || !self.forget_asked(origin) {
            return;
        }
        let half = self.halves.get_mut(&origin).expect("a half that is asked about is not settled");
        if !matches!(half.stage, Stage::Settling(_)) {
            half.checks += 1;
            self.counting.insert(origin);
            self.write_op(effects);
        }
    }

    /// True if there was a check whose fate was not known.
    fn forget_asked(&mut self, origin: QueueOffset) -> bool {
        let asked = self.halves.get_mut(&origin).and_then(|half| half.asked.take());
        asked.is_some_and(|(connection, _)| self.asked.remove(&(connection, origin)))
    }

    /// Whether a check of the half was delivered whose count is not durable yet.
    fn is_counting(&self, origin: QueueOffset) -> bool {
        let under_way =
            |flight: &Flight| matches!(flight.op, Op::Checked(_)) && flight.origins.contains(&origin);
        self.counting.contains(&origin) || self.op_in_flight.as_ref().is_some_and(under_way)
    }

    pub(super) fn start_due(&mut self, now: Mono, effects: &mut Vec<Effect<T>>) {
        while self.checks_in_flight.len() < self.limits.checks_in_flight_max {
            let Some(&(at, origin)) = self.due.first() else { break };
            if now < at {
                break;
            }
            let half = self.halves.get(&origin).expect("what is due is not settled");
            if let Some((connection, since)) = half.asked {
                let group = half.group.clone();
                self.due.remove(&(at, origin));
                self.checks_in_flight.insert(origin);
                effects.push(Effect::Confirm { origin, connection, since, group });
                continue;
            }
            if half.checks >= self.limits.checks_max {
                self.decide(origin, Outcome::Discarded, effects);
                continue;
            }
            let (record, physical, group) = (half.record, half.physical, half.group.clone());
            self.due.remove(&(at, origin));
            if self.is_counting(origin) {
                // Else a crash would forget more than one check, and the group would be asked more often than allowed.
                self.arm(origin, now.plus(self.limits.retry_after));
                continue;
            }
            self.checks_in_flight.insert(origin);
            effects.push(Effect::Check { origin, record, physical, group });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::PhysicalOffset;
    use crate::base::Timestamp;
    use crate::machine::transaction::Decision;
    use crate::machine::transaction::End;
    use crate::machine::transaction::HalfRecord;
    use crate::machine::transaction::TransactionLimits;

    const ONE: ConnectionId = ConnectionId(1);
    const TWO: ConnectionId = ConnectionId(2);
    const HALF: QueueOffset = QueueOffset(0);

    type Effects = Vec<Effect<u32>>;

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    /// Asked about at 6 s over the first connection.
    fn asked() -> (Transactions<u32>, Effects) {
        let limits = TransactionLimits { checks_max: 2, ..TransactionLimits::default() };
        let (mut machine, mut effects) = (Transactions::new(limits), Vec::new());
        let half = HalfRecord {
            offset: HALF,
            physical: PhysicalOffset(0),
            origin: HALF,
            group: "pay".to_owned(),
            stored_at: Timestamp(0),
            checks: 0,
            immunity: None,
        };
        machine.on_half_appended(at(0), half, &mut effects);
        machine.on_timer(at(6), &mut effects);
        assert!(matches!(effects[..], [Effect::Check { .. }]), "{effects:?}");
        machine.on_check_sent(at(6), HALF, ONE, &mut effects);
        effects.clear();
        (machine, effects)
    }

    fn answer(checked: bool) -> End<'static> {
        End { record: HALF, physical: PhysicalOffset(0), group: "pay", decision: Decision::Unknown, checked }
    }

    fn counted(machine: &Transactions<u32>) -> u32 {
        machine.check_invariants();
        machine.unsettled()[0].2
    }

    #[test]
    fn a_check_that_was_answered_counts_at_once() {
        let (mut machine, mut effects) = asked();
        assert_eq!(counted(&machine), 0, "nobody knows yet");
        machine.end(at(7), answer(true), 1, &mut effects);
        assert_eq!(counted(&machine), 1);
        machine.end(at(8), answer(true), 2, &mut effects);
        assert_eq!(counted(&machine), 1, "and once");
        machine.on_op_appended(at(8), QueueOffset(0), &mut effects);
        effects.clear();
        machine.on_timer(at(36), &mut effects);
        assert!(
            matches!(effects[..], [Effect::Check { .. }]),
            "the next one is due an interval after it: {effects:?}"
        );
    }

    #[test]
    fn what_its_sender_says_unasked_is_no_answer() {
        let (mut machine, mut effects) = asked();
        machine.end(at(7), answer(false), 1, &mut effects);
        assert_eq!(counted(&machine), 0);
    }

    #[test]
    fn a_check_whose_connection_ended_does_not_count_and_is_made_again_soon() {
        let (mut machine, mut effects) = asked();
        machine.on_connection_closed(at(8), TWO, &mut effects);
        assert_eq!(machine.next_deadline(), Some(at(36)), "another connection says nothing of it");
        machine.on_connection_closed(at(8), ONE, &mut effects);
        assert_eq!(counted(&machine), 0);
        assert_eq!(
            (machine.next_deadline(), &effects[..]),
            (Some(at(9)), &[][..]),
            "not as fast as it comes back"
        );
        machine.on_timer(at(9), &mut effects);
        assert!(matches!(effects[..], [Effect::Check { .. }]), "{effects:?}");
    }

    #[test]
    fn a_check_counts_whose_receiver_says_nothing_of_it_and_lives() {
        let (mut machine, mut effects) = asked();
        for (n, (due, next)) in [(36, 37), (67, 68)].into_iter().enumerate() {
            machine.on_timer(at(due), &mut effects);
            let since = at(if n == 0 { 6 } else { 37 });
            let group = "pay".to_owned();
            assert_eq!(effects, [Effect::Confirm { origin: HALF, connection: ONE, since, group }]);
            effects.clear();
            machine.on_check_delivered(at(due), HALF, &mut effects);
            assert_eq!(counted(&machine) as usize, n + 1);
            if n == 0 {
                machine.on_op_appended(at(due), QueueOffset(0), &mut effects);
                effects.clear();
                machine.on_timer(at(next), &mut effects);
                assert!(matches!(effects[..], [Effect::Check { .. }]), "{effects:?}");
                machine.on_check_sent(at(next), HALF, ONE, &mut effects);
                effects.clear();
            }
        }
        let discarded = |effect: &Effect<u32>| matches!(effect, Effect::AppendDiscard { .. });
        assert!(effects.iter().any(discarded), "that was its last one: {effects:?}");
    }

    #[test]
    fn a_check_to_who_has_been_silent_since_does_not_count_and_is_made_again_at_once() {
        let (mut machine, mut effects) = asked();
        machine.on_timer(at(36), &mut effects);
        effects.clear();
        machine.on_check_undeliverable(at(36), HALF, &mut effects);
        assert_eq!(counted(&machine), 0);
        assert!(matches!(effects[..], [Effect::Check { .. }]), "{effects:?}");
    }

    #[test]
    fn a_half_that_is_settled_is_forgotten_with_the_check_under_way() {
        let (mut machine, mut effects) = asked();
        let end = End { decision: Decision::Rollback, ..answer(false) };
        machine.end(at(7), end, 1, &mut effects);
        machine.on_op_appended(at(7), QueueOffset(0), &mut effects);
        machine.on_connection_closed(at(8), ONE, &mut effects);
        machine.check_invariants();
        assert!(machine.is_empty());
    }
}

//! One send of a producer: which queue next, how long it may take, whether to try once more.
//!
//! ```text
//!            next                  on_failed (worth another try)
//!   idle ----------> in flight ------------------------------------> idle
//!    |                   |  on_failed (pointless), on_stored
//!    | nothing left      v
//!    +--------------> finished
//! ```
//!
//! Laws: at most [`Limits::attempts_max`] attempts; none starts at or after the deadline and none gets more time than is
//! left; a queue of another broker than the last failed one is taken whenever there is one; whether the message *may* be
//! stored is known: a refusal says no, silence says perhaps.
//!
//! Which failures are worth another try is Java's list (`DefaultMQProducer.retryResponseCodes`). Not here: the route, the
//! wire, the message.

use crate::base::Mono;

/// Response codes that another broker, or the same one a moment later, may not give: 17 TOPIC_NOT_EXIST, 14
/// SERVICE_NOT_AVAILABLE, 1 SYSTEM_ERROR, 2 SYSTEM_BUSY, 16 NO_PERMISSION, 204 NO_BUYER_ID, 205 NOT_IN_CURRENT_UNIT, 1500
/// GO_AWAY.
const RETRYABLE: [i32; 8] = [17, 14, 1, 2, 16, 204, 205, 1500];
/// SYSTEM_ERROR: anything at all, also after the append.
const SYSTEM_ERROR: i32 = 1;

/// What one send may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// First try included; at least 1.
    pub attempts_max: u32,
    /// For all attempts together.
    pub timeout_ms: u64,
}

/// Where in the list of queues the next send begins. One per topic, shared by its sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(pub u32);

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The broker answered with this code.
    Refused(i32),
    /// The request never left.
    Unreachable,
    /// The request may have arrived; the answer did not.
    Unanswered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send to the queue at this index; report within `budget_ms`.
    Send {
        index: usize,
        budget_ms: u64,
    },
    GiveUp(GiveUp),
}

/// Why there is no further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveUp {
    NoQueue,
    AttemptsSpent,
    TimeSpent,
    /// The last answer would be the same again.
    Pointless,
}

#[derive(Clone, Debug)]
pub struct Produce {
    limits: Limits,
    deadline: Mono,
    attempts: u32,
    phase: Phase,
    avoid: Option<String>,
    may_be_stored: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    InFlight,
    Finished,
}

impl Failure {
    /// Whether another attempt may end differently.
    pub fn retryable(self) -> bool {
        match self {
            Failure::Refused(code) => RETRYABLE.contains(&code),
            Failure::Unreachable | Failure::Unanswered => true,
        }
    }

    /// Whether the message may be stored in spite of it.
    pub fn may_be_stored(self) -> bool {
        match self {
            Failure::Refused(code) => code == SYSTEM_ERROR,
            Failure::Unreachable => false,
            Failure::Unanswered => true,
        }
    }
}

impl Cursor {
    /// The next queue in turn whose broker is not `avoid`, or simply the next one. `None` without queues.
    pub fn select<'a>(
        &mut self,
        brokers: impl Fn(usize) -> &'a str,
        len: usize,
        avoid: Option<&str>,
    ) -> Option<usize> {
        if len == 0 {
            return None;
        }
        let start = usize::try_from(self.0).unwrap_or(0) % len;
        let turn = (0..len).find(|step| Some(brokers((start + step) % len)) != avoid).unwrap_or(0);
        self.0 = self.0.wrapping_add(1 + u32::try_from(turn).unwrap_or(0));
        Some((start + turn) % len)
    }
}

impl Produce {
    pub fn new(now: Mono, limits: Limits) -> Produce {
        assert!(limits.attempts_max >= 1, "a send is tried at least once");
        Produce {
            limits,
            deadline: now.plus_ms(limits.timeout_ms),
            attempts: 0,
            phase: Phase::Idle,
            avoid: None,
            may_be_stored: false,
        }
    }

    /// The next attempt. `brokers` names the broker of each of the `len` writable queues.
    pub fn next<'a>(
        &mut self,
        now: Mono,
        brokers: impl Fn(usize) -> &'a str,
        len: usize,
        cursor: &mut Cursor,
    ) -> Step {
        match self.admit(now) {
            Err(reason) => Step::GiveUp(reason),
            Ok(budget_ms) => match cursor.select(brokers, len, self.avoid.as_deref()) {
                None => self.give_up(GiveUp::NoQueue),
                Some(index) => self.start(index, budget_ms),
            },
        }
    }

    /// As [`Produce::next`], with the queue fixed by the caller.
    pub fn next_to(&mut self, now: Mono, index: usize) -> Step {
        match self.admit(now) {
            Err(reason) => Step::GiveUp(reason),
            Ok(budget_ms) => self.start(index, budget_ms),
        }
    }

    pub fn on_failed(&mut self, broker: &str, failure: Failure) {
        assert!(self.phase == Phase::InFlight, "only an attempt in flight can fail");
        self.may_be_stored |= failure.may_be_stored();
        self.avoid = Some(broker.to_owned());
        self.phase = if failure.retryable() { Phase::Idle } else { Phase::Finished };
    }

    pub fn on_stored(&mut self) {
        assert!(self.phase == Phase::InFlight, "only an attempt in flight can succeed");
        self.phase = Phase::Finished;
    }

    /// Attempts started so far.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Whether a failed send may be visible to consumers all the same.
    pub fn may_be_stored(&self) -> bool {
        self.may_be_stored
    }

    /// Milliseconds left for whatever else the send needs (a route).
    pub fn left_ms(&self, now: Mono) -> u64 {
        u64::try_from(self.deadline.since(now).as_millis()).unwrap_or(u64::MAX)
    }

    fn admit(&mut self, now: Mono) -> Result<u64, GiveUp> {
        assert!(self.phase != Phase::InFlight, "one attempt at a time");
        let left_ms = self.left_ms(now);
        let reason = match () {
            () if self.phase == Phase::Finished => GiveUp::Pointless,
            () if self.attempts == self.limits.attempts_max => GiveUp::AttemptsSpent,
            () if left_ms == 0 => GiveUp::TimeSpent,
            () => return Ok(left_ms),
        };
        self.phase = Phase::Finished;
        Err(reason)
    }

    fn start(&mut self, index: usize, budget_ms: u64) -> Step {
        self.attempts += 1;
        assert!(self.attempts <= self.limits.attempts_max, "attempts are bounded");
        self.phase = Phase::InFlight;
        Step::Send { index, budget_ms }
    }

    fn give_up(&mut self, reason: GiveUp) -> Step {
        self.phase = Phase::Finished;
        Step::GiveUp(reason)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { attempts_max: 3, timeout_ms: 3000 };
    const BROKERS: [&str; 4] = ["a", "a", "b", "b"];

    fn next(send: &mut Produce, now: Mono, cursor: &mut Cursor) -> Step {
        send.next(now, |index| BROKERS[index], BROKERS.len(), cursor)
    }

    #[test]
    fn a_retry_avoids_the_broker_that_failed() {
        let (mut send, mut cursor) = (Produce::new(Mono(0), LIMITS), Cursor(0));
        assert_eq!(next(&mut send, Mono(0), &mut cursor), Step::Send { index: 0, budget_ms: 3000 });
        send.on_failed("a", Failure::Unreachable);
        let later = Mono(0).plus_ms(1000);
        assert_eq!(next(&mut send, later, &mut cursor), Step::Send { index: 2, budget_ms: 2000 });
        send.on_failed("b", Failure::Refused(2));
        assert_eq!(next(&mut send, later, &mut cursor), Step::Send { index: 0, budget_ms: 2000 });
        send.on_failed("a", Failure::Unreachable);
        assert_eq!(next(&mut send, later, &mut cursor), Step::GiveUp(GiveUp::AttemptsSpent));
        assert!(!send.may_be_stored(), "every attempt was refused or never left");
    }

    #[test]
    fn a_single_broker_is_tried_again() {
        let (mut send, mut cursor) = (Produce::new(Mono(0), LIMITS), Cursor(7));
        for expected in [1, 0, 1] {
            let step = send.next(Mono(0), |_| "only", 2, &mut cursor);
            assert_eq!(step, Step::Send { index: expected, budget_ms: 3000 });
            send.on_failed("only", Failure::Unanswered);
        }
        assert!(send.may_be_stored(), "silence says perhaps");
    }

    #[test]
    fn an_answer_that_would_be_the_same_again_ends_the_send() {
        for (code, again) in [(17, true), (1, true), (1500, true), (13, false), (29, false), (26, false)] {
            let (mut send, mut cursor) = (Produce::new(Mono(0), LIMITS), Cursor(0));
            next(&mut send, Mono(0), &mut cursor);
            send.on_failed("a", Failure::Refused(code));
            let step = next(&mut send, Mono(0), &mut cursor);
            assert_eq!(step != Step::GiveUp(GiveUp::Pointless), again, "code {code}");
        }
    }

    #[test]
    fn nothing_starts_at_the_deadline_and_nothing_without_queues() {
        let (mut send, mut cursor) = (Produce::new(Mono(0), LIMITS), Cursor(0));
        let deadline = Mono(0).plus_ms(3000);
        assert_eq!(next(&mut send, deadline, &mut cursor), Step::GiveUp(GiveUp::TimeSpent));
        let mut send = Produce::new(Mono(0), LIMITS);
        assert_eq!(send.next(Mono(0), |_| "", 0, &mut cursor), Step::GiveUp(GiveUp::NoQueue));
    }

    proptest! {
        #[test]
        fn attempts_and_time_are_bounded_and_queues_are_used_evenly(
            attempts_max in 1u32..6,
            takes_ms in proptest::collection::vec(0u64..2000, 8),
            codes in proptest::collection::vec(0i32..40, 8),
        ) {
            let limits = Limits { attempts_max, timeout_ms: 3000 };
            let (mut send, mut cursor, mut now) = (Produce::new(Mono(0), limits), Cursor(3), Mono(0));
            let deadline = Mono(0).plus_ms(3000);
            let mut last: Option<&str> = None;
            for (takes, code) in takes_ms.iter().zip(&codes) {
                let Step::Send { index, budget_ms } = next(&mut send, now, &mut cursor) else { break };
                prop_assert!(now < deadline && now.plus_ms(budget_ms) <= deadline);
                prop_assert!(last != Some(BROKERS[index]), "another broker was there");
                last = Some(BROKERS[index]);
                now = now.plus_ms((*takes).min(budget_ms));
                send.on_failed(BROKERS[index], Failure::Refused(*code));
            }
            prop_assert!(send.attempts() <= attempts_max);
        }

        #[test]
        fn sends_in_turn_use_every_queue_once_per_round(start in any::<u32>(), len in 1usize..9) {
            let mut cursor = Cursor(start);
            let mut seen: Vec<usize> = (0..len).filter_map(|_| cursor.select(|_| "b", len, None)).collect();
            seen.sort_unstable();
            // The cursor wraps at 2^32, where one round may repeat a queue.
            if start.checked_add(len as u32).is_some() {
                prop_assert_eq!(seen, (0..len).collect::<Vec<_>>());
            }
        }
    }
}

//! O15, promised by the broker and the consumer: a message whose handling failed comes back after its level's delay, as
//! often as allowed, and then lies among the dead letters of its group; not earlier, and never otherwise.
//!
//! Evidence: ends of handlers with the number of the attempt, starts of the next attempt, reads of the dead-letter topic.
//! Unknown: attempts whose process died.
//!
//! Excuse: a broker whose clock was bent measures delays by it. And for a promise of memory alone, it lost power after the
//! last failure; or before, and the last copy came to an offset whose former message was lost: the member that failed did
//! not have the queue any more, and the next one had read what was there before.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use staticfire_chaos::history::Handled;
use staticfire_chaos::history::Name;
use staticfire_chaos::history::Promise;
use staticfire_chaos::history::Queue;
use staticfire_chaos::identity::MessageKey;

use super::Case;
use super::Group;
use super::Verdict;

const CLOCK: &[&str] = &["ClockJump", "ClockFrozen", "ClockDrift"];
/// A broker's delays are as exact as its timer and its clock's rate.
const EARLY_PERCENT: u64 = 75;

/// One message in one group.
#[derive(Default)]
struct Course {
    /// By attempt: the first start, and the first failure.
    started: BTreeMap<u32, u64>,
    failed: BTreeMap<u32, (u64, Queue, u64)>,
    done: bool,
}

pub(crate) fn judge(case: &Case) -> Verdict {
    let mut verdict = Verdict::default();
    for group in case.contract.groups.iter().filter(|group| !group.ordered) {
        let mut courses: BTreeMap<MessageKey, Course> = BTreeMap::new();
        for run in case.runs.iter().filter(|run| run.delivery.group == group.name) {
            let course = courses.entry(run.delivery.key).or_default();
            course.started.entry(run.delivery.attempt).or_insert(run.at);
            match run.ended {
                Some((_, Handled::Success)) => course.done = true,
                Some((at, Handled::Later)) => {
                    // Two members may have had it: the one that failed first sent it back first.
                    let d = run.delivery;
                    let first = course.failed.entry(d.attempt).or_insert((at, d.queue, d.offset.0));
                    first.0 = at.min(first.0);
                }
                None => {}
            }
        }
        let dead = dead(case, group.dead);
        for (key, course) in &courses {
            follow(case, &mut verdict, group, *key, course, dead.contains(key));
        }
        for key in dead.iter().filter(|key| !courses.contains_key(key)) {
            verdict.broken(0, format!("{key} is a dead letter, and nobody handled it")).about(*key);
        }
    }
    for group in case.contract.groups.iter().filter(|group| group.ordered) {
        for key in dead(case, group.dead) {
            verdict.broken(0, format!("{key} is a dead letter of a group without a limit")).about(key);
        }
    }
    verdict
}

fn dead(case: &Case, topic: Name) -> BTreeSet<MessageKey> {
    case.first_look.iter().filter(|((queue, _), _)| queue.topic == topic).map(|(_, key)| *key).collect()
}

fn follow(
    case: &Case,
    verdict: &mut Verdict,
    group: &Group,
    key: MessageKey,
    course: &Course,
    is_dead: bool,
) {
    let name = case.text(group.name);
    if let Some((attempt, at)) = course.started.iter().find(|(attempt, _)| **attempt > group.retries) {
        verdict.broken(*at, format!("{key} came to {name} for attempt {attempt}")).about(key);
    }
    for (attempt, (failed, queue, _)) in &course.failed {
        let Some(next) = course.started.get(&(attempt + 1)) else { continue };
        verdict.held();
        let delay = case.contract.retry_ns.get(*attempt as usize).copied().unwrap_or(0);
        if *next >= failed + delay / 100 * EARLY_PERCENT {
            continue;
        }
        let what = format!(
            "{key} came back to {name} {} ms after it failed, its level says {}",
            next.saturating_sub(*failed) / 1_000_000,
            delay / 1_000_000
        );
        let entries = case.faults_of(queue.broker, CLOCK, 0, *next);
        if entries.is_empty() {
            verdict.broken(*next, what).about(key);
        } else {
            verdict.excuse(what, entries);
        }
    }
    let last = course.failed.get(&group.retries);
    if is_dead {
        verdict.held();
        if last.is_none() {
            let what = format!("{key} is a dead letter of {name} before its last attempt failed");
            verdict.broken(0, what).about(key);
        }
    } else if let Some((at, queue, offset)) = last
        && !course.done
        && case.contract.not_live.is_none()
    {
        verdict.held();
        let what = format!("{key} failed for the last time in {name}, and is no dead letter");
        let mut entries = case.faults_of(queue.broker, &["OsCrash", "SyncFailed"], *at, u64::MAX);
        entries.extend(case.given_out_again(*queue, *offset, key, *at));
        if case.contract.promise == Promise::Memory && !entries.is_empty() {
            verdict.excuse(what, entries);
        } else {
            verdict.broken(*at, what).about(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use staticfire_chaos::history::What;

    use super::*;
    use crate::oracle::tale::BROKER;
    use crate::oracle::tale::DEAD;
    use crate::oracle::tale::RETRY;
    use crate::oracle::tale::TOPIC;
    use crate::oracle::tale::Tale;

    fn poison(attempts: u32) -> Tale {
        poison_of(Promise::Disk, attempts)
    }

    fn poison_of(promise: Promise, attempts: u32) -> Tale {
        let mut tale = Tale::new(promise);
        tale.sent(1_000, 1, 0);
        tale.failed(2_000, TOPIC, 1, 0, 0);
        for attempt in 1..attempts {
            tale.failed(2_000 + u64::from(attempt) * 3_000, RETRY, 1, u64::from(attempt), attempt);
        }
        tale
    }

    #[test]
    fn a_dead_letter_too_early() {
        let mut tale = poison(2);
        tale.there(DEAD, 1, 0);
        tale.rejected(judge);
    }

    #[test]
    fn no_dead_letter_after_the_last_attempt() {
        poison(3).rejected(judge);
    }

    /// The last failure is that of offset 2 of the retry queue, at 8 s.
    fn after_another_message_there(crash_ms: u64) -> Tale {
        let mut tale = poison_of(Promise::Memory, 3);
        tale.sent(500, 2, 1);
        let before = Tale::delivery(RETRY, 2, 2, 1);
        tale.at(1_500, crate::oracle::tale::TWO, What::HandlerStarted(before));
        tale.at(1_600, crate::oracle::tale::TWO, What::HandlerEnded(before, Handled::Success));
        tale.fault(crash_ms, BROKER, "OsCrash { pages_lost: 1 }");
        tale
    }

    #[test]
    fn the_next_member_had_read_what_was_there_before_the_power_was_lost() {
        after_another_message_there(1_700).excused(judge);
    }

    #[test]
    fn power_lost_before_that_other_message_was_sent() {
        after_another_message_there(400).rejected(judge);
    }

    #[test]
    fn power_lost_before_the_last_failure_takes_no_dead_letter() {
        let mut tale = poison_of(Promise::Memory, 3);
        tale.fault(1_700, BROKER, "OsCrash { pages_lost: 1 }");
        tale.rejected(judge);
    }

    #[test]
    fn one_attempt_too_many() {
        poison(4).rejected(judge);
    }

    #[test]
    fn back_before_its_delay() {
        let mut tale = poison(1);
        tale.failed(2_100, RETRY, 1, 0, 1);
        tale.rejected(judge);
    }

    #[test]
    fn a_poisonous_message_to_its_end() {
        let mut tale = poison(3);
        tale.there(DEAD, 1, 0);
        tale.accepted(judge);
    }

    #[test]
    fn one_that_is_handled_in_the_end() {
        let mut tale = poison(2);
        tale.at(9_000, crate::oracle::tale::ONE, {
            staticfire_chaos::history::What::HandlerEnded(Tale::delivery(RETRY, 1, 2, 2), Handled::Success)
        });
        tale.accepted(judge);
    }

    #[test]
    fn the_member_that_began_first_may_fail_last() {
        let mut tale = Tale::new(Promise::Disk);
        tale.sent(1_000, 1, 0);
        let delivery = Tale::delivery(TOPIC, 1, 0, 0);
        tale.at(1_500, crate::oracle::tale::TWO, What::HandlerStarted(delivery));
        tale.failed(2_000, TOPIC, 1, 0, 0);
        tale.at(2_900, crate::oracle::tale::TWO, What::HandlerEnded(delivery, Handled::Later));
        tale.at(3_100, crate::oracle::tale::ONE, What::HandlerStarted(Tale::delivery(RETRY, 1, 0, 1)));
        tale.accepted(judge);
    }

    #[test]
    fn a_bent_clock_shortens_delays() {
        let mut tale = poison(1);
        tale.fault(1_900, BROKER, "ClockJump { ms: 5000 }");
        tale.failed(2_100, RETRY, 1, 0, 1);
        tale.excused(judge);
    }
}

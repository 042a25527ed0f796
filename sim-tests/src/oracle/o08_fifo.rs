//! O8, promised by the broker's queue locks and the ordered consumer: of one key, a message is not started before the one
//! before it is done; and two members never handle one queue at the same time.
//!
//! Evidence: acknowledged sends of one key to one queue, in the order of the sends; starts and ends of handlers, where a
//! process that died has ended all of its own. Unknown: where a send without an answer lies; it is left out.
//!
//! Excuses: of the first half, for a promise of memory alone, that the earlier message was lost with the power, or came
//! to an offset whose former message was, so that its readers skip it; for any promise, that it rotted before anybody
//! had done it. Of the
//! second half, that the member that had the queue first was paused, or its clock or the broker's was bent, while its
//! handler ran: its lease then ends without its knowledge.

use std::collections::BTreeMap;

use staticfire_chaos::history::Handled;
use staticfire_chaos::history::Promise;
use staticfire_chaos::history::Queue;
use staticfire_chaos::identity::MessageKey;

use super::Case;
use super::Group;
use super::Verdict;
use super::case::Run;

/// What ends a lease behind its holder's back.
const BLINDING: &[&str] = &["Pause", "ClockFrozen", "ClockDrift"];

pub(crate) fn judge(case: &Case) -> Verdict {
    let mut verdict = Verdict::default();
    for group in case.contract.groups.iter().filter(|group| group.ordered) {
        let runs: Vec<&Run> = case.runs.iter().filter(|run| run.delivery.group == group.name).collect();
        in_order(case, &mut verdict, group, &runs);
        one_at_a_time(case, &mut verdict, &runs);
    }
    verdict
}

fn in_order(case: &Case, verdict: &mut Verdict, group: &Group, runs: &[&Run]) {
    let mut started: BTreeMap<MessageKey, u64> = BTreeMap::new();
    let mut done: BTreeMap<MessageKey, u64> = BTreeMap::new();
    for run in runs {
        let first = started.entry(run.delivery.key).or_insert(run.at);
        *first = run.at.min(*first);
        if let Some((at, Handled::Success)) = run.ended {
            let first = done.entry(run.delivery.key).or_insert(at);
            *first = at.min(*first);
        }
    }
    let mut last: BTreeMap<(u16, u32, Queue), (MessageKey, u64, u64)> = BTreeMap::new();
    for (key, sent) in case.sends.iter().filter(|(_, sent)| sent.topic == group.topic) {
        let Some((acked, queue, offset)) = sent.acked() else { continue };
        let line = (key.producer, key.shard, queue);
        let Some((before, stored, place)) = last.insert(line, (*key, acked, offset)) else { continue };
        let Some(start) = started.get(key).copied() else { continue };
        verdict.held();
        if done.get(&before).is_some_and(|done| *done <= start) {
            continue;
        }
        let what = format!("{key} was started before {before} was done");
        let rotten = case.rotten_copy(before);
        if !rotten.is_empty() && !done.contains_key(&before) {
            verdict.excuse(what, rotten);
            continue;
        }
        let mut entries = case.memory_lost(queue.broker, stored);
        entries.extend(case.given_out_again(queue, place, before, stored));
        if case.contract.promise == Promise::Memory && !entries.is_empty() {
            verdict.excuse(what, entries);
            continue;
        }
        verdict.broken(start, what).about(before);
    }
}

fn one_at_a_time(case: &Case, verdict: &mut Verdict, runs: &[&Run]) {
    let mut latest: BTreeMap<Queue, &Run> = BTreeMap::new();
    for run in runs {
        let queue = run.delivery.queue;
        if let Some(other) = latest.get(&queue)
            && (other.node, other.life) != (run.node, run.life)
        {
            verdict.held();
            if other.over_at > run.at {
                let what = format!(
                    "{} started {} while {} was at {}",
                    case.text(run.node),
                    case.place(queue, run.delivery.offset.0),
                    case.text(other.node),
                    case.place(queue, other.delivery.offset.0)
                );
                let mut entries = case.faults_of(other.node, BLINDING, other.at, run.at);
                entries.extend(case.faults_of(queue.broker, &BLINDING[1..], other.at, run.at));
                if entries.is_empty() {
                    verdict.broken(run.at, what).about(other.delivery.key);
                } else {
                    verdict.excuse(what, entries);
                }
            }
        }
        let further = latest.get(&queue).is_none_or(|other| other.over_at <= run.over_at);
        if further {
            latest.insert(queue, run);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::tale::BROKER;
    use crate::oracle::tale::ONE;
    use crate::oracle::tale::TWO;
    use crate::oracle::tale::Tale;

    fn two_steps() -> Tale {
        let mut tale = Tale::ordered();
        tale.sent(1_000, 1, 0);
        tale.sent(1_100, 2, 1);
        tale
    }

    #[test]
    fn the_second_step_is_done_first() {
        let mut tale = two_steps();
        tale.handled(2_000, 2, 1);
        tale.handled(2_100, 1, 0);
        tale.rejected(judge);
    }

    #[test]
    fn a_step_that_rotted_is_never_done() {
        let mut tale = two_steps();
        tale.rots(1_500, 1, 0);
        tale.handled(2_000, 2, 1);
        tale.excused(judge);
    }

    #[test]
    fn a_step_that_rotted_and_is_done_later_all_the_same() {
        let mut tale = two_steps();
        tale.rots(1_500, 1, 0);
        tale.handled(2_000, 2, 1);
        tale.handled(2_100, 1, 0);
        tale.rejected(judge);
    }

    #[test]
    fn the_second_step_starts_while_the_first_is_handled() {
        let mut tale = two_steps();
        tale.started(2_000, ONE, 1, 0);
        tale.started(2_005, ONE, 2, 1);
        tale.done(2_010, ONE, 1, 0);
        tale.rejected(judge);
    }

    #[test]
    fn two_members_at_once() {
        let mut tale = two_steps();
        tale.started(2_000, ONE, 1, 0);
        tale.started(2_100, TWO, 1, 0);
        tale.done(2_200, TWO, 1, 0);
        tale.done(2_300, ONE, 1, 0);
        tale.rejected(judge);
    }

    #[test]
    fn a_member_that_died_has_let_go() {
        let mut tale = two_steps();
        tale.started(2_000, ONE, 1, 0);
        tale.fault(2_050, ONE, "Kill");
        tale.started(2_100, TWO, 1, 0);
        tale.done(2_200, TWO, 1, 0);
        tale.started(2_300, TWO, 2, 1);
        tale.accepted(judge);
    }

    #[test]
    fn a_step_that_is_repeated_after_the_next_one() {
        let mut tale = two_steps();
        tale.handled(2_000, 1, 0);
        tale.handled(2_100, 2, 1);
        tale.handled(2_200, 1, 0);
        tale.accepted(judge);
    }

    #[test]
    fn a_paused_member_does_not_know_that_its_lease_is_over() {
        let mut tale = two_steps();
        tale.started(2_000, ONE, 1, 0);
        tale.fault(2_050, ONE, "Pause { ns: 1 }");
        tale.started(80_000, TWO, 1, 0);
        tale.done(80_010, TWO, 1, 0);
        tale.done(81_000, ONE, 1, 0);
        tale.excused(judge);
    }

    #[test]
    fn a_fault_of_somebody_else_excuses_nothing() {
        let mut tale = two_steps();
        tale.started(2_000, ONE, 1, 0);
        tale.fault(2_050, BROKER, "Pause { ns: 1 }");
        tale.started(2_100, TWO, 1, 0);
        tale.done(2_200, ONE, 1, 0);
        tale.rejected(judge);
    }
}

//! O1, promised by the broker and the store: whatever was acknowledged is there in the end, at the offset that was
//! acknowledged, and every group that subscribed before has it settled: handled, or among its dead letters.
//!
//! Evidence: the sender's `Ok(queue, offset)`, the reads of both looks, the ends of handlers. Unknown: sends that got no
//! answer, or a weak one.
//!
//! Excuse, for a promise of memory alone: the broker lost power, or a failed sync threw pages away, within the longest time
//! that an async log is left alone; and what is lost is a suffix, nothing acknowledged behind it survived. Or the group had
//! read another message at this very offset, or at that of its retry, which was lost so, and skips the one that came
//! there after it, as it does in RocketMQ. For any promise: a byte of this very record changed on the disk, and nothing is told in its place; its
//! neighbours have no excuse.

use staticfire_chaos::history::Handled;
use staticfire_chaos::history::Promise;
use staticfire_chaos::history::Queue;
use staticfire_chaos::identity::MessageKey;

use super::Case;
use super::Group;
use super::Verdict;

pub(crate) fn judge(case: &Case) -> Verdict {
    let mut verdict = Verdict::default();
    for (key, sent) in &case.sends {
        let Some((at, queue, offset)) = sent.acked() else { continue };
        verdict.held();
        let place = (queue, offset);
        let there = |look: &std::collections::BTreeMap<_, _>| look.get(&place) == Some(key);
        // What did not settle may not have been there to be read after the last restart either.
        let again = case.contract.not_live.is_some() || there(&case.second_look);
        if !there(&case.first_look) || !again {
            lost(case, &mut verdict, *key, at, queue, offset);
            continue;
        }
        for group in case.contract.groups.iter().filter(|group| group.topic == sent.topic) {
            settled(case, &mut verdict, *key, at, place, group);
        }
    }
    verdict
}

fn lost(case: &Case, verdict: &mut Verdict, key: MessageKey, at: u64, queue: Queue, offset: u64) {
    let place = case.place(queue, offset);
    let what = match case.first_look.get(&(queue, offset)) {
        Some(other) => format!("{key} was acknowledged as {place}, which now holds {other}"),
        None => format!("{key} was acknowledged as {place}, where nothing is any more"),
    };
    let rotten = case.rotten_at(queue, offset);
    if !rotten.is_empty() && !case.first_look.contains_key(&(queue, offset)) {
        return verdict.excuse(what, rotten);
    }
    if case.contract.promise == Promise::Memory {
        let entries = case.memory_lost(queue.broker, at);
        let crash = case.faults.iter().filter(|f| entries.contains(&f.number)).map(|f| f.at).max();
        if let Some(crash) = crash
            && is_suffix(case, queue, offset, crash)
        {
            return verdict.excuse(what, entries);
        }
    }
    verdict.broken(at, what).about(key).at_place(queue, offset);
}

/// Whether nothing of the queue that was acknowledged before the crash survived behind the offset.
fn is_suffix(case: &Case, queue: Queue, offset: u64, crash: u64) -> bool {
    case.sends.iter().all(|(key, sent)| match sent.acked() {
        Some((at, of, behind)) if of == queue && behind > offset && at < crash => {
            // Acknowledged after an earlier crash of the same span, it may well be there.
            case.first_look.get(&(of, behind)) != Some(key)
                || case.faults.iter().any(|f| f.node == queue.broker && f.is_death() && f.at < at)
        }
        _ => true,
    })
}

fn settled(
    case: &Case,
    verdict: &mut Verdict,
    key: MessageKey,
    at: u64,
    (queue, offset): (Queue, u64),
    group: &Group,
) {
    if case.contract.not_live.is_some() {
        return;
    }
    let (mut last, mut stored) = (at, vec![at]);
    for run in case.runs.iter().filter(|run| run.delivery.group == group.name && run.delivery.key == key) {
        match run.ended {
            Some((_, Handled::Success)) => return,
            Some((ended, Handled::Later)) => {
                last = last.max(ended);
                // Its copy for the next attempt, or its dead letter, is as mortal as itself.
                stored.push(ended);
            }
            None => {}
        }
    }
    if case.first_look.iter().any(|((queue, _), dead)| queue.topic == group.dead && *dead == key) {
        return;
    }
    let what = format!("{key} is settled for group {} neither way", case.text(group.name));
    let rotten = case.rotten_copy(key);
    if !rotten.is_empty() {
        return verdict.excuse(what, rotten);
    }
    if case.contract.promise == Promise::Memory {
        let mut entries = case.given_out_again(queue, offset, key, at);
        let copies =
            case.first_look.iter().filter(|((of, _), copy)| of.topic == group.retry && **copy == key);
        entries.extend(copies.flat_map(|((of, offset), _)| case.given_out_again(*of, *offset, key, last)));
        entries.extend(stored.iter().flat_map(|at| case.memory_lost(queue.broker, *at)));
        if !entries.is_empty() {
            return verdict.excuse(what, entries);
        }
    }
    verdict.broken(last, what).about(key);
}

#[cfg(test)]
mod tests {
    use staticfire_chaos::history::What;

    use super::*;
    use crate::oracle::tale::BROKER;
    use crate::oracle::tale::DEAD;
    use crate::oracle::tale::ONE;
    use crate::oracle::tale::RETRY;
    use crate::oracle::tale::TOPIC;
    use crate::oracle::tale::Tale;

    #[test]
    fn an_acknowledged_message_that_is_gone_is_a_loss() {
        let mut tale = Tale::new(Promise::Disk);
        tale.sent(1_000, 1, 0);
        tale.fault(1_500, BROKER, "OsCrash { pages_lost: 1 }");
        tale.rejected(judge);
    }

    #[test]
    fn so_is_one_that_nobody_handled() {
        let mut tale = Tale::new(Promise::Disk);
        tale.sent(1_000, 1, 0);
        tale.there(TOPIC, 1, 0);
        tale.failed(2_000, TOPIC, 1, 0, 0);
        tale.rejected(judge);
    }

    #[test]
    fn a_crash_long_after_excuses_nothing() {
        let mut tale = Tale::new(Promise::Memory);
        tale.sent(1_000, 1, 0);
        tale.fault(20_000, BROKER, "OsCrash { pages_lost: 1 }");
        tale.rejected(judge);
    }

    #[test]
    fn nor_does_one_that_left_a_hole() {
        let mut tale = Tale::new(Promise::Memory);
        tale.sent(1_000, 1, 0);
        tale.sent(1_100, 2, 1);
        tale.there(TOPIC, 2, 1);
        tale.handled(1_200, 2, 1);
        tale.fault(1_500, BROKER, "OsCrash { pages_lost: 1 }");
        tale.rejected(judge);
    }

    #[test]
    fn memory_may_lose_its_last_seconds_with_the_power() {
        let mut tale = Tale::new(Promise::Memory);
        tale.sent(1_000, 1, 0);
        tale.fault(1_500, BROKER, "OsCrash { pages_lost: 1 }");
        tale.excused(judge);
    }

    #[test]
    fn a_dead_letter_may_be_lost_as_any_message() {
        let mut tale = Tale::new(Promise::Memory);
        tale.sent(1_000, 1, 0);
        tale.there(TOPIC, 1, 0);
        tale.failed(40_000, TOPIC, 1, 0, 0);
        tale.fault(41_000, BROKER, "OsCrash { pages_lost: 1 }");
        tale.failed(42_000, TOPIC, 1, 0, 0);
        tale.excused(judge);
    }

    #[test]
    fn who_read_what_was_lost_skips_what_comes_there_after_it() {
        let mut tale = Tale::new(Promise::Memory);
        tale.sent(1_000, 1, 0);
        tale.handled(1_100, 1, 0);
        tale.fault(1_500, BROKER, "OsCrash { pages_lost: 1 }");
        tale.sent(9_000, 2, 0);
        tale.there(TOPIC, 2, 0);
        tale.excused(judge);
    }

    #[test]
    fn what_was_lost_may_be_handled_after_the_loss() {
        let mut tale = Tale::new(Promise::Memory);
        tale.invoked(1_000, 1, staticfire_chaos::history::Intent::Plain);
        tale.fault(1_500, BROKER, "OsCrash { pages_lost: 1 }");
        tale.handled(8_000, 1, 0);
        tale.sent(9_000, 2, 0);
        tale.there(TOPIC, 2, 0);
        tale.excused(judge);
    }

    #[test]
    fn what_was_sent_after_the_loss_was_not_lost() {
        let mut tale = Tale::new(Promise::Memory);
        tale.fault(1_500, BROKER, "OsCrash { pages_lost: 1 }");
        tale.invoked(2_000, 1, staticfire_chaos::history::Intent::Plain);
        tale.handled(8_000, 1, 0);
        tale.sent(19_000, 2, 0);
        tale.there(TOPIC, 2, 0);
        tale.rejected(judge);
    }

    #[test]
    fn a_first_message_there_is_skipped_by_nobody() {
        let mut tale = Tale::new(Promise::Memory);
        tale.fault(1_500, BROKER, "OsCrash { pages_lost: 1 }");
        tale.sent(9_000, 2, 0);
        tale.there(TOPIC, 2, 0);
        tale.rejected(judge);
    }

    #[test]
    fn a_rotten_record_does_not_excuse_its_neighbour() {
        let mut tale = Tale::new(Promise::Disk);
        tale.sent(1_000, 1, 0);
        tale.sent(1_100, 2, 1);
        tale.rots(50_000, 1, 0);
        tale.rejected(judge);
    }

    #[test]
    fn nor_another_message_in_its_place() {
        let mut tale = Tale::new(Promise::Disk);
        tale.sent(1_000, 1, 0);
        tale.rots(50_000, 1, 0);
        tale.there(TOPIC, 2, 0);
        tale.rejected(judge);
    }

    #[test]
    fn a_rotten_record_is_lost_alone() {
        let mut tale = Tale::new(Promise::Disk);
        tale.sent(1_000, 1, 0);
        tale.sent(1_100, 2, 1);
        tale.handled(1_200, 2, 1);
        tale.rots(50_000, 1, 0);
        tale.there(TOPIC, 2, 1);
        tale.excused(judge);
    }

    #[test]
    fn a_group_cannot_settle_what_rotted_before_it_came_to_it() {
        let mut tale = Tale::new(Promise::Disk);
        tale.sent(1_000, 1, 0);
        tale.rots(50_000, 1, 0);
        tale.excused(judge);
    }

    #[test]
    fn a_dead_letter_is_settled() {
        let mut tale = Tale::new(Promise::Disk);
        tale.sent(1_000, 1, 0);
        tale.there(TOPIC, 1, 0);
        tale.failed(2_000, TOPIC, 1, 0, 0);
        tale.there(DEAD, 1, 0);
        tale.accepted(judge);
    }

    #[test]
    fn what_was_handled_before_a_crash_and_is_there_after_it_is_kept() {
        let mut tale = Tale::new(Promise::Disk);
        tale.sent(1_000, 1, 0);
        tale.handled(1_100, 1, 0);
        tale.fault(1_500, BROKER, "OsCrash { pages_lost: 1 }");
        tale.there(TOPIC, 1, 0);
        tale.accepted(judge);
    }

    /// Message 1 was retried at an offset that message 2 gets for its retry thirty seconds later.
    fn two_retries_at_one_offset(lost_at: u64) -> Tale {
        let mut tale = Tale::new(Promise::Memory);
        tale.fault(lost_at, BROKER, "OsCrash { pages_lost: 1 }");
        tale.sent(1_000, 1, 0);
        tale.failed(1_100, TOPIC, 1, 0, 0);
        let retried = Tale::delivery(RETRY, 1, 0, 1);
        tale.at(1_800, ONE, What::HandlerStarted(retried));
        tale.at(1_810, ONE, What::HandlerEnded(retried, Handled::Success));
        tale.sent(30_000, 2, 1);
        tale.failed(30_100, TOPIC, 2, 1, 0);
        tale.there(TOPIC, 1, 0);
        tale.there(TOPIC, 2, 1);
        tale.there(RETRY, 2, 0);
        tale
    }

    #[test]
    fn a_retry_got_an_offset_that_the_group_had_passed() {
        two_retries_at_one_offset(5_000).excused(judge);
    }

    #[test]
    fn a_retry_was_passed_over_and_nothing_was_lost_since_the_first() {
        two_retries_at_one_offset(500).rejected(judge);
    }
}

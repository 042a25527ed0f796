//! O9, promised by the consumer: whatever lies below a group's committed offset has been handled by the group, or sent back
//! to come again.
//!
//! Evidence: committed offsets as the broker tells them, ends of handlers before that moment, and what is known to lie at
//! each offset. Unknown: offsets at which nobody ever saw anything.
//!
//! Excuse, for a promise of memory alone: the broker lost power before, and its queues shrank below offsets that readers
//! had committed. For any promise: a fault damaged this very record on the disk, and nobody can handle it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use staticfire_chaos::history::Handled;
use staticfire_chaos::history::Name;
use staticfire_chaos::history::Promise;
use staticfire_chaos::history::Queue;
use staticfire_chaos::history::What;

use super::Case;
use super::Verdict;

pub(crate) fn judge(case: &Case) -> Verdict {
    let mut verdict = Verdict::default();
    let mut known: BTreeMap<Queue, BTreeSet<u64>> = BTreeMap::new();
    for seen in &case.seen {
        known.entry(seen.queue).or_default().insert(seen.offset);
    }
    for (_, queue, offset) in case.sends.values().filter_map(|sent| sent.acked()) {
        known.entry(queue).or_default().insert(offset);
    }
    let mut done: BTreeMap<(Name, Queue, u64), u64> = BTreeMap::new();
    for run in &case.runs {
        let ordered = case.group(run.delivery.group).is_some_and(|group| group.ordered);
        let Some((at, how)) = run.ended else { continue };
        if how == Handled::Success || !ordered {
            let place = (run.delivery.group, run.delivery.queue, run.delivery.offset.0);
            let first = done.entry(place).or_insert(at);
            *first = at.min(*first);
        }
    }
    let mut checked: BTreeMap<(Name, Queue), u64> = BTreeMap::new();
    for event in &case.record.events {
        let What::CommitObserved { group, queue, offset } = event.what else { continue };
        let from = checked.entry((group, queue)).or_insert(0);
        let (low, high) = (*from, offset.0.max(*from));
        *from = high;
        let Some(known) = known.get(&queue) else { continue };
        for below in known.range(low..high) {
            verdict.held();
            if done.get(&(group, queue, *below)).is_some_and(|done| *done <= event.at) {
                continue;
            }
            let what = format!(
                "{} had committed {} when nobody had handled {}",
                case.text(group),
                offset.0,
                case.place(queue, *below)
            );
            let rotten = case.rotten_at(queue, *below);
            if !rotten.is_empty() {
                verdict.excuse(what, rotten);
                continue;
            }
            let entries = case.faults_of(queue.broker, &["OsCrash", "SyncFailed"], 0, event.at);
            if case.contract.promise == Promise::Memory && !entries.is_empty() {
                verdict.excuse(what, entries);
            } else {
                verdict.broken(event.at, what).at_place(queue, *below);
            }
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::tale::BROKER;
    use crate::oracle::tale::ONE;
    use crate::oracle::tale::TOPIC;
    use crate::oracle::tale::Tale;

    #[test]
    fn a_commit_while_the_handler_runs() {
        let mut tale = Tale::new(Promise::Disk);
        tale.sent(1_000, 1, 0);
        tale.started(1_100, ONE, 1, 0);
        tale.committed(1_150, 1);
        tale.done(1_200, ONE, 1, 0);
        tale.rejected(judge);
    }

    #[test]
    fn a_commit_beyond_what_nobody_had() {
        let mut tale = Tale::new(Promise::Disk);
        tale.sent(1_000, 1, 0);
        tale.sent(1_001, 2, 1);
        tale.handled(1_100, 2, 1);
        tale.committed(1_200, 2);
        tale.rejected(judge);
    }

    fn three_committed_and_the_second_rotten(rotten: u32) -> Tale {
        let mut tale = Tale::new(Promise::Disk);
        for seq in 1..=3 {
            tale.sent(1_000 + u64::from(seq), seq, u64::from(seq - 1));
        }
        tale.rots(1_050, rotten, u64::from(rotten - 1));
        tale.handled(1_100, 1, 0);
        tale.handled(1_100, 3, 2);
        tale.committed(1_200, 3);
        tale
    }

    #[test]
    fn a_rotten_record_is_committed_over() {
        three_committed_and_the_second_rotten(2).excused(judge);
    }

    #[test]
    fn a_rotten_neighbour_excuses_nothing() {
        three_committed_and_the_second_rotten(3).rejected(judge);
    }

    #[test]
    fn an_ordered_message_that_failed_is_not_done() {
        let mut tale = Tale::ordered();
        tale.sent(1_000, 1, 0);
        tale.failed(1_100, TOPIC, 1, 0, 0);
        tale.committed(1_200, 1);
        tale.rejected(judge);
    }

    #[test]
    fn one_that_was_sent_back_is_settled_here() {
        let mut tale = Tale::new(Promise::Disk);
        tale.sent(1_000, 1, 0);
        tale.failed(1_100, TOPIC, 1, 0, 0);
        tale.committed(1_200, 1);
        tale.accepted(judge);
    }

    #[test]
    fn the_first_of_two_members_is_enough() {
        let mut tale = Tale::new(Promise::Disk);
        tale.sent(1_000, 1, 0);
        tale.handled(1_100, 1, 0);
        tale.committed(1_200, 1);
        tale.started(1_300, ONE, 1, 0);
        tale.accepted(judge);
    }

    #[test]
    fn a_queue_that_shrank_below_its_readers() {
        let mut tale = Tale::new(Promise::Memory);
        tale.fault(900, BROKER, "OsCrash { pages_lost: 1 }");
        tale.sent(1_000, 1, 0);
        tale.committed(1_200, 1);
        tale.excused(judge);
    }
}

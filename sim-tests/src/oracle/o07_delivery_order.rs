//! O7, promised by the consumer: a member hands out a queue's messages without gaps, and in order where order was asked
//! for; it begins again at the group's offset, never above what somebody had.
//!
//! Evidence: starts of handlers by process, life and queue. Handlers of a concurrent group are started together, so there
//! the order of their first lines says nothing; a gap in the end does. Unknown: what a process held when it died; somebody
//! must have it later.
//!
//! Excuse, for a promise of memory alone: the broker lost power, so that its queues shrank under their readers. For any
//! promise: a fault damaged this very record on the disk.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use staticfire_chaos::history::Name;
use staticfire_chaos::history::Promise;
use staticfire_chaos::history::Queue;

use super::Case;
use super::Verdict;

pub(crate) fn judge(case: &Case) -> Verdict {
    let mut verdict = Verdict::default();
    let mut had: BTreeMap<(Name, Queue), BTreeSet<u64>> = BTreeMap::new();
    let mut top: BTreeMap<(Name, u32, Name, Queue), u64> = BTreeMap::new();
    let mut span: BTreeMap<(Name, u32, Name, Queue), (u64, u64, u64)> = BTreeMap::new();
    for run in &case.runs {
        let (group, queue, offset) = (run.delivery.group, run.delivery.queue, run.delivery.offset.0);
        let life = (run.node, run.life, group, queue);
        let seen = had.entry((group, queue)).or_default();
        let entry = span.entry(life).or_insert((offset, offset, run.at));
        *entry = (entry.0.min(offset), entry.1.max(offset), run.at);
        let ordered = case.group(group).is_some_and(|group| group.ordered);
        if let Some(before) = top.get(&life).copied().filter(|_| ordered) {
            verdict.held();
            for missing in (before + 1..offset).filter(|skipped| !seen.contains(skipped)) {
                let what = format!(
                    "{} started {} after {}, and nobody had {missing}",
                    case.text(run.node),
                    case.place(queue, offset),
                    before
                );
                excuse_or_break(case, &mut verdict, queue, missing, run.at, what);
            }
        }
        let highest = top.entry(life).or_insert(offset);
        *highest = offset.max(*highest);
        seen.insert(offset);
    }
    if case.contract.not_live.is_some() {
        return verdict;
    }
    for ((node, _, group, queue), (low, high, at)) in span {
        let seen = &had[&(group, queue)];
        verdict.held();
        for missing in (low..high).filter(|offset| !seen.contains(offset)) {
            let what = format!(
                "{} had {} to {high} of {}, and nobody ever had {missing}",
                case.text(node),
                low,
                case.text(queue.topic)
            );
            excuse_or_break(case, &mut verdict, queue, missing, at, what);
        }
    }
    verdict
}

fn excuse_or_break(case: &Case, verdict: &mut Verdict, queue: Queue, missing: u64, at: u64, what: String) {
    let rotten = case.rotten_at(queue, missing);
    if !rotten.is_empty() {
        return verdict.excuse(what, rotten);
    }
    let entries = case.faults_of(queue.broker, &["OsCrash", "SyncFailed"], 0, at);
    if case.contract.promise == Promise::Memory && !entries.is_empty() {
        return verdict.excuse(what, entries);
    }
    verdict.broken(at, what).at_place(queue, missing);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::tale::BROKER;
    use crate::oracle::tale::ONE;
    use crate::oracle::tale::TWO;
    use crate::oracle::tale::Tale;

    #[test]
    fn an_ordered_member_skips() {
        let mut tale = Tale::ordered();
        tale.handled(1_000, 1, 0);
        tale.handled(1_100, 3, 2);
        tale.handled(1_200, 2, 1);
        tale.rejected(judge);
    }

    #[test]
    fn a_gap_that_nobody_ever_fills() {
        let mut tale = Tale::new(Promise::Disk);
        tale.handled(1_000, 1, 0);
        tale.handled(1_100, 3, 2);
        tale.rejected(judge);
    }

    fn three_and_the_second_rotten(also_missing: u32) -> Tale {
        let mut tale = Tale::new(Promise::Disk);
        tale.rots(900, 2, 1);
        for seq in [1, 3, 4].into_iter().filter(|seq| *seq != also_missing) {
            tale.handled(1_000, seq, u64::from(seq - 1));
        }
        tale
    }

    #[test]
    fn a_rotten_record_hides_its_neighbour() {
        three_and_the_second_rotten(3).rejected(judge);
    }

    #[test]
    fn a_rotten_record_is_passed_over() {
        three_and_the_second_rotten(0).excused(judge);
    }

    #[test]
    fn handlers_that_start_together_start_in_any_order() {
        let mut tale = Tale::new(Promise::Disk);
        tale.handled(1_000, 1, 0);
        tale.handled(1_000, 3, 2);
        tale.handled(1_000, 2, 1);
        tale.accepted(judge);
    }

    #[test]
    fn a_queue_goes_to_the_other_member_and_comes_back() {
        let mut tale = Tale::ordered();
        tale.handled(1_000, 1, 0);
        tale.started(1_100, TWO, 2, 1);
        tale.started(1_200, TWO, 3, 2);
        tale.handled(1_300, 4, 3);
        tale.accepted(judge);
    }

    #[test]
    fn a_queue_that_shrank_with_the_power() {
        let mut tale = Tale::new(Promise::Memory);
        tale.started(1_000, ONE, 1, 0);
        tale.fault(1_050, BROKER, "OsCrash { pages_lost: 1 }");
        tale.started(1_100, ONE, 3, 2);
        tale.excused(judge);
    }
}

//! O5, promised by the broker: what anybody saw is as durable as an acknowledgement of it would be, whether it was
//! acknowledged or not; nor does a queue's maximum count what is not.
//!
//! Evidence: for a promise of disk, every read, every handler's start and every maximum that an observer was told before
//! the broker lost power; what the first look finds there. Unknown: for a promise of memory nothing is promised beyond
//! a kill, which O1 and O21 judge; what did not settle may not have been there to be read.
//!
//! Excuse: a byte of this very record changed on the disk, and nothing is told in its place.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use staticfire_chaos::history::Name;
use staticfire_chaos::history::Promise;
use staticfire_chaos::history::Queue;
use staticfire_chaos::history::What;

use super::Case;
use super::Verdict;

pub(crate) fn judge(case: &Case) -> Verdict {
    let mut verdict = Verdict::default();
    if case.contract.promise != Promise::Disk || case.contract.not_live.is_some() {
        return verdict;
    }
    let mut crashes: BTreeMap<Name, u64> = BTreeMap::new();
    for fault in case.faults.iter().filter(|f| f.is("OsCrash") && f.at < case.contract.healed_at) {
        let last = crashes.entry(fault.node).or_insert(fault.at);
        *last = fault.at.max(*last);
    }
    let before_crash = |queue: Queue, at: u64| crashes.get(&queue.broker).is_some_and(|last| at < *last);
    let mut judged = BTreeSet::new();
    for seen in case.seen.iter().filter(|seen| before_crash(seen.queue, seen.at)) {
        let place = (seen.queue, seen.offset);
        if !judged.insert((place, seen.key)) {
            continue;
        }
        verdict.held();
        let now = case.first_look.get(&place);
        if now != Some(&seen.key) {
            let now = now.map_or_else(|| "nothing".to_owned(), ToString::to_string);
            let what = format!(
                "{} was seen as {} before the power went, where {now} is after it",
                seen.key,
                case.place(seen.queue, seen.offset)
            );
            let rotten = case.rotten_at(seen.queue, seen.offset);
            if case.first_look.contains_key(&place) || rotten.is_empty() {
                verdict.broken(seen.at, what).about(seen.key).at_place(seen.queue, seen.offset);
            } else {
                verdict.excuse(what, rotten);
            }
        }
    }
    maxima(case, &mut verdict, before_crash);
    verdict
}

fn maxima(case: &Case, verdict: &mut Verdict, before_crash: impl Fn(Queue, u64) -> bool) {
    let mut told: BTreeMap<Queue, (u64, u64)> = BTreeMap::new();
    let mut last: BTreeMap<Queue, u64> = BTreeMap::new();
    for event in &case.record.events {
        let What::Bounds { queue, max, .. } = event.what else { continue };
        if before_crash(queue, event.at) {
            let highest = told.entry(queue).or_insert((event.at, max.0));
            if max.0 > highest.1 {
                *highest = (event.at, max.0);
            }
        } else if event.at >= case.contract.healed_at && event.at < case.contract.second_look_at {
            let highest = last.entry(queue).or_insert(max.0);
            *highest = max.0.max(*highest);
        }
    }
    for (queue, (at, max)) in told {
        let Some(now) = last.get(&queue) else { continue };
        verdict.held();
        if *now < max {
            let what = format!(
                "{} ended at {max} before the power went, and at {now} after it",
                case.place(queue, max)
            );
            verdict.broken(at, what).at_place(queue, max);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::tale::BROKER;
    use crate::oracle::tale::ONE;
    use crate::oracle::tale::PRODUCER;
    use crate::oracle::tale::TOPIC;
    use crate::oracle::tale::Tale;

    fn power(tale: &mut Tale, ms: u64) {
        tale.fault(ms, BROKER, "OsCrash { pages_lost: 1 }");
    }

    #[test]
    fn what_a_reader_saw_is_gone_with_the_power() {
        let mut tale = Tale::new(Promise::Disk);
        tale.started(1_000, ONE, 1, 0);
        power(&mut tale, 1_100);
        tale.rejected(judge);
    }

    #[test]
    fn another_message_came_to_where_it_was() {
        let mut tale = Tale::new(Promise::Disk);
        tale.read(1_000, TOPIC, 1, 0);
        power(&mut tale, 1_100);
        tale.sent(2_000, 2, 0);
        tale.there(TOPIC, 2, 0);
        tale.rejected(judge);
    }

    #[test]
    fn a_queue_ended_behind_what_nobody_had_synced() {
        let mut tale = Tale::new(Promise::Disk);
        tale.bounds(1_000, 0, 3);
        power(&mut tale, 1_100);
        tale.bounds(150_000, 0, 2);
        tale.rejected(judge);
    }

    #[test]
    fn what_rotted_later_is_gone_for_another_reason() {
        let mut tale = Tale::new(Promise::Disk);
        tale.handled(1_000, 1, 0);
        power(&mut tale, 1_100);
        tale.rots(50_000, 1, 0);
        tale.excused(judge);
    }

    #[test]
    fn what_rotted_excuses_no_neighbour() {
        let mut tale = Tale::new(Promise::Disk);
        tale.handled(1_000, 1, 0);
        tale.handled(1_000, 2, 1);
        power(&mut tale, 1_100);
        tale.rots(50_000, 1, 0);
        tale.rejected(judge);
    }

    #[test]
    fn what_was_seen_is_still_there_and_more_came() {
        let mut tale = Tale::new(Promise::Disk);
        tale.bounds(900, 0, 1);
        tale.handled(1_000, 1, 0);
        power(&mut tale, 1_100);
        tale.there(TOPIC, 1, 0);
        tale.there(TOPIC, 2, 1);
        tale.bounds(150_000, 0, 2);
        tale.accepted(judge);
    }

    #[test]
    fn a_loss_that_nobody_had_seen_is_not_this_promise() {
        let mut tale = Tale::new(Promise::Disk);
        tale.handled(1_000, 1, 0);
        tale.there(TOPIC, 1, 0);
        tale.sent(1_050, 2, 1);
        power(&mut tale, 1_100);
        tale.accepted(judge);
    }

    #[test]
    fn what_was_seen_behind_the_last_crash_is_not_judged_by_it() {
        let mut tale = Tale::new(Promise::Disk);
        tale.handled(1_000, 1, 0);
        tale.there(TOPIC, 1, 0);
        power(&mut tale, 1_100);
        tale.started(1_200, ONE, 2, 1);
        tale.accepted(judge);
    }

    #[test]
    fn the_power_of_a_client_is_not_the_brokers() {
        let mut tale = Tale::new(Promise::Disk);
        tale.handled(1_000, 1, 0);
        tale.there(TOPIC, 1, 0);
        power(&mut tale, 1_100);
        tale.started(1_200, ONE, 2, 1);
        tale.fault(1_300, PRODUCER, "OsCrash { pages_lost: 1 }");
        tale.accepted(judge);
    }
}

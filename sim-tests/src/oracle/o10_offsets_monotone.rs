//! O10, promised by the broker: a group's offset does not go back, and lies within its queue.
//!
//! Evidence: offsets and bounds as the broker tells an observer, one request after the other. Unknown: what happened
//! between two looks.
//!
//! Excuse: offsets are written down every five seconds; a broker that died in between tells an older one (how old, is judged
//! only where no disk was full or refused to be written). A broker that stops in order writes them down as well; one whose
//! disk took nothing then, and that serves again, tells an older one too. With a promise of memory, a broker that lost
//! power also cuts offsets back to what is left of its queues.

use std::collections::BTreeMap;

use staticfire_chaos::history::Name;
use staticfire_chaos::history::Promise;
use staticfire_chaos::history::Queue;
use staticfire_chaos::history::What;

use super::Case;
use super::Verdict;
use super::case::SLACK_NS;

/// `flushConsumerOffsetInterval`, and as long again for the disk to take it.
const PERSISTED_NS: u64 = 10_000_000_000;
const DEATHS: &[&str] = &["Kill", "OsCrash"];
const DISK: &[&str] = &["Stall", "ReadOnly", "Full", "IoError", "SyncFailed", "Pause"];
/// What keeps a file from being written at all.
const UNWRITTEN: &[&str] = &["ReadOnly", "Full", "IoError", "SyncFailed"];

pub(crate) fn judge(case: &Case) -> Verdict {
    let mut verdict = Verdict::default();
    let mut told: BTreeMap<(Name, Queue), Vec<(u64, u64)>> = BTreeMap::new();
    let mut high: BTreeMap<Queue, Vec<(u64, Name, u64)>> = BTreeMap::new();
    for event in &case.record.events {
        match event.what {
            What::CommitObserved { group, queue, offset } => {
                let before = told.entry((group, queue)).or_default();
                if let Some((at, last)) = before.last().copied() {
                    verdict.held();
                    if offset.0 < last {
                        went_back(case, &mut verdict, queue, before, (at, last), (event.at, offset.0));
                    }
                }
                before.push((event.at, offset.0));
                high.entry(queue).or_default().push((event.at, group, offset.0));
            }
            What::Bounds { queue, max, .. } => {
                for (at, group, committed) in high.remove(&queue).unwrap_or_default() {
                    verdict.held();
                    if committed > max.0 {
                        let what = format!(
                            "{} had committed {committed} of {}, which ends at {}",
                            case.text(group),
                            case.text(queue.topic),
                            max.0
                        );
                        let entries = case.faults_of(queue.broker, &["OsCrash", "SyncFailed"], 0, event.at);
                        if case.contract.promise == Promise::Memory && !entries.is_empty() {
                            verdict.excuse(what, entries);
                        } else {
                            verdict.broken(at, what).at_place(queue, committed);
                        }
                    }
                }
            }
            _ => {}
        }
    }
    verdict
}

fn went_back(
    case: &Case,
    verdict: &mut Verdict,
    queue: Queue,
    before: &[(u64, u64)],
    (at, last): (u64, u64),
    (now, offset): (u64, u64),
) {
    let what = format!("an offset of {} went from {last} back to {offset}", case.text(queue.topic));
    // A crash takes a moment to be noticed on either side.
    let deaths = case.faults_of(queue.broker, DEATHS, at.saturating_sub(SLACK_NS), now);
    let first = case.faults.iter().filter(|f| deaths.contains(&f.number)).map(|f| f.at).min();
    let Some(first) = first else {
        let unwritten = stopped_unwritten(case, queue.broker, at.saturating_sub(SLACK_NS), now);
        if unwritten.is_empty() {
            verdict.broken(now, what).at_place(queue, offset);
        } else {
            verdict.excuse(what, unwritten);
        }
        return;
    };
    // Written down for certain is what was told by a life that went on for long enough.
    let outlived = |told: u64| {
        let until = told.saturating_add(PERSISTED_NS);
        until < first && case.faults_of(queue.broker, DEATHS, told.saturating_sub(SLACK_NS), until).is_empty()
    };
    let persisted = before.iter().rfind(|(told, _)| outlived(*told));
    let disk = case.faults_of(queue.broker, DISK, first.saturating_sub(2 * PERSISTED_NS), now);
    let shrank = case.contract.promise == Promise::Memory;
    match persisted {
        Some((_, least)) if offset < *least && disk.is_empty() && !shrank && case.contract.only_crashes => {
            let what = format!("{what}, though {least} had long been written down");
            verdict.broken(now, what).at_place(queue, offset);
        }
        _ => verdict.excuse(what, deaths),
    }
}

/// What kept a broker that began to serve again within a span from writing its offsets down when it stopped before.
fn stopped_unwritten(case: &Case, broker: Name, from: u64, to: u64) -> Vec<u32> {
    let again = case.record.events.iter().rfind(|event| {
        event.node == broker && event.what == What::Serving && (from..=to).contains(&event.at)
    });
    again.map_or_else(Vec::new, |again| case.faults_of(broker, UNWRITTEN, from, again.at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::tale::BROKER;
    use crate::oracle::tale::Tale;

    fn stopped_with_a_full_disk(healed_ms: u64) -> Tale {
        let mut tale = Tale::new(Promise::Disk);
        tale.fault(500, BROKER, "Full { ns: 9 }");
        tale.healed(healed_ms, BROKER, 0);
        tale.committed(5_000, 5);
        tale.in_life(6_000, BROKER, 2, What::Serving);
        tale.committed(6_500, 3);
        tale
    }

    #[test]
    fn a_broker_that_could_not_write_when_it_stopped() {
        stopped_with_a_full_disk(5_500).excused(judge);
    }

    #[test]
    fn a_broker_whose_disk_had_room_again_long_before_it_stopped() {
        stopped_with_a_full_disk(2_000).rejected(judge);
    }

    #[test]
    fn a_broker_with_a_full_disk_that_never_stopped() {
        let mut tale = Tale::new(Promise::Disk);
        tale.fault(500, BROKER, "Full { ns: 9 }");
        tale.committed(5_000, 5);
        tale.committed(6_500, 3);
        tale.rejected(judge);
    }

    #[test]
    fn an_offset_that_goes_back_for_no_reason() {
        let mut tale = Tale::new(Promise::Disk);
        tale.committed(1_000, 5);
        tale.committed(2_000, 4);
        tale.rejected(judge);
    }

    #[test]
    fn an_offset_that_forgets_what_was_written_down() {
        let mut tale = Tale::new(Promise::Disk);
        tale.contract().only_crashes = true;
        tale.committed(1_000, 5);
        tale.committed(20_000, 9);
        tale.fault(20_500, BROKER, "Kill");
        tale.committed(21_000, 0);
        tale.rejected(judge);
    }

    #[test]
    fn an_offset_beyond_the_queue() {
        let mut tale = Tale::new(Promise::Disk);
        tale.committed(1_000, 5);
        tale.bounds(1_100, 0, 4);
        tale.rejected(judge);
    }

    #[test]
    fn a_broker_that_died_tells_what_it_had_written_down() {
        let mut tale = Tale::new(Promise::Disk);
        tale.committed(1_000, 5);
        tale.committed(20_000, 9);
        tale.fault(20_500, BROKER, "Kill");
        tale.committed(21_000, 5);
        tale.excused(judge);
    }

    #[test]
    fn a_broker_that_dies_again_and_again_writes_nothing_down() {
        let mut tale = Tale::new(Promise::Disk);
        tale.committed(1_000, 5);
        for ms in [4_000, 8_000, 12_000] {
            tale.fault(ms, BROKER, "Kill");
        }
        tale.committed(13_000, 0);
        tale.excused(judge);
    }

    #[test]
    fn offsets_that_grow_or_stay() {
        let mut tale = Tale::new(Promise::Disk);
        tale.bounds(900, 0, 3);
        tale.committed(1_000, 5);
        tale.committed(2_000, 5);
        tale.bounds(2_100, 0, 5);
        tale.accepted(judge);
    }

    #[test]
    fn a_queue_may_have_grown_since_its_end_was_told() {
        let mut tale = Tale::new(Promise::Disk);
        tale.bounds(900, 0, 0);
        tale.committed(1_000, 0);
        tale.committed(2_000, 7);
        tale.accepted(judge);
    }
}

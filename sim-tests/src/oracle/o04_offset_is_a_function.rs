//! O4, promised by the store: an offset of a queue names one message, for everybody, for ever; no offset is skipped; an
//! acknowledged offset is where the message is.
//!
//! Evidence: all reads, all handlers' starts, all acknowledgements. Unknown: nothing.
//!
//! Excuse, for a promise of memory alone: the broker lost power, or a failed sync threw pages away, between the two
//! sightings. The offsets of a lost suffix are given out again there, as in RocketMQ; who must not see that asks for sync
//! flush, where it has no excuse.

use std::collections::BTreeMap;

use staticfire_chaos::history::Promise;
use staticfire_chaos::history::Queue;
use staticfire_chaos::identity::MessageKey;

use super::Case;
use super::Verdict;

pub(crate) fn judge(case: &Case) -> Verdict {
    let mut verdict = Verdict::default();
    let mut sightings: Vec<(u64, Queue, u64, MessageKey)> =
        case.seen.iter().map(|seen| (seen.at, seen.queue, seen.offset, seen.key)).collect();
    let acked = case.sends.iter().filter_map(|(key, sent)| Some((*key, sent.acked()?)));
    sightings.extend(acked.map(|(key, (at, queue, offset))| (at, queue, offset, key)));
    sightings.sort_by_key(|sighting| sighting.0);
    let mut names: BTreeMap<(Queue, u64), (u64, MessageKey)> = BTreeMap::new();
    for (at, queue, offset, key) in sightings {
        verdict.held();
        let Some((before, other)) = names.insert((queue, offset), (at, key)) else { continue };
        if other == key {
            continue;
        }
        let place = case.place(queue, offset);
        let what = format!("{place} was {other} and then {key}");
        let entries = case.faults_of(queue.broker, &["OsCrash", "SyncFailed"], 0, at);
        if case.contract.promise == Promise::Memory && !entries.is_empty() {
            verdict.excuse(what, entries);
            continue;
        }
        verdict.broken(before, what).about(key).at_place(queue, offset);
    }
    for look in [&case.first_look, &case.second_look] {
        let mut last: Option<(Queue, u64)> = None;
        for (queue, offset) in look.keys() {
            if let Some((of, before)) = last
                && of == *queue
                && before + 1 != *offset
                && case.contract.not_live.is_none()
            {
                let what = format!("{} follows {}", case.place(*queue, *offset), case.place(of, before));
                let missing = (before + 1..*offset).map(|missing| (missing, case.rotten_at(of, missing)));
                let missing: Vec<(u64, Vec<u32>)> = missing.collect();
                match missing.iter().find(|(_, rotten)| rotten.is_empty()) {
                    Some((at, _)) => {
                        verdict.broken(case.contract.healed_at, what).at_place(of, *at);
                    }
                    None => {
                        verdict.excuse(what, missing.into_iter().flat_map(|(_, rotten)| rotten).collect())
                    }
                }
            }
            last = Some((*queue, *offset));
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::tale::BROKER;
    use crate::oracle::tale::RETRY;
    use crate::oracle::tale::TOPIC;
    use crate::oracle::tale::Tale;

    #[test]
    fn two_messages_under_one_offset() {
        let mut tale = Tale::new(Promise::Disk);
        tale.sent(1_000, 1, 0);
        tale.sent(1_100, 2, 0);
        tale.fault(1_050, BROKER, "OsCrash { pages_lost: 1 }");
        tale.rejected(judge);
    }

    #[test]
    fn a_reader_saw_another_one_than_its_sender_was_told() {
        let mut tale = Tale::new(Promise::Memory);
        tale.sent(1_000, 1, 0);
        tale.read(150_000, TOPIC, 2, 0);
        tale.rejected(judge);
    }

    #[test]
    fn an_offset_was_skipped() {
        let mut tale = Tale::new(Promise::Disk);
        tale.sent(1_000, 1, 0);
        tale.there(TOPIC, 1, 0);
        tale.there(TOPIC, 2, 2);
        tale.rejected(judge);
    }

    #[test]
    fn a_rotten_record_hides_its_neighbour() {
        let mut tale = Tale::new(Promise::Disk);
        tale.rots(50_000, 2, 1);
        tale.there(TOPIC, 1, 0);
        tale.there(TOPIC, 4, 3);
        tale.rejected(judge);
    }

    #[test]
    fn a_rotten_record_is_skipped() {
        let mut tale = Tale::new(Promise::Disk);
        tale.rots(50_000, 2, 1);
        tale.there(TOPIC, 1, 0);
        tale.there(TOPIC, 3, 2);
        tale.excused(judge);
    }

    #[test]
    fn memory_gives_lost_offsets_out_again() {
        let mut tale = Tale::new(Promise::Memory);
        tale.sent(1_000, 1, 0);
        tale.fault(1_050, BROKER, "OsCrash { pages_lost: 1 }");
        tale.sent(1_100, 2, 0);
        tale.excused(judge);
    }

    #[test]
    fn queues_count_for_themselves_and_begin_anywhere() {
        let mut tale = Tale::new(Promise::Disk);
        tale.sent(1_000, 1, 5);
        tale.there(TOPIC, 1, 5);
        tale.there(RETRY, 2, 5);
        tale.accepted(judge);
    }

    #[test]
    fn one_message_may_have_two_offsets() {
        let mut tale = Tale::new(Promise::Disk);
        tale.sent(1_000, 1, 1);
        tale.there(TOPIC, 1, 0);
        tale.there(TOPIC, 1, 1);
        tale.accepted(judge);
    }
}

//! O6, promised by the broker and the producer: what one producer sent to one queue, one after the other, has growing
//! offsets; a batch is stored together, in its order, or not at all.
//!
//! Evidence: acknowledged offsets in the order of the sends; places of a batch's members in the first look. Unknown: sends
//! without an answer; they may arrive late.
//!
//! Excuse, for a promise of memory alone: the broker lost power between the two acknowledgements, so that offsets are given
//! out again, or a batch is the end of what survived. For any promise, a copy of a batch that was never
//! acknowledged and that the broker was storing when it lost power: of its records, stored one by one as in RocketMQ, the
//! first ones may stay, although its producer tried another broker and the whole batch is there. Or the very record of a
//! member was damaged on the disk by a fault.

use std::collections::BTreeMap;

use staticfire_chaos::history::Intent;
use staticfire_chaos::history::Promise;
use staticfire_chaos::history::Queue;
use staticfire_chaos::identity::MessageKey;

use super::Case;
use super::Verdict;
use super::case::Sent;

pub(crate) fn judge(case: &Case) -> Verdict {
    let mut verdict = Verdict::default();
    let mut last: BTreeMap<(u16, u32, Queue), (MessageKey, u64, u64)> = BTreeMap::new();
    for (key, sent) in &case.sends {
        let Some((at, queue, offset)) = sent.acked() else { continue };
        let Some((before, ended, below)) = last.insert((key.producer, key.shard, queue), (*key, at, offset))
        else {
            continue;
        };
        // Members of one batch are invoked together; they end together, too.
        if sent.at < ended && !matches!(sent.intent, Intent::Batch(..)) {
            continue;
        }
        verdict.held();
        if offset <= below {
            let what = format!(
                "{key} is {}, behind which {before} is, which was acknowledged before {key} was sent",
                case.place(queue, offset)
            );
            excuse_or_break(case, &mut verdict, *key, queue, (ended, at), what);
        }
    }
    batches(case, &mut verdict);
    verdict
}

fn batches(case: &Case, verdict: &mut Verdict) {
    let looked = case.first_look.iter().filter(|((queue, _), _)| case.is_plain(queue.topic));
    for ((queue, offset), key) in looked {
        let Some(sent) = case.sends.get(key) else { continue };
        let Intent::Batch(index, of) = sent.intent else { continue };
        verdict.held();
        let (index, of) = (u32::from(index), u32::from(of));
        for other in 0..of {
            let member = MessageKey { seq: key.seq - index + other, ..*key };
            let place = (offset + u64::from(other)).checked_sub(u64::from(index));
            let there = place.and_then(|place| case.first_look.get(&(*queue, place)));
            if there != Some(&member) {
                let what = format!(
                    "{key} of a batch of {of} is {}, and {member} is not beside it",
                    case.place(*queue, *offset)
                );
                let rotten = place.map(|place| case.rotten_at(*queue, place)).unwrap_or_default();
                if there.is_none() && !rotten.is_empty() {
                    verdict.excuse(what, rotten);
                    continue;
                }
                let crashes = case.faults_of(queue.broker, &["OsCrash"], sent.at, case.contract.healed_at);
                // What is missing is an end: nothing behind it belongs to this copy. Another copy may follow at once.
                let is_there = |other: u32| {
                    let member = MessageKey { seq: key.seq - index + other, ..*key };
                    let place = offset + u64::from(other) - u64::from(index);
                    case.first_look.get(&(*queue, place)) == Some(&member)
                };
                let is_end = other > index && !(other..of).any(is_there);
                if !is_acked(sent, *queue, *offset) && is_end && !crashes.is_empty() {
                    verdict.excuse(what, crashes);
                } else {
                    excuse_or_break(case, verdict, *key, *queue, (sent.at, case.contract.healed_at), what);
                }
                break;
            }
        }
    }
}

/// Whether this copy of a message is the one that was acknowledged.
fn is_acked(sent: &Sent, queue: Queue, offset: u64) -> bool {
    sent.acked().is_some_and(|(_, at, acked)| (at, acked) == (queue, offset))
}

fn excuse_or_break(
    case: &Case,
    verdict: &mut Verdict,
    key: MessageKey,
    queue: Queue,
    between: (u64, u64),
    what: String,
) {
    let entries = case.faults_of(queue.broker, &["OsCrash", "SyncFailed"], between.0, between.1);
    if case.contract.promise == Promise::Memory && !entries.is_empty() {
        return verdict.excuse(what, entries);
    }
    verdict.broken(between.0, what).about(key);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::tale::BROKER;
    use crate::oracle::tale::TOPIC;
    use crate::oracle::tale::Tale;

    #[test]
    fn a_later_send_got_an_earlier_offset() {
        let mut tale = Tale::new(Promise::Disk);
        tale.sent(1_000, 1, 5);
        tale.sent(2_000, 2, 4);
        tale.rejected(judge);
    }

    fn half_a_batch(seq: u32) -> Tale {
        let mut tale = Tale::new(Promise::Disk);
        tale.invoked(1_000, 1, Intent::Batch(0, 2));
        tale.invoked(1_000, 2, Intent::Batch(1, 2));
        tale.there(TOPIC, seq, u64::from(seq - 1));
        tale
    }

    #[test]
    fn half_a_batch_without_a_crash() {
        half_a_batch(1).rejected(judge);
    }

    #[test]
    fn the_second_half_of_a_batch() {
        let mut tale = half_a_batch(2);
        tale.fault(1_500, BROKER, "OsCrash { pages_lost: 1 }");
        tale.rejected(judge);
    }

    #[test]
    fn half_a_batch_that_was_acknowledged() {
        let mut tale = half_a_batch(1);
        tale.acked(1_002, 1, 0);
        tale.acked(1_002, 2, 1);
        tale.fault(1_500, BROKER, "OsCrash { pages_lost: 1 }");
        tale.rejected(judge);
    }

    #[test]
    fn a_rotten_member_is_missing_in_its_batch() {
        let mut tale = half_a_batch(1);
        tale.rots(50_000, 2, 1);
        tale.excused(judge);
    }

    #[test]
    fn another_rotten_record_excuses_no_member() {
        let mut tale = half_a_batch(1);
        tale.rots(50_000, 3, 2);
        tale.rejected(judge);
    }

    #[test]
    fn the_power_went_while_a_batch_was_stored() {
        let mut tale = half_a_batch(1);
        tale.fault(1_500, BROKER, "OsCrash { pages_lost: 1 }");
        tale.excused(judge);
    }

    #[test]
    fn the_power_went_and_another_broker_took_the_batch() {
        let mut tale = half_a_batch(1);
        tale.fault(1_500, BROKER, "OsCrash { pages_lost: 1 }");
        for (seq, offset) in [(1, 7), (2, 8)] {
            tale.acked(2_002, seq, offset);
            tale.there(TOPIC, seq, offset);
        }
        tale.excused(judge);
    }

    #[test]
    fn the_power_went_while_a_batch_was_stored_and_it_came_again_right_behind() {
        let mut tale = half_a_batch(1);
        tale.fault(1_500, BROKER, "OsCrash { pages_lost: 1 }");
        for (seq, offset) in [(1, 1), (2, 2)] {
            tale.acked(2_002, seq, offset);
            tale.there(TOPIC, seq, offset);
        }
        tale.excused(judge);
    }

    #[test]
    fn a_hole_in_a_batch_is_no_end() {
        let mut tale = Tale::new(Promise::Disk);
        for (seq, index) in [(1, 0), (2, 1), (3, 2)] {
            tale.invoked(1_000, seq, Intent::Batch(index, 3));
        }
        tale.fault(1_500, BROKER, "OsCrash { pages_lost: 1 }");
        tale.there(TOPIC, 1, 0);
        tale.there(TOPIC, 3, 2);
        tale.rejected(judge);
    }

    #[test]
    fn a_batch_in_another_order() {
        let mut tale = Tale::new(Promise::Disk);
        tale.invoked(1_000, 1, Intent::Batch(0, 2));
        tale.invoked(1_000, 2, Intent::Batch(1, 2));
        tale.there(TOPIC, 1, 1);
        tale.there(TOPIC, 2, 0);
        tale.rejected(judge);
    }

    #[test]
    fn a_batch_that_was_stored_twice() {
        let mut tale = Tale::new(Promise::Disk);
        for (seq, index) in [(1, 0), (2, 1)] {
            tale.invoked(1_000, seq, Intent::Batch(index, 2));
            tale.there(TOPIC, seq, u64::from(index));
            tale.there(TOPIC, seq, 2 + u64::from(index));
        }
        tale.acked(1_002, 1, 2);
        tale.acked(1_002, 2, 3);
        tale.accepted(judge);
    }

    #[test]
    fn one_without_an_answer_may_be_anywhere() {
        let mut tale = Tale::new(Promise::Disk);
        tale.sent(1_000, 1, 5);
        tale.invoked(2_000, 2, Intent::Plain);
        tale.there(TOPIC, 2, 9);
        tale.sent(3_000, 3, 6);
        tale.accepted(judge);
    }

    #[test]
    fn memory_begins_again_behind_what_survived() {
        let mut tale = Tale::new(Promise::Memory);
        tale.sent(1_000, 1, 5);
        tale.fault(1_500, BROKER, "OsCrash { pages_lost: 1 }");
        tale.sent(2_000, 2, 4);
        tale.excused(judge);
    }
}

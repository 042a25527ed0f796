//! O13, promised by the broker: a message of a transaction becomes visible if and only if its sender's group committed it,
//! not before that, and once, or once more for each crash of the broker that may have come between message and op record.
//!
//! Evidence: what listeners decided, when; reads and handlers' starts in the real topic. Listeners here say the same to
//! everybody who asks, so one decision is the decision. Unknown: halves whose sender got no answer; they are judged only
//! for what becomes visible.
//!
//! Excuse, for a promise of memory alone: the broker lost power after the half was stored. Its answer takes a while to
//! reach the sender, so it may have been stored at any time since it was sent. For any promise: the
//! message itself rotted on the disk before anybody saw it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use staticfire_chaos::history::Intent;
use staticfire_chaos::history::Promise;
use staticfire_chaos::history::Queue;
use staticfire_chaos::identity::MessageKey;

use super::Case;
use super::Verdict;
use super::case::Sent;

pub(crate) fn judge(case: &Case) -> Verdict {
    let mut verdict = Verdict::default();
    let mut visible: BTreeMap<MessageKey, (u64, BTreeSet<(Queue, u64)>)> = BTreeMap::new();
    for seen in &case.seen {
        let Some(sent) = case.sends.get(&seen.key) else { continue };
        if sent.intent == Intent::Half && seen.queue.topic == sent.topic {
            let entry = visible.entry(seen.key).or_insert((seen.at, BTreeSet::new()));
            entry.0 = entry.0.min(seen.at);
            entry.1.insert((seen.queue, seen.offset));
        }
    }
    for (key, sent) in case.sends.iter().filter(|(_, sent)| sent.intent == Intent::Half) {
        verdict.held();
        match visible.get(key) {
            Some((at, places)) => seen(case, &mut verdict, *key, sent, *at, places),
            None => unseen(case, &mut verdict, *key, sent),
        }
    }
    verdict
}

fn seen(
    case: &Case,
    verdict: &mut Verdict,
    key: MessageKey,
    sent: &Sent,
    at: u64,
    places: &BTreeSet<(Queue, u64)>,
) {
    if sent.commit.is_none_or(|commit| at < commit) {
        let decided = match (sent.commit, sent.rollback) {
            (None, None) => "nobody committed it",
            (None, Some(_)) => "it was rolled back",
            (Some(_), _) => "it was committed only later",
        };
        verdict.broken(at, format!("{key} became visible, and {decided}")).about(key);
    }
    let crashes = places
        .iter()
        .map(|(queue, _)| case.faults.iter().filter(|f| f.node == queue.broker && f.is_death()).count());
    let allowed = 1 + crashes.max().unwrap_or(0);
    if places.len() > allowed {
        let list: Vec<String> = places.iter().map(|(queue, offset)| case.place(*queue, *offset)).collect();
        let what = format!("{key} was committed once and is {}", list.join(", "));
        verdict.broken(at, what).about(key);
    }
}

fn unseen(case: &Case, verdict: &mut Verdict, key: MessageKey, sent: &Sent) {
    let (Some((answered, queue)), Some(_), None) = (sent.half, sent.commit, sent.rollback) else { return };
    let put_aside = case
        .first_look
        .iter()
        .any(|((queue, _), aside)| queue.topic == case.contract.discard && *aside == key);
    // Whether that was right is for O14 to say: it is lost to nobody.
    if put_aside || case.contract.not_live.is_some() {
        return;
    }
    let what = format!("{key} was committed, and nobody ever saw it");
    let rotten = case.rotten_copy(key);
    if !rotten.is_empty() {
        return verdict.excuse(what, rotten);
    }
    let entries = case.faults_of(queue.broker, &["OsCrash", "SyncFailed"], sent.at, u64::MAX);
    if case.contract.promise == Promise::Memory && !entries.is_empty() {
        return verdict.excuse(what, entries);
    }
    verdict.broken(answered, what).about(key);
}

#[cfg(test)]
mod tests {
    use staticfire::base::QueueOffset;
    use staticfire_chaos::history::Verdict as Decided;
    use staticfire_chaos::history::What;

    use super::*;
    use crate::oracle::tale::BROKER;
    use crate::oracle::tale::DISCARD;
    use crate::oracle::tale::PRODUCER;
    use crate::oracle::tale::TOPIC;
    use crate::oracle::tale::Tale;
    use crate::oracle::tale::key;
    use crate::oracle::tale::queue_of;

    fn half(promise: Promise, decided: Option<Decided>) -> Tale {
        let mut tale = Tale::new(promise);
        tale.invoked(1_000, 1, Intent::Half);
        let (queue, half_offset) = (queue_of(TOPIC), QueueOffset(0));
        tale.at(1_010, PRODUCER, What::HalfSent { key: key(1), queue, half_offset });
        if let Some(verdict) = decided {
            tale.at(1_005, PRODUCER, What::Decision { key: key(1), verdict, asked: false });
        }
        tale
    }

    #[test]
    fn a_message_that_was_rolled_back_is_seen() {
        let mut tale = half(Promise::Disk, Some(Decided::Rollback));
        tale.there(TOPIC, 1, 0);
        tale.rejected(judge);
    }

    #[test]
    fn a_message_is_seen_before_it_is_committed() {
        let mut tale = half(Promise::Memory, Some(Decided::Commit));
        tale.read(1_004, TOPIC, 1, 0);
        tale.rejected(judge);
    }

    #[test]
    fn a_message_that_was_committed_is_never_seen() {
        let mut tale = half(Promise::Disk, Some(Decided::Commit));
        tale.fault(1_500, BROKER, "OsCrash { pages_lost: 1 }");
        tale.rejected(judge);
    }

    #[test]
    fn a_message_that_was_committed_rotted_before_anybody_saw_it() {
        let mut tale = half(Promise::Disk, Some(Decided::Commit));
        tale.rots(1_500, 1, 0);
        tale.excused(judge);
    }

    #[test]
    fn another_one_rotted() {
        let mut tale = half(Promise::Disk, Some(Decided::Commit));
        tale.rots(1_500, 2, 0);
        tale.rejected(judge);
    }

    #[test]
    fn two_copies_without_a_crash() {
        let mut tale = half(Promise::Disk, Some(Decided::Commit));
        tale.there(TOPIC, 1, 0);
        tale.there(TOPIC, 1, 1);
        tale.rejected(judge);
    }

    #[test]
    fn a_crash_between_message_and_op_record() {
        let mut tale = half(Promise::Disk, Some(Decided::Commit));
        tale.fault(1_500, BROKER, "Kill");
        tale.there(TOPIC, 1, 0);
        tale.there(TOPIC, 1, 1);
        tale.accepted(judge);
    }

    #[test]
    fn a_half_that_nobody_ever_decides() {
        half(Promise::Disk, None).accepted(judge);
    }

    #[test]
    fn a_half_whose_decisions_were_all_lost_is_put_aside() {
        let mut tale = half(Promise::Disk, Some(Decided::Commit));
        tale.there(DISCARD, 1, 0);
        tale.accepted(judge);
    }

    #[test]
    fn power_that_was_lost_before_the_half_was_sent_took_nothing_of_it() {
        let mut tale = half(Promise::Memory, Some(Decided::Commit));
        tale.fault(999, BROKER, "OsCrash { pages_lost: 1 }");
        tale.rejected(judge);
    }

    #[test]
    fn memory_may_lose_the_half_while_its_answer_is_on_the_way() {
        let mut tale = half(Promise::Memory, Some(Decided::Commit));
        tale.fault(1_004, BROKER, "OsCrash { pages_lost: 1 }");
        tale.excused(judge);
    }

    #[test]
    fn memory_may_lose_the_half() {
        let mut tale = half(Promise::Memory, Some(Decided::Commit));
        tale.fault(1_500, BROKER, "OsCrash { pages_lost: 1 }");
        tale.excused(judge);
    }
}

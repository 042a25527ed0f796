//! O14, promised by the broker: an undecided half is asked about, not before its time, and is put aside only after as many
//! checks as configured were delivered; a decided one is not asked about again.
//!
//! Evidence: checks as the members of the group got them, decisions, reads of the real topic and of the discard topic.
//! Unknown: checks that were on their way when a connection broke; the broker must not count them.
//!
//! Excuse: a member that had been cut off or paused was heard of again, and died before the check that had been held up
//! reached it, unnoticed by the broker. Each such death takes one check; both entries are named.
//!
//! For a promise of memory alone: the broker lost power after the half was stored, which it may have been at any time
//! since it was sent.

use std::collections::BTreeMap;

use staticfire_chaos::history::Intent;
use staticfire_chaos::history::Promise;
use staticfire_chaos::history::Queue;
use staticfire_chaos::identity::MessageKey;

use super::Case;
use super::Verdict;
use super::case::SLACK_NS;
use super::case::Sent;

/// A decision that reached a calm broker is on its disk after so long.
const DURABLE_NS: u64 = 3 * SLACK_NS;
/// A broker takes a silent member for alive for so long (`swarm::plan::EXPIRY_MS`).
const SILENT_NS: u64 = 10 * SLACK_NS;
/// A check that was under way when its half was decided has arrived after so long, once nothing is broken any more.
const UNDER_WAY_NS: u64 = 10 * SLACK_NS;

pub(crate) fn judge(case: &Case) -> Verdict {
    let mut verdict = Verdict::default();
    let mut visible: BTreeMap<MessageKey, u64> = BTreeMap::new();
    let mut aside: BTreeMap<MessageKey, u64> = BTreeMap::new();
    for seen in &case.seen {
        let Some(sent) = case.sends.get(&seen.key) else { continue };
        if seen.queue.topic == sent.topic {
            visible.entry(seen.key).or_insert(seen.at);
        } else if seen.queue.topic == case.contract.discard {
            aside.entry(seen.key).or_insert(seen.at);
        }
    }
    for (key, sent) in case.sends.iter().filter(|(_, sent)| sent.intent == Intent::Half) {
        asked_in_vain(case, &mut verdict, *key, sent, visible.get(key).copied());
        match (aside.get(key), sent.half) {
            (Some(at), _) => put_aside(case, &mut verdict, *key, sent, *at),
            (None, Some((_, queue))) => forgotten(case, &mut verdict, *key, sent, queue),
            (None, None) => {}
        }
    }
    verdict
}

/// Decided long ago, and asked about all the same.
fn asked_in_vain(case: &Case, verdict: &mut Verdict, key: MessageKey, sent: &Sent, visible: Option<u64>) {
    let healed = case.contract.healed_at;
    for check in &sent.checks {
        verdict.held();
        let told = visible.map(|at| at.max(healed) + UNDER_WAY_NS);
        // Everything was settled before the brokers were restarted for the second look.
        let settled = case.contract.not_live.is_none().then_some(case.contract.second_look_at);
        let durable = survived(case, sent);
        if told.into_iter().chain(settled).chain(durable).any(|over| *check > over) {
            verdict.broken(*check, format!("{key} was asked about when it had long been decided")).about(key);
        }
    }
}

/// A crash of the broker so long after the decision that it must have been durable, where nothing but crashes happened.
fn survived(case: &Case, sent: &Sent) -> Option<u64> {
    let (decided, (_, queue)) = (sent.commit.or(sent.rollback)?, sent.half?);
    let (before, after) = (decided.saturating_sub(DURABLE_NS), decided + DURABLE_NS);
    let calm = case.faults_of(queue.broker, &["Kill", "OsCrash"], before, after).is_empty();
    let crashes = case.faults.iter().filter(|f| f.node == queue.broker && f.is_death() && f.at > after);
    crashes.map(|f| f.at).min().filter(|_| calm && case.contract.only_crashes)
}

fn put_aside(case: &Case, verdict: &mut Verdict, key: MessageKey, sent: &Sent, at: u64) {
    verdict.held();
    let (asked, max) = (sent.checks.len(), case.contract.checks_max);
    // A client rolls back, unasked, what was not stored as promised. If that is lost as well, the group is asked, and need
    // not know.
    let known = (sent.commit.is_some() || sent.rollback.is_some()) && sent.unknown < max;
    if asked >= max && !known {
        return;
    }
    let answer = if known { ", which knew the answer" } else { "" };
    let what = format!("{key} was put aside after {asked} checks that reached its group{answer}");
    let (deaths, entries) = died_with_a_check(case, sent.at, at);
    if !known && deaths >= max.saturating_sub(asked) {
        verdict.excuse(what, entries);
    } else {
        verdict.broken(at, what).about(key);
    }
}

/// How many members died within a span, shortly after they had been cut off or paused; and all these entries.
fn died_with_a_check(case: &Case, from: u64, to: u64) -> (usize, Vec<u32>) {
    let halves = case.sends.values().filter(|sent| sent.intent == Intent::Half);
    let members: std::collections::BTreeSet<_> = halves.map(|sent| sent.node).collect();
    let (mut deaths, mut entries) = (0, Vec::new());
    for death in case.faults.iter().filter(|f| members.contains(&f.node) && f.is_death()) {
        let before = death.at.saturating_sub(SILENT_NS);
        let held_up = case.faults_of(death.node, &["Partition", "Pause"], before, death.at);
        if (from..=to).contains(&death.at) && !held_up.is_empty() {
            deaths += 1;
            entries.push(death.number);
            entries.extend(held_up);
        }
    }
    (deaths, entries)
}

/// Stored, never decided, and not put aside either.
fn forgotten(case: &Case, verdict: &mut Verdict, key: MessageKey, sent: &Sent, queue: Queue) {
    if sent.commit.is_some() || sent.rollback.is_some() || case.contract.not_live.is_some() {
        return;
    }
    verdict.held();
    let what = format!("{key} was never decided, and is not in the discard topic");
    let entries = case.faults_of(queue.broker, &["OsCrash", "SyncFailed"], sent.at, u64::MAX);
    if case.contract.promise == Promise::Memory && !entries.is_empty() {
        return verdict.excuse(what, entries);
    }
    verdict.broken(sent.at, what).about(key);
}

#[cfg(test)]
mod tests {
    use staticfire::base::QueueOffset;
    use staticfire_chaos::history::Verdict as Decided;
    use staticfire_chaos::history::What;

    use super::*;
    use crate::oracle::tale::DISCARD;
    use crate::oracle::tale::GROUP;
    use crate::oracle::tale::PRODUCER;
    use crate::oracle::tale::TOPIC;
    use crate::oracle::tale::Tale;
    use crate::oracle::tale::key;
    use crate::oracle::tale::queue_of;

    fn half(checks: u64) -> Tale {
        half_of(Promise::Disk, checks)
    }

    fn half_of(promise: Promise, checks: u64) -> Tale {
        let mut tale = Tale::new(promise);
        tale.invoked(1_000, 1, Intent::Half);
        let (queue, half_offset) = (queue_of(TOPIC), QueueOffset(0));
        tale.at(1_010, PRODUCER, What::HalfSent { key: key(1), queue, half_offset });
        for n in 0..checks {
            tale.at(4_000 + n * 2_000, PRODUCER, What::CheckAsked { key: key(1), group: GROUP });
        }
        tale
    }

    #[test]
    fn put_aside_without_a_single_check() {
        let mut tale = half(0);
        tale.there(DISCARD, 1, 0);
        tale.fault(1_500, PRODUCER, "Kill");
        tale.rejected(judge);
    }

    #[test]
    fn neither_decided_nor_put_aside() {
        half(3).rejected(judge);
    }

    #[test]
    fn asked_about_long_after_it_became_visible() {
        let mut tale = half(1);
        tale.at(4_001, PRODUCER, What::Decision { key: key(1), verdict: Decided::Commit, asked: true });
        tale.there(TOPIC, 1, 0);
        tale.at(190_000, PRODUCER, What::CheckAsked { key: key(1), group: GROUP });
        tale.rejected(judge);
    }

    #[test]
    fn put_aside_though_its_group_knew_the_answer() {
        let mut tale = half(3);
        tale.at(4_001, PRODUCER, What::Decision { key: key(1), verdict: Decided::Commit, asked: true });
        tale.there(DISCARD, 1, 0);
        tale.rejected(judge);
    }

    #[test]
    fn a_decision_that_a_crash_undid() {
        let mut tale = half(0);
        tale.contract().only_crashes = true;
        tale.at(1_005, PRODUCER, What::Decision { key: key(1), verdict: Decided::Rollback, asked: false });
        tale.fault(6_000, crate::oracle::tale::BROKER, "OsCrash { pages_lost: 1 }");
        tale.at(7_000, PRODUCER, What::CheckAsked { key: key(1), group: GROUP });
        tale.rejected(judge);
    }

    #[test]
    fn forgotten_though_power_was_lost_only_before_it_was_sent() {
        let mut tale = half_of(Promise::Memory, 0);
        tale.fault(999, crate::oracle::tale::BROKER, "OsCrash { pages_lost: 1 }");
        tale.rejected(judge);
    }

    #[test]
    fn lost_with_the_power_while_its_answer_was_on_the_way() {
        let mut tale = half_of(Promise::Memory, 0);
        tale.fault(1_005, crate::oracle::tale::BROKER, "OsCrash { pages_lost: 1 }");
        tale.excused(judge);
    }

    #[test]
    fn put_aside_after_all_its_checks() {
        let mut tale = half(3);
        tale.there(DISCARD, 1, 0);
        tale.accepted(judge);
    }

    #[test]
    fn put_aside_after_a_rollback_that_was_lost_and_that_its_group_knew_nothing_of() {
        let mut tale = half(3);
        tale.at(1_005, PRODUCER, What::Decision { key: key(1), verdict: Decided::Rollback, asked: false });
        for n in 0..3 {
            let unknown = What::Decision { key: key(1), verdict: Decided::Unknown, asked: true };
            tale.at(4_001 + n * 2_000, PRODUCER, unknown);
        }
        tale.there(DISCARD, 1, 0);
        tale.accepted(judge);
    }

    fn cut_off_and_dead(checks: u64, death: &str) -> Tale {
        let mut tale = half(checks);
        tale.there(DISCARD, 1, 0);
        tale.fault(4_500, PRODUCER, "Partition: nothing reaches broker-a");
        tale.healed(5_000, PRODUCER, 0);
        tale.fault(5_300, PRODUCER, death);
        tale
    }

    #[test]
    fn a_check_that_was_held_up_until_its_receiver_was_dead() {
        cut_off_and_dead(2, "OsCrash { pages_lost: 0 }").excused(judge);
    }

    #[test]
    fn two_checks_are_more_than_one_death_takes() {
        cut_off_and_dead(1, "OsCrash { pages_lost: 0 }").rejected(judge);
    }

    #[test]
    fn a_receiver_that_lives_has_got_what_was_held_up() {
        cut_off_and_dead(2, "ClockJump { ms: 1 }").rejected(judge);
    }

    #[test]
    fn put_aside_though_its_group_rolled_it_back_and_was_in_doubt_but_once() {
        let mut tale = half(3);
        tale.at(1_005, PRODUCER, What::Decision { key: key(1), verdict: Decided::Rollback, asked: false });
        tale.at(4_001, PRODUCER, What::Decision { key: key(1), verdict: Decided::Unknown, asked: true });
        tale.there(DISCARD, 1, 0);
        tale.rejected(judge);
    }

    #[test]
    fn a_check_that_was_on_its_way_when_the_decision_came() {
        let mut tale = half(1);
        tale.at(3_999, PRODUCER, What::Decision { key: key(1), verdict: Decided::Commit, asked: false });
        tale.read(3_999, TOPIC, 1, 0);
        tale.accepted(judge);
    }

    #[test]
    fn checks_that_were_swallowed_by_a_cut_do_not_count() {
        let mut tale = half(1);
        tale.there(DISCARD, 1, 0);
        tale.fault(1_500, PRODUCER, "Partition: nothing reaches broker-a");
        tale.rejected(judge);
    }
}

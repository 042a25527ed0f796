//! O2, promised by everybody on the way: whatever anybody sees was sent; it is in no more places than it had attempts; a
//! send that was refused never becomes visible.
//!
//! Evidence: every read and every handler's start in a topic that producers send to. Unknown: nothing; a send without an
//! answer may be seen, but not more often than it was tried. How often a transaction may be seen is O13's.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use staticfire_chaos::history::Intent;
use staticfire_chaos::history::Queue;
use staticfire_chaos::history::SendOutcome;
use staticfire_chaos::identity::MessageKey;

use super::Case;
use super::Verdict;

pub(crate) fn judge(case: &Case) -> Verdict {
    let mut verdict = Verdict::default();
    let mut places: BTreeMap<MessageKey, BTreeSet<(Queue, u64)>> = BTreeMap::new();
    for seen in &case.seen {
        let Some(sent) = case.sends.get(&seen.key) else {
            let place = case.place(seen.queue, seen.offset);
            let what = format!("{} was seen as {place}, and nobody sent it", seen.key);
            verdict.broken(seen.at, what).about(seen.key);
            continue;
        };
        verdict.held();
        if seen.at < sent.at {
            verdict.broken(seen.at, format!("{} was seen before it was sent", seen.key)).about(seen.key);
        }
        if case.is_plain(seen.queue.topic) {
            if seen.queue.topic != sent.topic {
                let what = format!("{} was seen in {}", seen.key, case.text(seen.queue.topic));
                verdict.broken(seen.at, what).about(seen.key);
            }
            places.entry(seen.key).or_default().insert((seen.queue, seen.offset));
        }
    }
    for (key, places) in places {
        let Some(sent) = case.sends.get(&key) else { continue };
        let attempts = match (sent.intent, sent.ended) {
            (Intent::Half, _) => usize::MAX,
            (_, Some((_, SendOutcome::Fail))) => 0,
            (_, Some((_, SendOutcome::Info { attempts }))) => attempts as usize,
            (Intent::Oneway, _) => 1,
            _ => case.contract.attempts_max,
        };
        if places.len() > attempts {
            let list: Vec<String> =
                places.iter().map(|(queue, offset)| case.place(*queue, *offset)).collect();
            let what =
                format!("{key} had {attempts} attempts that may be visible, and is {}", list.join(", "));
            verdict.broken(sent.at, what).about(key);
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use staticfire_chaos::history::Promise;

    use super::*;
    use crate::oracle::tale::ONE;
    use crate::oracle::tale::RETRY;
    use crate::oracle::tale::TOPIC;
    use crate::oracle::tale::Tale;

    #[test]
    fn what_nobody_sent_must_not_be_seen() {
        let mut tale = Tale::new(Promise::Disk);
        tale.sent(1_000, 1, 0);
        tale.there(TOPIC, 1, 0);
        tale.started(2_000, ONE, 9, 1);
        tale.rejected(judge);
    }

    #[test]
    fn nor_what_was_refused() {
        let mut tale = Tale::new(Promise::Disk);
        tale.invoked(1_000, 1, Intent::Plain);
        tale.ended(1_001, 1, SendOutcome::Fail);
        tale.there(TOPIC, 1, 0);
        tale.rejected(judge);
    }

    #[test]
    fn nor_more_copies_than_attempts() {
        let mut tale = Tale::new(Promise::Disk);
        tale.invoked(1_000, 1, Intent::Plain);
        tale.ended(1_001, 1, SendOutcome::Info { attempts: 1 });
        tale.there(TOPIC, 1, 0);
        tale.there(TOPIC, 1, 1);
        tale.rejected(judge);
    }

    #[test]
    fn each_attempt_may_leave_a_copy() {
        let mut tale = Tale::new(Promise::Disk);
        tale.sent(1_000, 1, 2);
        (0..3).for_each(|offset| tale.there(TOPIC, 1, offset));
        tale.accepted(judge);
    }

    #[test]
    fn a_copy_for_another_attempt_to_handle_it_is_none() {
        let mut tale = Tale::new(Promise::Disk);
        tale.invoked(1_000, 1, Intent::Oneway);
        tale.ended(1_001, 1, SendOutcome::Info { attempts: 1 });
        tale.there(TOPIC, 1, 0);
        (0..2).for_each(|offset| tale.there(RETRY, 1, offset));
        tale.accepted(judge);
    }
}

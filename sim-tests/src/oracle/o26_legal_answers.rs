//! O26, promised by everybody who answers: each request ends, by an answer that makes sense, by a broken connection, or by
//! its time; a client never waits for ever.
//!
//! Evidence: sends that began and ended in lives of processes; a send that did not end must have been its process's last.
//! Answers without sense are noted by whoever gets them. Unknown: requests that a client makes by itself. A panic anywhere
//! ends the run before any judge, and is reported as such.

use staticfire_chaos::history::What;

use super::Case;
use super::Verdict;

/// The note about an answer that makes no sense.
pub(crate) const NONSENSE: &str = "answer without sense";

pub(crate) fn judge(case: &Case) -> Verdict {
    let mut verdict = Verdict::default();
    let nonsense = case.record.find(NONSENSE);
    for event in &case.record.events {
        if let What::Noted(note, code) = event.what
            && Some(note) == nonsense
        {
            let what = format!("{} got an answer that makes no sense (code {code})", case.text(event.node));
            verdict.broken(event.at, what);
        }
    }
    for (key, sent) in &case.sends {
        verdict.held();
        let over = sent.ended.is_some() || sent.half.is_some() || sent.rollback.is_some();
        if over {
            continue;
        }
        let died = case.faults.iter().any(|f| f.node == sent.node && f.at >= sent.at && f.is_death());
        let left = case.record.events.iter().any(|event| {
            event.node == sent.node
                && (event.life > sent.life
                    || (event.life == sent.life
                        && event.at >= sent.at
                        && matches!(event.what, What::MemberLeft { .. })))
        });
        if !died && !left {
            verdict.broken(sent.at, format!("the send of {key} never ended")).about(*key);
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use staticfire_chaos::history::Intent;
    use staticfire_chaos::history::Name;
    use staticfire_chaos::history::Promise;

    use super::*;
    use crate::oracle::tale::BROKER;
    use crate::oracle::tale::GROUP;
    use crate::oracle::tale::ONE;
    use crate::oracle::tale::PRODUCER;
    use crate::oracle::tale::Tale;

    #[test]
    fn a_send_that_never_ends() {
        let mut tale = Tale::new(Promise::Disk);
        tale.invoked(1_000, 1, Intent::Plain);
        tale.fault(1_500, BROKER, "Kill");
        tale.rejected(judge);
    }

    #[test]
    fn an_answer_without_sense() {
        let mut tale = Tale::new(Promise::Disk);
        tale.sent(1_000, 1, 0);
        tale.name(NONSENSE);
        let note = Name(12);
        tale.at(1_001, ONE, What::Noted(note, 9_999));
        tale.rejected(judge);
    }

    #[test]
    fn a_send_that_its_process_did_not_survive() {
        let mut tale = Tale::new(Promise::Disk);
        tale.invoked(1_000, 1, Intent::Plain);
        tale.fault(1_500, PRODUCER, "Kill");
        tale.accepted(judge);
    }

    #[test]
    fn a_process_that_was_asked_to_end() {
        let mut tale = Tale::new(Promise::Disk);
        tale.invoked(1_000, 1, Intent::Plain);
        tale.at(1_500, PRODUCER, What::MemberLeft { group: GROUP });
        tale.accepted(judge);
    }
}

//! O24, promised by everybody: once nothing breaks any more, everything drains: all messages are sent, no group lags, halves
//! are decided or put aside, retries are over; again after a restart of all brokers.
//!
//! Evidence: the settling of the run, which waits for exactly that within a limit of virtual time. Unknown: nothing.

use super::Case;
use super::Verdict;

pub(crate) fn judge(case: &Case) -> Verdict {
    let mut verdict = Verdict::default();
    verdict.held();
    if let Some(missing) = &case.contract.not_live {
        verdict.broken(case.contract.healed_at, missing.clone());
    }
    verdict
}

#[cfg(test)]
mod tests {
    use staticfire_chaos::history::Promise;

    use super::*;
    use crate::oracle::tale::BROKER;
    use crate::oracle::tale::TOPIC;
    use crate::oracle::tale::Tale;

    #[test]
    fn a_group_that_lags_for_ever() {
        let mut tale = Tale::new(Promise::Disk);
        tale.contract().not_live = Some("group g lags 3 messages behind".to_owned());
        tale.rejected(judge);
    }

    #[test]
    fn a_queue_that_cannot_be_read_though_its_broker_was_healed() {
        let mut tale = Tale::new(Promise::Memory);
        tale.fault(1_000, BROKER, "OsCrash { pages_lost: 1 }");
        tale.contract().not_live = Some("plain@broker-a/0 cannot be read".to_owned());
        tale.rejected(judge);
    }

    #[test]
    fn everything_is_over() {
        let mut tale = Tale::new(Promise::Disk);
        tale.sent(1_000, 1, 0);
        tale.there(TOPIC, 1, 0);
        tale.accepted(judge);
    }

    #[test]
    fn a_loss_is_not_this_promise() {
        let mut tale = Tale::new(Promise::Disk);
        tale.sent(1_000, 1, 0);
        tale.accepted(judge);
    }
}

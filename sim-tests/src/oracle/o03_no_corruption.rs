//! O3, promised by the store and the wire: what is read is what was sent, bit by bit, with its tag and its keys.
//!
//! Evidence: bodies carry their own name, length and checksum; readers note a body that is not what it says it is, and the
//! checksum of one that is. Unknown: nothing. Loss is O1's business; lying has no excuse in any mode.

use staticfire_chaos::history::What;

use super::Case;
use super::Verdict;

pub(crate) fn judge(case: &Case) -> Verdict {
    let mut verdict = Verdict::default();
    for event in &case.record.events {
        if let What::Damaged { queue, offset, len } = event.what {
            let what = format!(
                "{} read {len} bytes as {} that nobody sent so",
                case.text(event.node),
                case.place(queue, offset.0)
            );
            verdict.held();
            verdict.broken(event.at, what).at_place(queue, offset.0);
        }
    }
    for seen in &case.seen {
        let (Some(sent), Some(crc)) = (case.sends.get(&seen.key), seen.crc) else { continue };
        verdict.held();
        if sent.crc != crc {
            let place = case.place(seen.queue, seen.offset);
            let what = format!("{} was read as {place} with other bytes", seen.key);
            verdict.broken(seen.at, what).about(seen.key).at_place(seen.queue, seen.offset);
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use staticfire::base::QueueOffset;
    use staticfire_chaos::history::Promise;

    use super::*;
    use crate::oracle::tale::BROKER;
    use crate::oracle::tale::ONE;
    use crate::oracle::tale::OPERATOR;
    use crate::oracle::tale::TOPIC;
    use crate::oracle::tale::Tale;
    use crate::oracle::tale::key;
    use crate::oracle::tale::queue_of;

    #[test]
    fn a_damaged_body_reached_a_reader() {
        let mut tale = Tale::new(Promise::Memory);
        let what = What::Damaged { queue: queue_of(TOPIC), offset: QueueOffset(0), len: 3 };
        tale.fault(1_000, BROKER, "OsCrash { pages_lost: 1 }");
        tale.at(2_000, ONE, what);
        tale.rejected(judge);
    }

    #[test]
    fn another_body_under_the_same_name() {
        let mut tale = Tale::new(Promise::Disk);
        tale.sent(1_000, 1, 0);
        let (queue, offset) = (queue_of(TOPIC), QueueOffset(0));
        tale.at(2_000, OPERATOR, What::Read { queue, offset, key: key(1), crc: 77 });
        tale.rejected(judge);
    }

    #[test]
    fn the_same_body_however_often() {
        let mut tale = Tale::new(Promise::Disk);
        tale.sent(1_000, 1, 0);
        (0..3).for_each(|_| tale.there(TOPIC, 1, 0));
        tale.accepted(judge);
    }

    #[test]
    fn the_same_body_elsewhere_is_not_this_promise() {
        let mut tale = Tale::new(Promise::Disk);
        tale.sent(1_000, 1, 0);
        tale.there(TOPIC, 1, 7);
        tale.accepted(judge);
    }
}

//! A transactional message's forms: prepared, carried, committed.
//!
//! ```text
//!             topic                       queue  properties
//!   sent      T                           q      TRAN_MSG = true, PGROUP
//!   half      RMQ_SYS_TRANS_HALF_TOPIC    0      TRAN_MSG, PGROUP, REAL_TOPIC = T, REAL_QID = q
//!   carried   RMQ_SYS_TRANS_HALF_TOPIC    0      as the half, TRAN_PREPARED_QUEUE_OFFSET, TRANSACTION_CHECK_TIMES
//!   real      T                           q      as sent, but for TRAN_MSG
//!   discarded TRANS_CHECK_MAX_TIME_TOPIC  0      as the half
//! ```
//!
//! The transaction bits of the system flag are cleared in a half, so that readers do not skip it, and say "commit" in
//! the real message, whose prepared offset is the half's physical offset.

use std::time::Duration;

use thiserror::Error;

use crate::base::PhysicalOffset;
use crate::base::QueueId;
use crate::base::QueueOffset;
use crate::base::Timestamp;
use crate::machine::edit::PropertyEdit;
use crate::protocol::names;
use crate::protocol::properties::name;

/// Prepared messages, invisible to consumers.
pub const HALF_TOPIC: &str = names::HALF_TOPIC;
/// What became of them.
pub const OP_TOPIC: &str = names::OP_HALF_TOPIC;
/// Those nobody decided on after the last check.
pub const DISCARD_TOPIC: &str = names::CHECK_MAX_TIME_TOPIC;
/// The consumer group whose offsets on the half and op topics are the checker's progress.
pub const TRANSACTION_GROUP: &str = "CID_RMQ_SYS_TRANS";

/// A record of the half queue, as far as the machine needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HalfRecord {
    pub offset: QueueOffset,
    pub physical: PhysicalOffset,
    /// The offset of its first copy: its own unless it was carried forward.
    pub origin: QueueOffset,
    /// Producer group: whose members may decide.
    pub group: String,
    pub stored_at: Timestamp,
    /// Checks delivered before this copy was stored.
    pub checks: u32,
    /// The sender's own time before the first check.
    pub immunity: Option<Duration>,
}

impl HalfRecord {
    /// Reads a record's properties. A missing producer group is an empty one: such a half is never decided by anyone,
    /// and ends in the discard topic.
    pub fn read<'a>(
        offset: QueueOffset,
        physical: PhysicalOffset,
        stored_at: Timestamp,
        property: impl Fn(&str) -> Option<&'a str>,
    ) -> HalfRecord {
        let number = |name| property(name).and_then(|text| text.trim().parse::<i64>().ok());
        let origin = number(name::TRAN_PREPARED_QUEUE_OFFSET).and_then(|at| u64::try_from(at).ok());
        let checks = number(name::TRANSACTION_CHECK_TIMES).and_then(|count| u32::try_from(count).ok());
        let immunity =
            number(name::CHECK_IMMUNITY_TIME_IN_SECONDS).and_then(|seconds| u32::try_from(seconds).ok());
        HalfRecord {
            offset,
            physical,
            // A copy comes after what it copies; anything else is not ours.
            origin: origin.map(QueueOffset).filter(|origin| *origin < offset).unwrap_or(offset),
            group: property(name::PRODUCER_GROUP).unwrap_or_default().to_owned(),
            stored_at,
            checks: checks.unwrap_or(0),
            immunity: immunity.map(|seconds| Duration::from_secs(u64::from(seconds))),
        }
    }
}

/// Where a committed message goes, and how its properties change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealForm {
    pub topic: String,
    pub queue: QueueId,
    pub edits: Vec<PropertyEdit>,
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RealFormError {
    #[error("a half message without {0}")]
    Missing(&'static str),
    #[error("`{0}` is not a queue")]
    Queue(String),
}

/// What changes when a message for `topic` and `queue` is prepared. The half queue is number 0.
pub fn half_form(topic: &str, queue: QueueId) -> Vec<PropertyEdit> {
    vec![
        PropertyEdit::put(name::REAL_TOPIC, topic),
        PropertyEdit::put(name::REAL_QUEUE_ID, queue),
        // Of a message that is sent on by a consumer; nobody else may say how often it was checked.
        PropertyEdit::Clear(name::TRANSACTION_CHECK_TIMES),
        PropertyEdit::Clear(name::TRAN_PREPARED_QUEUE_OFFSET),
    ]
}

/// What changes when a half is stored again further on.
pub fn carried_form(origin: QueueOffset, checks: u32) -> Vec<PropertyEdit> {
    vec![
        PropertyEdit::put(name::TRAN_PREPARED_QUEUE_OFFSET, origin),
        PropertyEdit::put(name::TRANSACTION_CHECK_TIMES, checks),
    ]
}

/// What changes when a half is committed, from its REAL_TOPIC and REAL_QID.
pub fn real_form(real_topic: Option<&str>, real_queue: Option<&str>) -> Result<RealForm, RealFormError> {
    let topic =
        real_topic.filter(|topic| !topic.is_empty()).ok_or(RealFormError::Missing(name::REAL_TOPIC))?;
    let queue = real_queue.ok_or(RealFormError::Missing(name::REAL_QUEUE_ID))?;
    let queue: u32 = queue.trim().parse().map_err(|_| RealFormError::Queue(queue.to_owned()))?;
    let cleared = [
        name::TRAN_MSG,
        name::REAL_TOPIC,
        name::REAL_QUEUE_ID,
        name::TRANSACTION_CHECK_TIMES,
        name::TRAN_PREPARED_QUEUE_OFFSET,
    ];
    let edits = cleared.into_iter().map(PropertyEdit::Clear).collect();
    Ok(RealForm { topic: topic.to_owned(), queue: QueueId(queue), edits })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Properties;

    fn properties(pairs: &[(&str, &str)]) -> Properties {
        let mut properties = Properties::default();
        pairs.iter().for_each(|(name, value)| properties.set(*name, *value));
        properties
    }

    #[test]
    fn a_committed_message_has_the_properties_it_was_sent_with() {
        let sent = properties(&[("TRAN_MSG", "true"), ("PGROUP", "pay"), ("KEYS", "17"), ("colour", "red")]);
        let mut half = sent.clone();
        PropertyEdit::apply(&half_form("orders", QueueId(3)), &mut half);
        PropertyEdit::apply(&carried_form(QueueOffset(5), 2), &mut half);
        let real = real_form(half.value("REAL_TOPIC"), half.value("REAL_QID")).unwrap();
        assert_eq!((real.topic.as_str(), real.queue), ("orders", QueueId(3)));
        PropertyEdit::apply(&real.edits, &mut half);
        let mut expected = sent;
        expected.remove("TRAN_MSG");
        assert_eq!(half, expected);
    }

    #[test]
    fn a_carried_half_knows_its_origin_and_its_checks() {
        let mut half = properties(&[("PGROUP", "pay"), ("CHECK_IMMUNITY_TIME_IN_SECONDS", "60")]);
        PropertyEdit::apply(&half_form("orders", QueueId(3)), &mut half);
        let read = |half: &Properties, offset| {
            HalfRecord::read(QueueOffset(offset), PhysicalOffset(100), Timestamp(1), |name| half.value(name))
        };
        let first = read(&half, 5);
        assert_eq!((first.origin, first.checks), (QueueOffset(5), 0));
        assert_eq!((first.group.as_str(), first.immunity), ("pay", Some(Duration::from_secs(60))));
        PropertyEdit::apply(&carried_form(first.origin, 2), &mut half);
        let second = read(&half, 90);
        assert_eq!((second.origin, second.checks), (QueueOffset(5), 2));
    }

    #[test]
    fn odd_properties_of_a_stored_half_are_read_as_absent() {
        let pairs = [
            ("TRAN_PREPARED_QUEUE_OFFSET", "77"),
            ("TRANSACTION_CHECK_TIMES", "-1"),
            ("CHECK_IMMUNITY_TIME_IN_SECONDS", "soon"),
        ];
        let half = properties(&pairs);
        let record =
            HalfRecord::read(QueueOffset(9), PhysicalOffset(1), Timestamp(1), |name| half.value(name));
        assert_eq!(record.origin, QueueOffset(9), "a copy comes after what it copies");
        assert_eq!((record.checks, record.immunity, record.group.as_str()), (0, None, ""));
        assert_eq!(real_form(None, Some("0")), Err(RealFormError::Missing("REAL_TOPIC")));
        assert_eq!(real_form(Some("t"), Some("x")), Err(RealFormError::Queue("x".to_owned())));
    }
}

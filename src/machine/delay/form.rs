//! A delayed message's two forms: as it waits, and as it is delivered.
//!
//! ```text
//!            topic                queue      tags code of the queue unit    properties
//!   sent     T                    q          hash of the tag                DELAY
//!   waiting  SCHEDULE_TOPIC_XXXX  level - 1  deliver time, wall clock ms    DELAY, REAL_TOPIC = T, REAL_QID = q
//!   again    T                    q          hash of the tag                REAL_TOPIC, REAL_QID
//! ```
//!
//! RocketMQ leaves REAL_TOPIC and REAL_QID on the delivered message; so does this.

use thiserror::Error;

use crate::base::QueueId;
use crate::base::Timestamp;
use crate::machine::delay::Levels;
use crate::machine::edit::PropertyEdit;
use crate::protocol::names;
use crate::protocol::properties::name;

/// Where delayed messages wait.
pub const SCHEDULE_TOPIC: &str = names::SCHEDULE_TOPIC;

/// How a delayed message is stored while it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduled {
    pub topic: &'static str,
    pub queue: QueueId,
    pub level: u32,
    /// The tags code of its queue unit.
    pub deliver_at: Timestamp,
    pub edits: Vec<PropertyEdit>,
}

/// How it is stored when its time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    pub topic: String,
    pub queue: QueueId,
    pub edits: Vec<PropertyEdit>,
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DeliverError {
    #[error("a waiting message without {0}")]
    Missing(&'static str),
    #[error("`{0}` is not a queue")]
    Queue(String),
}

/// The waiting form of a message for `topic` and `queue` that asks for `level`, stored at `stored_at`. Nothing if the
/// level means no delay.
pub fn schedule_form(
    levels: &Levels,
    level: i64,
    topic: &str,
    queue: QueueId,
    stored_at: Timestamp,
) -> Option<Scheduled> {
    let level = levels.effective(level)?;
    let delay = levels.delay(level).expect("an effective level is in the table");
    let deliver_at = stored_at.plus_ms(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX));
    let edits =
        vec![PropertyEdit::put(name::REAL_TOPIC, topic), PropertyEdit::put(name::REAL_QUEUE_ID, queue)];
    Some(Scheduled { topic: SCHEDULE_TOPIC, queue: QueueId(level - 1), level, deliver_at, edits })
}

/// The form in which a waiting message is delivered, from its REAL_TOPIC and REAL_QID.
pub fn deliver_form(real_topic: Option<&str>, real_queue: Option<&str>) -> Result<Delivered, DeliverError> {
    let topic =
        real_topic.filter(|topic| !topic.is_empty()).ok_or(DeliverError::Missing(name::REAL_TOPIC))?;
    let queue = real_queue.ok_or(DeliverError::Missing(name::REAL_QUEUE_ID))?;
    let queue: u32 = queue.trim().parse().map_err(|_| DeliverError::Queue(queue.to_owned()))?;
    // Left in, the message would be parked again.
    let edits = vec![PropertyEdit::Clear(name::DELAY)];
    Ok(Delivered { topic: topic.to_owned(), queue: QueueId(queue), edits })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Properties;

    #[test]
    fn a_delayed_message_comes_back_to_the_queue_it_was_sent_to() {
        let mut properties = Properties::default();
        properties.set("DELAY", "3");
        let waiting = schedule_form(&Levels::default(), 3, "orders", QueueId(7), Timestamp(1_000)).unwrap();
        assert_eq!((waiting.topic, waiting.queue, waiting.level), (SCHEDULE_TOPIC, QueueId(2), 3));
        assert_eq!(waiting.deliver_at, Timestamp(11_000));
        PropertyEdit::apply(&waiting.edits, &mut properties);
        let again = deliver_form(properties.value("REAL_TOPIC"), properties.value("REAL_QID")).unwrap();
        assert_eq!((again.topic.as_str(), again.queue), ("orders", QueueId(7)));
        PropertyEdit::apply(&again.edits, &mut properties);
        assert!(properties.value("DELAY").is_none(), "a delivered message is not delayed again");
    }

    #[test]
    fn a_waiting_message_without_its_way_back_is_refused() {
        assert_eq!(deliver_form(None, Some("1")), Err(DeliverError::Missing("REAL_TOPIC")));
        assert_eq!(deliver_form(Some(""), Some("1")), Err(DeliverError::Missing("REAL_TOPIC")));
        assert_eq!(deliver_form(Some("t"), None), Err(DeliverError::Missing("REAL_QID")));
        assert_eq!(deliver_form(Some("t"), Some("-1")), Err(DeliverError::Queue("-1".to_owned())));
        assert_eq!(schedule_form(&Levels::default(), 0, "t", QueueId(0), Timestamp(0)), None);
    }
}

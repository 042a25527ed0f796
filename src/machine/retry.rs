//! What becomes of a message a consumer could not process: again later, dead letter, dropped, or refused.
//!
//! ```text
//!   CONSUMER_SEND_MSG_BACK (36)                  send to %RETRY%group (10, 310: what a client does if 36 fails)
//!   group unknown          -> Refused            group unknown                 -> Refused
//!   no retry queue         -> Dropped            attempts > max, or orderly    -> DeadLetter
//!   attempts >= max, or                          otherwise                     -> Store as sent
//!     delay level < 0      -> DeadLetter
//!   otherwise              -> Retry at level, attempts + 1
//! ```
//!
//! The limit differs by one between the two on purpose: with 36 the broker counts the attempt, on a send the client
//! has counted it already. Either way a group with limit *n* sees a message *n* + 1 times.
//!
//! Java to read: `AbstractSendMessageProcessor.consumerSendMsgBack`, `handleRetryAndDLQ`. A dead letter's DELAY is
//! cleared in both: parking it in a delay level first would let it be late or lost (rmq#2724).
//!
//! Not here: loading the message, creating the topics, appending.

use thiserror::Error;

use crate::base::QueueId;
use crate::machine::edit::PropertyEdit;
use crate::protocol::names;
use crate::protocol::properties::name;

/// Client versions from V3_4_9 on send a limit of their own.
pub const VERSION_WITH_CLIENT_LIMIT: i32 = 121;
/// The level of a first retry, 10 s by default: level 1 and 2 are skipped.
pub const FIRST_RETRY_LEVEL: u32 = 3;

/// What the group's configuration says. `None` where the group is unknown and not to be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupRetry {
    /// `retryMaxTimes`
    pub max: i32,
    /// `retryQueueNums`
    pub queues: i32,
    /// The group may read (`perm` of its retry topic, `consumeEnable`); else NO_PERMISSION.
    pub permitted: bool,
}

/// The request, as far as it decides.
#[derive(Clone, Copy, Debug)]
pub struct SendBack<'a> {
    pub group: &'a str,
    /// Of the request: 0 lets the broker choose, negative asks for the dead-letter topic.
    pub delay_level: i32,
    /// `maxReconsumeTimes` of the request, from clients that have it.
    pub client_max: Option<i32>,
    /// `version` of the request's header.
    pub client_version: i32,
    /// Of the stored message.
    pub reconsume_times: i32,
    /// Topic the stored message lies in.
    pub topic: &'a str,
    /// RETRY_TOPIC of the stored message.
    pub retry_topic: Option<&'a str>,
    /// ORIGIN_MESSAGE_ID of the stored message.
    pub origin_message_id: Option<&'a str>,
    /// The stored message's own id.
    pub message_id: &'a str,
    /// A number the caller drew, to choose among the retry queues.
    pub draw: u64,
}

/// A send to a `%RETRY%` topic.
#[derive(Clone, Copy, Debug)]
pub struct RetrySend<'a> {
    pub group: &'a str,
    /// Of the request's header: the attempt is counted in.
    pub reconsume_times: i32,
    pub client_max: Option<i32>,
    pub client_version: i32,
    /// RETRY_TOPIC and ORIGIN_MESSAGE_ID of the message sent, and the topic it is sent to.
    pub topic: &'a str,
    pub retry_topic: Option<&'a str>,
    pub origin_message_id: Option<&'a str>,
    /// The group holds leases on queues, so it consumes in order: its clients retry in place and send only what has
    /// used up its attempts, without counting the last one (rmq#6163).
    pub orderly: bool,
}

/// What to do with the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Append a copy to the retry topic by way of the delay level.
    Retry { topic: String, queue: QueueId, delay_level: u32, reconsume_times: i32, edits: Vec<PropertyEdit> },
    /// Append a copy to the dead-letter topic, at once. It has one queue; create it with read and write permission.
    DeadLetter { topic: String, queue: QueueId, reconsume_times: i32, edits: Vec<PropertyEdit> },
    /// A send to the retry topic that is stored as it was sent.
    Store,
    /// The group wants no retries: answer success, append nothing.
    Dropped,
}

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RetryError {
    /// SUBSCRIPTION_GROUP_NOT_EXIST
    #[error("the consumer group does not exist")]
    GroupUnknown,
    /// NO_PERMISSION
    #[error("the consumer group may not consume")]
    NotPermitted,
}

/// Decides on a CONSUMER_SEND_MSG_BACK.
pub fn send_back(request: &SendBack<'_>, group: Option<GroupRetry>) -> Result<Outcome, RetryError> {
    let group = group.ok_or(RetryError::GroupUnknown)?;
    if !group.permitted {
        return Err(RetryError::NotPermitted);
    }
    let Ok(queues @ 1..) = u64::try_from(group.queues) else { return Ok(Outcome::Dropped) };
    let max = limit(group, request.client_max, request.client_version);
    let origin = request.retry_topic.unwrap_or(request.topic);
    let origin_id = request.origin_message_id.unwrap_or(request.message_id);
    let mut edits = vec![
        PropertyEdit::put(name::RETRY_TOPIC, origin),
        PropertyEdit::put(name::ORIGIN_MESSAGE_ID, origin_id),
    ];
    let reconsume_times = request.reconsume_times.saturating_add(1);
    if request.reconsume_times >= max || request.delay_level < 0 {
        edits.extend(dead_letter_edits(origin, origin_id));
        let topic = names::dlq_topic(request.group);
        return Ok(Outcome::DeadLetter { topic, queue: QueueId(0), reconsume_times, edits });
    }
    let delay_level = match u32::try_from(request.delay_level) {
        Ok(level @ 1..) => level,
        _ => FIRST_RETRY_LEVEL + u32::try_from(request.reconsume_times).unwrap_or(0),
    };
    edits.push(PropertyEdit::put(name::DELAY, delay_level));
    let queue = choose(request.draw, queues);
    let topic = names::retry_topic(request.group);
    assert!(delay_level > 0, "a retry always waits");
    Ok(Outcome::Retry { topic, queue, delay_level, reconsume_times, edits })
}

/// Decides on a send whose topic is `%RETRY%` and a group.
pub fn retry_send(request: &RetrySend<'_>, group: Option<GroupRetry>) -> Result<Outcome, RetryError> {
    let group = group.ok_or(RetryError::GroupUnknown)?;
    let max = limit(group, request.client_max, request.client_version);
    if request.reconsume_times <= max && group.queues > 0 && !request.orderly {
        return Ok(Outcome::Store);
    }
    let origin = request.retry_topic.unwrap_or(request.topic);
    let edits = dead_letter_edits(origin, request.origin_message_id.unwrap_or_default());
    let topic = names::dlq_topic(request.group);
    Ok(Outcome::DeadLetter { topic, queue: QueueId(0), reconsume_times: request.reconsume_times, edits })
}

/// The client's limit counts where the client is new enough to have one; a negative limit of a group means none.
fn limit(group: GroupRetry, client_max: Option<i32>, client_version: i32) -> i32 {
    match client_max {
        Some(max) if client_version >= VERSION_WITH_CLIENT_LIMIT => max,
        _ => group.max,
    }
}

fn dead_letter_edits(origin: &str, origin_id: &str) -> Vec<PropertyEdit> {
    let mut edits = vec![PropertyEdit::put(name::DLQ_ORIGIN_TOPIC, origin), PropertyEdit::Clear(name::DELAY)];
    if !origin_id.is_empty() {
        edits.push(PropertyEdit::put(name::DLQ_ORIGIN_MESSAGE_ID, origin_id));
    }
    edits
}

fn choose(draw: u64, queues: u64) -> QueueId {
    assert!(queues > 0, "there is a queue to choose");
    QueueId(u32::try_from(draw % queues).expect("queues are counted in a positive i32"))
}

#[cfg(test)]
mod tests;

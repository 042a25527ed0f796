//! One batch through its handler, and what becomes of its messages.
//!
//! ```text
//! handler says   shared group                                     broadcast
//! Done           settled                                          settled
//! Retry          sent back (36), else a copy to %RETRY%,          settled, with a warning
//!                else again here after 5 s
//! Suspend        again here; after too many times dead letter     again here
//! ```
//!
//! A message that must come again is settled only once a broker acknowledged that it has it (apache/rocketmq-client-go
//! #618, #797): until then the group's offset stays below it.

use std::sync::Arc;

use super::ConsumeResult;
use super::Handler;
use super::Inner;
use super::MessageModel;
use super::MessageView;
use super::OrderResult;
use super::worker::Assigned;
use crate::base::Mono;
use crate::base::QueueOffset;
use crate::client::send;
use crate::client::send::Outgoing;
use crate::client::send::Target;
use crate::machine::consume::Taken;
use crate::machine::produce::Limits;
use crate::protocol::command::send::SendBack;
use crate::protocol::message::Message;
use crate::protocol::names;
use crate::protocol::properties::name;

/// A message that no broker took back is handled again here after so many milliseconds.
const AGAIN_MS: u64 = 5_000;
/// The producer group under which clients send their own copies.
const INNER_PRODUCER: &str = "CLIENT_INNER_PRODUCER";
/// Delay levels below 3 are for other uses; the first retry waits for level 3, 10 s.
const FIRST_RETRY_LEVEL: i32 = 3;
/// Tells a broker to make the message a dead letter.
const NO_RETRY: i32 = -1;
/// Lets the broker choose the level by the number of attempts.
const BY_ATTEMPTS: i32 = 0;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Settled,
    Again { not_before: Mono },
}

/// Hands a batch to the handler and settles it as far as possible.
pub(super) async fn handle(
    inner: &Arc<Inner>,
    assigned: &Assigned,
    batch: Vec<Taken<MessageView>>,
) -> Vec<(QueueOffset, Fate)> {
    let messages: Vec<MessageView> = batch.iter().map(|taken| taken.message.clone()).collect();
    let mut fates = Vec::with_capacity(batch.len());
    match &inner.handler {
        Handler::Concurrent(handler) => {
            let level = match handler(messages).await {
                ConsumeResult::Done => None,
                ConsumeResult::Retry => Some(BY_ATTEMPTS),
                ConsumeResult::RetryAt { delay_level } => {
                    Some(i32::try_from(delay_level).unwrap_or(i32::MAX))
                }
                ConsumeResult::DeadLetter => Some(NO_RETRY),
            };
            for taken in batch {
                let fate = match level {
                    None => Fate::Settled,
                    Some(level) => failed(inner, assigned, &taken, level).await,
                };
                fates.push((taken.offset, fate));
            }
        }
        Handler::Ordered(handler) => {
            let result = handler(messages).await;
            for taken in batch {
                let fate = match result {
                    OrderResult::Done => Fate::Settled,
                    OrderResult::Suspend { ms } => suspended(inner, &taken, ms).await,
                };
                fates.push((taken.offset, fate));
            }
        }
    }
    fates
}

async fn failed(inner: &Arc<Inner>, assigned: &Assigned, taken: &Taken<MessageView>, level: i32) -> Fate {
    if inner.config.model == MessageModel::Broadcasting {
        tracing::warn!(
            id = taken.message.id(),
            "a broadcast message was not handled; it does not come again"
        );
        return Fate::Settled;
    }
    // The next owner gets it anyway: the offset stays below it.
    if !assigned.is_revoked() && send_back(inner, &taken.message, level).await {
        return Fate::Settled;
    }
    Fate::Again { not_before: inner.client.shared.env.now().plus_ms(AGAIN_MS) }
}

async fn suspended(inner: &Arc<Inner>, taken: &Taken<MessageView>, ms: u64) -> Fate {
    let failures = i32::try_from(taken.failures).unwrap_or(i32::MAX);
    let attempts = taken.message.received().reconsume_times.saturating_add(failures);
    let spent = inner.max_reconsume().is_some_and(|max| attempts >= max);
    let shared_group = inner.config.model == MessageModel::Clustering;
    if spent && shared_group && send_back(inner, &taken.message, NO_RETRY).await {
        return Fate::Settled;
    }
    Fate::Again { not_before: inner.client.shared.env.now().plus_ms(ms) }
}

/// True if a broker acknowledged that it has the message.
async fn send_back(inner: &Arc<Inner>, message: &MessageView, level: i32) -> bool {
    let shared = &inner.client.shared;
    let back = SendBack {
        offset: message.received().physical,
        group: inner.config.group.clone(),
        delay_level: level,
        origin_msg_id: Some(message.id()),
        origin_topic: Some(message.topic().to_owned()),
        unit_mode: false,
        max_reconsume_times: inner.max_reconsume(),
        broker_name: Some(message.queue().broker.to_string()),
    };
    let sent = match shared.master_of(message.queue()) {
        Ok(addr) => shared.send_back(&addr, &back).await,
        Err(error) => Err(error),
    };
    let Err(error) = sent else { return true };
    tracing::info!(id = message.id(), %error, "not taken back; sending a copy");
    let copy = match Outgoing::message(shared, copy(inner, message, level), usize::MAX) {
        Ok(copy) => copy,
        Err(error) => {
            tracing::warn!(id = message.id(), %error, "a message cannot be sent back");
            return false;
        }
    };
    let limits = Limits { attempts_max: 3, timeout_ms: shared.settings.request_timeout_ms };
    match send::send(shared, INNER_PRODUCER, limits, &copy, Target::Any).await {
        Ok(_) => true,
        Err(error) => {
            tracing::info!(id = message.id(), %error, "no copy was taken; it is handled again here");
            false
        }
    }
}

/// What the broker would make of a message that is sent back.
fn copy(inner: &Inner, view: &MessageView, level: i32) -> Message {
    let received = view.received();
    let max = inner.max_reconsume().unwrap_or(i32::MAX - 1);
    let mut message = received.message.clone();
    message.topic = names::retry_topic(&inner.config.group);
    let properties = &mut message.properties;
    properties.remove(name::TRAN_MSG);
    properties.remove(name::DELAY);
    if properties.value(name::ORIGIN_MESSAGE_ID).is_none() {
        properties.set(name::ORIGIN_MESSAGE_ID, view.id());
    }
    properties.set(name::RETRY_TOPIC, view.topic());
    properties.set(name::MAX_RECONSUME_TIMES, max.to_string());
    let (times, delay) = match level {
        NO_RETRY => (max + 1, None),
        BY_ATTEMPTS => {
            let times = received.reconsume_times.saturating_add(1);
            (times, Some(FIRST_RETRY_LEVEL.saturating_add(received.reconsume_times)))
        }
        level => (received.reconsume_times.saturating_add(1), Some(level)),
    };
    properties.set(name::RECONSUME_TIME, times.to_string());
    if let Some(level) = delay {
        properties.set(name::DELAY, level.to_string());
    }
    message
}

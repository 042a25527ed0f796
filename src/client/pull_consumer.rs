//! [`PullConsumer`]: asks for messages of queues it chooses itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Client;
use super::MessageQueue;
use super::PullStatus;
use super::RequestError;
use super::RouteError;
use super::StartError;
use super::broker::wire_id;
use super::broker::wire_offset;
use super::consumer::MessageView;
use super::instance::Shared;
use super::member::UNFOLDED_BYTES_MAX;
use crate::base::QueueOffset;
use crate::base::Timestamp;
use crate::protocol::command::pull;
use crate::protocol::command::pull::pull_flag;
use crate::protocol::command::query::QueryMessage;
use crate::protocol::message::ReceivedMessage;
use crate::protocol::names;
use crate::protocol::record;
use crate::protocol::subscription;
use crate::protocol::subscription::TagFilter;

/// Beyond the time a broker may hold a pull, its answer may take so many milliseconds.
const ANSWER_MS: u64 = 10_000;

/// Says how a pull consumer is to be.
#[must_use = "a builder does nothing until start"]
pub struct PullConsumerBuilder {
    client: Client,
    group: String,
    tags: String,
    hold_ms: u64,
}

/// Reads queues by offset. It shares nothing with other members: which queues it reads, and what it commits, is its
/// user's business. It sends no heartbeat, so a group of pull consumers alone looks offline to tools.
///
/// ```no_run
/// # use staticfire::client::{Client, PullStatus};
/// # async fn run(client: Client) -> Result<(), Box<dyn std::error::Error>> {
/// let consumer = client.pull_consumer("audit").start().await?;
/// for queue in consumer.queues("orders").await? {
///     let mut at = consumer.min_offset(&queue).await?;
///     loop {
///         let pulled = consumer.pull(&queue, at, 32).await?;
///         if pulled.status == PullStatus::NothingNew {
///             break;
///         }
///         at = pulled.next;
///     }
///     consumer.commit(&queue, at).await?;
/// }
/// # Ok(()) }
/// ```
pub struct PullConsumer {
    client: Client,
    group: String,
    tags: String,
    filter: TagFilter,
    hold_ms: u64,
    positions: Mutex<BTreeMap<MessageQueue, QueueOffset>>,
}

/// What a pull found.
#[derive(Clone, Debug)]
pub struct Pulled {
    pub status: PullStatus,
    /// Only what the tags let through.
    pub messages: Vec<MessageView>,
    /// Where to go on.
    pub next: QueueOffset,
    /// The queue's bounds.
    pub min: QueueOffset,
    pub max: QueueOffset,
}

impl PullConsumerBuilder {
    pub(super) fn new(client: Client, group: &str) -> PullConsumerBuilder {
        PullConsumerBuilder {
            client,
            group: group.to_owned(),
            tags: subscription::ALL.to_owned(),
            hold_ms: 0,
        }
    }

    /// Only messages with these tags: `*`, or tags joined by `||`.
    pub fn tags(mut self, tags: &str) -> PullConsumerBuilder {
        self.tags = tags.to_owned();
        self
    }

    /// Lets a broker hold a pull that finds nothing for so many milliseconds. 0, the default: it answers at once.
    pub fn hold_ms(mut self, ms: u64) -> PullConsumerBuilder {
        self.hold_ms = ms;
        self
    }

    pub async fn start(self) -> Result<PullConsumer, StartError> {
        let PullConsumerBuilder { client, group, tags, hold_ms } = self;
        names::check_group(&group)?;
        let filter = TagFilter::parse(&tags);
        Ok(PullConsumer { client, group, tags, filter, hold_ms, positions: Mutex::default() })
    }
}

impl PullConsumer {
    /// The readable queues of a topic.
    pub async fn queues(&self, topic: &str) -> Result<Vec<MessageQueue>, RouteError> {
        Ok(self.shared().subscribe_route(topic).await?.readable().to_vec())
    }

    /// Asks for at most `max` messages from `offset` on. Changes nothing, here or there.
    pub async fn pull(
        &self,
        queue: &MessageQueue,
        offset: QueueOffset,
        max: u32,
    ) -> Result<Pulled, RequestError> {
        let shared = self.shared();
        let addr = self.readable(queue)?;
        let suspend = if self.hold_ms > 0 { pull_flag::SUSPEND } else { 0 };
        let request = pull::Pull {
            consumer_group: self.group.clone(),
            topic: queue.topic.to_string(),
            queue_id: wire_id(queue),
            queue_offset: wire_offset(offset),
            max_msg_nums: i32::try_from(max).unwrap_or(i32::MAX),
            sys_flag: suspend | pull_flag::SUBSCRIPTION,
            suspend_timeout_ms: i64::try_from(self.hold_ms).unwrap_or(i64::MAX),
            subscription: Some(self.tags.clone()),
            expression_type: Some(subscription::TAG.to_owned()),
            broker_name: Some(queue.broker.to_string()),
            ..pull::Pull::default()
        };
        let answer = shared.pull(&addr, &request, self.hold_ms.saturating_add(ANSWER_MS)).await?;
        let mut messages = Vec::new();
        for record in record::split_records(&answer.body) {
            let malformed = |what: String| RequestError::Malformed { by: addr.clone(), what };
            let record = record.map_err(|error| malformed(error.to_string()))?;
            let message = ReceivedMessage::from_record(&record, UNFOLDED_BYTES_MAX)
                .map_err(|error| malformed(error.to_string()))?;
            if self.filter.matches(message.message.tag()) {
                messages.push(MessageView::new(message, queue));
            }
        }
        let super::broker::PullAnswer { status, next, min, max, .. } = answer;
        Ok(Pulled { status, messages, next, min, max })
    }

    /// Asks for at most `max` messages from where the last poll of the queue ended, or from where [`PullConsumer::seek`]
    /// went; the first time from the committed offset, or the queue's beginning. What a poll returns is not committed.
    pub async fn poll(&self, queue: &MessageQueue, max: u32) -> Result<Vec<MessageView>, RequestError> {
        let known = self.positions.lock().get(queue).copied();
        let at = match known {
            Some(at) => at,
            None => match self.committed(queue).await? {
                Some(at) => at,
                None => self.min_offset(queue).await?,
            },
        };
        let pulled = self.pull(queue, at, max).await?;
        self.seek(queue, pulled.next);
        Ok(pulled.messages)
    }

    /// Makes the next poll of a queue begin at `offset`.
    pub fn seek(&self, queue: &MessageQueue, offset: QueueOffset) {
        self.positions.lock().insert(queue.clone(), offset);
    }

    /// Commits that everything below `offset` is consumed by the group, and waits for the acknowledgement.
    pub async fn commit(&self, queue: &MessageQueue, offset: QueueOffset) -> Result<(), RequestError> {
        self.shared().commit(&self.shared().master_of(queue)?, &self.group, queue, offset).await
    }

    /// The group's offset, if it has one.
    pub async fn committed(&self, queue: &MessageQueue) -> Result<Option<QueueOffset>, RequestError> {
        self.shared().committed(&self.shared().master_of(queue)?, &self.group, queue).await
    }

    /// The first offset that is still there.
    pub async fn min_offset(&self, queue: &MessageQueue) -> Result<QueueOffset, RequestError> {
        self.shared().min_offset(&self.shared().master_of(queue)?, queue).await
    }

    /// The offset that the next message will get.
    pub async fn max_offset(&self, queue: &MessageQueue) -> Result<QueueOffset, RequestError> {
        self.shared().max_offset(&self.shared().master_of(queue)?, queue).await
    }

    /// The first offset stored at or after a time.
    pub async fn offset_at(
        &self,
        queue: &MessageQueue,
        time: Timestamp,
    ) -> Result<QueueOffset, RequestError> {
        self.shared().offset_at(&self.shared().master_of(queue)?, queue, time).await
    }

    /// The youngest messages, at most `max`, that have `key` among their keys or as their id, in the order in which they
    /// were stored: those of the queue's topic at the queue's broker, in whichever of its queues. A broker answers with 64
    /// at the most. The consumer's tags do not matter here.
    pub async fn query(
        &self,
        queue: &MessageQueue,
        key: &str,
        max: u32,
    ) -> Result<Vec<MessageView>, RequestError> {
        let addr = self.readable(queue)?;
        let query = QueryMessage {
            topic: queue.topic.to_string(),
            key: key.to_owned(),
            max_num: i32::try_from(max).unwrap_or(i32::MAX),
            begin_timestamp: Timestamp(0),
            end_timestamp: Timestamp(i64::MAX),
            ..QueryMessage::default()
        };
        let body = self.shared().query_message(&addr, &query).await?;
        let mut messages = Vec::new();
        for record in record::split_records(&body) {
            let malformed = |what: String| RequestError::Malformed { by: addr.clone(), what };
            let record = record.map_err(|error| malformed(error.to_string()))?;
            let message = ReceivedMessage::from_record(&record, UNFOLDED_BYTES_MAX)
                .map_err(|error| malformed(error.to_string()))?;
            let is_it = message.id() == key || message.message.keys().any(|word| word == key);
            if is_it && message.message.topic == *queue.topic {
                let of = MessageQueue { id: message.queue, ..queue.clone() };
                messages.push(MessageView::new(message, &of));
            }
        }
        Ok(messages)
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.client.shared
    }

    fn readable(&self, queue: &MessageQueue) -> Result<String, RequestError> {
        let addr = self.shared().any(&queue.broker);
        addr.ok_or_else(|| RequestError::NoAddress { broker: queue.broker.to_string() })
    }
}

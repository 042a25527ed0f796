//! [`Producer`]: sends messages.

use super::Client;
use super::MessageQueue;
use super::SendError;
use super::SendReceipt;
use super::StartError;
use super::TransactionListener;
use super::TransactionProducer;
use super::member::Membership;
use super::send;
use super::send::Outgoing;
use super::send::Target;
use crate::machine::produce::Limits;
use crate::protocol::message::Message;
use crate::protocol::names;

/// Says how a producer is to be. Defaults are RocketMQ's.
#[must_use = "a builder does nothing until start"]
pub struct ProducerBuilder {
    client: Client,
    group: String,
    settings: Settings,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) limits: Limits,
    pub(super) compress_over: usize,
}

/// Sends messages, in any number of tasks at once. Dropping it leaves the group without saying so; [`Producer::stop`]
/// says so.
pub struct Producer {
    pub(super) client: Client,
    pub(super) group: String,
    pub(super) settings: Settings,
    membership: Membership,
}

impl ProducerBuilder {
    pub(super) fn new(client: Client, group: &str) -> ProducerBuilder {
        let limits = Limits { attempts_max: 3, timeout_ms: 3_000 };
        let settings = Settings { limits, compress_over: 4_096 };
        ProducerBuilder { client, group: group.to_owned(), settings }
    }

    /// Milliseconds for one send, all its attempts included (`sendMsgTimeout`).
    pub fn timeout_ms(mut self, ms: u64) -> ProducerBuilder {
        self.settings.limits.timeout_ms = ms;
        self
    }

    /// Further attempts after the first one fails (`retryTimesWhenSendFailed`).
    pub fn retries(mut self, retries: u32) -> ProducerBuilder {
        self.settings.limits.attempts_max = retries.saturating_add(1);
        self
    }

    /// Bodies of so many bytes or more are compressed (`compressMsgBodyOverHowmuch`); `usize::MAX` for never.
    pub fn compress_over(mut self, bytes: usize) -> ProducerBuilder {
        self.settings.compress_over = bytes;
        self
    }

    pub async fn start(self) -> Result<Producer, StartError> {
        let ProducerBuilder { client, group, settings } = self;
        names::check_group(&group)?;
        let membership = client.shared.members.join_producer(&group, None)?;
        // As RocketMQ's producers do.
        client.shared.meet_brokers(names::AUTO_CREATE_TOPIC);
        client.shared.beat_soon();
        Ok(Producer { client, group, settings, membership })
    }

    /// A producer of transactions. `listener` decides about those that this producer sends, and about those of any
    /// member of the group when a broker asks.
    pub async fn start_transactional(
        self,
        listener: impl TransactionListener + 'static,
    ) -> Result<TransactionProducer, StartError> {
        TransactionProducer::start(self.client, self.group, self.settings, listener)
    }
}

impl Producer {
    pub(super) fn joined(
        client: Client,
        group: String,
        settings: Settings,
        membership: Membership,
    ) -> Producer {
        // Whoever has half messages has this topic, and may ask; TBW102 is known only where topics are made up.
        client.shared.meet_brokers(names::HALF_TOPIC);
        client.shared.beat_soon();
        Producer { client, group, settings, membership }
    }

    pub fn group(&self) -> &str {
        &self.group
    }

    /// Sends a message to any queue of its topic and waits until it is stored. Failed attempts are repeated, elsewhere if
    /// possible.
    pub async fn send(&self, message: Message) -> Result<SendReceipt, SendError> {
        let outgoing = self.outgoing(message)?;
        self.send_outgoing(&outgoing, Target::Any).await
    }

    /// Sends a message to the queue that `select` chooses by its index. What goes to one queue, one after the other,
    /// stays in order.
    ///
    /// ```no_run
    /// # use staticfire::client::{Message, Producer, SendError};
    /// # async fn run(producer: Producer, order: usize) -> Result<(), SendError> {
    /// producer.send_to(Message::new("orders", "paid"), |queues| order % queues.len()).await?;
    /// # Ok(()) }
    /// ```
    pub async fn send_to(
        &self,
        message: Message,
        select: impl Fn(&[MessageQueue]) -> usize + Send + Sync,
    ) -> Result<SendReceipt, SendError> {
        let outgoing = self.outgoing(message)?;
        self.send_outgoing(&outgoing, Target::Selected(&select)).await
    }

    /// Sends a message to this very queue.
    pub async fn send_to_queue(
        &self,
        message: Message,
        queue: &MessageQueue,
    ) -> Result<SendReceipt, SendError> {
        let outgoing = self.outgoing(message)?;
        self.send_outgoing(&outgoing, Target::Queue(queue)).await
    }

    /// Sends messages of one topic that are stored together, one behind the other, or not at all.
    pub async fn send_batch(&self, messages: Vec<Message>) -> Result<SendReceipt, SendError> {
        let topic = messages.first().map(|message| message.topic.clone()).unwrap_or_default();
        let outgoing = Outgoing::batch(&self.client.shared, messages);
        let outgoing = outgoing.map_err(|cause| send::refused(&topic, cause))?;
        self.send_outgoing(&outgoing, Target::Any).await
    }

    /// Hands a message to the network and does not wait for an answer. It may be lost without a word.
    pub async fn send_oneway(&self, message: Message) -> Result<(), SendError> {
        let outgoing = self.outgoing(message)?;
        send::send_oneway(&self.client.shared, &self.group, self.settings.limits, &outgoing).await
    }

    /// The queues that take messages of a topic, in the order in which selectors see them.
    pub async fn queues(&self, topic: &str) -> Result<Vec<MessageQueue>, super::RouteError> {
        let route = self.client.shared.publish_route(topic, self.settings.limits.timeout_ms).await?;
        Ok(route.writable().to_vec())
    }

    /// Leaves the group.
    pub async fn stop(self) {
        self.membership.leave(&self.client.shared).await;
    }

    pub(super) fn outgoing(&self, message: Message) -> Result<Outgoing, SendError> {
        let topic = message.topic.clone();
        Outgoing::message(&self.client.shared, message, self.settings.compress_over)
            .map_err(|cause| send::refused(&topic, cause))
    }

    pub(super) async fn send_outgoing(
        &self,
        outgoing: &Outgoing,
        target: Target<'_>,
    ) -> Result<SendReceipt, SendError> {
        send::send(&self.client.shared, &self.group, self.settings.limits, outgoing, target).await
    }
}

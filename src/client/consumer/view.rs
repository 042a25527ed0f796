//! [`MessageView`]: a message as a handler sees it.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::QueueOffset;
use crate::base::Timestamp;
use crate::client::MessageQueue;
use crate::protocol::message::ReceivedMessage;
use crate::protocol::properties::name;

/// A message on its way through a handler. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MessageView {
    message: Arc<ReceivedMessage>,
    queue: MessageQueue,
}

impl MessageView {
    /// A message that came back for another attempt shows the topic it was sent to, not the retry topic.
    pub(in crate::client) fn new(mut message: ReceivedMessage, queue: &MessageQueue) -> MessageView {
        if let Some(origin) = message.message.properties.value(name::RETRY_TOPIC) {
            message.message.topic = origin.to_owned();
        }
        MessageView { message: Arc::new(message), queue: queue.clone() }
    }

    /// The id its sender gave it, the same for all its copies.
    pub fn id(&self) -> String {
        self.message.id()
    }

    /// The topic it was sent to.
    pub fn topic(&self) -> &str {
        &self.message.message.topic
    }

    pub fn body(&self) -> &Bytes {
        &self.message.message.body
    }

    pub fn tag(&self) -> Option<&str> {
        self.message.message.tag()
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.message.message.keys()
    }

    pub fn property(&self, name: &str) -> Option<&str> {
        self.message.message.properties.value(name)
    }

    /// The queue it was read from: of the retry topic, for one that came back.
    pub fn queue(&self) -> &MessageQueue {
        &self.queue
    }

    pub fn offset(&self) -> QueueOffset {
        self.message.queue_offset
    }

    /// How often it came back for another attempt.
    pub fn reconsume_times(&self) -> u32 {
        u32::try_from(self.message.reconsume_times).unwrap_or(0)
    }

    /// When it was sent, by its sender's clock.
    pub fn born_at(&self) -> Timestamp {
        self.message.born_at
    }

    /// When it was stored, by the broker's clock.
    pub fn stored_at(&self) -> Timestamp {
        self.message.store_at
    }

    /// Everything else.
    pub fn received(&self) -> &ReceivedMessage {
        &self.message
    }
}

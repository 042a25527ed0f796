//! The name of one queue in the cluster.

use std::fmt;
use std::sync::Arc;

use crate::base::QueueId;

/// One queue of a topic on one broker. Ordered as RocketMQ orders them: by topic, broker, number; every member of a
/// group divides queues in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageQueue {
    pub topic: Arc<str>,
    pub broker: Arc<str>,
    pub id: QueueId,
}

impl MessageQueue {
    pub fn new(topic: &str, broker: &str, id: QueueId) -> MessageQueue {
        MessageQueue { topic: Arc::from(topic), broker: Arc::from(broker), id }
    }
}

impl fmt::Display for MessageQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}/{}", self.topic, self.broker, self.id)
    }
}

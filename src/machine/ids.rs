//! Names of things outside the machines, as values: a machine never holds a connection or a request itself.

use std::fmt;

use crate::base::QueueId;

/// One accepted connection. Never used twice in the life of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What a client calls itself: `ip@pid#nanos` or `ip@instance`, taken verbatim.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub String);

/// A queue of one topic on this broker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicQueue {
    pub topic: String,
    pub queue: QueueId,
}

impl ClientId {
    pub fn new(id: &str) -> ClientId {
        ClientId(id.to_owned())
    }
}

impl TopicQueue {
    pub fn new(topic: &str, queue: QueueId) -> TopicQueue {
        TopicQueue { topic: topic.to_owned(), queue }
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TopicQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.queue)
    }
}

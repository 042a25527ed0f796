//! Where a message is. Each position is its own type, so that two of them cannot be swapped in a call.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A byte position in the commit log, counted from the log's very beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PhysicalOffset(pub u64);

/// The index of a message in its queue: 0, 1, 2 …
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QueueOffset(pub u64);

/// The number of a queue within its topic on one broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QueueId(pub u32);

impl PhysicalOffset {
    pub fn plus(self, bytes: u64) -> PhysicalOffset {
        PhysicalOffset(self.0 + bytes)
    }
}

impl QueueOffset {
    pub fn plus(self, messages: u64) -> QueueOffset {
        QueueOffset(self.0 + messages)
    }
}

impl fmt::Display for PhysicalOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for QueueOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

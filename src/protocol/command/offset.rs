//! Consumer offsets (14, 15), queue bounds and time look-up (29 to 32), resetting (222).

use crate::base::Timestamp;
use crate::protocol::command::field::header;

header! {
    /// QUERY_CONSUMER_OFFSET.
    pub struct QueryConsumerOffset {
        consumer_group: String = "consumerGroup",
        topic: String = "topic",
        queue_id: i32 = "queueId",
        /// Absent counts as true: answer 0 while message 0 is still there.
        set_zero_if_not_found: Option<bool> = "setZeroIfNotFound",
    }

    /// UPDATE_CONSUMER_OFFSET.
    pub struct UpdateConsumerOffset {
        consumer_group: String = "consumerGroup",
        topic: String = "topic",
        queue_id: i32 = "queueId",
        commit_offset: i64 = "commitOffset",
    }

    /// SEARCH_OFFSET_BY_TIMESTAMP.
    pub struct SearchOffset {
        topic: String = "topic",
        queue_id: i32 = "queueId",
        timestamp: Timestamp = "timestamp",
        /// `LOWER`, the default, or `UPPER`.
        boundary_type: Option<String> = "boundaryType",
    }

    /// GET_MAX_OFFSET.
    pub struct GetMaxOffset {
        topic: String = "topic",
        queue_id: i32 = "queueId",
        committed: bool = "committed" or true,
    }

    /// GET_MIN_OFFSET and GET_EARLIEST_MSG_STORETIME: a queue.
    pub struct OfQueue {
        topic: String = "topic",
        queue_id: i32 = "queueId",
    }

    /// The answer of 14, 29, 30 and 31.
    pub struct OffsetReply {
        offset: i64 = "offset",
    }

    /// The answer of 32.
    pub struct TimestampReply {
        timestamp: Timestamp = "timestamp",
    }

    /// INVOKE_BROKER_TO_RESET_OFFSET and RESET_CONSUMER_CLIENT_OFFSET.
    pub struct ResetOffset {
        topic: String = "topic",
        group: String = "group",
        /// -1: every queue.
        queue_id: i32 = "queueId" or -1,
        offset: Option<i64> = "offset",
        /// -1: to the end.
        timestamp: Timestamp = "timestamp",
        is_force: bool = "isForce" or false,
    }
}

impl SearchOffset {
    /// The last offset not after the time is wanted, rather than the first one not before it.
    pub fn is_upper(&self) -> bool {
        self.boundary_type.as_deref().is_some_and(|boundary| boundary.eq_ignore_ascii_case("UPPER"))
    }
}

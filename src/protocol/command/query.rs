//! Finding messages by position (33) and by key (12), and a broker's own figures (26, 315).

use crate::base::PhysicalOffset;
use crate::base::Timestamp;
use crate::protocol::command::field::header;

header! {
    /// VIEW_MESSAGE_BY_ID.
    pub struct ViewMessage {
        topic: Option<String> = "topic",
        offset: PhysicalOffset = "offset",
    }

    /// QUERY_MESSAGE.
    pub struct QueryMessage {
        topic: String = "topic",
        key: String = "key",
        max_num: i32 = "maxNum",
        begin_timestamp: Timestamp = "beginTimestamp",
        end_timestamp: Timestamp = "endTimestamp",
        index_type: Option<String> = "indexType",
        last_key: Option<String> = "lastKey",
        /// The key is a client's unique id rather than one of the user's keys.
        unique_key_query: bool = "_UNIQUE_KEY_QUERY" or false,
    }

    pub struct QueryMessageReply {
        index_last_update_timestamp: Timestamp = "indexLastUpdateTimestamp",
        index_last_update_offset: PhysicalOffset = "indexLastUpdatePhyoffset",
    }

    /// The `version` that GET_BROKER_CONFIG puts beside its body: a data version as JSON.
    pub struct BrokerConfigReply {
        version: String = "version",
    }

    /// VIEW_BROKER_STATS_DATA.
    pub struct ViewBrokerStats {
        stats_name: String = "statsName",
        stats_key: String = "statsKey",
    }
}

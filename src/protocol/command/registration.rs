//! Brokers at a name server: register (103), unregister (104), keep alive (904), compare versions (322), permissions
//! (205, 327), members (901, 905).

use crate::protocol::command::field::header;

header! {
    /// REGISTER_BROKER; the body carries the topics.
    pub struct RegisterBroker {
        broker_name: String = "brokerName",
        broker_addr: String = "brokerAddr",
        cluster_name: String = "clusterName",
        ha_server_addr: String = "haServerAddr",
        broker_id: i64 = "brokerId",
        heartbeat_timeout_ms: Option<i64> = "heartbeatTimeoutMillis",
        enable_acting_master: Option<bool> = "enableActingMaster",
        compressed: bool = "compressed" or false,
        /// `crc32(body) & 0x7fffffff`; 0: not checked.
        body_crc32: i32 = "bodyCrc32" or 0,
    }

    pub struct RegisterBrokerReply {
        ha_server_addr: Option<String> = "haServerAddr",
        master_addr: Option<String> = "masterAddr",
    }

    /// UNREGISTER_BROKER and QUERY_DATA_VERSION: one broker, by all its names.
    pub struct OfBroker {
        broker_name: String = "brokerName",
        broker_addr: String = "brokerAddr",
        cluster_name: String = "clusterName",
        broker_id: i64 = "brokerId",
    }

    pub struct QueryDataVersionReply {
        changed: bool = "changed",
    }

    /// BROKER_HEARTBEAT.
    pub struct BrokerHeartbeat {
        cluster_name: String = "clusterName",
        broker_addr: String = "brokerAddr",
        broker_name: String = "brokerName",
        broker_id: Option<i64> = "brokerId",
        epoch: Option<i32> = "epoch",
        max_offset: Option<i64> = "maxOffset",
        confirm_offset: Option<i64> = "confirmOffset",
        heartbeat_timeout_ms: Option<i64> = "heartbeatTimeoutMills",
        election_priority: Option<i32> = "electionPriority",
    }

    /// WIPE_WRITE_PERM_OF_BROKER and ADD_WRITE_PERM_OF_BROKER.
    pub struct OfBrokerName {
        broker_name: String = "brokerName",
    }

    pub struct WipeWritePermReply {
        wipe_topic_count: i32 = "wipeTopicCount",
    }

    pub struct AddWritePermReply {
        add_topic_count: i32 = "addTopicCount",
    }

    /// GET_BROKER_MEMBER_GROUP.
    pub struct GetBrokerMemberGroup {
        cluster_name: String = "clusterName",
        broker_name: String = "brokerName",
    }

    /// NOTIFY_MIN_BROKER_ID_CHANGE.
    pub struct NotifyMinBrokerIdChange {
        min_broker_id: Option<i64> = "minBrokerId",
        broker_name: Option<String> = "brokerName",
        min_broker_addr: Option<String> = "minBrokerAddr",
        offline_broker_addr: Option<String> = "offlineBrokerAddr",
        ha_broker_addr: Option<String> = "haBrokerAddr",
    }
}

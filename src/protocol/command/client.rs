//! Clients and their groups: heartbeat (34), leaving (35), member list (38), change notice (40), connections (203, 204),
//! what a broker asks a client (221, 307, 309).

use crate::protocol::command::field::header;

header! {
    /// What a heartbeat is answered with.
    pub struct HeartbeatReply {
        supports_v2: bool = "IS_SUPPORT_HEART_BEAT_V2" or false,
        subscription_changed: bool = "IS_SUB_CHANGE" or false,
    }

    /// UNREGISTER_CLIENT.
    pub struct UnregisterClient {
        client_id: String = "clientID",
        producer_group: Option<String> = "producerGroup",
        consumer_group: Option<String> = "consumerGroup",
    }

    /// GET_CONSUMER_LIST_BY_GROUP, NOTIFY_CONSUMER_IDS_CHANGED and GET_CONSUMER_CONNECTION_LIST: a consumer group.
    pub struct OfConsumerGroup {
        consumer_group: String = "consumerGroup",
    }

    /// GET_PRODUCER_CONNECTION_LIST: a producer group.
    pub struct OfProducerGroup {
        producer_group: String = "producerGroup",
    }

    /// GET_CONSUMER_RUNNING_INFO: relayed to the client it names.
    pub struct GetConsumerRunningInfo {
        consumer_group: String = "consumerGroup",
        client_id: String = "clientId",
        jstack_enable: bool = "jstackEnable" or false,
    }

    /// CONSUME_MESSAGE_DIRECTLY: relayed to the client it names, with the message as body.
    pub struct ConsumeMessageDirectly {
        consumer_group: String = "consumerGroup",
        client_id: Option<String> = "clientId",
        msg_id: Option<String> = "msgId",
        broker_name: Option<String> = "brokerName",
        topic: Option<String> = "topic",
        topic_sys_flag: Option<i32> = "topicSysFlag",
        group_sys_flag: Option<i32> = "groupSysFlag",
    }

    /// GET_CONSUMER_STATUS_FROM_CLIENT and INVOKE_BROKER_TO_GET_CONSUMER_STATUS.
    pub struct GetConsumerStatus {
        topic: String = "topic",
        group: String = "group",
        client_addr: Option<String> = "clientAddr",
    }
}

//! Subscription groups (201, 207, 352) and what is known about their consumption (208, 300, 303, 317, 343, 345).

use crate::protocol::command::field::header;

header! {
    /// GET_ALL_SUBSCRIPTIONGROUP_CONFIG; without a page size, all at once.
    pub struct GetAllSubscriptionGroup {
        group_seq: i32 = "groupSeq" or 0,
        data_version: Option<String> = "dataVersion",
        max_group_num: Option<i32> = "maxGroupNum",
    }

    pub struct GetAllSubscriptionGroupReply {
        total_group_num: i32 = "totalGroupNum",
    }

    /// DELETE_SUBSCRIPTIONGROUP.
    pub struct DeleteSubscriptionGroup {
        group_name: String = "groupName",
        clean_offset: bool = "cleanOffset" or false,
    }

    /// GET_SUBSCRIPTIONGROUP_CONFIG and QUERY_TOPICS_BY_CONSUMER: a group.
    pub struct OfGroup {
        group: String = "group",
    }

    /// GET_CONSUME_STATS.
    pub struct GetConsumeStats {
        consumer_group: String = "consumerGroup",
        topic: Option<String> = "topic",
        /// Several topics, joined by `;`.
        topic_list: Option<String> = "topicList",
    }

    /// QUERY_SUBSCRIPTION_BY_CONSUMER and QUERY_CONSUME_TIME_SPAN: a group and a topic.
    pub struct OfGroupAndTopic {
        group: String = "group",
        topic: String = "topic",
    }

    /// GET_BROKER_CONSUME_STATS.
    pub struct GetBrokerConsumeStats {
        is_order: bool = "isOrder" or false,
    }

    /// CLONE_GROUP_OFFSET.
    pub struct CloneGroupOffset {
        src_group: String = "srcGroup",
        dest_group: String = "destGroup",
        topic: Option<String> = "topic",
        offline: bool = "offline" or false,
    }
}

//! Topics of a broker: create (17), delete (215), list (21), look at (202, 300, 351).

use crate::protocol::command::field::header;

header! {
    /// UPDATE_AND_CREATE_TOPIC.
    pub struct CreateTopic {
        topic: String = "topic",
        default_topic: Option<String> = "defaultTopic",
        read_queue_nums: i32 = "readQueueNums",
        write_queue_nums: i32 = "writeQueueNums",
        perm: i32 = "perm",
        topic_filter_type: Option<String> = "topicFilterType",
        topic_sys_flag: i32 = "topicSysFlag" or 0,
        order: bool = "order" or false,
        /// `+key=value,-key`.
        attributes: Option<String> = "attributes",
        force: bool = "force" or false,
    }

    /// DELETE_TOPIC_IN_BROKER, GET_TOPIC_CONFIG, GET_TOPIC_STATS_INFO, QUERY_TOPIC_CONSUME_BY_WHO and
    /// REGISTER_TOPIC_IN_NAMESRV: a topic.
    pub struct OfTopic {
        topic: String = "topic",
    }

    /// GET_ALL_TOPIC_CONFIG; without a page size, all at once.
    pub struct GetAllTopicConfig {
        topic_seq: i32 = "topicSeq" or 0,
        data_version: Option<String> = "dataVersion",
        max_topic_num: Option<i32> = "maxTopicNum",
    }

    pub struct GetAllTopicConfigReply {
        total_topic_num: Option<i32> = "totalTopicNum",
    }
}

//! PULL_MESSAGE 11 and LITE_PULL_MESSAGE 361.

use crate::protocol::command::field::header;

/// Bits of [`Pull::sys_flag`].
pub mod pull_flag {
    /// `commit_offset` is to be committed.
    pub const COMMIT_OFFSET: i32 = 1;
    /// Wait for a message up to `suspend_timeout_ms`.
    pub const SUSPEND: i32 = 2;
    /// The subscription travels in the request.
    pub const SUBSCRIPTION: i32 = 4;
    pub const CLASS_FILTER: i32 = 8;
    pub const LITE_PULL: i32 = 16;
}

header! {
    /// A request for the messages of one queue from an offset on.
    pub struct Pull {
        consumer_group: String = "consumerGroup",
        topic: String = "topic",
        queue_id: i32 = "queueId",
        queue_offset: i64 = "queueOffset",
        max_msg_nums: i32 = "maxMsgNums",
        sys_flag: i32 = "sysFlag",
        commit_offset: i64 = "commitOffset",
        suspend_timeout_ms: i64 = "suspendTimeoutMillis",
        subscription: Option<String> = "subscription",
        sub_version: i64 = "subVersion" or 0,
        /// TAG if absent.
        expression_type: Option<String> = "expressionType",
        max_msg_bytes: Option<i32> = "maxMsgBytes",
        request_source: Option<i32> = "requestSource",
        proxy_forward_client_id: Option<String> = "proxyFrowardClientId",
        broker_name: Option<String> = "bname",
    }

    /// The answer to a pull. The four positions are there whatever the code is: clients read them on 19, 20 and 21 too.
    pub struct PullReply {
        suggest_which_broker_id: i64 = "suggestWhichBrokerId",
        next_begin_offset: i64 = "nextBeginOffset",
        min_offset: i64 = "minOffset",
        max_offset: i64 = "maxOffset",
        offset_delta: Option<i64> = "offsetDelta",
        topic_sys_flag: Option<i32> = "topicSysFlag",
        group_sys_flag: Option<i32> = "groupSysFlag",
        forbidden_type: Option<i32> = "forbiddenType",
    }
}

impl Pull {
    pub fn has(&self, flag: i32) -> bool {
        self.sys_flag & flag != 0
    }
}

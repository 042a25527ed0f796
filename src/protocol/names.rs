//! Names of topics and groups: which are legal, which are RocketMQ's own, and how retry and dead-letter topics are called.
//!
//! Legal: `^[%|a-zA-Z0-9_-]+$`. A topic has at most 127 characters, a retry or dead-letter topic 255, a group 120.

use crate::base::limits::GROUP_BYTES_MAX;
use crate::base::limits::SYSTEM_TOPIC_BYTES_MAX;
use crate::base::limits::TOPIC_BYTES_MAX;

/// The template topic: what is sent to an unknown topic creates it in this one's image.
pub const AUTO_CREATE_TOPIC: &str = "TBW102";
pub const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
pub const BENCHMARK_TOPIC: &str = "BenchmarkTest";
pub const HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
pub const OP_HALF_TOPIC: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
pub const ROCKSDB_HALF_TOPIC: &str = "RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC";
pub const ROCKSDB_OP_HALF_TOPIC: &str = "RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC";
pub const TRACE_TOPIC: &str = "RMQ_SYS_TRACE_TOPIC";
pub const CHECK_MAX_TIME_TOPIC: &str = "TRANS_CHECK_MAX_TIME_TOPIC";
pub const SELF_TEST_TOPIC: &str = "SELF_TEST_TOPIC";
pub const OFFSET_MOVED_EVENT: &str = "OFFSET_MOVED_EVENT";
pub const CHECKPOINT_TOPIC: &str = "CHECKPOINT_TOPIC";
pub const SYSTEM_TOPIC_PREFIX: &str = "rmq_sys_";
pub const RETRY_PREFIX: &str = "%RETRY%";
pub const DLQ_PREFIX: &str = "%DLQ%";
/// Follows the cluster's name and an underscore.
pub const REPLY_TOPIC_SUFFIX: &str = "REPLY_TOPIC";
/// The producer group that a client uses for what it sends by itself.
pub const CLIENT_INNER_PRODUCER: &str = "CLIENT_INNER_PRODUCER";
/// The namespace of the name server's key-value store with the queue counts of ordered topics.
pub const ORDER_TOPIC_CONFIG: &str = "ORDER_TOPIC_CONFIG";
/// The group Apache's tools read messages as.
pub const TOOLS_CONSUMER: &str = "TOOLS_CONSUMER";

const SYSTEM_TOPICS: &[&str] = &[
    AUTO_CREATE_TOPIC,
    SCHEDULE_TOPIC,
    BENCHMARK_TOPIC,
    HALF_TOPIC,
    TRACE_TOPIC,
    OP_HALF_TOPIC,
    CHECK_MAX_TIME_TOPIC,
    SELF_TEST_TOPIC,
    OFFSET_MOVED_EVENT,
    CHECKPOINT_TOPIC,
    ROCKSDB_HALF_TOPIC,
    ROCKSDB_OP_HALF_TOPIC,
];

const SEND_FORBIDDEN: &[&str] = &[
    SCHEDULE_TOPIC,
    HALF_TOPIC,
    OP_HALF_TOPIC,
    CHECK_MAX_TIME_TOPIC,
    SELF_TEST_TOPIC,
    OFFSET_MOVED_EVENT,
    ROCKSDB_HALF_TOPIC,
    ROCKSDB_OP_HALF_TOPIC,
];

/// Groups that every broker has without being told.
pub const BUILT_IN_GROUPS: &[&str] = &[
    "TOOLS_CONSUMER",
    "FILTERSRV_CONSUMER",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PULL",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
    "CID_RMQ_SYS_TRANS",
];
const SYSTEM_GROUP_PREFIX: &str = "CID_RMQ_SYS_";

/// Why a name is not legal, in Java's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("The specified {kind} is blank.")]
    Blank { kind: &'static str },
    #[error("The specified {kind}: {name}, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$")]
    Character { kind: &'static str, name: String },
    #[error("The specified {kind}: {name}, is longer than {kind} max length: {bytes_max}")]
    TooLong { kind: &'static str, name: String, bytes_max: usize },
}

/// Whether `topic` can be a topic's name.
pub fn check_topic(topic: &str) -> Result<(), NameError> {
    let long = is_retry(topic) || is_dlq(topic);
    check("topic", topic, if long { SYSTEM_TOPIC_BYTES_MAX } else { TOPIC_BYTES_MAX })
}

/// Whether `group` can be a group's name.
pub fn check_group(group: &str) -> Result<(), NameError> {
    check("group", group, GROUP_BYTES_MAX)
}

/// The topic where a group's messages wait for another attempt.
pub fn retry_topic(group: &str) -> String {
    format!("{RETRY_PREFIX}{group}")
}

/// The topic of a group's messages that failed too often.
pub fn dlq_topic(group: &str) -> String {
    format!("{DLQ_PREFIX}{group}")
}

/// The topic of replies in a cluster.
pub fn reply_topic(cluster: &str) -> String {
    format!("{cluster}_{REPLY_TOPIC_SUFFIX}")
}

pub fn is_retry(topic: &str) -> bool {
    topic.starts_with(RETRY_PREFIX)
}

pub fn is_dlq(topic: &str) -> bool {
    topic.starts_with(DLQ_PREFIX)
}

/// The group of a retry or dead-letter topic.
pub fn group_of(topic: &str) -> Option<&str> {
    topic.strip_prefix(RETRY_PREFIX).or_else(|| topic.strip_prefix(DLQ_PREFIX))
}

/// RocketMQ's own topics; a broker adds its cluster's and its own name.
pub fn is_system_topic(topic: &str) -> bool {
    SYSTEM_TOPICS.contains(&topic) || topic.starts_with(SYSTEM_TOPIC_PREFIX)
}

/// The names of [`is_system_topic`] that are fixed.
pub fn system_topics() -> &'static [&'static str] {
    SYSTEM_TOPICS
}

/// Topics that only the broker itself writes.
pub fn is_send_forbidden(topic: &str) -> bool {
    SEND_FORBIDDEN.contains(&topic)
}

pub fn is_system_group(group: &str) -> bool {
    group.starts_with(SYSTEM_GROUP_PREFIX) || BUILT_IN_GROUPS.contains(&group)
}

fn check(kind: &'static str, name: &str, bytes_max: usize) -> Result<(), NameError> {
    if name.trim().is_empty() {
        return Err(NameError::Blank { kind });
    }
    if name.len() > bytes_max {
        let name = name.chars().take(bytes_max + 1).collect();
        return Err(NameError::TooLong { kind, name, bytes_max });
    }
    if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'%' | b'|' | b'_' | b'-')) {
        Ok(())
    } else {
        Err(NameError::Character { kind, name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_names_pass_and_others_say_why() {
        check_topic("%RETRY%group-1_x|y").unwrap();
        check_topic(&"t".repeat(127)).unwrap();
        check_topic(&retry_topic(&"g".repeat(120))).unwrap();
        check_group(&"g".repeat(120)).unwrap();
        assert_eq!(check_topic(" ").unwrap_err().to_string(), "The specified topic is blank.");
        assert!(check_topic("a b").unwrap_err().to_string().contains("illegal characters"));
        assert!(check_topic("tópic").is_err());
        assert!(check_topic(&"t".repeat(128)).unwrap_err().to_string().ends_with("topic max length: 127"));
        assert!(check_group(&"g".repeat(121)).unwrap_err().to_string().ends_with("group max length: 120"));
    }

    #[test]
    fn the_template_topic_may_be_sent_to_and_the_half_topic_may_not() {
        assert!(is_system_topic(AUTO_CREATE_TOPIC) && !is_send_forbidden(AUTO_CREATE_TOPIC));
        assert!(is_send_forbidden(HALF_TOPIC) && is_send_forbidden(SCHEDULE_TOPIC));
        assert!(is_system_topic("rmq_sys_wheel_timer") && !is_system_topic("orders"));
        assert_eq!(group_of("%DLQ%g"), Some("g"));
        assert_eq!(group_of("orders"), None);
        assert_eq!(reply_topic("C"), "C_REPLY_TOPIC");
    }
}

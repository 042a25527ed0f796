//! Every limit, by name and unit. Defaults are RocketMQ's unless a comment says why not.

/// Largest remoting frame, in bytes (`com.rocketmq.remoting.frameMaxLength`).
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Largest message body, in bytes (`maxMessageSize`).
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Largest encoded property block, in bytes: its length is a signed 16-bit field.
pub const PROPERTIES_BYTES_MAX: usize = i16::MAX as usize;
/// Longest topic a client may create, in bytes: the record's length field is one byte, and Java signs it.
pub const TOPIC_BYTES_MAX: usize = 127;
/// Longest internal topic (`%RETRY%`, `%DLQ%` and a group), in bytes.
pub const SYSTEM_TOPIC_BYTES_MAX: usize = 255;
/// Longest group name, in bytes.
pub const GROUP_BYTES_MAX: usize = 120;
/// Most messages one pull returns (`maxTransferCountOnMessageInMemory`).
pub const PULL_MESSAGES_MAX: usize = 32;
/// Most bytes one pull returns beyond its first message (`maxTransferBytesOnMessageInMemory`).
pub const PULL_BYTES_MAX: usize = 256 * 1024;
/// Most messages a look-up by key returns (`maxMsgsNumBatch`).
pub const QUERY_MESSAGES_MAX: usize = 64;
/// Most bytes a look-up by key returns beyond its first message: an answer is one frame. RocketMQ sets no limit.
pub const QUERY_BYTES_MAX: usize = 8 * 1024 * 1024;

const _: () = assert!(QUERY_BYTES_MAX + BODY_BYTES_MAX < FRAME_BYTES_MAX);
const _: () =
    assert!(BODY_BYTES_MAX + PROPERTIES_BYTES_MAX + SYSTEM_TOPIC_BYTES_MAX + 1024 < FRAME_BYTES_MAX);

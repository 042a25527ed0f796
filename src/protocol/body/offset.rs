//! Consumer offsets: the table (43, `consumerOffset.json`), schedule progress (45, `delayOffset.json`), resets (220, 222),
//! corrections (308), time spans (303).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::base::Timestamp;
use crate::protocol::body::MessageQueue;
use crate::protocol::body::topic::DataVersion;

/// GET_ALL_CONSUMER_OFFSET and `config/consumerOffset.json`: `topic@group` to queue to offset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerOffsetTable {
    pub data_version: Option<DataVersion>,
    pub offset_table: BTreeMap<String, BTreeMap<i32, i64>>,
}

/// GET_ALL_DELAY_OFFSET and `config/delayOffset.json`: delay level to offset in its queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DelayOffsetTable {
    pub data_version: Option<DataVersion>,
    pub offset_table: BTreeMap<i32, i64>,
}

/// RESET_CONSUMER_CLIENT_OFFSET, and the answer of INVOKE_BROKER_TO_RESET_OFFSET.
///
/// The Go client reads it with a parser of its own that takes fastjson's form only: never write it quoted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResetOffsetBody {
    pub offset_table: BTreeMap<MessageQueue, i64>,
}

/// [`ResetOffsetBody`] for the C++ client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResetOffsetBodyForC {
    pub offset_table: Vec<QueueOffsetForC>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueOffsetForC {
    pub broker_name: String,
    pub offset: i64,
    pub queue_id: i32,
    pub topic: String,
}

/// GET_CONSUMER_STATUS_FROM_CLIENT, and by client INVOKE_BROKER_TO_GET_CONSUMER_STATUS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerStatusBody {
    pub consumer_table: BTreeMap<String, BTreeMap<MessageQueue, i64>>,
    pub message_queue_table: BTreeMap<MessageQueue, i64>,
}

/// QUERY_CORRECTION_OFFSET.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CorrectionOffsets {
    pub correction_offsets: BTreeMap<i32, i64>,
}

/// QUERY_CONSUME_TIME_SPAN.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeTimeSpans {
    pub consume_time_span_set: Vec<QueueTimeSpan>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueTimeSpan {
    pub consume_time_stamp: Timestamp,
    pub delay_time: i64,
    pub max_time_stamp: Timestamp,
    pub message_queue: MessageQueue,
    pub min_time_stamp: Timestamp,
}

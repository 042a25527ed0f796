//! The few remoting requests the harness itself makes, written by hand on a plain socket.
//!
//! An independent witness: nothing of the `staticfire` crate takes part, so a mistake in its frames cannot hide here.
//!
//! ```text
//! i4 length of the rest · i4 (top byte 0 = JSON, rest = header length) · header · body      big-endian
//! ```

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Map, Value, json};

/// Largest answer the harness accepts, in bytes.
const ANSWER_BYTES_MAX: usize = 16 << 20;

const SEND_MESSAGE: u16 = 10;
const PULL_MESSAGE: u16 = 11;
const QUERY_MESSAGE: u16 = 12;
const QUERY_CONSUMER_OFFSET: u16 = 14;
const UPDATE_AND_CREATE_TOPIC: u16 = 17;
const VIEW_MESSAGE_BY_ID: u16 = 33;
const GET_CONSUMER_LIST_BY_GROUP: u16 = 38;
const GET_ROUTEINFO_BY_TOPIC: u16 = 105;
const UPDATE_AND_CREATE_SUBSCRIPTIONGROUP: u16 = 200;
const GET_ALL_SUBSCRIPTIONGROUP_CONFIG: u16 = 201;

/// Why a request has no usable answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the answer is not a frame with a JSON header")]
    Malformed,
    #[error("request {request} was answered {code}: {remark}")]
    Refused { request: u16, code: i64, remark: String },
}

/// An answer with code 0, or the code it was asked to accept.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i64,
    pub(crate) fields: Map<String, Value>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// A header field as a number; brokers write numbers as strings.
    pub(crate) fn number(&self, field: &str) -> Option<i64> {
        match self.fields.get(field)? {
            Value::String(text) => text.parse().ok(),
            other => other.as_i64(),
        }
    }
}

/// One connection to a name server or broker.
pub(crate) struct Wire {
    stream: TcpStream,
    opaque: i32,
}

impl Wire {
    /// Connects within two seconds; requests time out after ten.
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self { stream, opaque: 0 })
    }

    /// Makes one request and returns its answer, whatever its code.
    pub(crate) fn ask(&mut self, code: u16, fields: &Value, body: &[u8]) -> Result<Answer, WireError> {
        self.opaque += 1;
        let header = json!({
            "code": code, "flag": 0, "language": "JAVA", "opaque": self.opaque, "version": 480,
            "serializeTypeCurrentRPC": "JSON", "extFields": fields,
        });
        self.stream.write_all(&frame(header.to_string().as_bytes(), body))?;
        loop {
            let (header, body) = self.read()?;
            // A broker may ask its clients things on the same connection; only the answer counts.
            let is_answer = header.get("flag").and_then(Value::as_i64).is_some_and(|flag| flag & 1 == 1);
            if is_answer && header.get("opaque").and_then(Value::as_i64) == Some(i64::from(self.opaque)) {
                let code = header.get("code").and_then(Value::as_i64).ok_or(WireError::Malformed)?;
                let remark = header.get("remark").and_then(Value::as_str).unwrap_or_default().to_owned();
                let mut fields =
                    header.get("extFields").and_then(Value::as_object).cloned().unwrap_or_default();
                fields.insert("remark".to_owned(), remark.into());
                return Ok(Answer { code, fields, body });
            }
        }
    }

    /// As [`Wire::ask`], and refuses every code but success.
    pub(crate) fn must(&mut self, request: u16, fields: &Value, body: &[u8]) -> Result<Answer, WireError> {
        let answer = self.ask(request, fields, body)?;
        if answer.code == 0 {
            return Ok(answer);
        }
        let remark = answer.fields.get("remark").and_then(Value::as_str).unwrap_or_default().to_owned();
        Err(WireError::Refused { request, code: answer.code, remark })
    }

    /// Creates `topic` with `queues` queues on the broker.
    pub(crate) fn create_topic(&mut self, topic: &str, queues: u32) -> Result<(), WireError> {
        let fields = json!({
            "topic": topic, "defaultTopic": "TBW102", "readQueueNums": queues.to_string(),
            "writeQueueNums": queues.to_string(), "perm": "6", "topicFilterType": "SINGLE_TAG",
            "topicSysFlag": "0", "order": "false",
        });
        self.must(UPDATE_AND_CREATE_TOPIC, &fields, &[]).map(drop)
    }

    /// Creates `group` so that a message fails `retries` times after its first try before it is dead.
    pub(crate) fn create_group(&mut self, group: &str, retries: u32) -> Result<(), WireError> {
        let body = json!({
            "groupName": group, "consumeEnable": true, "consumeFromMinEnable": true,
            "consumeBroadcastEnable": true, "retryQueueNums": 1, "retryMaxTimes": retries, "brokerId": 0,
            "whichBrokerWhenConsumeSlowly": 1, "notifyConsumerIdsChangedEnable": true,
        });
        self.must(UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &json!({}), body.to_string().as_bytes()).map(drop)
    }

    /// The configurations of all groups, as text.
    pub(crate) fn groups(&mut self) -> Result<String, WireError> {
        let answer = self.must(GET_ALL_SUBSCRIPTIONGROUP_CONFIG, &json!({}), &[])?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// How many members `group` has at this broker; 0 for a group nobody has joined.
    pub(crate) fn members(&mut self, group: &str) -> Result<usize, WireError> {
        let answer = self.ask(GET_CONSUMER_LIST_BY_GROUP, &json!({ "consumerGroup": group }), &[])?;
        let list: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        Ok(list.get("consumerIdList").and_then(Value::as_array).map_or(0, Vec::len))
    }

    /// Does this name server know a route for `topic`?
    pub(crate) fn has_route(&mut self, topic: &str) -> Result<bool, WireError> {
        let fields = json!({ "topic": topic, "acceptStandardJsonOnly": "true" });
        Ok(self.ask(GET_ROUTEINFO_BY_TOPIC, &fields, &[])?.code == 0)
    }

    /// Sends one message to a queue and returns the broker's answer.
    pub(crate) fn send(&mut self, topic: &str, queue: u32, body: &[u8]) -> Result<Answer, WireError> {
        self.send_with(topic, queue, "", body)
    }

    /// As [`Wire::send`], with encoded properties.
    pub(crate) fn send_with(
        &mut self,
        topic: &str,
        queue: u32,
        properties: &str,
        body: &[u8],
    ) -> Result<Answer, WireError> {
        let fields = json!({
            "producerGroup": "gate", "topic": topic, "defaultTopic": "TBW102", "defaultTopicQueueNums": "4",
            "queueId": queue.to_string(), "sysFlag": "0", "bornTimestamp": "0", "flag": "0", "properties": properties,
            "reconsumeTimes": "0", "unitMode": "false", "batch": "false",
        });
        self.ask(SEND_MESSAGE, &fields, body)
    }

    /// Pulls from a queue, without waiting for messages to come.
    pub(crate) fn pull(&mut self, topic: &str, queue: u32, offset: i64) -> Result<Answer, WireError> {
        let fields = json!({
            "consumerGroup": "gate", "topic": topic, "queueId": queue.to_string(),
            "queueOffset": offset.to_string(), "maxMsgNums": "32", "sysFlag": "4", "commitOffset": "0",
            "suspendTimeoutMillis": "0", "subscription": "*", "subVersion": "0", "expressionType": "TAG",
        });
        self.ask(PULL_MESSAGE, &fields, &[])
    }

    /// The record at `position` of the commit log, as a message id leads to it.
    pub(crate) fn view(&mut self, topic: &str, position: u64) -> Result<Vec<u8>, WireError> {
        let fields = json!({ "topic": topic, "offset": position.to_string() });
        Ok(self.must(VIEW_MESSAGE_BY_ID, &fields, &[])?.body)
    }

    /// At most 64 records of `topic` that carry `key`, back to back; empty when there is none.
    pub(crate) fn by_key(&mut self, topic: &str, key: &str) -> Result<Vec<u8>, WireError> {
        let fields = json!({
            "topic": topic, "key": key, "maxNum": "64", "beginTimestamp": "0",
            "endTimestamp": i64::MAX.to_string(),
        });
        Ok(self.ask(QUERY_MESSAGE, &fields, &[])?.body)
    }

    /// How far `group` has consumed a queue; `None` when it never said.
    pub(crate) fn consumed(
        &mut self,
        group: &str,
        topic: &str,
        queue: u32,
    ) -> Result<Option<i64>, WireError> {
        let fields = json!({
            "consumerGroup": group, "topic": topic, "queueId": queue.to_string(),
            "setZeroIfNotFound": "false",
        });
        let answer = self.ask(QUERY_CONSUMER_OFFSET, &fields, &[])?;
        Ok(if answer.code == 0 { answer.number("offset") } else { None })
    }

    fn read(&mut self) -> Result<(Value, Vec<u8>), WireError> {
        let mut four = [0; 4];
        self.stream.read_exact(&mut four)?;
        let length = usize::try_from(u32::from_be_bytes(four)).map_err(|_| WireError::Malformed)?;
        if !(4..=ANSWER_BYTES_MAX).contains(&length) {
            return Err(WireError::Malformed);
        }
        let mut rest = vec![0; length];
        self.stream.read_exact(&mut rest)?;
        let (meta, rest) = rest.split_first_chunk::<4>().ok_or(WireError::Malformed)?;
        let meta = u32::from_be_bytes(*meta);
        let header_length = usize::try_from(meta & 0x00FF_FFFF).map_err(|_| WireError::Malformed)?;
        let (header, body) = rest.split_at_checked(header_length).ok_or(WireError::Malformed)?;
        let header = serde_json::from_slice(header).map_err(|_| WireError::Malformed)?;
        Ok((header, body.to_vec()))
    }
}

fn frame(header: &[u8], body: &[u8]) -> Vec<u8> {
    let size = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    let mut bytes = Vec::with_capacity(8 + header.len() + body.len());
    bytes.extend(size(4 + header.len() + body.len()));
    bytes.extend(size(header.len()));
    bytes.extend(header);
    bytes.extend(body);
    bytes
}

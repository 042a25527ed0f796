//! Sending: SEND_MESSAGE 10, SEND_MESSAGE_V2 310, SEND_BATCH_MESSAGE 320, the replies 324 and 325, and
//! CONSUMER_SEND_MSG_BACK 36.
//!
//! ```text
//!         producerGroup topic defaultTopic defaultTopicQueueNums queueId sysFlag bornTimestamp flag properties
//! letter  a             b     c            d                     e       f       g             h    i
//!         reconsumeTimes unitMode maxReconsumeTimes batch bname
//! letter  j              k        l                 m     n
//! ```
//!
//! 10 and 324 use the names, the others the letters; both are one [`SendHeader`]. Its texts are slices of the frame.

use crate::base::PhysicalOffset;
use crate::base::Timestamp;
use crate::protocol::code::RequestCode;
use crate::protocol::command::field::Field;
use crate::protocol::command::field::FieldError;
use crate::protocol::command::field::header;
use crate::protocol::command::field::read;
use crate::protocol::ext::Ext;
use crate::protocol::header::Header;

/// What a producer says about a message, or about all messages of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendHeader<'a> {
    pub producer_group: &'a str,
    pub topic: &'a str,
    /// The template for a topic that does not exist yet, ordinarily TBW102.
    pub default_topic: &'a str,
    pub default_topic_queue_nums: i32,
    /// Negative: any queue.
    pub queue_id: i32,
    pub sys_flag: i32,
    pub born_timestamp: Timestamp,
    /// The user's own.
    pub flag: i32,
    /// Encoded properties, see `properties`; empty if there are none.
    pub properties: &'a str,
    pub reconsume_times: i32,
    pub unit_mode: bool,
    pub max_reconsume_times: Option<i32>,
    /// The body is a sequence of batch items.
    pub batch: bool,
    pub broker_name: Option<&'a str>,
}

impl Default for SendHeader<'_> {
    fn default() -> Self {
        SendHeader {
            producer_group: "",
            topic: "",
            default_topic: "TBW102",
            default_topic_queue_nums: 4,
            queue_id: 0,
            sys_flag: 0,
            born_timestamp: Timestamp(0),
            flag: 0,
            properties: "",
            reconsume_times: 0,
            unit_mode: false,
            max_reconsume_times: None,
            batch: false,
            broker_name: None,
        }
    }
}

/// Names by letter: `NAMES[0]` is `a`.
const NAMES: [&str; 14] = [
    "producerGroup",
    "topic",
    "defaultTopic",
    "defaultTopicQueueNums",
    "queueId",
    "sysFlag",
    "bornTimestamp",
    "flag",
    "properties",
    "reconsumeTimes",
    "unitMode",
    "maxReconsumeTimes",
    "batch",
    "bname",
];
const LETTERS: [&str; 14] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"];

/// Whether a send's fields go by letters.
fn lettered(code: i32) -> bool {
    matches!(
        RequestCode::from_i32(code),
        Some(RequestCode::SendMessageV2 | RequestCode::SendBatchMessage | RequestCode::SendReplyMessageV2)
    )
}

impl<'a> SendHeader<'a> {
    /// Reads either form, by the code of `header`. Errors name the field by its long name.
    pub fn decode(header: &'a Header) -> Result<SendHeader<'a>, FieldError> {
        let mut raw: [Option<&[u8]>; 14] = [None; 14];
        if lettered(header.code) {
            for (key, value) in header.ext.iter_raw() {
                if let [letter @ b'a'..=b'n'] = key {
                    raw[usize::from(letter - b'a')] = Some(value);
                }
            }
        } else {
            for (key, value) in header.ext.iter_raw() {
                if let Some(index) = NAMES.iter().position(|name| name.as_bytes() == key) {
                    raw[index] = Some(value);
                }
            }
        }
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = raw;
        Ok(SendHeader {
            producer_group: read("producerGroup", a)?,
            topic: read("topic", b)?,
            default_topic: read("defaultTopic", c)?,
            default_topic_queue_nums: read("defaultTopicQueueNums", d)?,
            queue_id: read("queueId", e)?,
            sys_flag: read("sysFlag", f)?,
            born_timestamp: read("bornTimestamp", g)?,
            flag: read("flag", h)?,
            properties: read::<Option<_>>("properties", i)?.unwrap_or_default(),
            reconsume_times: read::<Option<_>>("reconsumeTimes", j)?.unwrap_or_default(),
            unit_mode: read::<Option<_>>("unitMode", k)?.unwrap_or_default(),
            max_reconsume_times: read("maxReconsumeTimes", l)?,
            batch: header.code == RequestCode::SendBatchMessage.number()
                || read::<Option<_>>("batch", m)?.unwrap_or_default(),
            broker_name: read("bname", n)?,
        })
    }

    /// Appends the fields in the form that `code` has.
    pub fn encode(&self, code: RequestCode, ext: &mut Ext) {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n] =
            if lettered(code.number()) { &LETTERS } else { &NAMES };
        ext.push(a, self.producer_group);
        ext.push(b, self.topic);
        ext.push(c, self.default_topic);
        self.default_topic_queue_nums.write(d, ext);
        self.queue_id.write(e, ext);
        self.sys_flag.write(f, ext);
        self.born_timestamp.write(g, ext);
        self.flag.write(h, ext);
        ext.push(i, self.properties);
        self.reconsume_times.write(j, ext);
        self.unit_mode.write(k, ext);
        self.max_reconsume_times.write(l, ext);
        self.batch.write(m, ext);
        self.broker_name.write(n, ext);
    }
}

header! {
    /// The answer to a send. The Java producer reads `MSG_REGION` and `TRACE_ON` beside it.
    pub struct SendReply {
        /// Offset message ids; those of a batch are joined by commas.
        msg_id: String = "msgId",
        queue_id: i32 = "queueId",
        /// That of the first message of a batch.
        queue_offset: i64 = "queueOffset",
        transaction_id: Option<String> = "transactionId",
        batch_uniq_id: Option<String> = "batchUniqId",
        recall_handle: Option<String> = "recallHandle",
        region: Option<String> = "MSG_REGION",
        trace_on: Option<bool> = "TRACE_ON",
    }

    /// CONSUMER_SEND_MSG_BACK: a consumer could not process a message and wants it back later.
    pub struct SendBack {
        /// Where the message is in the commit log.
        offset: PhysicalOffset = "offset",
        group: String = "group",
        /// 0: the broker decides by how often it came back; negative: never again.
        delay_level: i32 = "delayLevel",
        origin_msg_id: Option<String> = "originMsgId",
        origin_topic: Option<String> = "originTopic",
        unit_mode: bool = "unitMode" or false,
        max_reconsume_times: Option<i32> = "maxReconsumeTimes",
        broker_name: Option<String> = "bname",
    }
}

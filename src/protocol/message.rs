//! A message as clients see it: [`Message`] before it is sent, [`ReceivedMessage`] after it was pulled.
//!
//! A pulled message shares its body with the answer it came in, unless it was compressed.
//!
//! Not here: the record's layout (`record`), choosing a queue, retrying (`client`).

use std::net::SocketAddr;

use bytes::Bytes;

use crate::base::PhysicalOffset;
use crate::base::QueueId;
use crate::base::QueueOffset;
use crate::base::Timestamp;
use crate::protocol::compress;
use crate::protocol::compress::InflateError;
use crate::protocol::ids;
use crate::protocol::properties::Properties;
use crate::protocol::properties::name;
use crate::protocol::record::DecodeError;
use crate::protocol::record::RecordView;
use crate::protocol::sysflag;
use crate::protocol::sysflag::Compression;

/// A message to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    /// The user's own; carried, never interpreted.
    pub flag: i32,
    pub properties: Properties,
    pub body: Bytes,
}

impl Message {
    pub fn new(topic: impl Into<String>, body: impl Into<Bytes>) -> Message {
        Message { topic: topic.into(), flag: 0, properties: Properties::default(), body: body.into() }
    }

    pub fn with_tag(self, tag: impl Into<String>) -> Message {
        self.with_property(name::TAGS, tag)
    }

    /// Keys to find the message by; they are joined by blanks.
    pub fn with_keys<'a>(self, keys: impl IntoIterator<Item = &'a str>) -> Message {
        let keys: Vec<&str> = keys.into_iter().collect();
        self.with_property(name::KEYS, keys.join(" "))
    }

    /// Deliver later: 1 is a second, 18 two hours.
    pub fn with_delay_level(self, level: u32) -> Message {
        self.with_property(name::DELAY, level.to_string())
    }

    pub fn with_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Message {
        self.properties.set(name, value);
        self
    }

    pub fn tag(&self) -> Option<&str> {
        self.properties.value(name::TAGS)
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.properties
            .value(name::KEYS)
            .unwrap_or_default()
            .split(name::KEY_SEPARATOR)
            .filter(|key| !key.is_empty())
    }

    pub fn delay_level(&self) -> u32 {
        self.properties.value(name::DELAY).and_then(|level| level.parse().ok()).unwrap_or(0)
    }

    /// The id the client gave it; it has one from its first attempt to be sent on.
    pub fn unique_id(&self) -> Option<&str> {
        self.properties.value(name::UNIQ_KEY)
    }

    /// Whether an acknowledgement waits for the disk; only `WAIT=false` says no.
    pub fn waits_for_store(&self) -> bool {
        self.properties.value(name::WAIT) != Some("false")
    }
}

/// A message that was pulled, checked and unfolded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedMessage {
    pub message: Message,
    pub queue: QueueId,
    pub queue_offset: QueueOffset,
    pub physical: PhysicalOffset,
    /// Bytes it takes in the log.
    pub stored_bytes: usize,
    pub sys_flag: i32,
    pub born_at: Timestamp,
    pub born_host: SocketAddr,
    pub store_at: Timestamp,
    pub store_host: SocketAddr,
    /// How often it came back for another attempt.
    pub reconsume_times: i32,
    pub prepared_transaction_offset: i64,
}

/// Why a pulled record is not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    #[error(transparent)]
    Record(#[from] DecodeError),
    #[error("the body: {0}")]
    Inflate(#[from] InflateError),
    #[error("the body is compressed in a way (system flag {sys_flag:#x}) that is not supported")]
    Compression { sys_flag: i32 },
}

impl ReceivedMessage {
    /// Decodes one record, as `record::split_records` cuts them out of a pull's answer. The body is checked against
    /// its CRC and unfolded into at most `body_bytes_max` bytes.
    pub fn from_record(record: &Bytes, body_bytes_max: usize) -> Result<ReceivedMessage, MessageError> {
        let view = RecordView::decode(record)?;
        view.verify_body()?;
        let body = match sysflag::compression(view.sys_flag) {
            Some(Compression::Zlib) => Bytes::from(compress::inflate(view.body, body_bytes_max)?),
            None if view.sys_flag & sysflag::COMPRESSED == 0 => record.slice_ref(view.body),
            _ => return Err(MessageError::Compression { sys_flag: view.sys_flag }),
        };
        let message = Message {
            topic: view.topic.to_owned(),
            flag: view.flag,
            properties: Properties::decode(view.properties),
            body,
        };
        Ok(ReceivedMessage {
            message,
            queue: view.queue,
            queue_offset: view.queue_offset,
            physical: view.physical,
            stored_bytes: view.total,
            sys_flag: view.sys_flag,
            born_at: view.born_at,
            born_host: view.born_host,
            store_at: view.store_at,
            store_host: view.store_host,
            reconsume_times: view.reconsume_times,
            prepared_transaction_offset: view.prepared_transaction_offset,
        })
    }

    /// The id under which people know it: the client's, or else where it is stored.
    pub fn id(&self) -> String {
        match self.message.unique_id() {
            Some(id) => id.to_owned(),
            None => self.offset_message_id(),
        }
    }

    pub fn offset_message_id(&self) -> String {
        ids::offset_message_id(self.store_host, self.physical)
    }
}

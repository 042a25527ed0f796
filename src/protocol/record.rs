//! The message record: what the commit log stores and what a pull answers, byte for byte the same.
//!
//! ```text
//!  0  i4 total size (itself included)      48  4|16 + i4 born host and port (16 if sys flag 0x10)
//!  4  i4 magic                             56  i8 store time                     <- from here on, positions are
//!  8  i4 body CRC & 0x7fffffff             64  4|16 + i4 store host (0x20)          those of IPv4 hosts
//! 12  i4 queue id                          72  i4 reconsume times
//! 16  i4 flag                              76  i8 prepared transaction offset
//! 20  i8 queue offset                      84  i4 + n body
//! 28  i8 physical offset                       u1 + n topic (V2: u2 + n)
//! 36  i4 sys flag                              u2 + n properties
//! 40  i8 born time
//! ```
//!
//! V2 is written only for topics of more than 127 bytes, because Java reads the one-byte length as signed. A filler
//! record (i4 remaining bytes, i4 magic) closes a log segment; every record leaves room for one.
//!
//! Decoding trusts nothing: each length is checked against the bytes that are there. The body's CRC is a step of its
//! own, [`RecordView::verify_body`]. Not here: which queue offset or position a record gets.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use crate::base::PhysicalOffset;
use crate::base::QueueId;
use crate::base::QueueOffset;
use crate::base::Timestamp;
use crate::base::java_string_hash;
use crate::base::limits::PROPERTIES_BYTES_MAX;
use crate::protocol::properties::name;
use crate::protocol::properties::property;
use crate::protocol::sysflag;

/// Magic of a record whose topic length is one byte.
pub const MAGIC_V1: u32 = 0xDAA3_20A7;
/// Magic of a record whose topic length is two bytes.
pub const MAGIC_V2: u32 = 0xDAA3_20AB;
/// Magic of the filler at a segment's end.
pub const MAGIC_FILLER: u32 = 0xCBD4_3194;
/// Bytes of a filler's header; the rest of the segment behind it is unspecified (zeros when written here).
pub const FILLER_BYTES: usize = 8;
/// The smallest record there can be: IPv4 hosts, no body, no topic, no properties.
pub const RECORD_BYTES_MIN: usize = 91;

/// Separates a property's name from its value.
pub const PROPERTY_NAME_END: u8 = 1;
/// Ends a property.
pub const PROPERTY_END: u8 = 2;

/// A message about to be stored: everything but what the log decides (queue offset, position, store time).
#[derive(Clone, Debug)]
pub struct NewRecord {
    /// At most 255 bytes.
    pub topic: Arc<str>,
    pub queue: QueueId,
    /// The user's flag; opaque.
    pub flag: i32,
    /// The two address-family bits are set by the encoder; the others are stored as given.
    pub sys_flag: i32,
    pub born_at: Timestamp,
    pub born_host: SocketAddr,
    /// The address that clients reach this broker at: it becomes part of the message id.
    pub store_host: SocketAddr,
    pub reconsume_times: i32,
    pub prepared_transaction_offset: i64,
    pub body: Bytes,
    /// Encoded properties, at most [`PROPERTIES_BYTES_MAX`] bytes.
    pub properties: Bytes,
    /// Must be what [`tags_code`] says of `properties`: recovery computes it from there. In the schedule topic the store
    /// computes the delivery time itself.
    pub tags_code: i64,
}

impl NewRecord {
    /// True when the record gets a place in its queue: undecided and rolled-back transaction records do not.
    pub fn is_queued(&self) -> bool {
        is_queued(self.sys_flag)
    }
}

/// Why a record cannot be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    #[error("the topic has {0} bytes; a record holds at most 255")]
    TopicTooLong(usize),
    /// A topic names a directory: it is not empty, has no slash, no NUL, and is no step upwards.
    #[error("a topic cannot have this name")]
    TopicName,
    #[error("the properties have {0} bytes; a record holds at most {PROPERTIES_BYTES_MAX}")]
    PropertiesTooLong(usize),
    #[error("the body has {0} bytes; a record holds less than 2 GiB")]
    BodyTooLong(usize),
}

/// Bytes that `record` takes in the log.
pub fn encoded_len(record: &NewRecord) -> Result<usize, EncodeError> {
    check_topic(&record.topic)?;
    encoded_len_of_topic(record)
}

/// Whether a record of this topic can be encoded.
pub fn check_topic(topic: &str) -> Result<(), EncodeError> {
    if !is_topic_name(topic) {
        return Err(EncodeError::TopicName);
    }
    if topic.len() > 255 {
        return Err(EncodeError::TopicTooLong(topic.len()));
    }
    Ok(())
}

/// As [`encoded_len`], of a record whose topic was checked.
pub fn encoded_len_of_topic(record: &NewRecord) -> Result<usize, EncodeError> {
    let topic = record.topic.len();
    if record.properties.len() > PROPERTIES_BYTES_MAX {
        return Err(EncodeError::PropertiesTooLong(record.properties.len()));
    }
    if record.body.len() > (i32::MAX as usize) / 2 {
        return Err(EncodeError::BodyTooLong(record.body.len()));
    }
    let hosts = host_extra(record.born_host) + host_extra(record.store_host);
    let long_topic = usize::from(topic > 127);
    Ok(RECORD_BYTES_MIN + hosts + long_topic + record.body.len() + topic + record.properties.len())
}

/// Writes `record` into all of `out`, whose length is [`encoded_len`]. The body is copied once, its CRC computed on the
/// way.
pub fn encode_into(
    record: &NewRecord,
    queue_offset: QueueOffset,
    physical: PhysicalOffset,
    store_at: Timestamp,
    out: &mut [u8],
) {
    let total = out.len();
    let long_topic = record.topic.len() > 127;
    let mut sys_flag = record.sys_flag & !(sysflag::BORN_HOST_V6 | sysflag::STORE_HOST_V6);
    if record.born_host.is_ipv6() {
        sys_flag |= sysflag::BORN_HOST_V6;
    }
    if record.store_host.is_ipv6() {
        sys_flag |= sysflag::STORE_HOST_V6;
    }
    let mut put = Put { out, at: 0 };
    put.bytes(&(total as u32).to_be_bytes());
    put.bytes(&(if long_topic { MAGIC_V2 } else { MAGIC_V1 }).to_be_bytes());
    put.bytes(&body_crc(&record.body).to_be_bytes());
    put.bytes(&record.queue.0.to_be_bytes());
    put.bytes(&record.flag.to_be_bytes());
    put.bytes(&queue_offset.0.to_be_bytes());
    put.bytes(&physical.0.to_be_bytes());
    put.bytes(&sys_flag.to_be_bytes());
    put.bytes(&record.born_at.0.to_be_bytes());
    put.host(record.born_host);
    put.bytes(&store_at.0.to_be_bytes());
    put.host(record.store_host);
    put.bytes(&record.reconsume_times.to_be_bytes());
    put.bytes(&record.prepared_transaction_offset.to_be_bytes());
    put.bytes(&(record.body.len() as u32).to_be_bytes());
    put.bytes(&record.body);
    let topic = record.topic.as_bytes();
    if long_topic {
        put.bytes(&(topic.len() as u16).to_be_bytes());
    } else {
        put.bytes(&[topic.len() as u8]);
    }
    put.bytes(topic);
    put.bytes(&(record.properties.len() as u16).to_be_bytes());
    put.bytes(&record.properties);
    assert!(put.at == total, "a record fills exactly the bytes that encoded_len promised");
}

/// Writes a filler's header: `remaining` bytes, its own eight included, end the segment here.
pub fn encode_filler(remaining: u32, out: &mut [u8; FILLER_BYTES]) {
    let (size, magic) = out.split_at_mut(4);
    size.copy_from_slice(&remaining.to_be_bytes());
    magic.copy_from_slice(&MAGIC_FILLER.to_be_bytes());
}

/// True for a topic that can name a directory of its own. What a client may create is narrower still.
pub fn is_topic_name(topic: &str) -> bool {
    !matches!(topic, "" | "." | "..") && !topic.bytes().any(|byte| byte == b'/' || byte == 0)
}

/// The CRC a record carries for `body`. Java keeps it positive.
pub fn body_crc(body: &[u8]) -> u32 {
    crc32fast::hash(body) & 0x7FFF_FFFF
}

/// True when a record of this sys flag gets a place in its queue (`CommitLogDispatcherBuildConsumeQueue`).
pub fn is_queued(sys_flag: i32) -> bool {
    !matches!(sysflag::transaction(sys_flag), sysflag::TRANSACTION_PREPARED | sysflag::TRANSACTION_ROLLBACK)
}

/// What a consume queue keeps of a record's tags: Java's hash of TAGS, 0 without any
/// (`MessageExtBrokerInner.tagsString2tagsCode`).
pub fn tags_code(properties: &[u8]) -> i64 {
    property(properties, name::TAGS).map_or(0, |tags| i64::from(java_string_hash(tags)))
}

/// A stored record, borrowed. Every length was checked; the body's CRC was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Bytes of the whole record.
    pub total: usize,
    /// True for the two-byte topic length.
    pub long_topic: bool,
    pub body_crc: u32,
    pub queue: QueueId,
    pub flag: i32,
    pub queue_offset: QueueOffset,
    pub physical: PhysicalOffset,
    pub sys_flag: i32,
    pub born_at: Timestamp,
    pub born_host: SocketAddr,
    pub store_at: Timestamp,
    pub store_host: SocketAddr,
    pub reconsume_times: i32,
    pub prepared_transaction_offset: i64,
    pub body: &'a [u8],
    pub topic: &'a str,
    /// Encoded; see [`property`].
    pub properties: &'a [u8],
}

/// What stands at a position of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A record of this many bytes (of which not all need to be at hand).
    Record { total: usize },
    /// The segment ends here; this many bytes, the filler's own eight included, are left in it.
    Filler { remaining: usize },
    /// Zeros: nothing was written here.
    Blank,
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    #[error("{have} bytes where a record needs {need}")]
    Short { have: usize, need: usize },
    #[error("{0:#010x} is no record's magic")]
    Magic(u32),
    #[error("the record says it has {said} bytes, its fields end at {fields}")]
    Size { said: usize, fields: usize },
    #[error("a field of {0} bytes reaches beyond its record")]
    Field(usize),
    #[error("the topic is not UTF-8, or no topic's name")]
    Topic,
    #[error("a queue id, queue offset or position is negative")]
    Negative,
    #[error("the body's CRC is {is:#010x}, the record says {said:#010x}")]
    BodyCrc { said: u32, is: u32 },
}

impl Entry {
    /// Classifies the position that `bytes` starts at by its first eight bytes. The size is plausible (at least a
    /// record's minimum), not checked against anything else.
    pub fn classify(bytes: &[u8]) -> Result<Entry, DecodeError> {
        let mut take = Take { bytes, at: 0 };
        let size = take.u32()?;
        let magic = take.u32()?;
        match magic {
            MAGIC_V1 | MAGIC_V2 => match usize::try_from(size) {
                Ok(total) if (RECORD_BYTES_MIN..=i32::MAX as usize).contains(&total) => {
                    Ok(Entry::Record { total })
                }
                _ => Err(DecodeError::Size { said: size as usize, fields: RECORD_BYTES_MIN }),
            },
            MAGIC_FILLER => Ok(Entry::Filler { remaining: size as usize }),
            0 if size == 0 => Ok(Entry::Blank),
            other => Err(DecodeError::Magic(other)),
        }
    }
}

impl<'a> RecordView<'a> {
    /// Decodes the record that `bytes` starts with; what follows it is ignored.
    pub fn decode(bytes: &'a [u8]) -> Result<RecordView<'a>, DecodeError> {
        let total = match Entry::classify(bytes)? {
            Entry::Record { total } => total,
            Entry::Filler { .. } => return Err(DecodeError::Magic(MAGIC_FILLER)),
            Entry::Blank => return Err(DecodeError::Magic(0)),
        };
        let bytes = bytes.get(..total).ok_or(DecodeError::Short { have: bytes.len(), need: total })?;
        let mut take = Take { bytes, at: 4 };
        let long_topic = take.u32()? == MAGIC_V2;
        let body_crc = take.u32()?;
        let queue = QueueId(not_negative(take.i32()?)?);
        let flag = take.i32()?;
        let queue_offset = QueueOffset(take.offset()?);
        let physical = PhysicalOffset(take.offset()?);
        let sys_flag = take.i32()?;
        let born_at = Timestamp(take.i64()?);
        let born_host = take.host(sys_flag & sysflag::BORN_HOST_V6 != 0)?;
        let store_at = Timestamp(take.i64()?);
        let store_host = take.host(sys_flag & sysflag::STORE_HOST_V6 != 0)?;
        let reconsume_times = take.i32()?;
        let prepared_transaction_offset = take.i64()?;
        let body_len = usize::try_from(take.i32()?).map_err(|_| DecodeError::Negative)?;
        let body = take.slice(body_len)?;
        let topic_len = if long_topic { usize::from(take.u16()?) } else { usize::from(take.u8()?) };
        let topic = std::str::from_utf8(take.slice(topic_len)?).map_err(|_| DecodeError::Topic)?;
        if !is_topic_name(topic) {
            return Err(DecodeError::Topic);
        }
        let properties_len = usize::from(take.u16()?);
        let properties = take.slice(properties_len)?;
        if take.at != total {
            return Err(DecodeError::Size { said: total, fields: take.at });
        }
        Ok(RecordView {
            total,
            long_topic,
            body_crc,
            queue,
            flag,
            queue_offset,
            physical,
            sys_flag,
            born_at,
            born_host,
            store_at,
            store_host,
            reconsume_times,
            prepared_transaction_offset,
            body,
            topic,
            properties,
        })
    }

    /// Compares the body with its CRC: one pass over the body.
    pub fn verify_body(&self) -> Result<(), DecodeError> {
        let is = body_crc(self.body);
        if is == self.body_crc { Ok(()) } else { Err(DecodeError::BodyCrc { said: self.body_crc, is }) }
    }

    /// True when the record has a place in its queue.
    pub fn is_queued(&self) -> bool {
        is_queued(self.sys_flag)
    }

    pub fn property(&self, name: &str) -> Option<&'a str> {
        property(self.properties, name)
    }

    pub fn tags_code(&self) -> i64 {
        tags_code(self.properties)
    }
}

/// The records of a pull's body, one slice each, without copying. Ends at the first bytes that are no whole record,
/// with that error. Fillers do not occur between records of an answer.
pub fn split_records(body: &Bytes) -> impl Iterator<Item = Result<Bytes, DecodeError>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = body.get(at..).filter(|rest| !rest.is_empty())?;
        match RecordView::decode(rest) {
            Ok(view) => {
                let record = body.slice(at..at + view.total);
                at += view.total;
                Some(Ok(record))
            }
            Err(error) => {
                at = body.len();
                Some(Err(error))
            }
        }
    })
}

/// Reads the store time out of a record's first [`RECORD_BYTES_MIN`] bytes, without decoding the rest.
pub fn peek_store_time(bytes: &[u8]) -> Result<Timestamp, DecodeError> {
    let Entry::Record { .. } = Entry::classify(bytes)? else { return Err(DecodeError::Magic(0)) };
    let mut take = Take { bytes, at: 36 };
    let sys_flag = take.i32()?;
    let mut take = Take { bytes, at: if sys_flag & sysflag::BORN_HOST_V6 != 0 { 68 } else { 56 } };
    Ok(Timestamp(take.i64()?))
}

fn host_extra(host: SocketAddr) -> usize {
    if host.is_ipv6() { 12 } else { 0 }
}

fn not_negative(value: i32) -> Result<u32, DecodeError> {
    u32::try_from(value).map_err(|_| DecodeError::Negative)
}

struct Put<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Put<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        let end = self.at + bytes.len();
        self.out[self.at..end].copy_from_slice(bytes);
        self.at = end;
    }

    fn host(&mut self, host: SocketAddr) {
        match host.ip() {
            IpAddr::V4(ip) => self.bytes(&ip.octets()),
            IpAddr::V6(ip) => self.bytes(&ip.octets()),
        }
        self.bytes(&u32::from(host.port()).to_be_bytes());
    }
}

struct Take<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Take<'a> {
    fn slice(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let end = self.at.checked_add(len).ok_or(DecodeError::Field(len))?;
        let slice = self.bytes.get(self.at..end).ok_or(DecodeError::Field(len))?;
        self.at = end;
        Ok(slice)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.slice(N)?);
        Ok(out)
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    fn offset(&mut self) -> Result<u64, DecodeError> {
        u64::try_from(self.i64()?).map_err(|_| DecodeError::Negative)
    }

    /// Java stores a port as an int; what does not fit one is kept as 0.
    fn host(&mut self, v6: bool) -> Result<SocketAddr, DecodeError> {
        let ip = if v6 {
            IpAddr::V6(Ipv6Addr::from(self.array::<16>()?))
        } else {
            IpAddr::V4(Ipv4Addr::from(self.array::<4>()?))
        };
        let port = u16::try_from(self.u32()?).unwrap_or(0);
        Ok(SocketAddr::new(ip, port))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn host() -> impl Strategy<Value = SocketAddr> {
        prop_oneof![
            (any::<[u8; 4]>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::from((ip, port))),
            (any::<[u8; 16]>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::from((ip, port))),
        ]
    }

    prop_compose! {
        fn record()(
            topic in prop_oneof!["[a-zA-Z0-9_%-]{1,127}", "[a-z]{128,255}"],
            queue in 0..i32::MAX as u32,
            (flag, sys_flag, reconsume_times) in any::<(i32, i32, i32)>(),
            (born_at, prepared) in any::<(i64, i64)>(),
            (born_host, store_host) in (host(), host()),
            body in prop::collection::vec(any::<u8>(), 0..300),
            properties in prop::collection::vec(any::<u8>(), 0..300),
        ) -> NewRecord {
            NewRecord {
                topic: Arc::from(topic),
                queue: QueueId(queue),
                flag,
                sys_flag,
                born_at: Timestamp(born_at),
                born_host,
                store_host,
                reconsume_times,
                prepared_transaction_offset: prepared,
                tags_code: tags_code(&properties),
                body: body.into(),
                properties: properties.into(),
            }
        }
    }

    fn encode(record: &NewRecord, queue_offset: u64, physical: u64, store_at: i64) -> Vec<u8> {
        let mut out = vec![0xEE; encoded_len(record).expect("the strategy keeps the limits")];
        encode_into(
            record,
            QueueOffset(queue_offset),
            PhysicalOffset(physical),
            Timestamp(store_at),
            &mut out,
        );
        out
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            record in record(),
            queue_offset in 0..i64::MAX as u64,
            physical in 0..i64::MAX as u64,
            store_at in any::<i64>(),
        ) {
            let bytes = encode(&record, queue_offset, physical, store_at);
            let view = RecordView::decode(&bytes).expect("own records decode");
            prop_assert_eq!(view.verify_body(), Ok(()));
            prop_assert_eq!(view.topic, &*record.topic);
            prop_assert_eq!(view.queue, record.queue);
            prop_assert_eq!(view.flag, record.flag);
            prop_assert_eq!(view.sys_flag & !0x30, record.sys_flag & !0x30);
            prop_assert_eq!((view.born_host, view.store_host), (record.born_host, record.store_host));
            prop_assert_eq!((view.born_at, view.store_at), (record.born_at, Timestamp(store_at)));
            prop_assert_eq!(peek_store_time(&bytes), Ok(Timestamp(store_at)));
            prop_assert_eq!((view.queue_offset.0, view.physical.0), (queue_offset, physical));
            prop_assert_eq!(view.reconsume_times, record.reconsume_times);
            prop_assert_eq!(view.prepared_transaction_offset, record.prepared_transaction_offset);
            prop_assert_eq!((view.body, view.properties), (&record.body[..], &record.properties[..]));
            prop_assert_eq!(view.tags_code(), record.tags_code);
        }

        #[test]
        fn a_cut_record_is_refused(record in record(), keep in 0.0..1.0f64) {
            let bytes = encode(&record, 1, 2, 3);
            let kept = (bytes.len() as f64 * keep) as usize;
            prop_assert!(RecordView::decode(&bytes[..kept]).is_err());
        }

        #[test]
        fn strangers_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..400), v2 in any::<bool>()) {
            let _ = RecordView::decode(&bytes);
            if bytes.len() > 8 {
                let total = bytes.len() as u32;
                bytes[..4].copy_from_slice(&total.to_be_bytes());
                let magic = if v2 { MAGIC_V2 } else { MAGIC_V1 };
                bytes[4..8].copy_from_slice(&magic.to_be_bytes());
                let _ = RecordView::decode(&bytes);
                let _ = peek_store_time(&bytes);
                let _ = split_records(&Bytes::from(bytes)).count();
            }
        }

        #[test]
        fn a_flipped_body_bit_is_seen(record in record(), bit in any::<prop::sample::Index>()) {
            prop_assume!(!record.body.is_empty());
            let mut bytes = encode(&record, 1, 2, 3);
            let body_at = RecordView::decode(&bytes).expect("own records decode").body.as_ptr() as usize
                - bytes.as_ptr() as usize;
            let bit = bit.index(record.body.len() * 8);
            bytes[body_at + bit / 8] ^= 1 << (bit % 8);
            let view = RecordView::decode(&bytes).expect("lengths are intact");
            // Although Java drops the top bit of the CRC: no single flip within 2^32 bits changes that bit alone.
            prop_assert!(view.verify_body().is_err());
        }
    }

    #[test]
    fn records_of_an_answer_are_split_until_the_first_damage() {
        let record = NewRecord {
            topic: Arc::from("T"),
            queue: QueueId(0),
            flag: 0,
            sys_flag: 0,
            born_at: Timestamp(1),
            born_host: SocketAddr::from(([127, 0, 0, 1], 1)),
            store_host: SocketAddr::from(([127, 0, 0, 1], 10911)),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: Bytes::from_static(b"hello"),
            properties: Bytes::from_static(b"KEYS\x01k\x02TAGS\x01TagA\x02"),
            tags_code: 2_598_919,
        };
        let one = encode(&record, 0, 0, 9);
        assert_eq!(RecordView::decode(&one).map(|view| view.tags_code()), Ok(record.tags_code));
        let mut body = one.repeat(3);
        body.extend_from_slice(&one[..40]);
        let split: Vec<_> = split_records(&Bytes::from(body)).collect();
        assert_eq!(split.len(), 4);
        assert!(split[..3].iter().all(|record| record.as_deref() == Ok(&one[..])));
        assert!(matches!(split[3], Err(DecodeError::Short { .. })));
    }
}

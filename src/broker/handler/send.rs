//! SEND_MESSAGE (10), SEND_MESSAGE_V2 (310), SEND_BATCH_MESSAGE (320).
//!
//! The checks and their order are RocketMQ's (`SendMessageProcessor`, `AbstractSendMessageProcessor.msgCheck`). A send
//! is only staged here; the turn's end appends it together with everything that came with it.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use bytes::BytesMut;

use crate::base::QueueId;
use crate::base::Timestamp;
use crate::base::limits;
use crate::broker::answer::ReplyTo;
use crate::broker::core::Core;
use crate::broker::placement::Place;
use crate::broker::properties;
use crate::broker::properties::Noted;
use crate::broker::refusal::Refusal;
use crate::broker::session::Request;
use crate::broker::unit::Kind;
use crate::broker::unit::Staged;
use crate::broker::unit::Unit;
use crate::machine::edit::PropertyEdit;
use crate::machine::retry;
use crate::machine::retry::RetrySend;
use crate::machine::transaction;
use crate::protocol::batch;
use crate::protocol::command::send::SendHeader;
use crate::protocol::compress;
use crate::protocol::names;
use crate::protocol::properties::name;
use crate::protocol::record;
use crate::protocol::record::NewRecord;
use crate::protocol::record::RecordView;
use crate::protocol::sysflag;
use crate::protocol::sysflag::Compression;

/// A message on its way into the log: changed by whatever it has to pass through first.
pub(crate) struct Draft<'a> {
    pub(crate) topic: Arc<str>,
    pub(crate) queue: QueueId,
    pub(crate) flag: i32,
    pub(crate) sys_flag: i32,
    pub(crate) born_at: Timestamp,
    pub(crate) born_host: SocketAddr,
    pub(crate) reconsume_times: i32,
    pub(crate) prepared_transaction_offset: i64,
    pub(crate) body: Bytes,
    pub(crate) properties: &'a str,
    pub(crate) edits: Vec<PropertyEdit>,
    /// Asked for by DELAY, or by a retry.
    pub(crate) delay_level: i64,
}

pub(crate) fn stage(core: &Arc<Core>, request: &Request, unit: &mut Unit) -> Result<(), Refusal> {
    let send = SendHeader::decode(&request.frame.header)?;
    let body = &request.frame.body;
    check_size("the body", body.len(), core.config.body_bytes_max as usize)?;
    check_size("its properties", send.properties.len(), limits::PROPERTIES_BYTES_MAX)?;
    refuse_zeros(send.properties)?;
    let place = core.place_send(&send)?;
    if send.batch {
        return stage_batch(core, request, &send, &place, unit);
    }
    let noted = Noted::of(send.properties);
    let queue = place.queue;
    let mut draft = Draft::of(&send, place, body.clone(), send.properties, request.connection.peer());
    if noted.unique_key.is_none() {
        draft.edits.push(PropertyEdit::Put("UNIQ_KEY", core.unique_id()));
    }
    let prepared =
        noted.transaction_prepared || sysflag::transaction(send.sys_flag) == sysflag::TRANSACTION_PREPARED;
    let kind = if prepared {
        draft.make_half(core)?;
        let transaction_id = noted.unique_key.map_or_else(|| core.unique_id(), str::to_owned);
        Kind::Half { queue, transaction_id }
    } else {
        draft.delay_level = noted.delay_level.unwrap_or(0);
        draft.judge_retry(core, &send, request.frame.header.version, &noted)?;
        Kind::Send { queue }
    };
    let record = draft.into_record(core, &mut unit.scratch);
    let to = ReplyTo::request(&request.frame.header);
    unit.stage(Staged { to, kind, wait: noted.wait, records: 1 }, [record]);
    Ok(())
}

/// Recovery takes a zero among the properties for a page that never reached the disk: no checksum covers them.
fn refuse_zeros(properties: &str) -> Result<(), Refusal> {
    if properties.contains('\0') {
        return Err(Refusal::Illegal("a zero byte stands in the properties".to_owned()));
    }
    Ok(())
}

/// A batch is stored as single messages, in one unit: all of them or none.
fn stage_batch(
    core: &Arc<Core>,
    request: &Request,
    send: &SendHeader<'_>,
    place: &Place,
    unit: &mut Unit,
) -> Result<(), Refusal> {
    if send.topic.starts_with(names::RETRY_PREFIX) {
        return Err(Refusal::Illegal(format!("batch request does not support retry group {}", send.topic)));
    }
    let body_bytes_max = core.config.body_bytes_max as usize;
    let (body, sys_flag) = unfolded(&request.frame.body, send.sys_flag, body_bytes_max)?;
    let mut records = Vec::new();
    for item in batch::split(body) {
        let item = item.map_err(|error| Refusal::Illegal(format!("the batch cannot be read: {error}")))?;
        let text = std::str::from_utf8(&item.properties)
            .map_err(|_| Refusal::Illegal("a batched message's properties are not UTF-8".to_owned()))?;
        check_size("the properties of a batched message", text.len(), limits::PROPERTIES_BYTES_MAX)?;
        refuse_zeros(text)?;
        let mut draft = Draft::of(send, place.clone(), item.body.clone(), text, request.connection.peer());
        draft.flag = item.flag;
        draft.sys_flag = sysflag::with_transaction(sys_flag, sysflag::TRANSACTION_NONE);
        draft.edits.push(PropertyEdit::Clear(name::DELAY));
        if properties::property(text, "UNIQ_KEY").is_none() {
            draft.edits.push(PropertyEdit::Put("UNIQ_KEY", core.unique_id()));
        }
        records.push(draft.into_record(core, &mut unit.scratch));
    }
    if records.is_empty() {
        return Err(Refusal::Illegal("the batch holds no message".to_owned()));
    }
    let wait = Noted::of(send.properties).wait;
    let to = ReplyTo::request(&request.frame.header);
    let staged = Staged { to, kind: Kind::Send { queue: place.queue }, wait, records: records.len() };
    unit.stage(staged, records);
    Ok(())
}

/// The items of a batch and the system flag of each.
///
/// The C++ client folds a batch of 4 KiB and more as a whole; others never do. What is stored are single messages, and
/// none of them is compressed by itself.
fn unfolded(body: &Bytes, sys_flag: i32, bytes_max: usize) -> Result<(Bytes, i32), Refusal> {
    let illegal = |cause: String| Refusal::Illegal(format!("the batch cannot be read: {cause}"));
    match sysflag::compression(sys_flag) {
        None if sys_flag & sysflag::COMPRESSED == 0 => Ok((body.clone(), sys_flag)),
        Some(Compression::Zlib) => {
            let plain = compress::inflate(body, bytes_max).map_err(|error| illegal(error.to_string()))?;
            Ok((Bytes::from(plain), sysflag::without_compression(sys_flag)))
        }
        _ => Err(illegal(format!(
            "it is compressed in a way (system flag {sys_flag:#x}) that is not supported"
        ))),
    }
}

impl<'a> Draft<'a> {
    fn of(
        send: &SendHeader<'_>,
        place: Place,
        body: Bytes,
        properties: &'a str,
        born_host: SocketAddr,
    ) -> Draft<'a> {
        Draft {
            topic: place.topic,
            queue: place.queue,
            flag: send.flag,
            sys_flag: sysflag::with_transaction(send.sys_flag, sysflag::TRANSACTION_NONE),
            born_at: send.born_timestamp,
            born_host,
            reconsume_times: send.reconsume_times,
            prepared_transaction_offset: 0,
            body,
            properties,
            edits: vec![PropertyEdit::Clear("POP_CK")],
            delay_level: 0,
        }
    }

    /// A stored message, to be stored once more.
    pub(crate) fn copy_of(
        core: &Core,
        stored: &Bytes,
        view: &RecordView<'_>,
        properties: &'a str,
    ) -> Draft<'a> {
        Draft {
            topic: core.intern(view.topic),
            queue: view.queue,
            flag: view.flag,
            sys_flag: view.sys_flag,
            born_at: view.born_at,
            born_host: view.born_host,
            reconsume_times: view.reconsume_times,
            prepared_transaction_offset: 0,
            body: stored.slice_ref(view.body),
            properties,
            edits: Vec::new(),
            delay_level: 0,
        }
    }

    /// Half messages wait in a topic of their own, invisible to consumers of the real one.
    fn make_half(&mut self, core: &Core) -> Result<(), Refusal> {
        if core.config.reject_transactions {
            return Err(core.forbidden("transaction message"));
        }
        self.edits.extend(transaction::half_form(&self.topic, self.queue));
        self.topic = core.intern(transaction::HALF_TOPIC);
        self.queue = QueueId(0);
        Ok(())
    }

    /// A client that could not send a message back sends a copy to the retry topic itself.
    fn judge_retry(
        &mut self,
        core: &Core,
        send: &SendHeader<'_>,
        version: i32,
        noted: &Noted<'_>,
    ) -> Result<(), Refusal> {
        let Some(group) = send.topic.strip_prefix(names::RETRY_PREFIX) else { return Ok(()) };
        let asked = RetrySend {
            group,
            reconsume_times: send.reconsume_times,
            client_max: send.max_reconsume_times,
            client_version: version,
            topic: send.topic,
            retry_topic: noted.retry_topic,
            origin_message_id: noted.origin_message_id,
            orderly: core.order.lock().is_orderly(core.env.now(), group),
        };
        let outcome = retry::retry_send(&asked, core.group_retry(group))
            .map_err(|error| Refusal::Retry { group: group.to_owned(), error })?;
        match outcome {
            retry::Outcome::DeadLetter { topic, queue, edits, .. } => {
                self.topic = core.dead_letter_topic(&topic);
                self.queue = queue;
                self.edits.extend(edits);
                self.delay_level = 0;
            }
            retry::Outcome::Retry { .. } | retry::Outcome::Store | retry::Outcome::Dropped => {}
        }
        Ok(())
    }

    /// The record, delayed first if a level asks for it.
    pub(crate) fn into_record(mut self, core: &Core, scratch: &mut BytesMut) -> NewRecord {
        let now = core.env.wall();
        if let Some(waiting) = core.schedule(self.delay_level, &self.topic, self.queue, now) {
            self.edits.extend(waiting.edits);
            self.topic = core.intern(waiting.topic);
            self.queue = waiting.queue;
        }
        self.edits.push(PropertyEdit::Put("CLUSTER", core.config.cluster_name.clone()));
        self.edits.push(PropertyEdit::Clear("WAIT"));
        properties::rewrite(self.properties, &self.edits, scratch);
        let properties = scratch.split().freeze();
        NewRecord {
            topic: self.topic,
            queue: self.queue,
            flag: self.flag,
            sys_flag: self.sys_flag,
            born_at: self.born_at,
            born_host: self.born_host,
            store_host: core.host,
            reconsume_times: self.reconsume_times,
            prepared_transaction_offset: self.prepared_transaction_offset,
            body: self.body,
            tags_code: record::tags_code(&properties),
            properties,
        }
    }
}

fn check_size(what: &'static str, measured: usize, limit: usize) -> Result<(), Refusal> {
    if measured > limit { Err(Refusal::TooLarge { what, measured, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_folded_as_a_whole_is_stored_unfolded() {
        let plain = Bytes::from(vec![7; 5000]);
        let folded = Bytes::from(compress::deflate(&plain, compress::LEVEL_DEFAULT));
        let other_bit = 0x10;
        let (body, sys_flag) = unfolded(&folded, sysflag::COMPRESSED | other_bit, 5000).expect("it is zlib");
        assert_eq!((body, sys_flag), (plain.clone(), other_bit));
        let (body, sys_flag) = unfolded(&plain, other_bit, 5000).expect("it is not folded");
        assert_eq!((body, sys_flag), (plain, other_bit));
    }

    #[test]
    fn a_folded_batch_is_refused_when_damaged_too_long_or_of_another_kind() {
        let folded = Bytes::from(compress::deflate(&[7; 5000], compress::LEVEL_DEFAULT));
        assert!(unfolded(&folded.slice(..9), sysflag::COMPRESSED, 5000).is_err(), "damaged");
        assert!(unfolded(&folded, sysflag::COMPRESSED, 4999).is_err(), "too long");
        assert!(unfolded(&folded, sysflag::COMPRESSED | 2 << 8, 5000).is_err(), "zstd");
    }
}

//! What strangers' bytes must never do: panic, loop, or mean something else the second time.
//!
//! Each target takes any bytes. The same four functions are driven by libFuzzer (`targets/`, guided by coverage) and by
//! `hammer` (`examples/`; no C++, replayable by seed).
//!
//! Not here: laws over values of our own making; those are property tests beside the code.

mod commands;
mod seeds;

pub use seeds::seeds;

use bytes::Bytes;
use bytes::BytesMut;
use staticfire::protocol::Encoding;
use staticfire::protocol::Frame;
use staticfire::protocol::FrameError;
use staticfire::protocol::Header;
use staticfire::protocol::Properties;
use staticfire::protocol::ReceivedMessage;
use staticfire::protocol::batch;
use staticfire::protocol::body;
use staticfire::protocol::body::Body;
use staticfire::protocol::fastjson;
use staticfire::protocol::frame;
use staticfire::protocol::ids;
use staticfire::protocol::properties_file;
use staticfire::protocol::record;
use staticfire::protocol::subscription::TagFilter;

/// Production's limit.
const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
const UNFOLDED_BYTES_MAX: usize = 1024 * 1024;

/// A target by its name.
pub const TARGETS: &[(&str, fn(&[u8]))] =
    &[("frame", frame), ("header", header), ("record", record), ("body", body)];

/// A connection's bytes: frames are the same however they arrive, and each is read as far as a server would.
pub fn frame(bytes: &[u8]) {
    let at_once = frames(bytes, bytes.len());
    let step = 1 + usize::from(bytes.first().copied().unwrap_or(0) % 17);
    assert_eq!(at_once, frames(bytes, step), "frames depend on how their bytes arrive");
    for frame in &at_once.0 {
        rewrite(&frame.header);
        commands::decode_all(&frame.header);
        payload(&frame.body);
    }
}

/// One header in either encoding; written again it means the same.
pub fn header(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let encoding = if first & 1 == 0 { Encoding::Json } else { Encoding::Binary };
    if let Ok(header) = Header::decode(encoding, BytesMut::from(rest)) {
        rewrite(&header);
        commands::decode_all(&header);
    }
}

/// Bytes of a log or of a pull's answer.
pub fn record(bytes: &[u8]) {
    if let Ok(view) = record::RecordView::decode(bytes) {
        assert_eq!(record::Entry::classify(bytes), Ok(record::Entry::Record { total: view.total }));
        let short_way = record::peek_store_time(bytes);
        assert_eq!(short_way, Ok(view.store_at), "the short way to the store time is the long way");
        let _ = (view.verify_body(), view.is_queued(), view.tags_code());
        Properties::decode(view.properties);
    }
    let body = Bytes::copy_from_slice(bytes);
    let mut total = 0;
    for record in record::split_records(&body).flatten() {
        total += record.len();
        if let Ok(message) = ReceivedMessage::from_record(&record, UNFOLDED_BYTES_MAX) {
            assert_eq!(message.stored_bytes, record.len(), "a record is cut at its own size");
            assert!(
                message.message.body.len() <= UNFOLDED_BYTES_MAX.max(record.len()),
                "a body unfolds too far"
            );
        }
    }
    assert!(total <= bytes.len(), "records overlap");
    payload(&body);
}

/// JSON and the other texts, as each body type in turn.
pub fn body(bytes: &[u8]) {
    payload(&Bytes::copy_from_slice(bytes));
    let Some((kind, text)) = bytes.split_first() else { return };
    macro_rules! one_of {
        ($($number:literal => $type:ty,)*) => {
            match kind % 26 { $($number => survive::<$type>(text),)* _ => {} }
        };
    }
    one_of! {
        0 => body::heartbeat::Heartbeat, 1 => body::queue::LockBatch, 2 => body::queue::LockBatchReply,
        3 => body::route::TopicRoute, 4 => body::route::ClusterInfo, 5 => body::route::TopicList,
        6 => body::route::KvTable, 7 => body::topic::TopicConfigTable, 8 => body::topic::TopicConfigFile,
        9 => body::topic::TopicConfigList, 10 => body::registration::RegisterBrokerBody,
        11 => body::group::SubscriptionGroupTable, 12 => body::group::SubscriptionGroupConfig,
        13 => body::offset::ConsumerOffsetTable, 14 => body::offset::DelayOffsetTable,
        15 => body::offset::ResetOffsetBody, 16 => body::offset::ConsumerStatusBody,
        17 => body::stats::TopicStats, 18 => body::stats::ConsumeStats, 19 => body::stats::ConsumeStatsList,
        20 => body::running::ConsumerRunningInfo, 21 => body::running::ConsumeMessageDirectlyResult,
        22 => body::connection::ConsumerConnection, 23 => body::connection::ProducerTable,
        24 => body::config::KvConfigFile, 25 => body::heartbeat::CheckClient,
    }
}

fn frames(bytes: &[u8], step: usize) -> (Vec<Frame>, Option<FrameError>) {
    let mut buf = BytesMut::new();
    let mut frames = Vec::new();
    for piece in bytes.chunks(step.max(1)) {
        buf.extend_from_slice(piece);
        loop {
            let _ = frame::missing(&buf);
            match frame::cut(&mut buf, FRAME_BYTES_MAX) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

fn rewrite(header: &Header) {
    let _ = (header.request_code(), header.response_code(), header.remark_text());
    for (name, _) in header.ext.iter() {
        assert!(header.ext.field(name).is_some(), "a field that is listed is found");
    }
    let mut wire = BytesMut::new();
    frame::encode(header, 0, &mut wire);
    let again = frame::cut(&mut wire, FRAME_BYTES_MAX * 8);
    match again {
        Ok(Some(again)) => {
            assert_eq!(&again.header, header, "a header means something else when written again")
        }
        // Escapes may make it longer than a header may be.
        Err(FrameError::HeaderTooLong { .. }) => {}
        other => panic!("our own frame is not cut: {other:?}"),
    }
}

/// A frame's body, as everything it could be.
fn payload(bytes: &Bytes) {
    let _ = fastjson::parse(bytes);
    let mut items = 0;
    for item in batch::split(bytes.clone()) {
        items += 1;
        item.map(|item| Properties::decode(&item.properties)).ok();
    }
    assert!(items <= bytes.len() + 1, "a batch ends");
    let _ = body::registration::RegisterBrokerBody::from_request(bytes, 0, true);
    if let Ok(text) = std::str::from_utf8(bytes) {
        properties_file::parse(text);
        TagFilter::parse(text);
        let _ = ids::parse_offset_message_id(text);
        let _ = body::topic::TopicConfig::from_line(text);
    }
    let properties = Properties::decode(bytes);
    let again = Properties::decode(properties.encode().as_bytes());
    assert_eq!(again, properties, "properties mean something else when written again");
}

fn survive<T: Body + PartialEq + std::fmt::Debug>(text: &[u8]) {
    let Ok(value) = T::decode(text) else { return };
    for form in [value.encode(), value.encode_standard()] {
        match T::decode(&form) {
            Ok(again) => assert_eq!(again, value, "{} means something else", String::from_utf8_lossy(&form)),
            Err(error) => panic!("{}: {error}", String::from_utf8_lossy(&form)),
        }
    }
}

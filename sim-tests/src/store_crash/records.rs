//! The records of a crash test, and everything that a reader finds of them.

use std::sync::Arc;

use bytes::Bytes;
use staticfire::base::QueueId;
use staticfire::base::QueueOffset;
use staticfire::base::Timestamp;
use staticfire::base::fnv64_extend;
use staticfire::protocol::record::NewRecord;
use staticfire::protocol::record::RecordView;
use staticfire::protocol::record::tags_code;
use staticfire::store::AppendError;
use staticfire::store::Appended;
use staticfire::store::Config;
use staticfire::store::Flush;
use staticfire::store::ReadLimits;
use staticfire::store::ReadStatus;
use staticfire::store::Store;

pub(crate) const QUEUES: u32 = 6;
/// Up to the body's length, by RocketMQ's layout with addresses of version 4.
const HEAD_BYTES: usize = 84;
const TOPICS: [&str; 3] = ["even", "odd", "third"];
const PROPERTIES: &[u8] = b"TAGS\x01TagA\x02";

/// What the workload knows: of each record, by number, which is its place in the log.
#[derive(Clone, Default)]
pub(crate) struct Model {
    pub(crate) queue_of: Vec<u32>,
    /// Bytes of its body.
    pub(crate) size_of: Vec<usize>,
}

impl Model {
    pub(crate) fn len(&self) -> usize {
        self.queue_of.len()
    }

    pub(crate) fn push(&mut self, queue: u32, bytes: usize) -> NewRecord {
        self.queue_of.push(queue);
        self.size_of.push(bytes);
        new_record(self.len() - 1, queue, bytes)
    }

    /// The first `count` records.
    pub(crate) fn prefix(&self, count: usize) -> Model {
        let mut prefix = self.clone();
        prefix.queue_of.truncate(count);
        prefix.size_of.truncate(count);
        prefix
    }
}

/// Everything that readers find in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) records: usize,
    /// Of the head of every record, in the order of the queues. Bodies are compared with the model.
    pub(crate) hash: u64,
}

pub(crate) fn config(flush: Flush) -> Config {
    let mut config = Config::small("store");
    config.segment_bytes = 16 * 1024;
    config.queue_file_units = 40;
    config.checkpoint_bytes = 24 * 1024;
    config.checkpoint_interval_ms = 50;
    config.window_bytes = 64 * 1024;
    config.journal_bytes = 600;
    config.settle_interval_ms = 70;
    config.hot_bytes = 8 * 1024;
    config.open_files = 3;
    config.flush = flush;
    config
}

pub(crate) fn topic_of(queue: u32) -> &'static str {
    TOPICS[queue as usize % TOPICS.len()]
}

fn body_of(number: usize, bytes: usize) -> Vec<u8> {
    let mut body = (number as u64).to_be_bytes().to_vec();
    body.resize(bytes.max(8), number as u8);
    body
}

pub(crate) fn new_record(number: usize, queue: u32, bytes: usize) -> NewRecord {
    record(topic_of(queue), queue, Bytes::from(body_of(number, bytes)), Bytes::from_static(PROPERTIES))
}

/// A plain message.
pub(crate) fn record(topic: &str, queue: u32, body: Bytes, properties: Bytes) -> NewRecord {
    NewRecord {
        topic: Arc::from(topic),
        queue: QueueId(queue),
        flag: 0,
        sys_flag: 0,
        born_at: Timestamp(0),
        born_host: std::net::SocketAddr::from(([10, 0, 0, 1], 5_000)),
        store_host: std::net::SocketAddr::from(([10, 0, 0, 2], 10_911)),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        tags_code: tags_code(&properties),
        properties,
    }
}

pub(crate) async fn append(store: &Store, unit: &[NewRecord]) -> Result<Vec<Appended>, AppendError> {
    let mut out = Vec::new();
    loop {
        match store.append(unit, &mut out) {
            Ok(()) => return Ok(out),
            Err(AppendError::NotReady) => store.writable().await,
            Err(error) => return Err(error),
        }
    }
}

/// How many records readers may see.
pub(crate) fn visible(store: &Store) -> usize {
    let bounds = (0..QUEUES).filter_map(|queue| store.bounds(topic_of(queue), QueueId(queue)));
    bounds.map(|bounds| bounds.max.0 as usize).sum()
}

/// Reads everything. Panics, naming the promise and the moment, unless it is a prefix of `model`, whole, in place.
pub(crate) async fn contents(store: &Store, model: &Model, moment: &str) -> Contents {
    let mut found = vec![false; model.len()];
    let mut hash = 0;
    let mut limits = ReadLimits::pull(32);
    (limits.messages, limits.scan, limits.bytes) = (1_000, 1_000, usize::MAX);
    for queue in 0..QUEUES {
        let Some(bounds) = store.bounds(topic_of(queue), QueueId(queue)) else { continue };
        let mut expected = (0..model.len()).filter(|number| model.queue_of[*number] == queue);
        let mut next = QueueOffset(0);
        while next < bounds.max {
            let read = store.read(topic_of(queue), QueueId(queue), next, &limits, &|_| true).await;
            let read =
                read.unwrap_or_else(|error| panic!("O3: a healthy disk is readable, {moment}: {error}"));
            let status = read.status;
            assert_eq!(status, ReadStatus::Found, "O3: queue {queue} at {next} of {}, {moment}", bounds.max);
            for (nth, record) in (0..).zip(&read.records) {
                let at = next.0 + nth;
                let Some(number) = expected.next() else {
                    panic!("O2, O21: record {at} of queue {queue} came from nowhere, {moment}");
                };
                verify(record, number, model, at).unwrap_or_else(|what| {
                    panic!("O3, O4: record {at} of queue {queue} should be number {number}: {what}, {moment}")
                });
                found[number] = true;
                // The head: position, times, and the body's CRC.
                hash = fnv64_extend(hash, record.get(..HEAD_BYTES).unwrap_or(record));
            }
            next = read.next;
        }
    }
    let records = found.iter().take_while(|found| **found).count();
    let hole = found.iter().skip(records).position(|found| *found);
    assert!(hole.is_none(), "O1: record {records} is lost, and a later one is there, {moment}");
    Contents { records, hash }
}

fn verify(record: &Bytes, number: usize, model: &Model, at: u64) -> Result<(), String> {
    let view = RecordView::decode(record).map_err(|error| error.to_string())?;
    view.verify_body().map_err(|error| error.to_string())?;
    let queue = model.queue_of[number];
    if view.body != body_of(number, model.size_of[number]) {
        let is = view.body.first_chunk::<8>().map(|number| u64::from_be_bytes(*number));
        return Err(format!("its body of {} bytes says that it is number {is:?}", view.body.len()));
    }
    if (view.topic, view.queue, view.queue_offset.0) != (topic_of(queue), QueueId(queue), at) {
        return Err(format!("it says {}/{:?} at {:?}", view.topic, view.queue, view.queue_offset));
    }
    if view.properties != PROPERTIES {
        return Err("its properties are others".to_owned());
    }
    Ok(())
}

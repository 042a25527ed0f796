//! What the store answers.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::PhysicalOffset;
use crate::base::QueueId;
use crate::base::QueueOffset;
use crate::base::Timestamp;

/// Where one record of a unit went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub physical: PhysicalOffset,
    /// Bytes of the stored record. It is durable once [`super::Store::durable`] reaches [`Appended::end`].
    pub bytes: u32,
    /// 0 for records that get no place in a queue.
    pub queue_offset: QueueOffset,
    pub store_at: Timestamp,
}

impl Appended {
    /// The position behind the record.
    pub fn end(&self) -> PhysicalOffset {
        self.physical.plus(u64::from(self.bytes))
    }
}

/// A message that became visible to readers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    pub topic: Arc<str>,
    pub queue: QueueId,
    /// The queue's new maximum: one behind the message.
    pub max: QueueOffset,
    /// `None` when several messages were folded into one entry because nobody took them for long.
    pub tags_code: Option<i64>,
    pub store_at: Timestamp,
}

/// A queue's visible messages are `min..max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub min: QueueOffset,
    pub max: QueueOffset,
}

/// How much one read returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    pub messages: usize,
    /// Bytes of records; the first one is always returned.
    pub bytes: usize,
    /// Queue units looked at, matching or not.
    pub scan: usize,
}

impl ReadLimits {
    /// A pull of `messages`, bounded as RocketMQ bounds it (`maxTransferBytesOnMessageInMemory`, and 16,000 bytes of
    /// queue or one pass over what was asked for).
    pub fn pull(messages: usize) -> ReadLimits {
        let messages = messages.clamp(1, crate::base::limits::PULL_MESSAGES_MAX);
        ReadLimits { messages, bytes: crate::base::limits::PULL_BYTES_MAX, scan: messages.max(800) }
    }
}

/// `GetMessageStatus` of RocketMQ, as far as this store answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadStatus {
    Found,
    /// Messages were passed over, none matched: ask again from `next` at once.
    NoMatch,
    /// The record at the offset asked for is damaged or gone; `next` is behind it (MESSAGE_WAS_REMOVING).
    Damaged,
    /// Nothing has ever been stored in this queue, or there is no such queue.
    NoMessageInQueue,
    OffsetTooSmall,
    /// The offset is the maximum: the ordinary case of a consumer that is up to date.
    OffsetOverflowOne,
    OffsetOverflowBadly,
}

/// The answer to a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    pub status: ReadStatus,
    /// Where to go on.
    pub next: QueueOffset,
    pub min: QueueOffset,
    pub max: QueueOffset,
    /// Whole stored records, in queue order: what the answer's body is made of, without copying.
    pub records: Vec<Bytes>,
}

/// Which message an instant stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// The first message stored at or after it; the maximum if all are older.
    Lower,
    /// The last message stored at or before it; the minimum if all are newer.
    Upper,
}

/// What was found when the store was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// False when the last process did not shut the store down.
    pub clean: bool,
    /// Replay started here.
    pub from: PhysicalOffset,
    /// The log ends here.
    pub end: PhysicalOffset,
    pub records: u64,
    pub read_bytes: u64,
    /// Bytes behind the end that were written once and have been cleared, and why the first of them is no record.
    pub torn_bytes: u64,
    pub torn: Option<String>,
    /// The queues were rebuilt from the whole log, for this reason.
    pub rebuilt: Option<&'static str>,
    pub queues: usize,
}

/// What retention or a deletion removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub segments: u64,
    pub queue_files: u64,
    pub index_files: u64,
    /// Of segments and queue files.
    pub bytes: u64,
}

/// Numbers for the broker's runtime information.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub min: PhysicalOffset,
    pub max: PhysicalOffset,
    pub durable: PhysicalOffset,
    pub checkpoint: PhysicalOffset,
    /// Units of everything below are in queue files.
    pub settled: PhysicalOffset,
    pub segments: u64,
    pub segment_bytes: u64,
    pub queues: usize,
    /// Queue units in memory.
    pub tail_units: usize,
    /// Since the store was opened.
    pub appended_messages: u64,
    pub appended_bytes: u64,
    pub syncs: u64,
    pub last_sync_us: u64,
    pub checkpoints: u64,
    pub damaged_reads: u64,
    /// The text of the error that latched the store, or that names the full disk.
    pub trouble: Option<String>,
    pub earliest: Option<Timestamp>,
}

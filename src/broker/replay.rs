//! The transaction machine's state after a restart, read from the half and op topics and from what was committed last.

use std::collections::BTreeSet;

use crate::base::PhysicalOffset;
use crate::base::QueueId;
use crate::base::QueueOffset;
use crate::broker::core::Core;
use crate::broker::properties;
use crate::machine::transaction;
use crate::machine::transaction::HalfRecord;
use crate::machine::transaction::History;
use crate::machine::transaction::Op;
use crate::protocol::properties::name;
use crate::protocol::record::RecordView;
use crate::protocol::sysflag;
use crate::store;
use crate::store::ReadLimits;
use crate::store::ReadStatus;

/// Messages at the end of a real queue that are looked at for commits without an op record. Between such a message and
/// its op record lie only what other connections append within one turn of the transaction driver.
const COMMITTED_TAIL: u64 = 4096;

/// The half and op queues from where they are still needed.
pub(crate) async fn history(core: &Core) -> Result<History, store::ReadError> {
    let committed = |topic| {
        let group = transaction::TRANSACTION_GROUP;
        core.offsets.lock().query(group, topic, QueueId(0)).unwrap_or_default()
    };
    let mut history = History {
        half_start: committed(transaction::HALF_TOPIC),
        op_start: committed(transaction::OP_TOPIC),
        ..History::default()
    };
    let (halves, ops) = (&mut history.halves, &mut history.ops);
    let mut queues = BTreeSet::new();
    let half_queue = (transaction::HALF_TOPIC, QueueId(0));
    history.half_end = each(core, half_queue, history.half_start, |view, text| {
        let property = |name: &str| properties::property(text, name);
        halves.push(HalfRecord::read(view.queue_offset, view.physical, view.store_at, property));
        let real = transaction::real_form(property(name::REAL_TOPIC), property(name::REAL_QUEUE_ID));
        queues.extend(real.ok().map(|real| (real.topic, real.queue)));
    })
    .await?;
    history.op_end = each(core, (transaction::OP_TOPIC, QueueId(0)), history.op_start, |view, text| {
        let tag = properties::property(text, name::TAGS).unwrap_or_default();
        if let Some(op) = Op::parse(tag, view.body) {
            ops.push((view.queue_offset, op));
        }
    })
    .await?;
    for (topic, queue) in queues {
        history.committed.extend(committed_tail(core, &topic, queue).await?);
    }
    tracing::debug!(
        halves = history.halves.len(),
        ops = history.ops.len(),
        "replayed the transaction topics"
    );
    Ok(history)
}

/// Where the halves lie of the messages committed last to a queue.
async fn committed_tail(
    core: &Core,
    topic: &str,
    queue: QueueId,
) -> Result<Vec<PhysicalOffset>, store::ReadError> {
    let Some(bounds) = core.store.bounds(topic, queue) else { return Ok(Vec::new()) };
    let from = QueueOffset(bounds.max.0.saturating_sub(COMMITTED_TAIL).max(bounds.min.0));
    let mut committed = Vec::new();
    each(core, (topic, queue), from, |view, _| {
        if sysflag::transaction(view.sys_flag) == sysflag::TRANSACTION_COMMIT {
            committed.extend(u64::try_from(view.prepared_transaction_offset).ok().map(PhysicalOffset));
        }
    })
    .await?;
    Ok(committed)
}

/// Reads a queue from `from` to its end; returns the end.
async fn each(
    core: &Core,
    (topic, queue): (&str, QueueId),
    from: QueueOffset,
    mut take: impl FnMut(&RecordView<'_>, &str),
) -> Result<QueueOffset, store::ReadError> {
    let limits = ReadLimits { messages: 1024, bytes: 4 * 1024 * 1024, scan: 1024 };
    let mut next = from;
    loop {
        let read = core.store.read(topic, queue, next, &limits, &|_| true).await?;
        for record in &read.records {
            let Ok(view) = RecordView::decode(record) else { continue };
            if let Ok(text) = std::str::from_utf8(view.properties) {
                take(&view, text);
            }
        }
        let done = match read.status {
            ReadStatus::Found | ReadStatus::NoMatch | ReadStatus::Damaged | ReadStatus::OffsetTooSmall => {
                read.next <= next
            }
            ReadStatus::NoMessageInQueue
            | ReadStatus::OffsetOverflowOne
            | ReadStatus::OffsetOverflowBadly => true,
        };
        if done {
            return Ok(next);
        }
        next = read.next;
    }
}

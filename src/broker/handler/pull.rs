//! PULL_MESSAGE (11), LITE_PULL_MESSAGE (361), and the second try of a pull that was parked.
//!
//! Order of checks and answers as RocketMQ's `PullMessageProcessor`; PROTOCOL: all four offsets are in every answer.
//! A pull that finds nothing and may wait is parked in the [`Hold`](crate::machine::hold::Hold) machine; what wakes it
//! is the turn that made a message readable.

use std::sync::Arc;

use crate::base::Mono;
use crate::base::QueueId;
use crate::base::QueueOffset;
use crate::broker::answer::Answer;
use crate::broker::answer::Body;
use crate::broker::answer::ReplyTo;
use crate::broker::answer::Response;
use crate::broker::core::Core;
use crate::broker::planted;
use crate::broker::refusal::Refusal;
use crate::broker::session::Request;
use crate::machine::hold::NotParked;
use crate::machine::hold::Pull;
use crate::machine::ids;
use crate::machine::topic::Permission;
use crate::protocol::code::ResponseCode;
use crate::protocol::command::pull;
use crate::protocol::command::pull::pull_flag;
use crate::protocol::header::Header;
use crate::protocol::subscription::TagFilter;
use crate::remoting::Connection;
use crate::remoting::Replies;
use crate::store::Read;
use crate::store::ReadLimits;
use crate::store::ReadStatus;

/// Longest a client may ask to be parked, in milliseconds: RocketMQ's clients give up after 30 s.
const SUSPEND_MS_MAX: u64 = 30_000;

/// A pull as far as it is needed to run it, once or again.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) group: String,
    pub(crate) topic: String,
    pub(crate) queue: QueueId,
    pub(crate) from: QueueOffset,
    pub(crate) limits: ReadLimits,
    pub(crate) filter: TagFilter,
    /// Until when it may be parked; absent when it may not.
    pub(crate) deadline: Option<Mono>,
}

/// What a parked pull needs to be answered.
pub(crate) struct Parked {
    pub(crate) wanted: Wanted,
    pub(crate) to: ReplyTo,
    pub(crate) connection: Arc<Connection>,
}

pub(crate) fn pull(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let header = pull::Pull::decode(&request.frame.header)?;
    let wanted = check(core, &header)?;
    if header.has(pull_flag::COMMIT_OFFSET) && header.commit_offset >= 0 {
        core.commit_offset(&wanted.group, &wanted.topic, wanted.queue, header.commit_offset);
    }
    if let Some(moved) = moved(core, &wanted) {
        return Ok(Answer::Now(moved));
    }
    let filter = |code: i64| wanted.filter.matches_code(code);
    let read = core.store.try_read(&wanted.topic, wanted.queue, wanted.from, &wanted.limits, &filter);
    match read {
        Some(read) => Ok(finish(core, wanted, read, &request.frame.header, &request.connection)),
        None => {
            // Older than memory: read the disk, and do not park; the client asks again.
            let core = Arc::clone(core);
            Ok(Answer::Later(Box::pin(async move {
                let filter = |code: i64| wanted.filter.matches_code(code);
                let read = core
                    .store
                    .read(&wanted.topic, wanted.queue, wanted.from, &wanted.limits, &filter)
                    .await?;
                Ok(respond(&core, &wanted, read))
            })))
        }
    }
}

/// Runs a parked pull again, without parking it again, and answers it.
pub(crate) fn answer_parked(core: &Arc<Core>, parked: Parked) {
    let Parked { wanted, to, connection } = parked;
    let filter = |code: i64| wanted.filter.matches_code(code);
    match core.store.try_read(&wanted.topic, wanted.queue, wanted.from, &wanted.limits, &filter) {
        Some(read) => {
            let mut replies = Replies::default();
            to.answer(respond(core, &wanted, read), &mut replies);
            connection.send(&mut replies);
        }
        None => {
            let core = Arc::clone(core);
            let env = core.env.clone();
            env.spawn("cold pull", async move {
                let filter = |code: i64| wanted.filter.matches_code(code);
                let read =
                    core.store.read(&wanted.topic, wanted.queue, wanted.from, &wanted.limits, &filter).await;
                let response = match read {
                    Ok(read) => respond(&core, &wanted, read),
                    Err(error) => Response::from(Refusal::from(error)),
                };
                let mut replies = Replies::default();
                to.answer(response, &mut replies);
                connection.send(&mut replies);
            })
            .detach();
        }
    }
}

/// Parks the pull if it found nothing and may wait; otherwise says what it found.
fn finish(
    core: &Arc<Core>,
    wanted: Wanted,
    read: Read,
    header: &Header,
    connection: &Arc<Connection>,
) -> Answer {
    let waits = matches!(read.status, ReadStatus::OffsetOverflowOne | ReadStatus::NoMessageInQueue)
        && read.max == wanted.from;
    let Some(deadline) = wanted.deadline.filter(|_| waits) else {
        return Answer::Now(respond(core, &wanted, read));
    };
    let pull = Pull {
        topic: wanted.topic.clone(),
        queue: wanted.queue,
        from: wanted.from,
        filter: wanted.filter.clone(),
        connection: ids::ConnectionId(connection.id().0),
        deadline,
    };
    let parked = Parked { wanted, to: ReplyTo::request(header), connection: Arc::clone(connection) };
    let mut holds = core.holds.lock();
    let first = holds.next_deadline().is_none_or(|earliest| deadline < earliest);
    let outcome = holds.park(pull, read.max, parked);
    drop(holds);
    match outcome {
        Ok(_) => {
            if first {
                core.wake.hold.notify_one();
            }
            Answer::Held
        }
        // The read and the parking are one turn: nothing can have arrived between them.
        Err(NotParked::Arrived(parked) | NotParked::Full(parked)) => {
            Answer::Now(respond(core, &parked.wanted, read))
        }
    }
}

fn check(core: &Arc<Core>, header: &pull::Pull) -> Result<Wanted, Refusal> {
    if !Permission(core.config.broker_permission).can_read() {
        return Err(core.forbidden("pulling"));
    }
    let group = core.group_for_consume(&header.consumer_group)?;
    if !group.consume_enable {
        return Err(core.forbidden(&format!("consumption of group[{}]", group.name)));
    }
    let topic = core.topic_for_read(&header.topic)?;
    let queue =
        u32::try_from(header.queue_id).ok().filter(|queue| *queue < topic.read_queues).ok_or_else(|| {
            Refusal::PullQueue {
                queue: header.queue_id,
                topic: header.topic.to_string(),
                queues: topic.read_queues,
            }
        })?;
    let filter = filter(core, header)?;
    let suspend = header.has(pull_flag::SUSPEND) && core.config.long_polling;
    let suspend_ms = u64::try_from(header.suspend_timeout_ms).unwrap_or(0).min(SUSPEND_MS_MAX);
    let mut limits = ReadLimits::pull(usize::try_from(header.max_msg_nums).unwrap_or(0));
    if let Some(bytes @ 1..) = header.max_msg_bytes.and_then(|bytes| usize::try_from(bytes).ok()) {
        limits.bytes = limits.bytes.min(bytes);
    }
    Ok(Wanted {
        group: header.consumer_group.to_string(),
        topic: header.topic.to_string(),
        queue: QueueId(queue),
        from: QueueOffset(u64::try_from(header.queue_offset).unwrap_or(0)),
        limits,
        filter,
        deadline: (suspend && suspend_ms > 0).then(|| core.env.now().plus_ms(suspend_ms)),
    })
}

fn filter(core: &Core, header: &pull::Pull) -> Result<TagFilter, Refusal> {
    if header.has(pull_flag::SUBSCRIPTION) {
        let kind = header.expression_type.as_deref().unwrap_or("TAG");
        if !kind.is_empty() && kind != "TAG" {
            return Err(Refusal::FilterUnsupported { kind: kind.to_owned() });
        }
        return Ok(TagFilter::parse(header.subscription.as_deref().unwrap_or("*")));
    }
    core.subscription_filter(&header.consumer_group, &header.topic, header.sub_version)
}

fn respond(core: &Core, wanted: &Wanted, read: Read) -> Response {
    let code = match read.status {
        ReadStatus::Found => ResponseCode::Success,
        ReadStatus::NoMatch | ReadStatus::Damaged => ResponseCode::PullRetryImmediately,
        ReadStatus::NoMessageInQueue if wanted.from == QueueOffset(0) => ResponseCode::PullNotFound,
        ReadStatus::NoMessageInQueue | ReadStatus::OffsetOverflowBadly | ReadStatus::OffsetTooSmall => {
            ResponseCode::PullOffsetMoved
        }
        ReadStatus::OffsetOverflowOne => ResponseCode::PullNotFound,
    };
    let mut response = Response::code(code);
    if code == ResponseCode::PullOffsetMoved {
        response = response.with_remark(say_moved(wanted, &read));
    }
    let to_the_end =
        read.status == ReadStatus::OffsetTooSmall && core.env.planted(planted::OVERTAKEN_GOES_TO_THE_END);
    push_positions(&mut response, if to_the_end { read.max } else { read.next }, read.min, read.max);
    core.counters.on_pulled(read.records.len(), read.records.iter().map(bytes::Bytes::len).sum());
    if !read.records.is_empty() {
        response.body = Body::Slices(read.records);
    }
    response
}

/// Why the pull goes on elsewhere, after RocketMQ's name of it; who was overtaken by retention is told to the log as well.
fn say_moved(wanted: &Wanted, read: &Read) -> String {
    let Wanted { group, topic, queue, from, .. } = wanted;
    let Read { next, min, max, .. } = read;
    match read.status {
        ReadStatus::OffsetTooSmall => {
            let gone = min.0.saturating_sub(from.0);
            tracing::warn!(
                group,
                topic,
                queue = queue.0,
                from = from.0,
                gone,
                next = next.0,
                "a consumer was overtaken by retention: what it asked for is no longer kept, it goes on at the oldest message"
            );
            format!(
                "OFFSET_TOO_SMALL: {gone} messages from offset {from} on are no longer kept, the oldest is at {min}"
            )
        }
        ReadStatus::OffsetOverflowBadly => {
            tracing::info!(
                group,
                topic,
                queue = queue.0,
                from = from.0,
                max = max.0,
                "a pull beyond the end"
            );
            format!("OFFSET_OVERFLOW_BADLY: offset {from} is behind the end of the queue, which is {max}")
        }
        _ => {
            tracing::info!(
                group,
                topic,
                queue = queue.0,
                from = from.0,
                "a pull in a queue without messages"
            );
            format!("NO_MESSAGE_IN_QUEUE: offset {from} of a queue that never had a message")
        }
    }
}

/// A reset waits to be taken: the pull is told to start over from there.
fn moved(core: &Core, wanted: &Wanted) -> Option<Response> {
    let to = core.offsets.lock().on_pull(&wanted.group, &wanted.topic, wanted.queue, wanted.from)?;
    let bounds = core.store.bounds(&wanted.topic, wanted.queue);
    let (min, max) = bounds.map_or((to, to), |bounds| (bounds.min, bounds.max));
    let mut response = Response::code(ResponseCode::PullOffsetMoved);
    push_positions(&mut response, to, min, max);
    Some(response)
}

fn push_positions(response: &mut Response, next: QueueOffset, min: QueueOffset, max: QueueOffset) {
    response.ext.push("suggestWhichBrokerId", "0");
    for (name, offset) in [("nextBeginOffset", next), ("minOffset", min), ("maxOffset", max)] {
        response.ext.push_i64(name, i64::try_from(offset.0).unwrap_or(i64::MAX));
    }
}

//! How far groups have come: GET_CONSUME_STATS (208), QUERY_TOPIC_CONSUME_BY_WHO (300), QUERY_TOPICS_BY_CONSUMER (343),
//! QUERY_SUBSCRIPTION_BY_CONSUMER (345), INVOKE_BROKER_TO_RESET_OFFSET (222).

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::QueueId;
use crate::base::QueueOffset;
use crate::base::Timestamp;
use crate::broker::answer::Answer;
use crate::broker::answer::Response;
use crate::broker::core::Core;
use crate::broker::handler::admin::connection::subscription_body;
use crate::broker::refusal::Refusal;
use crate::broker::session::Request;
use crate::protocol::body::Body;
use crate::protocol::body::MessageQueue;
use crate::protocol::body::group::GroupList;
use crate::protocol::body::group::QuerySubscriptionReply;
use crate::protocol::body::offset::ResetOffsetBody;
use crate::protocol::body::route::TopicList;
use crate::protocol::body::stats::ConsumeStats;
use crate::protocol::body::stats::OffsetWrapper;
use crate::protocol::command::group::GetConsumeStats;
use crate::protocol::command::group::OfGroup;
use crate::protocol::command::group::OfGroupAndTopic;
use crate::protocol::command::offset::ResetOffset;
use crate::protocol::command::topic::OfTopic;
use crate::store::Boundary;

pub(crate) fn stats(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = GetConsumeStats::decode(&request.frame.header)?;
    let wanted: Vec<String> = match (&asked.topic, &asked.topic_list) {
        (Some(topic), _) if !topic.is_empty() => vec![topic.clone()],
        (_, Some(list)) if !list.is_empty() => list.split(';').map(str::to_owned).collect(),
        _ => topics_of(core, &asked.consumer_group).into_iter().collect(),
    };
    let core = Arc::clone(core);
    Ok(Answer::Later(Box::pin(async move {
        let mut offset_table = BTreeMap::new();
        for topic in wanted {
            let Some(queues) = core.topics.lock().topic(&topic).map(|topic| topic.read_queues) else {
                continue;
            };
            for id in 0..queues {
                let progress = progress(&core, &asked.consumer_group, &topic, QueueId(id)).await?;
                offset_table.insert(message_queue(&core, &topic, id), progress);
            }
        }
        Ok(Response::with_body(ConsumeStats { offset_table, ..ConsumeStats::default() }.encode()))
    })))
}

/// Groups with members that subscribe to a topic, and groups that committed on it.
pub(crate) fn who(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = OfTopic::decode(&request.frame.header)?;
    let mut group_list: BTreeSet<String> =
        core.members.lock().groups_of_topic(&asked.topic).into_iter().collect();
    group_list.extend(core.offsets.lock().groups_of(&asked.topic));
    Ok(Answer::Now(Response::with_body(GroupList { group_list }.encode())))
}

pub(crate) fn topics(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = OfGroup::decode(&request.frame.header)?;
    let list = TopicList { topic_list: topics_of(core, &asked.group), ..TopicList::default() };
    Ok(Answer::Now(Response::with_body(list.encode())))
}

pub(crate) fn subscription(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = OfGroupAndTopic::decode(&request.frame.header)?;
    let subscription = core.members.lock().subscription(&asked.group, &asked.topic).map(subscription_body);
    let reply =
        QuerySubscriptionReply { group: asked.group, subscription_data: subscription, topic: asked.topic };
    Ok(Answer::Now(Response::with_body(reply.encode())))
}

/// Moves a group to a point in time, or one queue to an offset. Live members learn of it with their next pull; commits
/// of theirs that were on the way do not undo it.
pub(crate) fn reset_offset(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = ResetOffset::decode(&request.frame.header)?;
    let queues = core.topics.lock().topic(&asked.topic).map(|topic| topic.read_queues);
    let queues = queues.ok_or_else(|| Refusal::TopicMissing { topic: asked.topic.clone() })?;
    let core = Arc::clone(core);
    Ok(Answer::Later(Box::pin(async move {
        let chosen = u32::try_from(asked.queue_id).ok();
        let mut offset_table = BTreeMap::new();
        for id in (0..queues).filter(|id| chosen.is_none_or(|chosen| chosen == *id)) {
            let queue = QueueId(id);
            let to = target(&core, &asked, queue).await?;
            let committed = core.offsets.lock().query(&asked.group, &asked.topic, queue);
            let moves =
                asked.is_force || asked.offset.is_some() || committed.is_none_or(|committed| to < committed);
            let to = if moves { to } else { committed.unwrap_or(to) };
            if moves {
                let online = core.members.lock().consumer_group(&asked.group).is_some();
                let mut offsets = core.offsets.lock();
                if online {
                    offsets.reset(&asked.group, &asked.topic, queue, to);
                } else {
                    offsets.rewind(&asked.group, &asked.topic, queue, to);
                }
            }
            offset_table.insert(message_queue(&core, &asked.topic, id), signed(to));
        }
        tracing::info!(group = asked.group, topic = asked.topic, ?offset_table, "reset offsets");
        Ok(Response::with_body(ResetOffsetBody { offset_table }.encode()))
    })))
}

async fn target(core: &Core, asked: &ResetOffset, queue: QueueId) -> Result<QueueOffset, Refusal> {
    let bounds = core.store.bounds(&asked.topic, queue);
    let (min, max) = bounds.map_or((QueueOffset(0), QueueOffset(0)), |bounds| (bounds.min, bounds.max));
    match asked.offset {
        Some(offset) if asked.queue_id >= 0 => {
            let to = QueueOffset(u64::try_from(offset).unwrap_or(0));
            if to < min || max < to {
                return Err(Refusal::Parameter(format!(
                    "offset {to} is not within {min}..={max} of queue {queue}"
                )));
            }
            Ok(to)
        }
        _ if asked.timestamp == Timestamp(-1) => Ok(max),
        _ => Ok(core.store.offset_by_time(&asked.topic, queue, asked.timestamp, Boundary::Lower).await?),
    }
}

async fn progress(core: &Core, group: &str, topic: &str, queue: QueueId) -> Result<OffsetWrapper, Refusal> {
    let max = core.store.bounds(topic, queue).map_or(QueueOffset(0), |bounds| bounds.max);
    let consumed = core.offsets.lock().query(group, topic, queue).unwrap_or_default();
    let last = match consumed.0.checked_sub(1) {
        Some(last) => core.store.store_time_of(topic, queue, QueueOffset(last)).await?,
        None => None,
    };
    Ok(OffsetWrapper {
        broker_offset: signed(max),
        consumer_offset: signed(consumed),
        last_timestamp: last.unwrap_or(Timestamp(0)),
        pull_offset: signed(consumed),
    })
}

fn topics_of(core: &Core, group: &str) -> BTreeSet<String> {
    let mut topics: BTreeSet<String> = core.offsets.lock().topics_of(group).into_iter().collect();
    if let Some(group) = core.members.lock().consumer_group(group) {
        topics.extend(group.subscriptions().map(|subscription| subscription.topic.clone()));
    }
    topics
}

fn message_queue(core: &Core, topic: &str, id: u32) -> MessageQueue {
    MessageQueue::new(topic, core.config.broker_name.clone(), i32::try_from(id).unwrap_or(i32::MAX))
}

fn signed(offset: QueueOffset) -> i64 {
    i64::try_from(offset.0).unwrap_or(i64::MAX)
}

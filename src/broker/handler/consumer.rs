//! GET_CONSUMER_LIST_BY_GROUP (38), QUERY_CONSUMER_OFFSET (14), UPDATE_CONSUMER_OFFSET (15).

use std::sync::Arc;

use crate::base::QueueOffset;
use crate::broker::answer::Answer;
use crate::broker::answer::Response;
use crate::broker::core::Core;
use crate::broker::handler::offset;
use crate::broker::refusal::Refusal;
use crate::broker::session::Request;
use crate::machine::offset::Commit;
use crate::protocol::body::Body;
use crate::protocol::body::connection::ConsumerIdList;
use crate::protocol::command::client::OfConsumerGroup;
use crate::protocol::command::offset::QueryConsumerOffset;
use crate::protocol::command::offset::UpdateConsumerOffset;

pub(crate) fn list(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = OfConsumerGroup::decode(&request.frame.header)?;
    let ids = core.members.lock().consumer_ids(&asked.consumer_group);
    if ids.is_empty() {
        return Err(Refusal::NoConsumer { group: asked.consumer_group });
    }
    let ids: Vec<String> = ids.into_iter().map(|id| id.0).collect();
    Ok(Answer::Now(Response::with_body(ConsumerIdList { consumer_id_list: ids }.encode())))
}

/// A group that never committed starts at 0 while message 0 is still there: clients that were told "not found" would
/// skip what was stored between this answer and their next question.
pub(crate) fn query_offset(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = QueryConsumerOffset::decode(&request.frame.header)?;
    let queue = offset::queue(asked.queue_id)?;
    let committed = core.offsets.lock().query(&asked.consumer_group, &asked.topic, queue);
    if let Some(committed) = committed {
        return Ok(Answer::Now(offset::offset(committed)));
    }
    let min = core.store.bounds(&asked.topic, queue).map_or(QueueOffset(0), |bounds| bounds.min);
    if asked.set_zero_if_not_found == Some(false) || min > QueueOffset(0) {
        let group = &asked.consumer_group;
        return Err(Refusal::NotFound(format!(
            "Not found, {group} has no committed offset: maybe this is its first boot"
        )));
    }
    Ok(Answer::Now(offset::offset(QueueOffset(0))))
}

pub(crate) fn update_offset(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = UpdateConsumerOffset::decode(&request.frame.header)?;
    let queue = offset::queue(asked.queue_id)?;
    let group = asked.consumer_group.as_str();
    core.group_for_consume(group)?;
    if core.topics.lock().topic(&asked.topic).is_none() {
        return Err(Refusal::TopicMissing { topic: asked.topic });
    }
    let commit = core.commit_offset(group, &asked.topic, queue, asked.commit_offset);
    if let Some(Commit::Behind { .. }) = commit
        && core.members.lock().consumer_group(group).is_none()
    {
        // Nobody consumes: an operator's tool rewinds the group, and says so in this old way.
        let to = QueueOffset(u64::try_from(asked.commit_offset).unwrap_or(0));
        tracing::info!(
            group,
            topic = asked.topic,
            queue = queue.0,
            offset = to.0,
            "rewound an offline group"
        );
        core.offsets.lock().rewind(group, &asked.topic, queue, to);
    }
    Ok(Answer::Now(Response::ok()))
}

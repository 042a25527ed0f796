//! Where a queue begins and ends: SEARCH_OFFSET_BY_TIMESTAMP (29), GET_MAX_OFFSET (30), GET_MIN_OFFSET (31),
//! GET_EARLIEST_MSG_STORETIME (32).

use std::sync::Arc;

use crate::base::QueueId;
use crate::base::QueueOffset;
use crate::broker::answer::Answer;
use crate::broker::answer::Response;
use crate::broker::core::Core;
use crate::broker::refusal::Refusal;
use crate::broker::session::Request;
use crate::protocol::command::offset::GetMaxOffset;
use crate::protocol::command::offset::OfQueue;
use crate::protocol::command::offset::SearchOffset;
use crate::store::Boundary;

pub(crate) fn search(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = SearchOffset::decode(&request.frame.header)?;
    let queue = queue(asked.queue_id)?;
    let upper = asked.boundary_type.as_deref().is_some_and(|boundary| boundary.eq_ignore_ascii_case("UPPER"));
    let boundary = if upper { Boundary::Upper } else { Boundary::Lower };
    let core = Arc::clone(core);
    Ok(Answer::Later(Box::pin(async move {
        let found = core.store.offset_by_time(&asked.topic, queue, asked.timestamp, boundary).await?;
        Ok(offset(found))
    })))
}

pub(crate) fn max(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = GetMaxOffset::decode(&request.frame.header)?;
    let bounds = core.store.bounds(&asked.topic, queue(asked.queue_id)?);
    Ok(Answer::Now(offset(bounds.map_or(QueueOffset(0), |bounds| bounds.max))))
}

pub(crate) fn min(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = OfQueue::decode(&request.frame.header)?;
    let bounds = core.store.bounds(&asked.topic, queue(asked.queue_id)?);
    Ok(Answer::Now(offset(bounds.map_or(QueueOffset(0), |bounds| bounds.min))))
}

/// Answers -1 for a queue without messages, as RocketMQ does.
pub(crate) fn earliest_store_time(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = OfQueue::decode(&request.frame.header)?;
    let queue = queue(asked.queue_id)?;
    let core = Arc::clone(core);
    Ok(Answer::Later(Box::pin(async move {
        let stored_at = match core.store.bounds(&asked.topic, queue) {
            Some(bounds) => core.store.store_time_of(&asked.topic, queue, bounds.min).await?,
            None => None,
        };
        let mut response = Response::ok();
        response.ext.push_i64("timestamp", stored_at.map_or(-1, |time| time.0));
        Ok(response)
    })))
}

pub(crate) fn queue(id: i32) -> Result<QueueId, Refusal> {
    u32::try_from(id).map(QueueId).map_err(|_| Refusal::Missing(format!("queueId {id} is negative")))
}

pub(crate) fn offset(offset: QueueOffset) -> Response {
    let mut response = Response::ok();
    response.ext.push_i64("offset", i64::try_from(offset.0).unwrap_or(i64::MAX));
    response
}

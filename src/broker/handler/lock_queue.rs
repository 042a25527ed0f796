//! LOCK_BATCH_MQ (41), UNLOCK_BATCH_MQ (42): leases on queues for orderly consumption.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::QueueId;
use crate::broker::answer::Answer;
use crate::broker::answer::Response;
use crate::broker::core::Core;
use crate::broker::driver;
use crate::broker::refusal::Refusal;
use crate::broker::session::Request;
use crate::machine::ids::ClientId;
use crate::machine::ids::TopicQueue;
use crate::protocol::body::Body;
use crate::protocol::body::MessageQueue;
use crate::protocol::body::queue::LockBatch;
use crate::protocol::body::queue::LockBatchReply;

pub(crate) fn lock(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = decode(request)?;
    let queues = queues(&asked.mq_set);
    let client = ClientId(asked.client_id);
    let mut order = core.order.lock();
    let before = order.changes();
    let granted: BTreeSet<TopicQueue> =
        order.lock(core.env.now(), &asked.consumer_group, &client, &queues).into_iter().collect();
    let changed = order.changes() != before;
    drop(order);
    let granted =
        asked.mq_set.into_iter().filter(|queue| topic_queue(queue).is_some_and(|own| granted.contains(&own)));
    let response = Response::with_body(LockBatchReply { lock_ok_mq_set: granted.collect() }.encode());
    if !changed {
        return Ok(Answer::Now(response));
    }
    // A new holder is written down before it is told, or a restart could hand its queue to another.
    let core = Arc::clone(core);
    Ok(Answer::Later(Box::pin(async move {
        driver::persist::save_leases(&core).await.map_err(Refusal::Save)?;
        Ok(response)
    })))
}

pub(crate) fn unlock(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = decode(request)?;
    let client = ClientId(asked.client_id);
    core.order.lock().unlock(core.env.now(), &asked.consumer_group, &client, &queues(&asked.mq_set));
    core.wake.persist.notify_one();
    Ok(Answer::Now(Response::ok()))
}

fn decode(request: &Request) -> Result<LockBatch, Refusal> {
    LockBatch::decode(&request.frame.body)
        .map_err(|error| Refusal::Body { what: "a lock request", cause: error.to_string() })
}

fn queues(asked: &BTreeSet<MessageQueue>) -> Vec<TopicQueue> {
    asked.iter().filter_map(topic_queue).collect()
}

fn topic_queue(queue: &MessageQueue) -> Option<TopicQueue> {
    Some(TopicQueue::new(&queue.topic, QueueId(u32::try_from(queue.queue_id).ok()?)))
}

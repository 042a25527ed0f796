//! UPDATE_AND_CREATE_TOPIC (17) and its list form (18), GET_ALL_TOPIC_CONFIG (21), DELETE_TOPIC_IN_BROKER (215),
//! GET_TOPIC_CONFIG (351), GET_TOPIC_STATS_INFO (202), GET_SYSTEM_TOPIC_LIST_FROM_BROKER (305).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::QueueId;
use crate::base::QueueOffset;
use crate::base::Timestamp;
use crate::broker::answer::Answer;
use crate::broker::answer::Response;
use crate::broker::core::Core;
use crate::broker::driver::retention;
use crate::broker::refusal::Refusal;
use crate::broker::session::Request;
use crate::broker::tables;
use crate::machine::reserve;
use crate::machine::topic::Permission;
use crate::machine::topic::TopicConfig;
use crate::protocol::body::Body;
use crate::protocol::body::MessageQueue;
use crate::protocol::body::route::TopicList;
use crate::protocol::body::stats::TopicOffset;
use crate::protocol::body::stats::TopicStats;
use crate::protocol::body::topic::TopicConfigList;
use crate::protocol::body::topic::TopicConfigTable;
use crate::protocol::command::topic::CreateTopic;
use crate::protocol::command::topic::GetAllTopicConfigReply;
use crate::protocol::command::topic::OfTopic;
use crate::protocol::names;

pub(crate) fn update(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = CreateTopic::decode(&request.frame.header)?;
    let mut attributes =
        core.topics.lock().topic(&asked.topic).map(|topic| topic.attributes.clone()).unwrap_or_default();
    edit_attributes(asked.attributes.as_deref().unwrap_or_default(), &mut attributes)?;
    let number = |what: &str, value: i32| {
        u32::try_from(value).map_err(|_| Refusal::Parameter(format!("{what} {value} is negative")))
    };
    put(
        core,
        TopicConfig {
            read_queues: number("readQueueNums", asked.read_queue_nums)?,
            write_queues: number("writeQueueNums", asked.write_queue_nums)?,
            permission: Permission(number("perm", asked.perm)?),
            flags: number("topicSysFlag", asked.topic_sys_flag)?,
            order: asked.order,
            attributes,
            name: asked.topic,
        },
    )?;
    core.on_topics_changed();
    Ok(Answer::Now(Response::ok()))
}

/// All of them are checked before any is changed.
pub(crate) fn update_list(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = TopicConfigList::decode(&request.frame.body)
        .map_err(|error| Refusal::Body { what: "a list of topics", cause: error.to_string() })?;
    let mut configs = Vec::new();
    for config in asked.topic_config_list {
        let name = config.topic_name.clone();
        check_name(&name)?;
        let config = tables::topic(config).ok_or_else(|| {
            Refusal::Parameter(format!("a count or permission of topic {name} is negative"))
        })?;
        configs.push(config);
    }
    for config in configs {
        put(core, config)?;
    }
    core.on_topics_changed();
    Ok(Answer::Now(Response::ok()))
}

pub(crate) fn all(core: &Arc<Core>, _request: &Request) -> Result<Answer, Refusal> {
    let topics = core.topics.lock();
    let table = TopicConfigTable {
        data_version: tables::version_body(topics.version()),
        topic_config_table: topics
            .iter()
            .map(|topic| (topic.name.clone(), tables::topic_body(topic)))
            .collect(),
        ..TopicConfigTable::default()
    };
    let mut response = Response::with_body(table.encode());
    let count = i32::try_from(table.topic_config_table.len()).unwrap_or(i32::MAX);
    GetAllTopicConfigReply { total_topic_num: Some(count) }.encode(&mut response.ext);
    Ok(Answer::Now(response))
}

pub(crate) fn config(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = OfTopic::decode(&request.frame.header)?;
    let topics = core.topics.lock();
    let topic = topics.topic(&asked.topic).ok_or(Refusal::TopicMissing { topic: asked.topic })?;
    Ok(Answer::Now(Response::with_body(tables::topic_body(topic).encode())))
}

/// Forgets the topic everywhere: its configuration, its queues, what groups committed on it.
pub(crate) fn delete(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = OfTopic::decode(&request.frame.header)?;
    check_name(&asked.topic)?;
    if names::is_system_topic(&asked.topic) {
        return Err(Refusal::SystemTopic { topic: asked.topic });
    }
    let core = Arc::clone(core);
    Ok(Answer::Later(Box::pin(async move {
        let topic = asked.topic;
        core.topics.lock().delete(core.env.wall(), &topic);
        core.offsets.lock().delete_topic(&topic);
        core.order.lock().delete_topic(&topic);
        core.on_topics_changed();
        let removed = core.store.delete_topic(&topic).await.map_err(Refusal::Upkeep)?;
        tracing::info!(topic, queue_files = removed.queue_files, "deleted a topic");
        Ok(Response::ok())
    })))
}

/// One entry for each queue that can be read or written.
pub(crate) fn stats(core: &Arc<Core>, request: &Request) -> Result<Answer, Refusal> {
    let asked = OfTopic::decode(&request.frame.header)?;
    let queues = core.topics.lock().topic(&asked.topic).map(TopicConfig::queues);
    let queues = queues.ok_or_else(|| Refusal::TopicMissing { topic: asked.topic.clone() })?;
    let core = Arc::clone(core);
    Ok(Answer::Later(Box::pin(async move {
        let mut table = BTreeMap::new();
        for id in 0..queues {
            let queue = MessageQueue::new(
                asked.topic.clone(),
                core.config.broker_name.clone(),
                i32::try_from(id).unwrap_or(i32::MAX),
            );
            table.insert(queue, offsets(&core, &asked.topic, QueueId(id)).await?);
        }
        let stats = TopicStats { offset_table: table, ..TopicStats::default() };
        Ok(Response::with_body(stats.encode()))
    })))
}

pub(crate) fn system_list(core: &Arc<Core>, _request: &Request) -> Result<Answer, Refusal> {
    let topics = core.topics.lock();
    let own = [core.config.cluster_name.as_str(), core.config.broker_name.as_str()];
    let list = TopicList {
        topic_list: topics
            .iter()
            .map(|topic| topic.name.clone())
            .filter(|name| names::is_system_topic(name) || own.contains(&name.as_str()))
            .collect(),
        ..TopicList::default()
    };
    Ok(Answer::Now(Response::with_body(list.encode())))
}

async fn offsets(core: &Core, topic: &str, queue: QueueId) -> Result<TopicOffset, Refusal> {
    let Some(bounds) = core.store.bounds(topic, queue) else { return Ok(TopicOffset::default()) };
    let last = bounds.max.0.checked_sub(1).map(QueueOffset);
    let updated = match last {
        Some(last) => core.store.store_time_of(topic, queue, last).await?,
        None => None,
    };
    Ok(TopicOffset {
        last_update_timestamp: updated.unwrap_or(Timestamp(0)),
        max_offset: i64::try_from(bounds.max.0).unwrap_or(i64::MAX),
        min_offset: i64::try_from(bounds.min.0).unwrap_or(i64::MAX),
    })
}

fn put(core: &Core, config: TopicConfig) -> Result<(), Refusal> {
    check_name(&config.name)?;
    if names::is_send_forbidden(&config.name) {
        return Err(Refusal::SystemTopic { topic: config.name });
    }
    check_reserve(core, &config)?;
    let topic = config.name.clone();
    core.topics
        .lock()
        .update(core.env.wall(), config)
        .map(|_| ())
        .map_err(|error| Refusal::Topic { topic, error })
}

/// More hours than the log keeps are taken, and said: they hold once the log keeps more.
fn check_reserve(core: &Core, config: &TopicConfig) -> Result<(), Refusal> {
    let hours = reserve::hours(&config.attributes).map_err(|error| Refusal::Parameter(error.to_string()))?;
    if let Some(hours) = hours
        && let Some(said) = retention::too_long(&config.name, hours, core.config.file_reserved_hours)
    {
        tracing::warn!("{said}");
    }
    Ok(())
}

fn check_name(topic: &str) -> Result<(), Refusal> {
    names::check_topic(topic)
        .map_err(|error| Refusal::TopicName { topic: topic.to_owned(), cause: error.to_string() })
}

/// `+key=value` sets, `-key` removes; stored without the sign.
fn edit_attributes(text: &str, attributes: &mut BTreeMap<String, String>) -> Result<(), Refusal> {
    for edit in text.split(',').map(str::trim).filter(|edit| !edit.is_empty()) {
        if let Some(key) = edit.strip_prefix('-') {
            attributes.remove(key);
        } else if let Some((key, value)) = edit.strip_prefix('+').and_then(|edit| edit.split_once('=')) {
            attributes.insert(key.to_owned(), value.to_owned());
        } else {
            return Err(Refusal::Parameter(format!("attribute {edit:?} is neither +key=value nor -key")));
        }
    }
    Ok(())
}

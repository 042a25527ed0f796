//! Where a message may go: permissions, names, topics that come to be by being sent to, queues.

use std::sync::Arc;

use rand_core::Rng;

use crate::base::QueueId;
use crate::base::Timestamp;
use crate::broker::core::Core;
use crate::broker::refusal::Refusal;
use crate::machine::delay;
use crate::machine::delay::Scheduled;
use crate::machine::membership::MessageModel;
use crate::machine::retry::GroupRetry;
use crate::machine::subscription_group::SubscriptionGroupConfig;
use crate::machine::topic::Permission;
use crate::machine::topic::TopicConfig;
use crate::machine::topic::Unknown;
use crate::machine::transaction;
use crate::protocol::command::send::SendHeader;
use crate::protocol::names;
use crate::protocol::subscription::TagFilter;

/// A queue that a message may be written to.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) topic: Arc<str>,
    pub(crate) queue: QueueId,
}

impl Core {
    /// The queue a send goes to; creates the topic if that is allowed.
    pub(crate) fn place_send(&self, send: &SendHeader<'_>) -> Result<Place, Refusal> {
        if !Permission(self.config.broker_permission).can_write() {
            return Err(self.forbidden("sending to"));
        }
        names::check_topic(send.topic)
            .map_err(|error| Refusal::TopicName { topic: send.topic.to_owned(), cause: error.to_string() })?;
        if names::is_send_forbidden(send.topic) {
            return Err(Refusal::SystemTopic { topic: send.topic.to_owned() });
        }
        let mut topics = self.topics.lock();
        let created;
        let config = match topics.topic(send.topic) {
            Some(config) => {
                created = false;
                config
            }
            None => {
                created = true;
                let unknown = Unknown {
                    topic: send.topic,
                    default_topic: send.default_topic,
                    queues: send.default_topic_queue_nums,
                };
                topics
                    .on_unknown(self.env.wall(), unknown)
                    .map_err(|error| Refusal::Topic { topic: send.topic.to_owned(), error })?
            }
        };
        if !config.permission.can_write() {
            return Err(self.forbidden(&format!("sending to topic[{}]", send.topic)));
        }
        let queue = self.queue_of(config, send.queue_id)?;
        drop(topics);
        if created {
            tracing::info!(topic = send.topic, "created a topic because a message was sent to it");
            self.on_topics_changed();
        }
        Ok(Place { topic: self.intern(send.topic), queue })
    }

    /// What may be read of a topic.
    pub(crate) fn topic_for_read(&self, topic: &str) -> Result<TopicConfig, Refusal> {
        let topics = self.topics.lock();
        let config = topics.topic(topic).ok_or_else(|| Refusal::TopicMissing { topic: topic.to_owned() })?;
        if !config.permission.can_read() {
            return Err(self.forbidden(&format!("pulling of topic[{topic}]")));
        }
        Ok(config.clone())
    }

    /// The configuration of a group that wants to consume; created if that is allowed.
    pub(crate) fn group_for_consume(&self, group: &str) -> Result<SubscriptionGroupConfig, Refusal> {
        let mut groups = self.groups.lock();
        let (config, new) = groups
            .ensure(self.env.wall(), group)
            .map_err(|error| Refusal::Group { group: group.to_owned(), error })?;
        let config = config.clone();
        drop(groups);
        if new {
            self.wake.persist.notify_one();
        }
        Ok(config)
    }

    /// A group's rules for messages that come back; it is created as by a pull.
    pub(crate) fn group_retry(&self, group: &str) -> Option<GroupRetry> {
        let mut groups = self.groups.lock();
        let (_, new) = groups.ensure(self.env.wall(), group).ok()?;
        let rules = groups.retry(group);
        drop(groups);
        if new {
            self.wake.persist.notify_one();
        }
        rules
    }

    /// What a group subscribed to by heartbeat.
    pub(crate) fn subscription_filter(
        &self,
        group: &str,
        topic: &str,
        version: i64,
    ) -> Result<TagFilter, Refusal> {
        let members = self.members.lock();
        let Some(known) = members.consumer_group(group) else {
            return Err(Refusal::GroupOffline { group: group.to_owned() });
        };
        let broadcast = known.model == MessageModel::Broadcasting;
        if broadcast && !self.groups.lock().group(group).is_none_or(|group| group.consume_broadcast_enable) {
            return Err(self.forbidden(&format!("broadcast consumption of group[{group}]")));
        }
        let Some(subscription) = members.subscription(group, topic) else {
            return Err(Refusal::NotSubscribed { group: group.to_owned(), topic: topic.to_owned() });
        };
        if subscription.version < version {
            return Err(Refusal::SubscriptionStale { group: group.to_owned(), topic: topic.to_owned() });
        }
        if subscription.expression_type != "TAG" && !subscription.expression_type.is_empty() {
            return Err(Refusal::FilterUnsupported { kind: subscription.expression_type.clone() });
        }
        Ok(subscription.tags.clone())
    }

    /// The retry topic `name`, created if it is not there.
    pub(crate) fn retry_topic(&self, name: &str) -> Arc<str> {
        if let Some(group) = name.strip_prefix(names::RETRY_PREFIX) {
            self.ensure_retry_topic(group, false);
        }
        self.intern(name)
    }

    pub(crate) fn ensure_retry_topic(&self, group: &str, unit_mode: bool) {
        let queues = self.groups.lock().group(group).map_or(1, |group| group.retry_queue_nums);
        let queues = u32::try_from(queues).unwrap_or(0).max(1);
        let created = self.topics.lock().ensure_retry(self.env.wall(), group, queues, unit_mode);
        self.on_ensured(created, group);
    }

    /// The dead-letter topic `name`, created if it is not there.
    pub(crate) fn dead_letter_topic(&self, name: &str) -> Arc<str> {
        if let Some(group) = name.strip_prefix(names::DLQ_PREFIX) {
            let created = self.topics.lock().ensure_dead_letter(self.env.wall(), group);
            self.on_ensured(created, group);
        }
        self.intern(name)
    }

    /// Where half messages go that nobody decided on.
    pub(crate) fn discard_topic(&self) -> Arc<str> {
        self.intern(transaction::DISCARD_TOPIC)
    }

    /// How a message of `level` is stored while it waits; `None` for a level that means no delay.
    pub(crate) fn schedule(
        &self,
        level: i64,
        topic: &str,
        queue: QueueId,
        now: Timestamp,
    ) -> Option<Scheduled> {
        if level <= 0 { None } else { delay::schedule_form(&self.levels, level, topic, queue, now) }
    }

    /// When a message of `level` that was stored at `stored_at` is due.
    pub(crate) fn deliver_at(&self, level: u32, stored_at: Timestamp) -> Timestamp {
        let wait = self.levels.delay(level).unwrap_or_default();
        stored_at.plus_ms(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
    }

    pub(crate) fn forbidden(&self, what: &str) -> Refusal {
        Refusal::NoPermission { what: what.to_owned(), broker: self.config.broker_name.clone() }
    }

    /// One shared copy of a topic's name.
    pub(crate) fn intern(&self, topic: &str) -> Arc<str> {
        let mut names = self.names.lock();
        match names.get(topic) {
            Some(name) => Arc::clone(name),
            None => {
                let name: Arc<str> = Arc::from(topic);
                names.insert(Arc::clone(&name));
                name
            }
        }
    }

    /// A number for choices that need no memory.
    pub(crate) fn draw(&self) -> u64 {
        self.rng.lock().next_u64()
    }

    fn queue_of(&self, config: &TopicConfig, asked: i32) -> Result<QueueId, Refusal> {
        let Ok(queue) = u32::try_from(asked) else {
            let queues = u64::from(config.write_queues.max(1));
            return Ok(QueueId(u32::try_from(self.draw() % queues).unwrap_or(0)));
        };
        if !config.has_queue(QueueId(queue)) {
            let topic = config.name.clone();
            return Err(Refusal::QueueIllegal { topic, queue: i64::from(asked), queues: config.queues() });
        }
        Ok(QueueId(queue))
    }

    fn on_ensured(&self, created: Result<bool, crate::machine::topic::TopicError>, group: &str) {
        match created {
            Ok(true) => self.on_topics_changed(),
            Ok(false) => {}
            Err(error) => tracing::warn!(group, %error, "cannot create a retry or dead-letter topic"),
        }
    }
}

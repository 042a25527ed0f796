//! The broker's topics: their queues, permissions and attributes, and when one is created by itself.
//!
//! ```text
//!   send to an unknown topic ──▶ on_unknown ──┬── a retry or dead-letter topic ─────────────▶ created, 1 queue
//!                                             ├── auto-create on, default topic inheritable ▶ created from it
//!                                             └── otherwise ────────────────────────────────▶ TOPIC_NOT_EXIST
//! ```
//!
//! Invariants:
//!
//! * every change moves the data version, and nothing else does: name servers compare it to know what is news;
//! * a topic has at least one queue to read for each it has to write, or messages would be stored that nobody can ask
//!   for, unless an operator asked for just that (shrinking goes through such a state);
//! * the table is bounded.
//!
//! Java to read: `TopicConfigManager`. Not here: `topics.json`, registration, deleting the queues' files.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::base::QueueId;
use crate::base::Timestamp;
use crate::machine::delay;
use crate::machine::reserve;
use crate::machine::transaction;
use crate::protocol::names;

/// The topic new topics inherit from, if auto-create is on.
pub const DEFAULT_TOPIC: &str = names::AUTO_CREATE_TOPIC;

/// What a topic allows, in RocketMQ's bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission(pub u32);

impl Permission {
    pub const READ: Permission = Permission(4);
    pub const WRITE: Permission = Permission(2);
    pub const READ_WRITE: Permission = Permission(6);
    /// Read, write, and new topics may take after it.
    pub const INHERITABLE: Permission = Permission(7);

    pub fn can_read(self) -> bool {
        self.0 & 4 != 0
    }

    pub fn can_write(self) -> bool {
        self.0 & 2 != 0
    }

    pub fn can_be_inherited(self) -> bool {
        self.0 & 1 != 0
    }
}

/// One topic on this broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    pub name: String,
    pub read_queues: u32,
    pub write_queues: u32,
    pub permission: Permission,
    /// `topicSysFlag`: 1 unit, 2 unit subscription.
    pub flags: u32,
    pub order: bool,
    /// Stored attributes, by plain key (`message.type`).
    pub attributes: BTreeMap<String, String>,
}

/// How often, and when, a table has changed. Compared by its fields in this order, as Java's `DataVersion.compare`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct DataVersion {
    pub state_version: i64,
    pub counter: i64,
    pub timestamp: Timestamp,
}

impl DataVersion {
    /// Moves to a version that compares as newer even where the clock went back.
    pub fn advance(&mut self, now: Timestamp) {
        let before = *self;
        self.timestamp = self.timestamp.max(now);
        self.counter += 1;
        assert!(before < *self, "a data version never goes back");
    }
}

#[derive(Clone, Copy, Debug)]
pub struct TopicLimits {
    /// `autoCreateTopicEnable`
    pub auto_create: bool,
    /// `defaultTopicQueueNums`: queues of a topic created by itself, unless the client wants fewer.
    pub default_queues: u32,
    pub topics_max: usize,
    /// Queues of one topic.
    pub queues_max: u32,
}

impl Default for TopicLimits {
    fn default() -> TopicLimits {
        TopicLimits { auto_create: true, default_queues: 8, topics_max: 1_000_000, queues_max: 65_536 }
    }
}

#[derive(Debug)]
pub struct Topics {
    limits: TopicLimits,
    topics: BTreeMap<String, TopicConfig>,
    /// Hours of the topics that have a reserve time of their own.
    reserved: BTreeMap<String, i64>,
    version: DataVersion,
}

/// A send to a topic that is not there.
#[derive(Clone, Copy, Debug)]
pub struct Unknown<'a> {
    pub topic: &'a str,
    /// `defaultTopic` of the request.
    pub default_topic: &'a str,
    /// `defaultTopicQueueNums` of the request.
    pub queues: i32,
}

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TopicError {
    /// TOPIC_NOT_EXIST: nothing allows the topic to be created.
    #[error("the topic does not exist, and may not be created by a send")]
    NotExist,
    /// SYSTEM_ERROR: the broker has as many topics as allowed.
    #[error("the broker has as many topics as it may")]
    Full,
    /// INVALID_PARAMETER: a queue count beyond the limit, or a topic without queues.
    #[error("a topic has 1 to {0} queues")]
    Queues(u32),
}

impl Topics {
    pub fn new(limits: TopicLimits) -> Topics {
        assert!(
            limits.default_queues > 0 && limits.default_queues <= limits.queues_max,
            "a topic has queues"
        );
        Topics { limits, topics: BTreeMap::new(), reserved: BTreeMap::new(), version: DataVersion::default() }
    }

    /// The table after a restart. Configurations the limits forbid are dropped: the file may be a stranger's.
    pub fn replay(
        limits: TopicLimits,
        version: DataVersion,
        configs: impl IntoIterator<Item = TopicConfig>,
    ) -> Topics {
        let mut topics = Topics::new(limits);
        for config in configs {
            if topics.check(&config).is_ok() {
                topics.insert(config);
            }
        }
        topics.version = version;
        topics
    }

    pub fn topic(&self, name: &str) -> Option<&TopicConfig> {
        self.topics.get(name)
    }

    /// Creates a topic, or replaces its configuration. True if anything changed.
    pub fn update(&mut self, now: Timestamp, config: TopicConfig) -> Result<bool, TopicError> {
        self.check(&config)?;
        if self.topics.get(&config.name) == Some(&config) {
            return Ok(false);
        }
        self.insert(config);
        self.version.advance(now);
        Ok(true)
    }

    /// As [`Topics::update`], but leaves a topic that exists alone: for the broker's own topics at start.
    pub fn ensure(&mut self, now: Timestamp, config: TopicConfig) -> Result<bool, TopicError> {
        if self.topics.contains_key(&config.name) { Ok(false) } else { self.update(now, config) }
    }

    /// The broker's own topics, created if they are not there: RocketMQ's, with its queue counts. The cluster's and the
    /// broker's name are topics too: admin tools find brokers by their routes.
    pub fn ensure_system(
        &mut self,
        now: Timestamp,
        cluster: &str,
        broker: &str,
        delay_levels: u32,
    ) -> Result<(), TopicError> {
        let reply = names::reply_topic(cluster);
        let own = [
            (names::SELF_TEST_TOPIC, 1, Permission::READ_WRITE),
            (names::BENCHMARK_TOPIC, 1024, Permission::READ_WRITE),
            (cluster, 1, Permission::INHERITABLE),
            (broker, 1, Permission::INHERITABLE),
            (names::OFFSET_MOVED_EVENT, 1, Permission::READ_WRITE),
            (delay::SCHEDULE_TOPIC, delay_levels, Permission::READ_WRITE),
            (&reply, 1, Permission::READ_WRITE),
            (transaction::HALF_TOPIC, 1, Permission::READ_WRITE),
            (transaction::OP_TOPIC, 1, Permission::READ_WRITE),
            (transaction::DISCARD_TOPIC, 1, Permission::READ_WRITE),
        ];
        if self.limits.auto_create {
            let parent = TopicConfig::new(DEFAULT_TOPIC, self.limits.default_queues, Permission::INHERITABLE);
            self.ensure(now, parent)?;
        }
        for (name, queues, permission) in own {
            self.ensure(now, TopicConfig::new(name, queues, permission))?;
        }
        Ok(())
    }

    /// Forgets a topic. False if there was none.
    pub fn delete(&mut self, now: Timestamp, name: &str) -> bool {
        let deleted = self.topics.remove(name).is_some();
        self.reserved.remove(name);
        if deleted {
            self.version.advance(now);
        }
        deleted
    }

    /// A message was sent to a topic that is not there: creates it if that is allowed. The caller then registers the
    /// topic with the name servers at once, since the sender learns of it from them.
    pub fn on_unknown(&mut self, now: Timestamp, unknown: Unknown<'_>) -> Result<&TopicConfig, TopicError> {
        if !self.topics.contains_key(unknown.topic) {
            let config = self.inherit(&unknown)?;
            let created = self.update(now, config)?;
            assert!(created, "an unknown topic is news");
        }
        self.topics.get(unknown.topic).ok_or(TopicError::NotExist)
    }

    /// The retry topic of a group, created if it is not there; true if it was.
    pub fn ensure_retry(
        &mut self,
        now: Timestamp,
        group: &str,
        queues: u32,
        unit_mode: bool,
    ) -> Result<bool, TopicError> {
        let mut config = TopicConfig::new(&names::retry_topic(group), queues, Permission::READ_WRITE);
        config.flags = if unit_mode { 2 } else { 0 };
        self.ensure(now, config)
    }

    /// The dead-letter topic of a group, created if it is not there; true if it was. Readable, so that an operator can
    /// consume it (RocketMQ before 4.7 made it write-only).
    pub fn ensure_dead_letter(&mut self, now: Timestamp, group: &str) -> Result<bool, TopicError> {
        let name = names::dlq_topic(group);
        self.ensure(now, TopicConfig::new(&name, 1, Permission::READ_WRITE))
    }

    /// Every topic, by name.
    pub fn iter(&self) -> impl Iterator<Item = &TopicConfig> {
        self.topics.values()
    }

    /// The topics with a reserve time of their own, in hours. One that does not parse, from a stranger's file, is none.
    pub fn reserved(&self) -> &BTreeMap<String, i64> {
        &self.reserved
    }

    pub fn version(&self) -> DataVersion {
        self.version
    }

    pub fn check_invariants(&self) {
        assert!(self.topics.len() <= self.limits.topics_max, "topics are bounded");
        assert!(
            self.reserved.keys().all(|name| self.topics.contains_key(name)),
            "a reserve time has a topic"
        );
        for (name, config) in &self.topics {
            assert_eq!(*name, config.name, "a topic is found by its name");
            assert!(config.queues() > 0 && config.queues() <= self.limits.queues_max, "queues are bounded");
            let hours = reserve::hours(&config.attributes).ok().flatten();
            assert_eq!(self.reserved.get(name).copied(), hours, "reserve times are those of the attributes");
        }
    }

    fn insert(&mut self, config: TopicConfig) {
        match reserve::hours(&config.attributes) {
            Ok(Some(hours)) => _ = self.reserved.insert(config.name.clone(), hours),
            Ok(None) | Err(_) => _ = self.reserved.remove(&config.name),
        }
        self.topics.insert(config.name.clone(), config);
    }

    fn inherit(&self, unknown: &Unknown<'_>) -> Result<TopicConfig, TopicError> {
        if names::is_retry(unknown.topic) || names::is_dlq(unknown.topic) {
            return Ok(TopicConfig::new(unknown.topic, 1, Permission::READ_WRITE));
        }
        let parent = self.topics.get(unknown.default_topic).ok_or(TopicError::NotExist)?;
        let allowed = self.limits.auto_create || unknown.default_topic != DEFAULT_TOPIC;
        if !allowed || !parent.permission.can_be_inherited() {
            return Err(TopicError::NotExist);
        }
        let wanted = u32::try_from(unknown.queues).unwrap_or(0).max(1);
        let permission = Permission(parent.permission.0 & !1);
        let queues = wanted.min(parent.write_queues.max(1));
        let mut config = TopicConfig::new(unknown.topic, queues, permission);
        config.flags = parent.flags;
        Ok(config)
    }

    fn check(&self, config: &TopicConfig) -> Result<(), TopicError> {
        if config.queues() == 0 || config.queues() > self.limits.queues_max {
            return Err(TopicError::Queues(self.limits.queues_max));
        }
        if self.topics.len() >= self.limits.topics_max && !self.topics.contains_key(&config.name) {
            return Err(TopicError::Full);
        }
        Ok(())
    }
}

impl TopicConfig {
    /// A topic with as many queues to read as to write.
    pub fn new(name: &str, queues: u32, permission: Permission) -> TopicConfig {
        TopicConfig {
            name: name.to_owned(),
            read_queues: queues,
            write_queues: queues,
            permission,
            flags: 0,
            order: false,
            attributes: BTreeMap::new(),
        }
    }

    /// Queues that exist, for reading or writing.
    pub fn queues(&self) -> u32 {
        self.read_queues.max(self.write_queues)
    }

    /// The queue may be written to. As RocketMQ, a queue that can only be read is let through: shrinking a topic stops
    /// clients from choosing it, not messages on their way.
    pub fn has_queue(&self, queue: QueueId) -> bool {
        queue.0 < self.queues()
    }

    pub fn can_read_queue(&self, queue: QueueId) -> bool {
        queue.0 < self.read_queues
    }
}

#[cfg(test)]
mod tests;

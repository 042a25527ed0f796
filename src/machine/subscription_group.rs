//! The broker's consumer groups as configured: may they consume, how often is a message retried.
//!
//! Invariants: every change moves the data version and nothing else does; the table is bounded.
//!
//! Unlike topics, groups are made up as they come: most of real applications are never created beforehand.
//! Java to read: `SubscriptionGroupManager`. Not here: `subscriptionGroup.json`; who is a member (see `membership`).

use std::collections::BTreeMap;

use thiserror::Error;

use crate::base::Timestamp;
use crate::machine::retry::GroupRetry;
use crate::machine::topic::DataVersion;
use crate::protocol::names;
use crate::protocol::names::NameError;

/// One consumer group's configuration, with RocketMQ's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionGroupConfig {
    pub name: String,
    pub consume_enable: bool,
    pub consume_from_min_enable: bool,
    pub consume_broadcast_enable: bool,
    pub consume_message_orderly: bool,
    /// Queues of the retry topic; none means no retries.
    pub retry_queue_nums: i32,
    /// Retries after the first attempt; then the dead-letter topic.
    pub retry_max_times: i32,
    /// Where to pull from normally, and when lagging: 0 is the master.
    pub broker_id: i64,
    pub which_broker_when_consume_slowly: i64,
    pub notify_consumer_ids_changed_enable: bool,
    pub group_sys_flag: i32,
    pub consume_timeout_minute: i32,
    pub attributes: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug)]
pub struct GroupLimits {
    /// `autoCreateSubscriptionGroup`
    pub auto_create: bool,
    pub groups_max: usize,
}

impl Default for GroupLimits {
    fn default() -> GroupLimits {
        GroupLimits { auto_create: true, groups_max: 1_000_000 }
    }
}

#[derive(Debug)]
pub struct SubscriptionGroups {
    limits: GroupLimits,
    groups: BTreeMap<String, SubscriptionGroupConfig>,
    version: DataVersion,
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum GroupError {
    /// SUBSCRIPTION_GROUP_NOT_EXIST
    #[error("the consumer group does not exist")]
    NotExist,
    /// SYSTEM_ERROR
    #[error("the broker has as many consumer groups as it may")]
    Full,
    /// INVALID_PARAMETER
    #[error(transparent)]
    Name(#[from] NameError),
}

impl SubscriptionGroups {
    pub fn new(limits: GroupLimits) -> SubscriptionGroups {
        SubscriptionGroups { limits, groups: BTreeMap::new(), version: DataVersion::default() }
    }

    /// The table after a restart. What the limits forbid is dropped: the file may be a stranger's.
    pub fn replay(
        limits: GroupLimits,
        version: DataVersion,
        configs: impl IntoIterator<Item = SubscriptionGroupConfig>,
    ) -> SubscriptionGroups {
        let mut groups = SubscriptionGroups::new(limits);
        for config in configs {
            if groups.check(&config.name).is_ok() {
                groups.groups.insert(config.name.clone(), config);
            }
        }
        groups.version = version;
        groups
    }

    pub fn group(&self, name: &str) -> Option<&SubscriptionGroupConfig> {
        self.groups.get(name)
    }

    /// The group, made up with defaults if it may be. True if it is new.
    pub fn ensure(
        &mut self,
        now: Timestamp,
        name: &str,
    ) -> Result<(&SubscriptionGroupConfig, bool), GroupError> {
        let new = !self.groups.contains_key(name);
        if new {
            if !self.limits.auto_create && !names::is_system_group(name) {
                return Err(GroupError::NotExist);
            }
            self.update(now, SubscriptionGroupConfig::new(name))?;
        }
        let group = self.groups.get(name).ok_or(GroupError::NotExist)?;
        Ok((group, new))
    }

    /// Creates a group, or replaces its configuration. True if anything changed.
    pub fn update(&mut self, now: Timestamp, config: SubscriptionGroupConfig) -> Result<bool, GroupError> {
        self.check(&config.name)?;
        if self.groups.get(&config.name) == Some(&config) {
            return Ok(false);
        }
        self.groups.insert(config.name.clone(), config);
        self.version.advance(now);
        Ok(true)
    }

    /// Forgets a group. False if there was none.
    pub fn delete(&mut self, now: Timestamp, name: &str) -> bool {
        let deleted = self.groups.remove(name).is_some();
        if deleted {
            self.version.advance(now);
        }
        deleted
    }

    /// What [`crate::machine::retry`] needs to know of a group.
    pub fn retry(&self, name: &str) -> Option<GroupRetry> {
        self.groups.get(name).map(|group| GroupRetry {
            max: group.retry_max_times,
            queues: group.retry_queue_nums,
            permitted: group.consume_enable,
        })
    }

    /// Every group, by name.
    pub fn iter(&self) -> impl Iterator<Item = &SubscriptionGroupConfig> {
        self.groups.values()
    }

    pub fn version(&self) -> DataVersion {
        self.version
    }

    pub fn check_invariants(&self) {
        assert!(self.groups.len() <= self.limits.groups_max, "groups are bounded");
        for (name, config) in &self.groups {
            assert_eq!(*name, config.name, "a group is found by its name");
            assert!(names::check_group(name).is_ok(), "a group has a name that can be part of a topic");
        }
    }

    fn check(&self, name: &str) -> Result<(), GroupError> {
        names::check_group(name)?;
        if self.groups.len() >= self.limits.groups_max && !self.groups.contains_key(name) {
            return Err(GroupError::Full);
        }
        Ok(())
    }
}

impl SubscriptionGroupConfig {
    pub fn new(name: &str) -> SubscriptionGroupConfig {
        SubscriptionGroupConfig {
            name: name.to_owned(),
            consume_enable: true,
            consume_from_min_enable: true,
            consume_broadcast_enable: true,
            consume_message_orderly: false,
            retry_queue_nums: 1,
            retry_max_times: 16,
            broker_id: 0,
            which_broker_when_consume_slowly: 1,
            notify_consumer_ids_changed_enable: true,
            group_sys_flag: 0,
            consume_timeout_minute: 15,
            attributes: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests;

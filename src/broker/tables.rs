//! The broker's tables as files and on the wire: `config/*.json` in RocketMQ's shapes, plus our `queueLease.json`.
//!
//! Machines have their own types; this is the only place that turns one into the other.

use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::env::Env;
use crate::machine::delay::DelayTable;
use crate::machine::offset::OffsetTable;
use crate::machine::order::LeaseRecord;
use crate::machine::subscription_group::SubscriptionGroupConfig;
use crate::machine::topic::DataVersion;
use crate::machine::topic::Permission;
use crate::machine::topic::TopicConfig;
use crate::protocol::body;
use crate::protocol::body::Body;
use crate::protocol::body::group::SubscriptionGroupTable;
use crate::protocol::body::topic::TopicConfigFile;
use crate::store::config_file;
use crate::store::config_file::LoadError;

/// What a start finds.
#[derive(Default)]
pub(crate) struct Tables {
    pub(crate) topics: (DataVersion, Vec<TopicConfig>),
    pub(crate) groups: (DataVersion, Vec<SubscriptionGroupConfig>),
    pub(crate) offsets: OffsetTable,
    pub(crate) delays: DelayTable,
    pub(crate) leases: Vec<LeaseRecord>,
}

/// Who holds which queue, across a restart. RocketMQ has no such file and ignores it.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LeaseFile {
    pub(crate) leases: Vec<LeaseRecord>,
}

/// The files, by what they hold.
pub(crate) struct Files {
    dir: PathBuf,
}

impl Files {
    pub(crate) fn new(store_root: &Path) -> Files {
        Files { dir: store_root.join("config") }
    }

    pub(crate) fn topics(&self) -> PathBuf {
        self.dir.join("topics.json")
    }

    pub(crate) fn groups(&self) -> PathBuf {
        self.dir.join("subscriptionGroup.json")
    }

    pub(crate) fn offsets(&self) -> PathBuf {
        self.dir.join("consumerOffset.json")
    }

    pub(crate) fn delays(&self) -> PathBuf {
        self.dir.join("delayOffset.json")
    }

    pub(crate) fn leases(&self) -> PathBuf {
        self.dir.join("queueLease.json")
    }
}

impl Tables {
    /// Reads every file that exists. A damaged file falls back to its `.bak`; if both are damaged the start is refused,
    /// because going on would forget what consumers have done.
    pub(crate) async fn load(env: &Env, files: &Files) -> Result<Tables, LoadError> {
        let topics: Option<TopicConfigFile> = load(env, &files.topics()).await?;
        let groups: Option<SubscriptionGroupTable> = load(env, &files.groups()).await?;
        let leases: Option<LeaseFile> = load(env, &files.leases()).await?;
        let topics = topics.unwrap_or_default();
        let groups = groups.unwrap_or_default();
        Ok(Tables {
            topics: (
                version(topics.data_version),
                topics.topic_config_table.into_values().filter_map(topic).collect(),
            ),
            groups: (
                version(groups.data_version),
                groups.subscription_group_table.into_values().map(group).collect(),
            ),
            offsets: load(env, &files.offsets()).await?.unwrap_or_default(),
            delays: load(env, &files.delays()).await?.unwrap_or_default(),
            leases: leases.unwrap_or_default().leases,
        })
    }
}

async fn load<T: Body>(env: &Env, path: &Path) -> Result<Option<T>, LoadError> {
    config_file::load(env, path, T::decode).await
}

pub(crate) fn version(version: body::topic::DataVersion) -> DataVersion {
    DataVersion {
        state_version: version.state_version,
        counter: version.counter,
        timestamp: version.timestamp,
    }
}

pub(crate) fn version_body(version: DataVersion) -> body::topic::DataVersion {
    body::topic::DataVersion {
        state_version: version.state_version,
        counter: version.counter,
        timestamp: version.timestamp,
    }
}

/// `None` for counts or permissions that are negative.
pub(crate) fn topic(config: body::topic::TopicConfig) -> Option<TopicConfig> {
    Some(TopicConfig {
        read_queues: u32::try_from(config.read_queue_nums).ok()?,
        write_queues: u32::try_from(config.write_queue_nums).ok()?,
        permission: Permission(u32::try_from(config.perm).ok()?),
        flags: u32::try_from(config.topic_sys_flag).ok()?,
        order: config.order,
        attributes: config.attributes,
        name: config.topic_name,
    })
}

pub(crate) fn topic_body(config: &TopicConfig) -> body::topic::TopicConfig {
    let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    body::topic::TopicConfig {
        attributes: config.attributes.clone(),
        order: config.order,
        perm: number(config.permission.0),
        read_queue_nums: number(config.read_queues),
        topic_name: config.name.clone(),
        topic_sys_flag: number(config.flags),
        write_queue_nums: number(config.write_queues),
        ..body::topic::TopicConfig::default()
    }
}

pub(crate) fn group(config: body::group::SubscriptionGroupConfig) -> SubscriptionGroupConfig {
    SubscriptionGroupConfig {
        name: config.group_name,
        consume_enable: config.consume_enable,
        consume_from_min_enable: config.consume_from_min_enable,
        consume_broadcast_enable: config.consume_broadcast_enable,
        consume_message_orderly: config.consume_message_orderly,
        retry_queue_nums: config.retry_queue_nums,
        retry_max_times: config.retry_max_times,
        broker_id: config.broker_id,
        which_broker_when_consume_slowly: config.which_broker_when_consume_slowly,
        notify_consumer_ids_changed_enable: config.notify_consumer_ids_changed_enable,
        group_sys_flag: config.group_sys_flag,
        consume_timeout_minute: config.consume_timeout_minute,
        attributes: config.attributes,
    }
}

pub(crate) fn group_body(config: &SubscriptionGroupConfig) -> body::group::SubscriptionGroupConfig {
    body::group::SubscriptionGroupConfig {
        consume_enable: config.consume_enable,
        consume_from_min_enable: config.consume_from_min_enable,
        consume_broadcast_enable: config.consume_broadcast_enable,
        consume_message_orderly: config.consume_message_orderly,
        retry_queue_nums: config.retry_queue_nums,
        retry_max_times: config.retry_max_times,
        broker_id: config.broker_id,
        which_broker_when_consume_slowly: config.which_broker_when_consume_slowly,
        notify_consumer_ids_changed_enable: config.notify_consumer_ids_changed_enable,
        group_sys_flag: config.group_sys_flag,
        consume_timeout_minute: config.consume_timeout_minute,
        attributes: config.attributes.clone(),
        ..body::group::SubscriptionGroupConfig::named(config.name.clone())
    }
}

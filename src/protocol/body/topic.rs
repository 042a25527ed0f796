//! Topic configuration: what a broker keeps in `topics.json`, lists (21), takes (18) and registers (103).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

use crate::base::Timestamp;
use crate::protocol::fastjson;
use crate::protocol::fastjson::Keys;

/// Bits of a topic's permission.
pub mod perm {
    /// New topics are made in this one's image.
    pub const INHERIT: i32 = 1;
    pub const WRITE: i32 = 2;
    pub const READ: i32 = 4;
    pub const READ_WRITE: i32 = READ | WRITE;
}

/// The version of a table: it changed if any of the three did. Higher state version, then higher counter, is newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataVersion {
    pub counter: i64,
    pub state_version: i64,
    pub timestamp: Timestamp,
}

impl DataVersion {
    /// The next version, made now.
    pub fn next(self, now: Timestamp) -> DataVersion {
        DataVersion { counter: self.counter + 1, state_version: self.state_version, timestamp: now }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfig {
    /// Without the `+` of an update, e.g. `message.type` = `NORMAL`.
    pub attributes: BTreeMap<String, String>,
    pub order: bool,
    /// Bits of [`perm`].
    pub perm: i32,
    pub read_queue_nums: i32,
    pub topic_filter_type: String,
    pub topic_name: String,
    pub topic_sys_flag: i32,
    pub write_queue_nums: i32,
}

impl Default for TopicConfig {
    fn default() -> TopicConfig {
        TopicConfig {
            attributes: BTreeMap::new(),
            order: false,
            perm: perm::READ_WRITE,
            read_queue_nums: 16,
            topic_filter_type: "SINGLE_TAG".to_owned(),
            topic_name: String::new(),
            topic_sys_flag: 0,
            write_queue_nums: 16,
        }
    }
}

impl TopicConfig {
    /// The one-line form of a compressed registration: `name read write perm filter {attributes}`.
    pub fn to_line(&self) -> String {
        let attributes = fastjson::to_string(&self.attributes, Keys::Bare);
        format!(
            "{} {} {} {} {} {attributes}",
            self.topic_name, self.read_queue_nums, self.write_queue_nums, self.perm, self.topic_filter_type
        )
    }

    /// Reads [`TopicConfig::to_line`]; brokers before 5.0 leave the attributes out.
    pub fn from_line(line: &str) -> Option<TopicConfig> {
        let mut words = line.splitn(6, ' ');
        let mut config = TopicConfig { topic_name: words.next()?.to_owned(), ..TopicConfig::default() };
        config.read_queue_nums = words.next()?.parse().ok()?;
        config.write_queue_nums = words.next()?.parse().ok()?;
        config.perm = words.next()?.parse().ok()?;
        config.topic_filter_type = words.next()?.to_owned();
        if let Some(attributes) = words.next() {
            config.attributes = fastjson::from_slice(attributes.as_bytes()).unwrap_or_default();
        }
        Some(config)
    }
}

/// All topics of a broker. Static-topic mappings are carried, not interpreted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfigTable {
    pub data_version: DataVersion,
    pub mapping_data_version: DataVersion,
    pub topic_config_table: BTreeMap<String, TopicConfig>,
    pub topic_queue_mapping_detail_map: BTreeMap<String, Value>,
    pub topic_queue_mapping_info_map: BTreeMap<String, Value>,
}

/// `config/topics.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfigFile {
    pub data_version: DataVersion,
    pub topic_config_table: BTreeMap<String, TopicConfig>,
}

/// UPDATE_AND_CREATE_TOPIC_LIST.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfigList {
    pub topic_config_list: Vec<TopicConfig>,
}

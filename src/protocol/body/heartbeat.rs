//! The heartbeat (34): which groups a client belongs to and what it subscribes to.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde::Serialize;

use crate::protocol::body::ConsumeFromWhere;
use crate::protocol::body::ConsumeType;
use crate::protocol::body::MessageModel;
use crate::protocol::subscription;
use crate::protocol::subscription::TagFilter;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Heartbeat {
    #[serde(rename = "clientID")]
    pub client_id: String,
    pub consumer_data_set: Vec<ConsumerData>,
    /// Not 0: the client may leave out what has not changed (heartbeat version 2).
    pub heartbeat_fingerprint: i32,
    pub producer_data_set: Vec<ProducerData>,
    /// The subscriptions are left out because the fingerprint did not change.
    pub without_sub: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerData {
    pub group_name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerData {
    pub consume_from_where: ConsumeFromWhere,
    pub consume_type: ConsumeType,
    pub group_name: String,
    pub message_model: MessageModel,
    pub subscription_data_set: Vec<SubscriptionData>,
    pub unit_mode: bool,
}

/// What a group wants of one topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionData {
    pub class_filter_mode: bool,
    /// Hash codes of the tags as the client computed them: not to be trusted, use [`SubscriptionData::filter`].
    pub code_set: BTreeSet<i32>,
    pub expression_type: String,
    pub sub_string: String,
    /// The time of the subscription; the highest one of a group counts.
    pub sub_version: i64,
    pub tags_set: BTreeSet<String>,
    pub topic: String,
}

impl Default for SubscriptionData {
    fn default() -> SubscriptionData {
        SubscriptionData {
            class_filter_mode: false,
            code_set: BTreeSet::new(),
            expression_type: subscription::TAG.to_owned(),
            sub_string: String::new(),
            sub_version: 0,
            tags_set: BTreeSet::new(),
            topic: String::new(),
        }
    }
}

impl SubscriptionData {
    /// A subscription by tags, as Java's clients build it.
    pub fn by_tags(topic: impl Into<String>, expression: &str, sub_version: i64) -> SubscriptionData {
        let filter = TagFilter::parse(expression);
        SubscriptionData {
            code_set: filter.tags().map(crate::base::java_string_hash).collect(),
            sub_string: if filter == TagFilter::All { subscription::ALL } else { expression }.to_owned(),
            sub_version,
            tags_set: filter.tags().map(str::to_owned).collect(),
            topic: topic.into(),
            ..SubscriptionData::default()
        }
    }

    /// The tag filter that the expression means.
    pub fn filter(&self) -> TagFilter {
        TagFilter::parse(&self.sub_string)
    }

    pub fn is_tag_type(&self) -> bool {
        subscription::is_tag_type(Some(&self.expression_type))
    }
}

/// CHECK_CLIENT_CONFIG (46): whether a broker can serve a filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CheckClient {
    pub client_id: String,
    pub group: String,
    pub namespace: Option<String>,
    pub subscription_data: SubscriptionData,
}

//! Questions to the route tables. Nothing here changes anything; every answer is in the order of names.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::Group;
use super::Held;
use super::MASTER_ID;
use super::PERM_WRITE;
use super::Queues;
use super::Route;

/// `TopicSysFlag.FLAG_UNIT`.
const SYS_FLAG_UNIT: u32 = 1;
/// `TopicSysFlag.FLAG_UNIT_SUB`.
const SYS_FLAG_UNIT_SUB: u32 = 2;

/// Where a topic is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRoute<'a> {
    /// Broker name and group.
    pub brokers: Vec<(&'a str, &'a Group)>,
    /// Broker name and queues, with the permissions that hold at present.
    pub queues: Vec<(&'a str, Queues)>,
}

impl Route {
    /// `None` when no live broker holds the topic.
    pub fn topic_route(&self, topic: &str) -> Option<TopicRoute<'_>> {
        let held = self.topics.get(topic)?;
        let brokers = held.keys().filter_map(|broker| Some((broker.as_str(), self.groups.get(broker)?)));
        let queues = held.iter().map(|(broker, held)| (broker.as_str(), self.effective(broker, *held)));
        Some(TopicRoute { brokers: brokers.collect(), queues: queues.collect() })
    }

    /// Broker groups by name.
    pub fn groups(&self) -> &BTreeMap<String, Group> {
        &self.groups
    }

    /// Broker names by cluster.
    pub fn clusters(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut clusters: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (broker, group) in &self.groups {
            clusters.entry(&group.cluster).or_default().insert(broker);
        }
        clusters
    }

    /// The group of a broker name in a cluster.
    pub fn member_group(&self, cluster: &str, broker: &str) -> Option<&Group> {
        self.groups.get(broker).filter(|group| group.cluster == cluster)
    }

    pub fn topics(&self) -> Vec<String> {
        self.topics.keys().cloned().collect()
    }

    pub fn topics_of_cluster(&self, cluster: &str) -> Vec<String> {
        let of_cluster = |broker: &String| self.member_group(cluster, broker).is_some();
        let topics = self.topics.iter().filter(|(_, held)| held.keys().any(of_cluster));
        topics.map(|(topic, _)| topic.clone()).collect()
    }

    /// Names of clusters and brokers (RocketMQ calls these the system topics), and one broker's address.
    pub fn system_topics(&self) -> (Vec<String>, Option<String>) {
        let mut names = Vec::new();
        for (cluster, brokers) in self.clusters() {
            names.push(cluster.to_owned());
            names.extend(brokers.into_iter().map(str::to_owned));
        }
        let addr = self.groups.values().find_map(|group| group.addrs.values().next());
        (names, addr.cloned())
    }

    /// Topics with the unit flag.
    pub fn unit_topics(&self) -> Vec<String> {
        self.topics_by_flag(|flag| flag & SYS_FLAG_UNIT != 0)
    }

    /// Topics that units subscribe.
    pub fn unit_sub_topics(&self) -> Vec<String> {
        self.topics_by_flag(|flag| flag & SYS_FLAG_UNIT_SUB != 0)
    }

    /// Topics that units subscribe and that are not of a unit.
    pub fn unit_sub_non_unit_topics(&self) -> Vec<String> {
        self.topics_by_flag(|flag| flag & SYS_FLAG_UNIT_SUB != 0 && flag & SYS_FLAG_UNIT == 0)
    }

    fn topics_by_flag(&self, wanted: impl Fn(u32) -> bool) -> Vec<String> {
        let flag = |held: &BTreeMap<String, Held>| held.values().next().map(|held| held.queues.sys_flag);
        let topics = self.topics.iter().filter(|(_, held)| flag(held).is_some_and(&wanted));
        topics.map(|(topic, _)| topic.clone()).collect()
    }

    /// A group whose acting master is a slave takes no writes.
    fn effective(&self, broker: &str, held: Held) -> Queues {
        let headless = self
            .groups
            .get(broker)
            .is_some_and(|group| group.acting_master && !group.addrs.contains_key(&MASTER_ID));
        let mut queues = held.queues;
        if held.wiped || headless {
            queues.perm &= !PERM_WRITE;
        }
        queues
    }
}

//! One group's members: of producers, in a ring to ask them in turn; of consumers, with what each subscribes to.
//!
//! The merged subscription of a consumer group is recomputed at each change: groups have few members and topics, and
//! heartbeats come twice a minute.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ops::Bound;

use crate::base::Mono;
use crate::machine::ids::ClientId;
use crate::machine::ids::ConnectionId;
use crate::machine::membership::Consumer;
use crate::machine::subscription::Subscription;

/// A client on one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub client: ClientId,
    /// As on the wire: 0 is Java.
    pub language: u8,
    pub version: i32,
    pub last_heard: Mono,
}

/// How messages reach a consumer (`consumeType`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConsumeType {
    Actively,
    #[default]
    Passively,
    Pop,
}

/// Who of a group gets a message (`messageModel`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MessageModel {
    Broadcasting,
    #[default]
    Clustering,
}

/// Where a group without offsets starts (`consumeFromWhere`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConsumeFrom {
    #[default]
    Last,
    First,
    Timestamp,
}

#[derive(Debug, Default)]
pub struct ProducerGroup {
    members: BTreeMap<ConnectionId, Member>,
    asked: Option<ConnectionId>,
}

#[derive(Debug, Default)]
pub struct ConsumerGroup {
    members: BTreeMap<ConnectionId, Subscriber>,
    merged: BTreeMap<String, Subscription>,
    /// As the latest heartbeat said.
    pub consume_type: ConsumeType,
    pub model: MessageModel,
    pub from: ConsumeFrom,
}

#[derive(Debug)]
struct Subscriber {
    member: Member,
    subscriptions: BTreeMap<String, Subscription>,
}

impl ProducerGroup {
    pub fn members(&self) -> impl Iterator<Item = (ConnectionId, &Member)> {
        self.members.iter().map(|(&connection, member)| (connection, member))
    }

    pub(super) fn put(&mut self, connection: ConnectionId, member: Member) {
        self.members.insert(connection, member);
    }

    pub(super) fn remove(&mut self, connection: ConnectionId) {
        self.members.remove(&connection);
    }

    pub(super) fn touch(&mut self, connection: ConnectionId, now: Mono) {
        let member = self.members.get_mut(&connection).expect("a connection is in the groups it knows");
        member.last_heard = now;
    }

    /// The member after the one asked last, in the order of connections, round and round. Of a client with several only the
    /// newest counts: the older ones are half open.
    pub(super) fn next(&mut self) -> Option<ConnectionId> {
        let newest: BTreeMap<&ClientId, ConnectionId> =
            self.members.iter().map(|(connection, member)| (&member.client, *connection)).collect();
        let newest: BTreeSet<ConnectionId> = newest.into_values().collect();
        let after = self.asked.map_or(Bound::Unbounded, Bound::Excluded);
        let next = newest.range((after, Bound::Unbounded)).next().or(newest.first())?;
        self.asked = Some(*next);
        self.asked
    }

    pub(super) fn has(&self, connection: ConnectionId) -> bool {
        self.members.contains_key(&connection)
    }

    pub(super) fn member(&self, connection: ConnectionId) -> Option<&Member> {
        self.members.get(&connection)
    }

    pub(super) fn connection_of(&self, client: &ClientId) -> Option<ConnectionId> {
        // The newest connection: an older one of the same client is half open.
        self.members
            .iter()
            .rev()
            .find(|(_, member)| member.client == *client)
            .map(|(&connection, _)| connection)
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }
}

impl ConsumerGroup {
    pub fn members(&self) -> impl Iterator<Item = (ConnectionId, &Member)> {
        self.members.iter().map(|(&connection, subscriber)| (connection, &subscriber.member))
    }

    /// The group's subscription, one entry per topic.
    pub fn subscriptions(&self) -> impl Iterator<Item = &Subscription> {
        self.merged.values()
    }

    pub fn subscription(&self, topic: &str) -> Option<&Subscription> {
        self.merged.get(topic)
    }

    /// The client ids, each once.
    pub fn ids(&self) -> BTreeSet<ClientId> {
        self.members.values().map(|subscriber| subscriber.member.client.clone()).collect()
    }

    /// Takes a member's word; true if the ids or the merged subscription changed.
    pub(super) fn put(&mut self, connection: ConnectionId, member: Member, consumer: &Consumer) -> bool {
        self.consume_type = consumer.consume_type;
        self.model = consumer.model;
        self.from = consumer.from;
        let ids = self.ids();
        let by_topic = consumer.subscriptions.iter().map(|one| (one.topic.clone(), one.clone()));
        let subscriber = Subscriber { member, subscriptions: by_topic.collect() };
        self.members.insert(connection, subscriber);
        let subscription_changed = self.merge();
        subscription_changed || ids != self.ids()
    }

    /// Forgets members, all at once; true if the ids or the merged subscription changed.
    pub(super) fn remove(&mut self, connections: &[ConnectionId]) -> bool {
        let ids = self.ids();
        self.members.retain(|connection, _| !connections.contains(connection));
        let subscription_changed = self.merge();
        subscription_changed || ids != self.ids()
    }

    pub(super) fn touch(&mut self, connection: ConnectionId, now: Mono) {
        let subscriber = self.members.get_mut(&connection).expect("a connection is in the groups it knows");
        subscriber.member.last_heard = now;
    }

    pub(super) fn mixed(&self) -> Vec<String> {
        let differs = |(topic, merged): (&String, &Subscription)| {
            let declared = self.members.values().map(|subscriber| subscriber.subscriptions.get(topic));
            declared.flatten().any(|one| !one.same_filter(merged)).then(|| topic.clone())
        };
        self.merged.iter().filter_map(differs).collect()
    }

    pub(super) fn has(&self, connection: ConnectionId) -> bool {
        self.members.contains_key(&connection)
    }

    pub(super) fn connection_of(&self, client: &ClientId) -> Option<ConnectionId> {
        let mut newest_first = self.members.iter().rev();
        newest_first
            .find(|(_, subscriber)| subscriber.member.client == *client)
            .map(|(&connection, _)| connection)
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn check_invariants(&self) {
        for (topic, merged) in &self.merged {
            let declared = self.members.values().filter_map(|subscriber| subscriber.subscriptions.get(topic));
            let newest = declared.map(|one| one.version).max();
            assert_eq!(newest, Some(merged.version), "the group's view of a topic is its newest declaration");
        }
        let all = self.members.values().flat_map(|subscriber| subscriber.subscriptions.keys());
        assert!(
            all.into_iter().all(|topic| self.merged.contains_key(topic)),
            "no member's topic is left out"
        );
    }

    /// Recomputes the merged subscription; true if it lets other messages through than before, or other topics.
    fn merge(&mut self) -> bool {
        let mut merged: BTreeMap<String, Subscription> = BTreeMap::new();
        for subscriber in self.members.values() {
            for (topic, one) in &subscriber.subscriptions {
                let newer = merged.get(topic).is_none_or(|other| other.version < one.version);
                if newer {
                    merged.insert(topic.clone(), one.clone());
                }
            }
        }
        let same = merged.len() == self.merged.len()
            && merged.values().zip(self.merged.values()).all(|(new, old)| new.same_filter(old));
        self.merged = merged;
        !same
    }
}

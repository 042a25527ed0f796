//! Who is there: producers and consumers by group, their subscriptions, when they were last heard of.
//!
//! ```text
//!   heartbeat ──▶ member ──┬── unregister ─────────────▶ gone
//!       ▲            │     ├── on_closed(connection) ──▶ gone
//!       └────────────┘     └── on_timer, 120 s silent ─▶ gone
//! ```
//!
//! Invariants:
//!
//! * the members of a group are told (`NotifyConsumerIdsChanged`) exactly when the set of its client ids or its merged
//!   subscription has changed, and then all of them that are connected;
//! * every member has been heard of, in that very group, within `expiry` of the last timer;
//! * a group's id list is a set: a client with two connections (its old one half open) is one member, and losing one
//!   of the two changes nothing. All brokers must answer the same set, since each client computes its share from it.
//!
//! **Subscriptions are kept per member.** RocketMQ keeps one table per group, overwritten by each heartbeat, so two
//! members with different subscriptions take turns in breaking each other's pulls (24, 25). Here the group's view of a
//! topic is the newest declaration among its members, and a topic goes away with the last member that has it.
//! Members that differ on one topic are named by [`Membership::mixed`].
//!
//! **HeartbeatV2.** A client may send a fingerprint and no subscriptions. If it is that of the connection's last full
//! heartbeat, it counts as one; otherwise nothing is touched and the answer asks for a full one (IS_SUB_CHANGE).
//!
//! Time is monotonic. Not here: sockets, JSON, creating `%RETRY%` topics (the driver does, on `ConsumerGroupAppeared`).

mod group;

pub use group::ConsumeFrom;
pub use group::ConsumeType;
pub use group::ConsumerGroup;
pub use group::Member;
pub use group::MessageModel;
pub use group::ProducerGroup;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use crate::base::Mono;
use crate::machine::ids::ClientId;
use crate::machine::ids::ConnectionId;
use crate::machine::subscription::Subscription;

#[derive(Clone, Copy, Debug)]
pub struct MembershipLimits {
    /// Silence after which a member is gone (`CHANNEL_EXPIRED_TIMEOUT`).
    pub expiry: Duration,
    /// Groups that one heartbeat may name, of each kind; the rest is ignored.
    pub groups_per_heartbeat_max: usize,
}

impl Default for MembershipLimits {
    fn default() -> MembershipLimits {
        MembershipLimits { expiry: Duration::from_secs(120), groups_per_heartbeat_max: 1024 }
    }
}

#[derive(Debug)]
pub struct Membership {
    limits: MembershipLimits,
    producers: BTreeMap<String, ProducerGroup>,
    consumers: BTreeMap<String, ConsumerGroup>,
    connections: BTreeMap<ConnectionId, Known>,
}

/// What a connection is a member of.
#[derive(Debug, Default)]
struct Known {
    producers: BTreeSet<String>,
    consumers: BTreeSet<String>,
    /// Of the last full heartbeat; 0 is none.
    fingerprint: i64,
}

/// One heartbeat, decoded.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    pub client: ClientId,
    /// As on the wire: 0 is Java.
    pub language: u8,
    pub version: i32,
    pub producer_groups: Vec<String>,
    pub consumer_groups: Vec<Consumer>,
    /// 0 if the client does not use HeartbeatV2.
    pub fingerprint: i64,
    /// The consumer groups come without their subscriptions.
    pub without_subscriptions: bool,
}

/// A consumer group in a heartbeat.
#[derive(Clone, Debug)]
pub struct Consumer {
    pub group: String,
    pub consume_type: ConsumeType,
    pub model: MessageModel,
    pub from: ConsumeFrom,
    pub unit_mode: bool,
    pub subscriptions: Vec<Subscription>,
}

/// The answer to a heartbeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeartbeatAnswer {
    /// The client is to send its subscriptions (IS_SUB_CHANGE).
    pub subscriptions_wanted: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Tell these connections, oneway, that the group's members or subscriptions changed (40).
    NotifyConsumerIdsChanged {
        group: String,
        connections: Vec<ConnectionId>,
    },
    /// The first member of a consumer group: see that `%RETRY%group` exists.
    ConsumerGroupAppeared {
        group: String,
        unit_mode: bool,
    },
    ConsumerGroupGone {
        group: String,
    },
    ProducerGroupGone {
        group: String,
    },
}

impl Membership {
    pub fn new(limits: MembershipLimits) -> Membership {
        assert!(limits.expiry > Duration::ZERO, "a member has time to be heard of again");
        Membership {
            limits,
            producers: BTreeMap::new(),
            consumers: BTreeMap::new(),
            connections: BTreeMap::new(),
        }
    }

    /// A client says that it is there, and what it consumes.
    pub fn heartbeat(
        &mut self,
        now: Mono,
        connection: ConnectionId,
        beat: &Heartbeat,
        effects: &mut Vec<Effect>,
    ) -> HeartbeatAnswer {
        let known = self.connections.get(&connection).map_or(0, |known| known.fingerprint);
        if beat.without_subscriptions {
            let same = beat.fingerprint != 0 && beat.fingerprint == known;
            if same {
                self.touch(now, connection);
            }
            return HeartbeatAnswer { subscriptions_wanted: !same };
        }
        let member = Member {
            client: beat.client.clone(),
            language: beat.language,
            version: beat.version,
            last_heard: now,
        };
        for group in beat.producer_groups.iter().take(self.limits.groups_per_heartbeat_max) {
            self.producers.entry(group.clone()).or_default().put(connection, member.clone());
            self.connections.entry(connection).or_default().producers.insert(group.clone());
        }
        for consumer in beat.consumer_groups.iter().take(self.limits.groups_per_heartbeat_max) {
            self.consumer_heard(connection, &member, consumer, effects);
        }
        if let Some(known) = self.connections.get_mut(&connection) {
            known.fingerprint = beat.fingerprint;
        }
        HeartbeatAnswer::default()
    }

    /// A client leaves groups by name (35). It stays a member of its others.
    pub fn unregister(
        &mut self,
        connection: ConnectionId,
        producer_group: Option<&str>,
        consumer_group: Option<&str>,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(group) = producer_group {
            self.drop_producer(connection, group, effects);
        }
        if let Some(group) = consumer_group {
            self.drop_consumers(&[connection], group, effects);
        }
        self.forget_if_idle(connection);
    }

    /// A connection closed. Unknown ones are fine: most never send a heartbeat.
    pub fn on_closed(&mut self, connection: ConnectionId, effects: &mut Vec<Effect>) {
        let Some(known) = self.connections.get(&connection) else { return };
        let (producers, consumers) = (known.producers.clone(), known.consumers.clone());
        for group in &producers {
            self.drop_producer(connection, group, effects);
        }
        for group in &consumers {
            self.drop_consumers(&[connection], group, effects);
        }
        self.forget_if_idle(connection);
        assert!(!self.connections.contains_key(&connection), "a closed connection is a member of nothing");
    }

    /// Drops who has been silent for too long. Calling it early or often is harmless.
    pub fn on_timer(&mut self, now: Mono, effects: &mut Vec<Effect>) {
        let silent = |member: &Member| member.last_heard.plus(self.limits.expiry) <= now;
        let mut producers: Vec<(String, ConnectionId)> = Vec::new();
        for (name, group) in &self.producers {
            let gone = group.members().filter(|(_, member)| silent(member));
            producers.extend(gone.map(|(connection, _)| (name.clone(), connection)));
        }
        // All of a group at once: those who left together are not to be told of each other.
        let mut consumers: Vec<(String, Vec<ConnectionId>)> = Vec::new();
        for (name, group) in &self.consumers {
            let gone = group.members().filter(|(_, member)| silent(member));
            consumers.push((name.clone(), gone.map(|(connection, _)| connection).collect()));
        }
        for (group, connection) in producers {
            self.unregister(connection, Some(&group), None, effects);
        }
        for (group, connections) in consumers {
            self.drop_consumers(&connections, &group, effects);
            connections.into_iter().for_each(|connection| self.forget_if_idle(connection));
        }
        assert!(self.next_deadline().is_none_or(|at| now < at), "nobody silent is left behind");
    }

    /// When the next member may be gone. A pass over all members: ask once per sleep.
    pub fn next_deadline(&self) -> Option<Mono> {
        let producers = self.producers.values().flat_map(|group| group.members().map(|(_, member)| member));
        let consumers = self.consumers.values().flat_map(|group| group.members().map(|(_, member)| member));
        producers.chain(consumers).map(|member| member.last_heard.plus(self.limits.expiry)).min()
    }

    /// Client ids of a consumer group, sorted. Empty for an unknown group.
    pub fn consumer_ids(&self, group: &str) -> Vec<ClientId> {
        self.consumers.get(group).map(|group| group.ids().into_iter().collect()).unwrap_or_default()
    }

    pub fn consumer_group(&self, group: &str) -> Option<&ConsumerGroup> {
        self.consumers.get(group)
    }

    pub fn producer_group(&self, group: &str) -> Option<&ProducerGroup> {
        self.producers.get(group)
    }

    /// All consumer groups, in order.
    pub fn consumer_groups(&self) -> impl Iterator<Item = (&str, &ConsumerGroup)> {
        self.consumers.iter().map(|(name, group)| (name.as_str(), group))
    }

    /// All producer groups, in order.
    pub fn producer_groups(&self) -> impl Iterator<Item = (&str, &ProducerGroup)> {
        self.producers.iter().map(|(name, group)| (name.as_str(), group))
    }

    /// What a consumer group wants of a topic: the newest declaration of its members.
    pub fn subscription(&self, group: &str, topic: &str) -> Option<&Subscription> {
        self.consumers.get(group)?.subscription(topic)
    }

    /// A live connection of a producer group, each in turn: whom to ask about a half message.
    pub fn next_producer(&mut self, group: &str) -> Option<ConnectionId> {
        self.producers.get_mut(group)?.next()
    }

    /// Whether the producer at a connection has been heard of, in that group, after an instant.
    pub fn producer_heard_since(&self, group: &str, connection: ConnectionId, since: Mono) -> bool {
        let group = self.producers.get(group);
        group.and_then(|group| group.member(connection)).is_some_and(|member| member.last_heard > since)
    }

    /// A producer's or consumer's connection by client id: whom to hand a reply to.
    pub fn connection_of(&self, client: &ClientId) -> Option<ConnectionId> {
        let producers = self.producers.values().filter_map(|group| group.connection_of(client));
        let consumers = self.consumers.values().filter_map(|group| group.connection_of(client));
        producers.chain(consumers).next()
    }

    /// Topics on which members of a group let different messages through: some see messages that others, after a
    /// rebalance, would not.
    pub fn mixed(&self, group: &str) -> Vec<String> {
        self.consumers.get(group).map(ConsumerGroup::mixed).unwrap_or_default()
    }

    /// Groups with a member that subscribes to the topic, in order.
    pub fn groups_of_topic(&self, topic: &str) -> Vec<String> {
        let groups = self.consumers.iter().filter(|(_, group)| group.subscription(topic).is_some());
        groups.map(|(name, _)| name.clone()).collect()
    }

    pub fn check_invariants(&self) {
        for (name, group) in &self.producers {
            assert!(group.len() > 0, "a producer group without members is forgotten");
            for (connection, _) in group.members() {
                let known = self.connections.get(&connection).expect("a member's connection is known");
                assert!(known.producers.contains(name), "a connection knows its producer groups");
            }
        }
        for (name, group) in &self.consumers {
            assert!(group.len() > 0, "a consumer group without members is forgotten");
            group.check_invariants();
            for (connection, _) in group.members() {
                let known = self.connections.get(&connection).expect("a member's connection is known");
                assert!(known.consumers.contains(name), "a connection knows its consumer groups");
            }
        }
        for (connection, known) in &self.connections {
            assert!(!known.is_idle(), "a connection without groups is forgotten");
            let in_producers = |name| self.producers.get(name).is_some_and(|group| group.has(*connection));
            assert!(known.producers.iter().all(in_producers), "a connection is in the groups it knows");
            let in_consumers = |name| self.consumers.get(name).is_some_and(|group| group.has(*connection));
            assert!(known.consumers.iter().all(in_consumers), "a connection is in the groups it knows");
        }
    }

    fn consumer_heard(
        &mut self,
        connection: ConnectionId,
        member: &Member,
        consumer: &Consumer,
        effects: &mut Vec<Effect>,
    ) {
        let appeared = !self.consumers.contains_key(&consumer.group);
        let group = self.consumers.entry(consumer.group.clone()).or_default();
        let changed = group.put(connection, member.clone(), consumer);
        self.connections.entry(connection).or_default().consumers.insert(consumer.group.clone());
        if appeared {
            let (group, unit_mode) = (consumer.group.clone(), consumer.unit_mode);
            effects.push(Effect::ConsumerGroupAppeared { group, unit_mode });
        }
        if changed {
            self.notify(&consumer.group, effects);
        }
    }

    fn touch(&mut self, now: Mono, connection: ConnectionId) {
        let Some(known) = self.connections.get(&connection) else { return };
        for name in &known.producers {
            let group = self.producers.get_mut(name).expect("a connection is in the groups it knows");
            group.touch(connection, now);
        }
        for name in &known.consumers {
            let group = self.consumers.get_mut(name).expect("a connection is in the groups it knows");
            group.touch(connection, now);
        }
    }

    fn drop_producer(&mut self, connection: ConnectionId, name: &str, effects: &mut Vec<Effect>) {
        if let Some(known) = self.connections.get_mut(&connection) {
            known.producers.remove(name);
        }
        let Some(group) = self.producers.get_mut(name) else { return };
        group.remove(connection);
        if group.len() == 0 {
            self.producers.remove(name);
            effects.push(Effect::ProducerGroupGone { group: name.to_owned() });
        }
    }

    fn drop_consumers(&mut self, connections: &[ConnectionId], name: &str, effects: &mut Vec<Effect>) {
        for connection in connections {
            if let Some(known) = self.connections.get_mut(connection) {
                known.consumers.remove(name);
            }
        }
        let Some(group) = self.consumers.get_mut(name) else { return };
        let changed = group.remove(connections);
        if group.len() == 0 {
            self.consumers.remove(name);
            effects.push(Effect::ConsumerGroupGone { group: name.to_owned() });
        } else if changed {
            self.notify(name, effects);
        }
    }

    fn notify(&self, name: &str, effects: &mut Vec<Effect>) {
        let group = self.consumers.get(name).expect("only a group with members is notified");
        let connections: Vec<ConnectionId> = group.members().map(|(connection, _)| connection).collect();
        assert!(!connections.is_empty(), "only a group with members is notified");
        effects.push(Effect::NotifyConsumerIdsChanged { group: name.to_owned(), connections });
    }

    fn forget_if_idle(&mut self, connection: ConnectionId) {
        if self.connections.get(&connection).is_some_and(Known::is_idle) {
            self.connections.remove(&connection);
        }
    }
}

impl Known {
    fn is_idle(&self) -> bool {
        self.producers.is_empty() && self.consumers.is_empty()
    }
}

#[cfg(test)]
mod tests;

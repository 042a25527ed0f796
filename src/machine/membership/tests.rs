//! Stories: one rule each. Law: random clients against a model of who is there.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn seconds(seconds: u64) -> Mono {
    Mono(seconds * 1_000_000_000)
}

/// A consumer group and, for each topic, its tags and version.
type Group<'a> = (&'a str, &'a [(&'a str, &'a str, i64)]);

fn beat(client: &str, producers: &[&str], consumers: &[Group<'_>]) -> Heartbeat {
    let consumer = |(group, topics): &Group<'_>| Consumer {
        group: (*group).to_owned(),
        consume_type: ConsumeType::Passively,
        model: MessageModel::Clustering,
        from: ConsumeFrom::Last,
        unit_mode: false,
        subscriptions: topics
            .iter()
            .map(|(topic, tags, version)| Subscription::tags(topic, tags, *version))
            .collect(),
    };
    Heartbeat {
        client: ClientId::new(client),
        language: 0,
        version: 493,
        producer_groups: producers.iter().map(|group| (*group).to_owned()).collect(),
        consumer_groups: consumers.iter().map(consumer).collect(),
        fingerprint: 0,
        without_subscriptions: false,
    }
}

fn ids(membership: &Membership, group: &str) -> Vec<String> {
    membership.consumer_ids(group).into_iter().map(|id| id.0).collect()
}

fn notified(group: &str, connections: &[u64]) -> Effect {
    let connections = connections.iter().copied().map(ConnectionId).collect();
    Effect::NotifyConsumerIdsChanged { group: group.to_owned(), connections }
}

const ORDERS: &[(&str, &str, i64)] = &[("orders", "*", 1)];

#[test]
fn members_are_told_when_somebody_joins_or_leaves_and_not_otherwise() {
    let (mut there, mut effects) = (Membership::new(MembershipLimits::default()), Vec::new());
    let [a, b] = [beat("a", &[], &[("g", ORDERS)]), beat("b", &[], &[("g", ORDERS)])];
    there.heartbeat(seconds(0), ConnectionId(1), &a, &mut effects);
    let appeared = Effect::ConsumerGroupAppeared { group: "g".to_owned(), unit_mode: false };
    assert_eq!(effects, [appeared, notified("g", &[1])]);
    effects.clear();
    there.heartbeat(seconds(30), ConnectionId(1), &a, &mut effects);
    assert_eq!(effects, []);
    there.heartbeat(seconds(30), ConnectionId(2), &b, &mut effects);
    assert_eq!(effects, [notified("g", &[1, 2])]);
    effects.clear();
    there.on_closed(ConnectionId(1), &mut effects);
    assert_eq!(effects, [notified("g", &[2])]);
    effects.clear();
    there.unregister(ConnectionId(2), None, Some("g"), &mut effects);
    assert_eq!(effects, [Effect::ConsumerGroupGone { group: "g".to_owned() }]);
    there.check_invariants();
}

#[test]
fn a_reconnected_client_is_one_member_and_nobody_is_told() {
    let (mut there, mut effects) = (Membership::new(MembershipLimits::default()), Vec::new());
    let a = beat("a", &["p"], &[("g", ORDERS)]);
    there.heartbeat(seconds(0), ConnectionId(1), &a, &mut effects);
    effects.clear();
    there.heartbeat(seconds(1), ConnectionId(2), &a, &mut effects);
    assert_eq!((effects.len(), ids(&there, "g")), (0, vec!["a".to_owned()]));
    assert_eq!(there.connection_of(&ClientId::new("a")), Some(ConnectionId(2)), "the newer one is alive");
    there.on_closed(ConnectionId(1), &mut effects);
    assert_eq!(effects, []);
}

#[test]
fn silence_of_two_minutes_ends_a_membership() {
    let (mut there, mut effects) = (Membership::new(MembershipLimits::default()), Vec::new());
    there.heartbeat(seconds(0), ConnectionId(1), &beat("a", &["p"], &[("g", ORDERS)]), &mut effects);
    // Still there, but no longer in g: its unregister was lost.
    there.heartbeat(seconds(60), ConnectionId(1), &beat("a", &["p"], &[]), &mut effects);
    effects.clear();
    assert_eq!(there.next_deadline(), Some(seconds(120)));
    there.on_timer(seconds(119), &mut effects);
    assert_eq!(effects, []);
    there.on_timer(seconds(120), &mut effects);
    assert_eq!(effects, [Effect::ConsumerGroupGone { group: "g".to_owned() }]);
    effects.clear();
    there.on_timer(seconds(180), &mut effects);
    assert_eq!(effects, [Effect::ProducerGroupGone { group: "p".to_owned() }]);
    assert_eq!(there.next_deadline(), None);
    there.check_invariants();
}

#[test]
fn members_that_differ_do_not_break_each_others_subscriptions() {
    let (mut there, mut effects) = (Membership::new(MembershipLimits::default()), Vec::new());
    there.heartbeat(
        seconds(0),
        ConnectionId(1),
        &beat("a", &[], &[("g", &[("t", "x", 1), ("u", "*", 1)])]),
        &mut effects,
    );
    there.heartbeat(seconds(0), ConnectionId(2), &beat("b", &[], &[("g", &[("t", "y", 2)])]), &mut effects);
    effects.clear();
    // Again and again, without a change of anything.
    there.heartbeat(
        seconds(1),
        ConnectionId(1),
        &beat("a", &[], &[("g", &[("t", "x", 1), ("u", "*", 1)])]),
        &mut effects,
    );
    assert_eq!(effects, []);
    assert_eq!(
        there.subscription("g", "t").map(|one| one.expression.as_str()),
        Some("y"),
        "the newest counts"
    );
    assert!(there.subscription("g", "u").is_some(), "a topic of one member is a topic of the group");
    assert_eq!(there.mixed("g"), ["t"]);
    assert_eq!(there.groups_of_topic("u"), ["g"]);
    there.on_closed(ConnectionId(1), &mut effects);
    assert_eq!((there.subscription("g", "u"), there.mixed("g").len()), (None, 0));
}

#[test]
fn a_changed_subscription_is_told_and_a_newer_version_of_the_same_is_not() {
    let (mut there, mut effects) = (Membership::new(MembershipLimits::default()), Vec::new());
    there.heartbeat(
        seconds(0),
        ConnectionId(1),
        &beat("a", &[], &[("g", &[("t", "x||y", 1)])]),
        &mut effects,
    );
    effects.clear();
    there.heartbeat(
        seconds(1),
        ConnectionId(1),
        &beat("a", &[], &[("g", &[("t", "y || x", 2)])]),
        &mut effects,
    );
    assert_eq!(effects, []);
    there.heartbeat(seconds(2), ConnectionId(1), &beat("a", &[], &[("g", &[("t", "z", 3)])]), &mut effects);
    assert_eq!(effects, [notified("g", &[1])]);
}

#[test]
fn live_producers_are_asked_in_turn() {
    let (mut there, mut effects) = (Membership::new(MembershipLimits::default()), Vec::new());
    assert_eq!(there.next_producer("p"), None);
    for connection in 1..4 {
        let client = beat(&connection.to_string(), &["p"], &[]);
        there.heartbeat(seconds(0), ConnectionId(connection), &client, &mut effects);
    }
    let asked: Vec<u64> = (0..5).map(|_| there.next_producer("p").unwrap().0).collect();
    assert_eq!(asked, [1, 2, 3, 1, 2]);
    there.on_closed(ConnectionId(3), &mut effects);
    assert_eq!(there.next_producer("p"), Some(ConnectionId(1)));
    there.unregister(ConnectionId(1), Some("p"), None, &mut effects);
    assert_eq!(there.next_producer("p"), Some(ConnectionId(2)));
    assert_eq!(effects, []);
}

#[test]
fn a_client_that_came_back_is_not_asked_over_its_old_connection() {
    let (mut there, mut effects) = (Membership::new(MembershipLimits::default()), Vec::new());
    for (connection, client) in [(1, "a"), (2, "b"), (3, "a")] {
        there.heartbeat(seconds(0), ConnectionId(connection), &beat(client, &["p"], &[]), &mut effects);
    }
    let asked: Vec<u64> = (0..4).map(|_| there.next_producer("p").unwrap().0).collect();
    assert_eq!(asked, [2, 3, 2, 3]);
    there.on_closed(ConnectionId(3), &mut effects);
    assert_eq!(there.next_producer("p"), Some(ConnectionId(1)), "unless it is the only one left");
}

#[test]
fn who_was_heard_of_since_is_known_by_group_and_connection() {
    let (mut there, mut effects) = (Membership::new(MembershipLimits::default()), Vec::new());
    there.heartbeat(seconds(5), ConnectionId(1), &beat("a", &["p"], &[]), &mut effects);
    assert!(there.producer_heard_since("p", ConnectionId(1), seconds(4)));
    assert!(!there.producer_heard_since("p", ConnectionId(1), seconds(5)), "not after that");
    assert!(!there.producer_heard_since("p", ConnectionId(2), seconds(4)));
    assert!(!there.producer_heard_since("q", ConnectionId(1), seconds(4)));
}

#[test]
fn a_heartbeat_without_subscriptions_counts_if_its_fingerprint_is_known() {
    let (mut there, mut effects) = (Membership::new(MembershipLimits::default()), Vec::new());
    let full = Heartbeat { fingerprint: 77, ..beat("a", &["p"], &[("g", ORDERS)]) };
    let short = Heartbeat { without_subscriptions: true, ..full.clone() };
    let wanted = HeartbeatAnswer { subscriptions_wanted: true };
    assert_eq!(there.heartbeat(seconds(0), ConnectionId(1), &short, &mut effects), wanted);
    assert_eq!(there.heartbeat(seconds(1), ConnectionId(1), &full, &mut effects), HeartbeatAnswer::default());
    effects.clear();
    assert_eq!(
        there.heartbeat(seconds(100), ConnectionId(1), &short, &mut effects),
        HeartbeatAnswer::default()
    );
    there.on_timer(seconds(200), &mut effects);
    assert_eq!((effects.len(), ids(&there, "g").len()), (0, 1), "it was heard of at 100");
    let other = Heartbeat { fingerprint: 78, ..short.clone() };
    assert_eq!(there.heartbeat(seconds(201), ConnectionId(1), &other, &mut effects), wanted);
    assert_eq!(
        there.heartbeat(seconds(201), ConnectionId(2), &short, &mut effects),
        wanted,
        "per connection"
    );
}

#[derive(Clone, Debug)]
enum Step {
    Beat { connection: u64, groups: Vec<usize>, tag: usize, producer: bool },
    Closed { connection: u64 },
    Unregister { connection: u64, group: usize },
    Wait { seconds: u64 },
}

const GROUPS: [&str; 2] = ["g", "h"];
const TAGS: [&str; 3] = ["*", "a", "b"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..5u64, proptest::collection::vec(0..2usize, 0..3), 0..3usize, any::<bool>())
            .prop_map(|(connection, groups, tag, producer)| Step::Beat { connection, groups, tag, producer }),
        1 => (0..5u64).prop_map(|connection| Step::Closed { connection }),
        1 => (0..5u64, 0..2usize).prop_map(|(connection, group)| Step::Unregister { connection, group }),
        2 => (0..90u64).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// What the rules say: per group, who is there and what each wants.
#[derive(Clone, Debug, Default)]
struct Model {
    /// (group, connection) → tag, version, last heard of.
    consumers: BTreeMap<(usize, u64), (usize, i64, u64)>,
}

impl Model {
    /// Connections 0 and 3 are of one client, 1 and 4 of another.
    fn ids(&self, group: usize) -> BTreeSet<u64> {
        self.consumers.keys().filter(|key| key.0 == group).map(|key| key.1 % 3).collect()
    }

    fn tag(&self, group: usize) -> Option<usize> {
        let members = self.consumers.iter().filter(|(key, _)| key.0 == group);
        // Versions are distinct, so there is one newest.
        members.max_by_key(|(_, member)| member.1).map(|(_, member)| member.0)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_group_is_told_exactly_when_its_ids_or_its_subscription_changed(
        steps in proptest::collection::vec(step(), 0..100),
    ) {
        let mut there = Membership::new(MembershipLimits::default());
        let mut model = Model::default();
        let (mut now, mut version) = (0u64, 0i64);
        for step in steps {
            let before = model.clone();
            let mut effects = Vec::new();
            match step {
                Step::Beat { connection, groups, tag, producer } => {
                    version += 1;
                    let groups: BTreeSet<usize> = groups.into_iter().collect();
                    let topics = [("t", TAGS[tag], version)];
                    let named: Vec<Group<'_>> =
                        groups.iter().map(|group| (GROUPS[*group], &topics[..])).collect();
                    let producers: &[&str] = if producer { &["p"] } else { &[] };
                    let heartbeat = beat(&(connection % 3).to_string(), producers, &named);
                    there.heartbeat(seconds(now), ConnectionId(connection), &heartbeat, &mut effects);
                    for group in groups {
                        model.consumers.insert((group, connection), (tag, version, now));
                    }
                }
                Step::Closed { connection } => {
                    there.on_closed(ConnectionId(connection), &mut effects);
                    model.consumers.retain(|key, _| key.1 != connection);
                }
                Step::Unregister { connection, group } => {
                    there.unregister(ConnectionId(connection), None, Some(GROUPS[group]), &mut effects);
                    model.consumers.remove(&(group, connection));
                }
                Step::Wait { seconds: span } => {
                    now += span;
                    there.on_timer(seconds(now), &mut effects);
                    model.consumers.retain(|_, member| now < member.2 + 120);
                }
            }
            there.check_invariants();
            for (index, group) in GROUPS.into_iter().enumerate() {
                let changed = before.ids(index) != model.ids(index) || before.tag(index) != model.tag(index);
                let told = effects.iter().rev().find_map(|effect| match effect {
                    Effect::NotifyConsumerIdsChanged { group: of, connections } if of == group => Some(connections),
                    _ => None,
                });
                let members: Vec<ConnectionId> =
                    model.consumers.keys().filter(|key| key.0 == index).map(|key| ConnectionId(key.1)).collect();
                prop_assert_eq!(told.is_some(), changed && !members.is_empty(), "{}: {:?}", group, effects);
                prop_assert!(told.is_none_or(|told| *told == members), "all who are there are told");
                let gone = !before.ids(index).is_empty() && members.is_empty();
                let said = effects.contains(&Effect::ConsumerGroupGone { group: group.to_owned() });
                prop_assert_eq!(said, gone);
                let expected: Vec<String> = model.ids(index).iter().map(u64::to_string).collect();
                prop_assert_eq!(ids(&there, group), expected);
                let wanted = there.subscription(group, "t").map(|one| one.expression.as_str());
                prop_assert_eq!(wanted, model.tag(index).map(|tag| TAGS[tag]));
            }
        }
    }
}

//! Stories of single rules, and the laws that hold for any order of inputs.

use proptest::prelude::*;

use super::*;

fn identity(broker: &str, id: u64, addr: &str) -> Identity {
    Identity { cluster: "C".to_owned(), broker: broker.to_owned(), id, addr: addr.to_owned() }
}

fn queues(perm: u32) -> Queues {
    Queues { read: 8, write: 8, perm, sys_flag: 0 }
}

fn registration(identity: Identity, counter: i64, topics: &[&str]) -> Registration {
    Registration {
        identity,
        ha_addr: "ha:1".to_owned(),
        timeout_ms: None,
        acting_master: Some(false),
        version: Version { state: 0, timestamp: 0, counter },
        topics: topics.iter().map(|topic| ((*topic).to_owned(), queues(6))).collect(),
    }
}

fn route_with(broker: &str, addr: &str, origin: u64) -> Route {
    let mut route = Route::default();
    let table = registration(identity(broker, 0, addr), 1, &["T", "TBW102"]);
    route.register(Mono(0), Origin(origin), table).expect("a full table registers");
    route
}

fn write_perm(route: &Route, topic: &str) -> Option<u32> {
    route
        .topic_route(topic)
        .and_then(|found| found.queues.first().map(|(_, queues)| queues.perm & PERM_WRITE))
}

#[test]
fn a_late_unregister_of_a_former_life_changes_nothing() {
    let mut route = route_with("b", "a:1", 1);
    let again = registration(identity("b", 0, "a:1"), 2, &["T", "TBW102"]);
    route.register(Mono(5), Origin(2), again).expect("a newer connection replaces");
    assert!(!route.unregister(Origin(1), &identity("b", 0, "a:1")));
    assert!(route.closed(Origin(1)).is_empty());
    assert!(route.topic_route("T").is_some());
    assert!(route.unregister(Origin(2), &identity("b", 0, "a:1")));
    assert_eq!(route, Route::default());
}

#[test]
fn a_late_registration_of_a_former_life_is_refused() {
    let mut route = route_with("b", "a:1", 2);
    let late = registration(identity("b", 0, "a:1"), 9, &["OLD", "TBW102"]);
    assert_eq!(route.register(Mono(1), Origin(1), late), Err(RegisterError::Superseded));
    let moved = registration(identity("b", 0, "a:0"), 9, &["OLD", "TBW102"]);
    assert_eq!(route.register(Mono(1), Origin(1), moved), Err(RegisterError::Superseded));
    assert!(route.topic_route("OLD").is_none());
}

#[test]
fn a_closed_connection_removes_its_broker_at_once() {
    let mut route = route_with("b", "a:1", 7);
    assert_eq!(route.closed(Origin(7)), vec![identity("b", 0, "a:1")]);
    assert_eq!(route, Route::default());
}

#[test]
fn a_silent_broker_is_gone_when_its_timeout_has_passed_and_not_before() {
    let mut route = route_with("b", "a:1", 1);
    let due = route.next_deadline().expect("a broker can fall silent");
    assert_eq!(due, Mono(0).plus_ms(BROKER_TIMEOUT_MS));
    assert!(route.on_timer(Mono(due.0 - 1)).is_empty());
    assert!(route.heartbeat(Mono(1), Origin(1), "a:1"));
    assert!(route.on_timer(due).is_empty());
    let gone = route.on_timer(Mono(due.0 + 1));
    assert_eq!(gone, vec![Expired { identity: identity("b", 0, "a:1"), origin: Origin(1) }]);
    assert_eq!(route, Route::default());
}

#[test]
fn an_older_table_over_the_same_connection_is_a_sign_of_life_only() {
    let mut route = Route::default();
    let newest = registration(identity("b", 0, "a:1"), 5, &["T", "TBW102"]);
    route.register(Mono(0), Origin(1), newest).expect("registers");
    let older = registration(identity("b", 0, "a:1"), 4, &["OLD", "TBW102"]);
    route.register(Mono(9), Origin(1), older).expect("answered as alive");
    assert!(route.topic_route("OLD").is_none());
    assert_eq!(route.next_deadline(), Some(Mono(9).plus_ms(BROKER_TIMEOUT_MS)));
}

#[test]
fn the_parts_of_a_split_registration_share_one_version_and_all_count() {
    let mut route = route_with("b", "a:1", 1);
    for part in [["P1", "P2"], ["P3", "P4"]] {
        let part = registration(identity("b", 0, "a:1"), 2, &part);
        route.register(Mono(1), Origin(1), part).expect("registers");
    }
    assert_eq!(route.topics(), ["P1", "P2", "P3", "P4", "T", "TBW102"]);
}

#[test]
fn a_single_topic_registers_only_with_a_known_broker() {
    let mut route = Route::default();
    let single = registration(identity("b", 0, "a:1"), 2, &["NEW"]);
    assert_eq!(route.register(Mono(0), Origin(1), single.clone()), Err(RegisterError::TableMissing));
    let mut route = route_with("b", "a:1", 1);
    route.register(Mono(0), Origin(1), single).expect("a known broker adds a topic");
    assert!(route.topic_route("NEW").is_some());
}

#[test]
fn a_wiped_write_permission_lasts_until_the_table_changes() {
    let mut route = route_with("b", "a:1", 1);
    assert_eq!(route.wipe_write("b"), 2);
    assert_eq!(write_perm(&route, "T"), Some(0));
    let same = registration(identity("b", 0, "a:1"), 1, &["T", "TBW102"]);
    route.register(Mono(1), Origin(1), same).expect("registers");
    assert_eq!(write_perm(&route, "T"), Some(0));
    let changed = registration(identity("b", 0, "a:1"), 2, &["T", "TBW102"]);
    route.register(Mono(2), Origin(1), changed).expect("registers");
    assert_eq!(write_perm(&route, "T"), Some(PERM_WRITE));
    route.wipe_write("b");
    assert_eq!(route.add_write("b"), 2);
    assert_eq!(write_perm(&route, "T"), Some(PERM_WRITE));
}

#[test]
fn a_slave_learns_its_master_and_adds_no_topics() {
    let mut route = route_with("b", "a:1", 1);
    let slave = registration(identity("b", 1, "a:2"), 1, &["S1", "S2"]);
    let learnt = route.register(Mono(0), Origin(2), slave).expect("registers");
    let expected = Registered { ha_addr: Some("ha:1".to_owned()), master_addr: Some("a:1".to_owned()) };
    assert_eq!(learnt, expected);
    assert!(route.topic_route("S1").is_none());
    route.closed(Origin(1));
    assert!(route.topic_route("T").is_some(), "the slave still serves readers");
    route.check_invariants();
}

#[test]
fn an_acting_master_takes_no_writes() {
    let mut route = Route::default();
    for (id, addr, origin) in [(0, "a:1", 1), (1, "a:2", 2)] {
        let table = Registration {
            acting_master: Some(true),
            ..registration(identity("b", id, addr), 1, &["T", "TBW102"])
        };
        route.register(Mono(0), Origin(origin), table).expect("registers");
    }
    assert_eq!(write_perm(&route, "T"), Some(PERM_WRITE));
    route.closed(Origin(1));
    assert_eq!(write_perm(&route, "T"), Some(0));
}

#[test]
fn a_broker_that_reconnected_is_told_to_register_again() {
    let mut route = route_with("b", "a:1", 1);
    let version = Version { counter: 1, ..Version::default() };
    assert_eq!(route.query_version(Mono(1), Origin(1), "a:1", version), (false, Some(version)));
    assert_eq!(route.query_version(Mono(1), Origin(2), "a:1", version), (true, Some(version)));
    assert_eq!(route.query_version(Mono(1), Origin(2), "a:9", version), (true, None));
}

#[test]
fn a_topic_is_deleted_everywhere_or_in_one_cluster() {
    let mut route = route_with("b", "a:1", 1);
    route.delete_topic("T", Some("another"));
    assert!(route.topic_route("T").is_some());
    route.delete_topic("T", Some("C"));
    assert!(route.topic_route("T").is_none());
    assert!(route.register_topic("T", &[("b".to_owned(), queues(6))]));
    assert!(!route.register_topic("U", &[("nobody".to_owned(), queues(6))]));
    assert_eq!(route.topics_of_cluster("C"), ["T", "TBW102"]);
    assert_eq!(route.system_topics(), (vec!["C".to_owned(), "b".to_owned()], Some("a:1".to_owned())));
}

#[derive(Clone, Debug)]
enum Input {
    Register { broker: u8, id: u64, addr: u8, origin: u64, counter: i64, topics: Vec<u8> },
    Unregister { broker: u8, id: u64, addr: u8, origin: u64 },
    Closed(u64),
    Heartbeat { addr: u8, origin: u64 },
    Timer(u64),
    DeleteTopic(u8),
    Wipe(u8),
}

fn input() -> impl Strategy<Value = Input> {
    let topics = proptest::collection::vec(0u8..4, 0..4);
    prop_oneof![
        4 => (0u8..3, 0u64..2, 0u8..4, 0u64..6, 0i64..4, topics).prop_map(
            |(broker, id, addr, origin, counter, topics)| {
                Input::Register { broker, id, addr, origin, counter, topics }
            }
        ),
        1 => (0u8..3, 0u64..2, 0u8..4, 0u64..6)
            .prop_map(|(broker, id, addr, origin)| Input::Unregister { broker, id, addr, origin }),
        1 => (0u64..6).prop_map(Input::Closed),
        1 => (0u8..4, 0u64..6).prop_map(|(addr, origin)| Input::Heartbeat { addr, origin }),
        1 => (0u64..90_000).prop_map(Input::Timer),
        1 => (0u8..4).prop_map(Input::DeleteTopic),
        1 => (0u8..3).prop_map(Input::Wipe),
    ]
}

fn apply(route: &mut Route, now: &mut Mono, input: &Input) {
    match input {
        Input::Register { broker, id, addr, origin, counter, topics } => {
            let names: Vec<String> = topics.iter().map(|topic| format!("T{topic}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let identity = identity(&format!("b{broker}"), *id, &format!("a:{addr}"));
            let _ = route.register(*now, Origin(*origin), registration(identity, *counter, &names));
        }
        Input::Unregister { broker, id, addr, origin } => {
            let identity = identity(&format!("b{broker}"), *id, &format!("a:{addr}"));
            route.unregister(Origin(*origin), &identity);
        }
        Input::Closed(origin) => drop(route.closed(Origin(*origin))),
        Input::Heartbeat { addr, origin } => {
            route.heartbeat(*now, Origin(*origin), &format!("a:{addr}"));
        }
        Input::Timer(ms) => {
            *now = now.plus_ms(*ms);
            route.on_timer(*now);
            assert!(route.next_deadline().is_none_or(|due| *now < due), "nothing due is left behind");
        }
        Input::DeleteTopic(topic) => route.delete_topic(&format!("T{topic}"), None),
        Input::Wipe(broker) => drop(route.wipe_write(&format!("b{broker}"))),
    }
}

proptest! {
    #[test]
    fn a_route_lists_live_brokers_only_and_versions_never_go_back(
        inputs in proptest::collection::vec(input(), 1..60)
    ) {
        let (mut route, mut now) = (Route::default(), Mono(0));
        for input in &inputs {
            let before = route.live.clone();
            apply(&mut route, &mut now, input);
            route.check_invariants();
            for (addr, live) in &route.live {
                let same = before.get(addr).filter(|old| old.origin == live.origin);
                let same = same.filter(|old| (&old.broker, old.id) == (&live.broker, live.id));
                prop_assert!(same.is_none_or(|old| old.version <= live.version));
                let older = before.get(addr).is_some_and(|old| old.origin > live.origin);
                prop_assert!(!older, "an older connection took a registration over");
            }
        }
    }

    #[test]
    fn brokers_register_in_any_order(order in Just(vec![0u8, 1, 2, 3]).prop_shuffle()) {
        let mut route = Route::default();
        for n in &order {
            let identity = identity(&format!("b{n}"), 0, &format!("a:{n}"));
            let table = registration(identity, i64::from(*n), &["SHARED", "TBW102"]);
            route.register(Mono(0), Origin(u64::from(*n)), table).expect("registers");
        }
        let mut sorted = Route::default();
        for n in 0u8..4 {
            let identity = identity(&format!("b{n}"), 0, &format!("a:{n}"));
            let table = registration(identity, i64::from(n), &["SHARED", "TBW102"]);
            sorted.register(Mono(0), Origin(u64::from(n)), table).expect("registers");
        }
        prop_assert_eq!(route, sorted);
    }
}

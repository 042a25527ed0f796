//! Stories: one rule each. Law: random clients against a model of who may hold what.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn seconds(seconds: u64) -> Mono {
    Mono(seconds * 1_000_000_000)
}

fn queue(number: u32) -> TopicQueue {
    TopicQueue::new("orders", QueueId(number))
}

#[test]
fn a_queue_is_granted_to_one_client_until_its_span_is_over() {
    let mut order = Order::new(OrderLimits::default());
    let (a, b) = (ClientId::new("a"), ClientId::new("b"));
    let both = [queue(0), queue(1)];
    assert_eq!(order.lock(seconds(0), "g", &a, &both[..1]), [queue(0)]);
    assert_eq!(order.lock(seconds(1), "g", &b, &both), [queue(1)], "the rest is granted");
    assert_eq!(order.lock(seconds(1), "h", &b, &both), both, "another group is another matter");
    assert_eq!(order.lock(seconds(59), "g", &b, &both[..1]), []);
    assert_eq!(order.lock(seconds(60), "g", &b, &both[..1]), [queue(0)]);
    assert_eq!(order.lock(seconds(60), "g", &a, &both[..1]), []);
}

#[test]
fn renewing_extends_a_lease_and_a_late_request_does_not_shorten_it() {
    let mut order = Order::new(OrderLimits::default());
    let (a, b) = (ClientId::new("a"), ClientId::new("b"));
    order.lock(seconds(50), "g", &a, &[queue(0)]);
    order.lock(seconds(20), "g", &a, &[queue(0)]);
    assert_eq!(order.lock(seconds(109), "g", &b, &[queue(0)]), []);
    assert_eq!(order.lock(seconds(110), "g", &b, &[queue(0)]), [queue(0)]);
}

#[test]
fn only_the_holder_unlocks() {
    let mut order = Order::new(OrderLimits::default());
    let (a, b) = (ClientId::new("a"), ClientId::new("b"));
    order.lock(seconds(0), "g", &a, &[queue(0)]);
    order.unlock(seconds(1), "g", &b, &[queue(0)]);
    assert_eq!(order.holder(seconds(1), "g", &queue(0)), Some(&a));
    order.unlock(seconds(1), "g", &a, &[queue(0)]);
    assert_eq!(order.lock(seconds(1), "g", &b, &[queue(0)]), [queue(0)]);
}

#[test]
fn a_restart_does_not_hand_a_held_queue_to_somebody_else() {
    let mut order = Order::new(OrderLimits::default());
    let (a, b) = (ClientId::new("a"), ClientId::new("b"));
    order.lock(seconds(100), "g", &a, &[queue(0)]);
    let written = serde_json::to_string(&order.snapshot()).unwrap();
    assert_eq!(written, r#"[{"clientId":"a","group":"g","queueId":0,"topic":"orders"}]"#);
    let records: Vec<LeaseRecord> = serde_json::from_str(&written).unwrap();
    let mut order = Order::replay(OrderLimits::default(), seconds(5), records);
    assert_eq!(order.lock(seconds(6), "g", &b, &[queue(0)]), []);
    assert_eq!(order.lock(seconds(7), "g", &a, &[queue(0)]), [queue(0)]);
    assert!(order.is_orderly(seconds(66), "g") && !order.is_orderly(seconds(67), "g"));
}

#[test]
fn only_a_change_of_holder_is_worth_a_write() {
    let mut order = Order::new(OrderLimits { leases_max: 1, ..OrderLimits::default() });
    let a = ClientId::new("a");
    order.lock(seconds(0), "g", &a, &[queue(0)]);
    let changes = order.changes();
    order.lock(seconds(20), "g", &a, &[queue(0)]);
    assert_eq!(order.changes(), changes);
    assert_eq!(order.lock(seconds(20), "g", &a, &[queue(1)]), [], "leases are bounded");
    order.on_timer(seconds(80));
    assert!(order.is_empty() && order.changes() > changes);
}

#[test]
fn a_deleted_topic_or_group_has_no_leases() {
    let mut order = Order::new(OrderLimits::default());
    let a = ClientId::new("a");
    let other = TopicQueue::new("payments", QueueId(0));
    order.lock(seconds(0), "g", &a, &[queue(0), other.clone()]);
    order.lock(seconds(0), "h", &a, &[queue(0)]);
    order.delete_topic("orders");
    assert_eq!(order.snapshot().len(), 1);
    order.delete_group("g");
    assert!(order.is_empty() && order.holder(seconds(0), "g", &other).is_none());
    order.check_invariants();
}

#[derive(Clone, Debug)]
enum Step {
    Lock { client: u8, queues: Vec<u32> },
    Unlock { client: u8, queues: Vec<u32> },
    Wait { seconds: u64 },
    Sweep,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let queues = || proptest::collection::vec(0..3u32, 1..4);
    prop_oneof![
        4 => (0..3u8, queues()).prop_map(|(client, queues)| Step::Lock { client, queues }),
        2 => (0..3u8, queues()).prop_map(|(client, queues)| Step::Unlock { client, queues }),
        3 => (0..70u64).prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::Sweep),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_two_clients_may_believe_that_they_hold_a_queue(steps in proptest::collection::vec(step(), 0..100)) {
        let limits = OrderLimits::default();
        let mut order = Order::new(limits);
        let mut now = 0;
        // Queue → client and until when it may believe in its lease, which is never beyond the broker's own.
        let mut beliefs: BTreeMap<u32, (u8, u64)> = BTreeMap::new();
        for step in steps {
            let name = |client: u8| ClientId(client.to_string());
            match step {
                Step::Lock { client, queues } => {
                    let asked: Vec<TopicQueue> = queues.iter().map(|number| queue(*number)).collect();
                    let granted = order.lock(seconds(now), "g", &name(client), &asked);
                    for number in queues {
                        let other = beliefs.get(&number).is_some_and(|(who, until)| *who != client && now < *until);
                        prop_assert_eq!(granted.contains(&queue(number)), !other, "queue {}", number);
                        if !other {
                            beliefs.insert(number, (client, now + 60));
                        }
                    }
                }
                Step::Unlock { client, queues } => {
                    let given: Vec<TopicQueue> = queues.iter().map(|number| queue(*number)).collect();
                    order.unlock(seconds(now), "g", &name(client), &given);
                    beliefs.retain(|number, (who, _)| *who != client || !queues.contains(number));
                }
                Step::Wait { seconds } => now += seconds,
                Step::Sweep => {
                    order.on_timer(seconds(now));
                    prop_assert!(order.snapshot().len() <= beliefs.len());
                }
                Step::Restart => {
                    // What had run out but was not swept is granted again: late, never wrong.
                    for record in order.snapshot() {
                        let client = record.client_id.parse().unwrap();
                        beliefs.insert(record.queue_id.0, (client, now + 60));
                    }
                    order = Order::replay(limits, seconds(now), order.snapshot());
                }
            }
            order.check_invariants();
            for (number, (client, until)) in &beliefs {
                let holder = order.holder(seconds(now), "g", &queue(*number));
                prop_assert_eq!(holder.is_some(), now < *until);
                prop_assert!(holder.is_none_or(|holder| *holder == name(*client)));
            }
        }
    }
}

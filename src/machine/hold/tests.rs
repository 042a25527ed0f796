//! Stories: one rule each. Law: random pulls, messages, closed connections and clocks.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn pull(queue: u32, from: u64, tags: &str, connection: u64, deadline: u64) -> Pull {
    Pull {
        topic: "orders".to_owned(),
        queue: QueueId(queue),
        from: QueueOffset(from),
        filter: TagFilter::parse(tags),
        connection: ConnectionId(connection),
        deadline: Mono(deadline),
    }
}

fn code(tag: &str) -> i64 {
    crate::protocol::subscription::tag_code(tag)
}

fn answered(effects: &mut Vec<Effect<u32>>) -> Vec<(u32, Why)> {
    effects.drain(..).map(|Effect::Answer { token, why, .. }| (token, why)).collect()
}

#[test]
fn a_message_wakes_those_it_may_match_and_nobody_else() {
    let (mut hold, mut effects) = (Hold::new(HoldLimits::default()), Vec::new());
    hold.park(pull(0, 5, "*", 1, 100), QueueOffset(5), 1).unwrap();
    hold.park(pull(0, 5, "a || b", 1, 100), QueueOffset(5), 2).unwrap();
    hold.park(pull(0, 5, "c", 2, 100), QueueOffset(5), 3).unwrap();
    hold.park(pull(1, 5, "*", 2, 100), QueueOffset(5), 4).unwrap();
    hold.arrived("orders", QueueId(0), QueueOffset(5), code("a"), &mut effects);
    assert_eq!(answered(&mut effects), [(1, Why::Arrived), (2, Why::Arrived)]);
    hold.arrived("orders", QueueId(0), QueueOffset(6), 0, &mut effects);
    hold.arrived("payments", QueueId(0), QueueOffset(6), code("c"), &mut effects);
    assert_eq!(answered(&mut effects), [], "no tag is not tag c, and another topic is another topic");
    hold.arrived("orders", QueueId(0), QueueOffset(7), code("c"), &mut effects);
    assert_eq!(answered(&mut effects), [(3, Why::Arrived)]);
    hold.on_timer(Mono(99), &mut effects);
    assert_eq!(answered(&mut effects), []);
    hold.on_timer(Mono(100), &mut effects);
    assert_eq!(answered(&mut effects), [(4, Why::Expired)]);
    assert!(hold.is_empty());
}

#[test]
fn a_message_between_read_and_park_is_not_slept_through() {
    let mut hold = Hold::new(HoldLimits::default());
    assert_eq!(hold.park(pull(0, 5, "*", 1, 100), QueueOffset(6), 1), Err(NotParked::Arrived(1)));
    assert!(hold.is_empty());
}

#[test]
fn a_full_hold_gives_the_request_back() {
    let mut hold = Hold::new(HoldLimits { parked_max: 1 });
    hold.park(pull(0, 5, "*", 1, 100), QueueOffset(5), 1).unwrap();
    assert_eq!(hold.park(pull(0, 5, "*", 1, 100), QueueOffset(5), 2), Err(NotParked::Full(2)));
    hold.on_timer(Mono(100), &mut Vec::new());
    assert!(hold.park(pull(0, 5, "*", 1, 200), QueueOffset(5), 2).is_ok());
}

#[test]
fn a_stopping_broker_answers_everybody() {
    let (mut hold, mut effects) = (Hold::new(HoldLimits::default()), Vec::new());
    (0..3).for_each(|token| drop(hold.park(pull(token, 5, "*", 1, 100), QueueOffset(5), token)));
    hold.drain(&mut effects);
    assert_eq!(answered(&mut effects), [(0, Why::Stopped), (1, Why::Stopped), (2, Why::Stopped)]);
    assert_eq!(hold.next_deadline(), None);
}

#[derive(Clone, Debug)]
enum Step {
    Park { queue: u32, tag: usize, connection: u64, span: u64 },
    Message { queue: u32, tag: usize },
    Gone { connection: u64 },
    Wait { span: u64 },
}

/// Who is parked: queue, tag, connection, deadline.
type Waiting = (u32, usize, u64, u64);

const TAGS: [&str; 4] = ["*", "a", "b", "a||b"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3u32, 0..4usize, 0..4u64, 1..20u64)
            .prop_map(|(queue, tag, connection, span)| Step::Park { queue, tag, connection, span }),
        3 => (0..3u32, 1..3usize).prop_map(|(queue, tag)| Step::Message { queue, tag }),
        1 => (0..4u64).prop_map(|connection| Step::Gone { connection }),
        2 => (0..15u64).prop_map(|span| Step::Wait { span }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_parked_request_is_answered_once_by_its_deadline(steps in proptest::collection::vec(step(), 0..150)) {
        let (mut hold, mut effects) = (Hold::new(HoldLimits { parked_max: 10 }), Vec::new());
        let (mut now, mut ends, mut issued) = (0u64, [0u64; 3], 0u32);
        // Token → queue, tag, connection, deadline of who is parked, as the rules say.
        let mut parked: BTreeMap<u32, Waiting> = BTreeMap::new();
        for step in steps {
            let mut expected: Vec<(u32, Why)> = Vec::new();
            let mut leave = |why, leaves: &dyn Fn(&Waiting) -> bool| {
                let gone: Vec<u32> = parked.iter().filter(|(_, one)| leaves(one)).map(|(token, _)| *token).collect();
                parked.retain(|token, _| !gone.contains(token));
                expected.extend(gone.into_iter().map(|token| (token, why)));
            };
            match step {
                Step::Park { queue, tag, connection, span } => {
                    let end = QueueOffset(ends[queue as usize]);
                    let request = pull(queue, end.0, TAGS[tag], connection, now + span);
                    let outcome = hold.park(request, end, issued);
                    prop_assert_eq!(outcome.is_ok(), parked.len() < 10);
                    if outcome.is_ok() {
                        parked.insert(issued, (queue, tag, connection, now + span));
                    }
                    issued += 1;
                }
                Step::Message { queue, tag } => {
                    let offset = QueueOffset(ends[queue as usize]);
                    ends[queue as usize] += 1;
                    hold.arrived("orders", QueueId(queue), offset, code(TAGS[tag]), &mut effects);
                    leave(Why::Arrived, &|one| one.0 == queue && (one.1 == 0 || one.1 == 3 || one.1 == tag));
                }
                Step::Gone { connection } => {
                    hold.gone(ConnectionId(connection), &mut effects);
                    leave(Why::Gone, &|one| one.2 == connection);
                }
                Step::Wait { span } => {
                    now += span;
                    hold.on_timer(Mono(now), &mut effects);
                    leave(Why::Expired, &|one| one.3 <= now);
                }
            }
            hold.check_invariants();
            let mut answers = answered(&mut effects);
            answers.sort_by_key(|(token, _)| *token);
            prop_assert_eq!(answers, expected);
            prop_assert_eq!(hold.len(), parked.len());
            prop_assert_eq!(hold.next_deadline().map(|at| at.0), parked.values().map(|one| one.3).min());
        }
    }
}

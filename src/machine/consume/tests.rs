//! Stories of single rules, and the law that the commit offset is the least unsettled one.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn pulled(order: Order, count: u64) -> ProcessQueue<u64> {
    let mut queue = ProcessQueue::new(order, Window::default(), QueueOffset(10));
    let messages = (10..10 + count).map(|n| (QueueOffset(n), 100, n)).collect();
    assert!(queue.on_pulled(QueueOffset(10), messages, QueueOffset(10 + count)));
    queue
}

fn offsets(taken: &[Taken<u64>]) -> Vec<u64> {
    taken.iter().map(|taken| taken.offset.0).collect()
}

#[test]
fn the_commit_offset_waits_for_the_least_unsettled_message() {
    let mut queue = pulled(Order::Concurrent, 3);
    assert_eq!(offsets(&queue.take(Mono(0), 8)), [10, 11, 12]);
    queue.on_done(QueueOffset(11));
    queue.on_done(QueueOffset(12));
    assert_eq!(queue.commit(Mono(0)), Some(QueueOffset(10)));
    queue.on_done(QueueOffset(10));
    assert_eq!(queue.commit(Mono(0)), Some(QueueOffset(13)));
}

#[test]
fn a_pull_that_matched_nothing_moves_the_commit_offset_on() {
    let mut queue = pulled(Order::Concurrent, 0);
    assert!(queue.on_pulled(QueueOffset(10), vec![], QueueOffset(500)));
    assert_eq!(queue.commit(Mono(0)), Some(QueueOffset(500)));
}

#[test]
fn answers_that_make_no_sense_change_nothing() {
    let mut queue = pulled(Order::Concurrent, 1);
    let at = |offset| (QueueOffset(offset), 1, offset);
    assert!(!queue.on_pulled(QueueOffset(10), vec![], QueueOffset(12)), "not where we are");
    assert!(!queue.on_pulled(QueueOffset(11), vec![], QueueOffset(10)), "backwards");
    assert!(!queue.on_pulled(QueueOffset(11), vec![at(12), at(11)], QueueOffset(13)), "not ascending");
    assert!(!queue.on_pulled(QueueOffset(11), vec![at(13)], QueueOffset(13)), "beyond its own end");
    assert_eq!((queue.next_pull(), queue.len()), (QueueOffset(11), 1));
}

#[test]
fn a_failed_message_holds_the_commit_back_until_it_is_handled() {
    let mut queue = pulled(Order::Concurrent, 2);
    queue.take(Mono(0), 2);
    queue.on_done(QueueOffset(11));
    queue.on_failed(QueueOffset(10), Mono(50));
    assert!(queue.take(Mono(49), 2).is_empty());
    assert_eq!((queue.next_deadline(), queue.commit(Mono(49))), (Some(Mono(50)), Some(QueueOffset(10))));
    let again = queue.take(Mono(50), 2);
    assert_eq!((again[0].offset, again[0].failures), (QueueOffset(10), 1));
    queue.on_done(QueueOffset(10));
    assert_eq!(queue.commit(Mono(50)), Some(QueueOffset(12)));
}

#[test]
fn an_ordered_queue_handles_one_batch_at_a_time_and_only_under_its_lease() {
    let mut queue = pulled(Order::Orderly, 3);
    assert!(queue.take(Mono(0), 1).is_empty(), "no lease yet");
    queue.on_locked(Mono(0));
    assert_eq!(offsets(&queue.take(Mono(1), 1)), [10]);
    assert!(queue.take(Mono(1), 1).is_empty(), "one at a time");
    queue.on_failed(QueueOffset(10), Mono(1000));
    assert!(queue.take(Mono(2), 1).is_empty(), "11 never starts before 10 is settled");
    assert_eq!(offsets(&queue.take(Mono(1000), 2)), [10, 11]);
    queue.on_done(QueueOffset(10));
    queue.on_done(QueueOffset(11));
    let end = Mono(0).plus_ms(LEASE_MS);
    assert!(queue.take(end, 1).is_empty(), "the lease has ended");
    assert_eq!(queue.commit(end), None, "somebody else may be further");
    queue.on_locked(end);
    assert_eq!(queue.commit(end), Some(QueueOffset(12)));
    queue.on_lock_refused();
    assert!(queue.take(end, 1).is_empty());
}

#[test]
fn a_revoked_queue_hands_nothing_out_and_waits_for_its_handlers() {
    let mut queue = pulled(Order::Orderly, 2);
    queue.on_locked(Mono(0));
    queue.take(Mono(0), 1);
    queue.revoke();
    assert!(!queue.idle());
    assert!(!queue.on_pulled(QueueOffset(12), vec![], QueueOffset(13)));
    queue.on_done(QueueOffset(10));
    assert!(queue.idle() && queue.take(Mono(0), 1).is_empty());
    assert_eq!(queue.commit(Mono(0)), Some(QueueOffset(11)), "the lock is still ours");
    let mut queue = pulled(Order::Concurrent, 1);
    queue.revoke();
    assert_eq!(queue.commit(Mono(0)), None);
}

#[test]
fn the_window_bounds_messages_bytes_and_span() {
    let at = |offset, bytes| (QueueOffset(offset), bytes, offset);
    let window = Window { messages_max: 2, bytes_max: 100, span_max: 50 };
    let full = |messages: Vec<(QueueOffset, usize, u64)>, order| {
        let mut queue = ProcessQueue::new(order, window, QueueOffset(0));
        assert!(queue.on_pulled(QueueOffset(0), messages, QueueOffset(1000)));
        queue.full()
    };
    assert_eq!(full(vec![at(0, 1)], Order::Concurrent), None);
    assert_eq!(full(vec![at(0, 1), at(1, 1)], Order::Concurrent), Some(Full::Messages));
    assert_eq!(full(vec![at(0, 100)], Order::Concurrent), Some(Full::Bytes));
    let roomy = Window { messages_max: 9, ..window };
    for (order, expected) in [(Order::Concurrent, Some(Full::Span)), (Order::Orderly, None)] {
        let mut queue = ProcessQueue::new(order, roomy, QueueOffset(0));
        queue.on_pulled(QueueOffset(0), vec![at(0, 1), at(50, 1)], QueueOffset(51));
        assert_eq!(queue.full(), expected);
    }
}

#[derive(Clone, Debug)]
enum Input {
    Pull { gaps: Vec<u64>, tail: u64 },
    Take(usize),
    Done(usize),
    Failed(usize, u64),
    Pass(u64),
    Lock,
    LockRefused,
    Revoke,
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        3 => (proptest::collection::vec(0u64..3, 0..5), 0u64..4)
            .prop_map(|(gaps, tail)| Input::Pull { gaps, tail }),
        3 => (1usize..4).prop_map(Input::Take),
        4 => (0usize..8).prop_map(Input::Done),
        2 => (0usize..8, 0u64..40_000).prop_map(|(nth, ms)| Input::Failed(nth, ms)),
        2 => (0u64..20_000).prop_map(Input::Pass),
        2 => Just(Input::Lock),
        1 => Just(Input::LockRefused),
        1 => Just(Input::Revoke),
    ]
}

/// What the queue should know, said in the plainest way.
#[derive(Default)]
struct Model {
    unsettled: BTreeSet<u64>,
    running: BTreeSet<u64>,
    now: Mono,
}

fn apply(queue: &mut ProcessQueue<u64>, model: &mut Model, order: Order, input: &Input) {
    let nth = |model: &Model, nth: usize| model.running.iter().nth(nth).copied();
    match input {
        Input::Pull { gaps, tail } => {
            let begin = queue.next_pull();
            let mut next = begin.0;
            let offsets: Vec<u64> = gaps
                .iter()
                .map(|gap| {
                    let offset = next + gap;
                    next = offset + 1;
                    offset
                })
                .collect();
            let messages = offsets.iter().map(|offset| (QueueOffset(*offset), 1, *offset)).collect();
            if queue.on_pulled(begin, messages, QueueOffset(next + tail)) {
                model.unsettled.extend(offsets);
            }
        }
        Input::Take(max) => {
            let due = queue.due(model.now);
            let before = model.running.len();
            for taken in queue.take(model.now, *max) {
                assert!(model.unsettled.contains(&taken.offset.0), "a settled message came again");
                assert!(model.running.insert(taken.offset.0), "a running message was handed out again");
                assert!(!queue.revoked() && queue.leased(model.now));
            }
            assert_eq!(due, model.running.len() > before, "due says whether something is handed out");
            if order == Order::Orderly {
                let head: BTreeSet<u64> = model.unsettled.iter().take(model.running.len()).copied().collect();
                assert_eq!(head, model.running, "an ordered batch is the head of its queue");
            }
        }
        Input::Done(index) => {
            // An ordered batch is settled from its head, as its driver does.
            let index = if order == Order::Orderly { 0 } else { *index };
            if let Some(offset) = nth(model, index) {
                queue.on_done(QueueOffset(offset));
                model.running.remove(&offset);
                model.unsettled.remove(&offset);
            }
        }
        Input::Failed(index, ms) => {
            let index = if order == Order::Orderly { model.running.len().wrapping_sub(1) } else { *index };
            if let Some(offset) = nth(model, index) {
                queue.on_failed(QueueOffset(offset), model.now.plus_ms(*ms));
                model.running.remove(&offset);
            }
        }
        Input::Pass(ms) => model.now = model.now.plus_ms(*ms),
        Input::Lock if order == Order::Orderly => queue.on_locked(model.now),
        Input::LockRefused => queue.on_lock_refused(),
        Input::Lock => {}
        Input::Revoke => queue.revoke(),
    }
}

proptest! {
    #[test]
    fn the_commit_offset_is_the_least_unsettled_and_never_goes_back(
        inputs in proptest::collection::vec(input(), 1..80),
        ordered in any::<bool>(),
    ) {
        let order = if ordered { Order::Orderly } else { Order::Concurrent };
        let mut queue = ProcessQueue::new(order, Window::default(), QueueOffset(0));
        let mut model = Model::default();
        for input in &inputs {
            let before = queue.settled_below();
            apply(&mut queue, &mut model, order, input);
            queue.check_invariants();
            let least = model.unsettled.first().copied().unwrap_or(queue.next_pull().0);
            prop_assert_eq!(queue.settled_below().0, least);
            prop_assert!(before <= queue.settled_below());
            prop_assert_eq!(queue.idle(), model.running.is_empty());
            let committed = queue.commit(model.now);
            prop_assert!(committed.is_none_or(|offset| offset.0 <= least));
            prop_assert!(committed.is_none() || order == Order::Orderly || !queue.revoked());
        }
    }
}

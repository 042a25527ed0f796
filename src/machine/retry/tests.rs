//! Stories: PROTOCOL's table of send-backs, row by row. Law: how often a message is tried.

use proptest::prelude::*;

use super::*;
use crate::protocol::Properties;

const GROUP: GroupRetry = GroupRetry { max: 16, queues: 1, permitted: true };

fn request() -> SendBack<'static> {
    SendBack {
        group: "g",
        delay_level: 0,
        client_max: None,
        client_version: 493,
        reconsume_times: 0,
        topic: "orders",
        retry_topic: None,
        origin_message_id: None,
        message_id: "ID",
        draw: 0,
    }
}

fn send() -> RetrySend<'static> {
    RetrySend {
        group: "g",
        reconsume_times: 1,
        client_max: None,
        client_version: 493,
        topic: "%RETRY%g",
        retry_topic: Some("orders"),
        origin_message_id: Some("ID"),
        orderly: false,
    }
}

fn applied(edits: &[PropertyEdit]) -> Properties {
    let mut properties = Properties::default();
    properties.set("DELAY", "9");
    PropertyEdit::apply(edits, &mut properties);
    properties
}

#[test]
fn a_first_failure_waits_at_level_three_and_remembers_where_it_came_from() {
    let outcome = send_back(&request(), Some(GROUP)).unwrap();
    let Outcome::Retry { topic, queue, delay_level, reconsume_times, edits } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((topic.as_str(), queue, delay_level, reconsume_times), ("%RETRY%g", QueueId(0), 3, 1));
    let properties = applied(&edits);
    assert_eq!(properties.value("RETRY_TOPIC"), Some("orders"));
    assert_eq!(properties.value("ORIGIN_MESSAGE_ID"), Some("ID"));
    assert_eq!(properties.value("DELAY"), Some("3"));
}

#[test]
fn a_second_failure_keeps_the_first_topic_and_id() {
    let again = SendBack {
        reconsume_times: 1,
        topic: "%RETRY%g",
        retry_topic: Some("orders"),
        origin_message_id: Some("FIRST"),
        ..request()
    };
    let Outcome::Retry { delay_level, edits, .. } = send_back(&again, Some(GROUP)).unwrap() else { panic!() };
    assert_eq!(delay_level, 4);
    let properties = applied(&edits);
    assert_eq!(properties.value("RETRY_TOPIC"), Some("orders"));
    assert_eq!(properties.value("ORIGIN_MESSAGE_ID"), Some("FIRST"));
}

#[test]
fn a_dead_letter_is_not_delayed_and_says_where_it_came_from() {
    for dead in [SendBack { reconsume_times: 16, ..request() }, SendBack { delay_level: -1, ..request() }] {
        let Outcome::DeadLetter { topic, queue, edits, .. } = send_back(&dead, Some(GROUP)).unwrap() else {
            panic!()
        };
        assert_eq!((topic.as_str(), queue), ("%DLQ%g", QueueId(0)));
        let properties = applied(&edits);
        assert_eq!(properties.value("DELAY"), None);
        assert_eq!(properties.value("DLQ_ORIGIN_TOPIC"), Some("orders"));
        assert_eq!(properties.value("DLQ_ORIGIN_MESSAGE_ID"), Some("ID"));
    }
}

#[test]
fn the_clients_own_limit_counts_from_the_version_that_has_one() {
    let limited = SendBack { client_max: Some(2), reconsume_times: 2, ..request() };
    assert!(matches!(send_back(&limited, Some(GROUP)), Ok(Outcome::DeadLetter { .. })));
    let old = SendBack { client_version: VERSION_WITH_CLIENT_LIMIT - 1, ..limited };
    assert!(matches!(send_back(&old, Some(GROUP)), Ok(Outcome::Retry { .. })));
}

#[test]
fn the_client_may_choose_the_level() {
    let chosen = SendBack { delay_level: 7, reconsume_times: 5, ..request() };
    assert!(matches!(send_back(&chosen, Some(GROUP)), Ok(Outcome::Retry { delay_level: 7, .. })));
}

#[test]
fn what_may_not_be_retried_is_refused_or_dropped() {
    assert_eq!(send_back(&request(), None), Err(RetryError::GroupUnknown));
    let silent = GroupRetry { permitted: false, ..GROUP };
    assert_eq!(send_back(&request(), Some(silent)), Err(RetryError::NotPermitted));
    for queues in [0, -1] {
        assert_eq!(send_back(&request(), Some(GroupRetry { queues, ..GROUP })), Ok(Outcome::Dropped));
    }
    assert_eq!(retry_send(&send(), None), Err(RetryError::GroupUnknown));
}

#[test]
fn a_send_to_the_retry_topic_is_stored_while_attempts_are_left() {
    assert_eq!(retry_send(&RetrySend { reconsume_times: 16, ..send() }, Some(GROUP)), Ok(Outcome::Store));
    for dead in [RetrySend { reconsume_times: 17, ..send() }, RetrySend { orderly: true, ..send() }] {
        let Outcome::DeadLetter { topic, edits, .. } = retry_send(&dead, Some(GROUP)).unwrap() else {
            panic!()
        };
        assert_eq!(topic, "%DLQ%g");
        assert_eq!(applied(&edits).value("DELAY"), None);
        assert_eq!(applied(&edits).value("DLQ_ORIGIN_TOPIC"), Some("orders"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_message_that_always_fails_is_tried_once_more_than_the_limit_at_growing_levels(
        max in 0..20i32, client_max in proptest::option::of(0..20i32), queues in 1..5i32, draw: u64,
    ) {
        let group = GroupRetry { max, queues, permitted: true };
        let (mut attempts, mut level, mut reconsume_times) = (1, 0, 0);
        loop {
            let request = SendBack { reconsume_times, client_max, draw, ..request() };
            match send_back(&request, Some(group)).unwrap() {
                Outcome::Retry { delay_level, reconsume_times: counted, queue, .. } => {
                    prop_assert!(level < delay_level && queue.0 < queues as u32);
                    prop_assert_eq!(counted, reconsume_times + 1);
                    (level, reconsume_times) = (delay_level, counted);
                    attempts += 1;
                }
                Outcome::DeadLetter { .. } => break,
                outcome => prop_assert!(false, "{:?}", outcome),
            }
        }
        prop_assert_eq!(attempts, client_max.unwrap_or(max) + 1);
    }

    #[test]
    fn odd_numbers_from_a_client_are_decided_on_too(
        delay_level: i32, client_max in proptest::option::of(any::<i32>()), client_version: i32,
        reconsume_times: i32, draw: u64, max: i32, queues: i32,
    ) {
        let group = Some(GroupRetry { max, queues, permitted: true });
        let request = SendBack { delay_level, client_max, client_version, reconsume_times, draw, ..request() };
        let outcome = send_back(&request, group).unwrap();
        prop_assert_eq!(outcome == Outcome::Dropped, queues <= 0);
        let send = RetrySend { client_max, client_version, reconsume_times, ..send() };
        let stored_or_dead = matches!(retry_send(&send, group).unwrap(), Outcome::Store | Outcome::DeadLetter { .. });
        prop_assert!(stored_or_dead);
    }
}

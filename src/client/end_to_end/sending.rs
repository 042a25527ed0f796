//! Producers and pull consumers.

use staticfire::base::QueueOffset;
use staticfire::client::Message;
use staticfire::client::PullStatus;
use staticfire::client::SendStatus;

use crate::fixture::body;
use crate::fixture::numbered;
use crate::fixture::numbers;
use crate::fixture::run;

#[test]
fn what_is_sent_is_found_where_the_receipt_says() {
    run(
        "receipt",
        |_| {},
        |cluster| async move {
            let client = cluster.client().await;
            let producer = cluster.producer(&client, "P").await;
            let long = "static fire ".repeat(2_000);
            let message = Message::new("Receipts", long.clone()).with_tag("A").with_keys(["k1", "k2"]);
            let receipt = producer.send(message.with_property("colour", "red")).await.expect("it is stored");
            assert_eq!(receipt.status, SendStatus::Ok);
            let consumer = client.pull_consumer("G").start().await.expect("it starts");
            let pulled = consumer.pull(&receipt.queue, receipt.offset, 32).await.expect("the broker answers");
            assert_eq!((pulled.status, pulled.messages.len()), (PullStatus::Found, 1));
            let found = &pulled.messages[0];
            assert_eq!((found.id(), body(found)), (receipt.message_id.clone(), long), "folded and unfolded");
            assert_eq!((found.tag(), found.property("colour")), (Some("A"), Some("red")));
            assert_eq!(found.keys().collect::<Vec<_>>(), ["k1", "k2"]);
            assert_eq!(found.received().offset_message_id(), receipt.offset_message_id);
            assert!(found.received().stored_bytes < 2_000, "it was compressed on its way");
            let end = consumer.pull(&receipt.queue, pulled.next, 32).await.expect("the broker answers");
            assert_eq!((end.status, end.max), (PullStatus::NothingNew, receipt.offset.plus(1)));
        },
    );
}

#[test]
fn sends_take_turns_over_the_queues_and_batches_stay_together() {
    run(
        "turns",
        |_| {},
        |cluster| async move {
            let client = cluster.client().await;
            let producer = cluster.producer(&client, "P").await;
            let mut counts = [0; 4];
            for number in 0..8 {
                let receipt = producer.send(numbered("Turns", number)).await.expect("it is stored");
                counts[receipt.queue.id.0 as usize] += 1;
            }
            assert_eq!(counts, [2; 4]);
            let batch = (0..50).map(|number| numbered("Batches", number)).collect();
            let receipt = producer.send_batch(batch).await.expect("it is stored");
            assert_eq!(receipt.message_id.split(',').count(), 50);
            let consumer = client.pull_consumer("G").start().await.expect("it starts");
            let (mut at, mut found) = (receipt.offset, Vec::new());
            while found.len() < 50 {
                let pulled = consumer.pull(&receipt.queue, at, 32).await.expect("the broker answers");
                found.extend(pulled.messages.iter().map(body));
                at = pulled.next;
            }
            assert_eq!(found, numbers(0..50));
        },
    );
}

#[test]
fn a_pull_consumer_seeks_commits_and_finds_its_offset_again() {
    run(
        "seek",
        |_| {},
        |cluster| async move {
            let client = cluster.client().await;
            let producer = cluster.producer(&client, "P").await;
            for number in 0..10 {
                producer.send_to(numbered("Seeking", number), |_| 0).await.expect("it is stored");
            }
            let consumer = client.pull_consumer("G").start().await.expect("it starts");
            let queue = consumer.queues("Seeking").await.expect("it exists").remove(0);
            let first: Vec<String> =
                consumer.poll(&queue, 4).await.expect("a poll").iter().map(body).collect();
            assert_eq!(first, numbers(0..4));
            consumer.commit(&queue, QueueOffset(4)).await.expect("it is committed");
            assert_eq!(consumer.committed(&queue).await.expect("an answer"), Some(QueueOffset(4)));
            consumer.seek(&queue, QueueOffset(8));
            let sought: Vec<String> =
                consumer.poll(&queue, 4).await.expect("a poll").iter().map(body).collect();
            assert_eq!(sought, numbers(8..10));
            let again = client.pull_consumer("G").start().await.expect("it starts");
            let resumed: Vec<String> =
                again.poll(&queue, 32).await.expect("a poll").iter().map(body).collect();
            assert_eq!(resumed, numbers(4..10));
            assert_eq!(again.max_offset(&queue).await.expect("an answer"), QueueOffset(10));
        },
    );
}

#[test]
fn a_message_is_found_by_key_and_by_id_in_whichever_queue() {
    run(
        "by-key",
        |_| {},
        |cluster| async move {
            let client = cluster.client().await;
            let producer = cluster.producer(&client, "P").await;
            let mut ids = Vec::new();
            for number in 0..6 {
                let key = format!("k{}", number % 2);
                let message = numbered("Keyed", number).with_keys(["all", key.as_str()]);
                ids.push(producer.send(message).await.expect("it is stored").message_id);
            }
            let consumer = client.pull_consumer("G").tags("none").start().await.expect("it starts");
            let queue = consumer.queues("Keyed").await.expect("it exists").remove(0);
            let found = async |key: &str, max| {
                let found = consumer.query(&queue, key, max).await.expect("an answer");
                found.iter().map(body).collect::<Vec<_>>()
            };
            assert_eq!(found("all", 64).await, numbers(0..6));
            assert_eq!(found("all", 2).await, numbers(4..6));
            assert_eq!(found("k1", 1).await, numbers(5..6));
            assert_eq!(found(&ids[3], 64).await, numbers(3..4));
            assert_eq!(found("k2", 64).await, [""; 0]);
        },
    );
}

#[test]
fn an_oneway_message_arrives_when_nothing_breaks() {
    run(
        "oneway",
        |_| {},
        |cluster| async move {
            let client = cluster.client().await;
            let producer = cluster.producer(&client, "P").await;
            producer.send_oneway(numbered("Oneway", 7)).await.expect("it is on its way");
            let consumer = client.pull_consumer("G").start().await.expect("it starts");
            let found = loop {
                let mut found = Vec::new();
                for queue in consumer.queues("Oneway").await.unwrap_or_default() {
                    found.extend(consumer.poll(&queue, 32).await.unwrap_or_default());
                }
                if let Some(message) = found.pop() {
                    break message;
                }
                cluster.env.sleep_ms(20).await;
            };
            assert_eq!(body(&found), "0007");
        },
    );
}

#[test]
fn a_failed_send_says_what_happened_and_what_to_look_at() {
    let refuse_unknown = |config: &mut staticfire::broker::config::Config| config.auto_create_topic = false;
    run("failed", refuse_unknown, |mut cluster| async move {
        let client = cluster.client().await;
        let producer = client.producer("P").timeout_ms(1_000).start().await.expect("it starts");
        let error = producer.send(numbered("Nowhere", 1)).await.expect_err("nobody has that topic");
        let words = error.to_string();
        assert!(words.contains("topic Nowhere does not exist"), "{words}");
        assert!(words.ends_with("(autoCreateTopicEnable)"), "{words}");
        let error = producer.send(Message::new("Nowhere", "")).await.expect_err("an empty body");
        assert!(error.to_string().contains("the body is empty"), "{error}");
        let known = cluster.config.broker_name.clone();
        while producer.queues(&known).await.is_err() {
            cluster.env.sleep_ms(10).await;
        }
        drop(cluster.broker.take());
        // The first one may leave on the connection that is about to break.
        let _ = producer.send(numbered(&known, 1)).await;
        let error = producer.send(numbered(&known, 1)).await.expect_err("the broker is gone");
        assert_eq!((error.attempts, error.may_be_stored), (3, false), "{error}");
        assert!(error.to_string().contains("cannot connect to 127.0.0.1"), "{error}");
    });
}

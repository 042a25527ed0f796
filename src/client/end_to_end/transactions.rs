//! Transactions: what commits is seen once, what rolls back never, what is undecided is asked about.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use staticfire::broker;
use staticfire::client::ConsumeFrom;
use staticfire::client::ConsumeResult;
use staticfire::client::Decision;
use staticfire::client::Message;
use staticfire::client::ReceivedMessage;
use staticfire::client::TransactionListener;
use staticfire::env::BoxFuture;

use crate::fixture::Seen;
use crate::fixture::body;
use crate::fixture::run;

/// Decides by the body: `commit`, `rollback`, or `later` and by the number of checks.
#[derive(Clone, Default)]
struct ByBody {
    checks: Arc<Mutex<BTreeMap<String, u32>>>,
}

impl TransactionListener for ByBody {
    fn execute<'a>(&'a self, message: &'a Message, transaction_id: &'a str) -> BoxFuture<'a, Decision> {
        assert_eq!(message.unique_id(), Some(transaction_id));
        Box::pin(async move {
            match &*message.body {
                b"commit" => Decision::Commit,
                b"rollback" => Decision::Rollback,
                _ => Decision::Unknown,
            }
        })
    }

    fn check<'a>(&'a self, message: &'a ReceivedMessage) -> BoxFuture<'a, Decision> {
        Box::pin(async move {
            let body = String::from_utf8_lossy(&message.message.body).into_owned();
            assert_eq!(message.message.topic, "Transactions", "a check shows the real topic");
            let mut checks = self.checks.lock();
            let count = checks.entry(body.clone()).or_insert(0);
            *count += 1;
            match (&*body, *count) {
                ("later", 1) => Decision::Unknown,
                ("later" | "orphan", _) => Decision::Commit,
                _ => Decision::Rollback,
            }
        })
    }
}

fn impatient(config: &mut broker::config::Config) {
    config.transaction_timeout_ms = 200;
    config.transaction_check_interval_ms = 200;
}

#[test]
fn each_transaction_is_settled_as_its_producer_says() {
    run("transactions", impatient, |cluster| async move {
        let client = cluster.client().await;
        let seen = Seen::new(&cluster.env);
        let listener = ByBody::default();
        cluster.producer(&client, "Warm").await.stop().await;
        let producer = client.producer("T").start_transactional(listener.clone()).await.expect("it starts");
        for text in ["commit", "rollback", "later", "never"] {
            let message = Message::new("Transactions", text).with_tag("T");
            producer.send_in_transaction(message).await.expect("the half message is stored");
        }
        let noting = seen.clone();
        let consumer = client
            .push_consumer("G")
            .subscribe("Transactions", "T")
            .consume_from(ConsumeFrom::First)
            .suspend_ms(1_000)
            .rebalance_ms(200)
            .handler(move |messages| {
                let seen = noting.clone();
                async move {
                    seen.note_bodies(&messages);
                    ConsumeResult::Done
                }
            })
            .start()
            .await
            .expect("a consumer starts");
        seen.wait_for(2).await;
        crate::fixture::until(&cluster.env, "both undecided ones were asked about", || {
            let checks = listener.checks.lock();
            checks.get("later").is_some_and(|count| *count >= 2) && checks.contains_key("never")
        })
        .await;
        producer
            .producer()
            .send(Message::new("Transactions", "plain").with_tag("T"))
            .await
            .expect("it is stored");
        seen.wait_for(3).await;
        assert_eq!(seen.sorted(), ["commit", "later", "plain"]);
        consumer.stop().await;
        producer.stop().await;
    });
}

#[test]
fn another_member_of_the_group_answers_for_one_that_died() {
    run("orphan", impatient, |cluster| async move {
        let (one, two) = (cluster.client().await, cluster.client().await);
        cluster.producer(&one, "Warm").await.stop().await;
        cluster.producer(&two, "Warm").await.stop().await;
        let dying = one.producer("T").start_transactional(ByBody::default()).await.expect("it starts");
        dying.send_in_transaction(Message::new("Transactions", "orphan")).await.expect("stored");
        drop(dying);
        drop(one);
        let listener = ByBody::default();
        let heir = two.producer("T").start_transactional(listener.clone()).await.expect("it starts");
        let reader = two.pull_consumer("reader").start().await.expect("it starts");
        let found = 'found: loop {
            for queue in reader.queues("Transactions").await.unwrap_or_default() {
                if let Some(message) = reader.poll(&queue, 32).await.unwrap_or_default().pop() {
                    break 'found message;
                }
            }
            cluster.env.sleep_ms(20).await;
        };
        assert_eq!(body(&found), "orphan");
        assert!(listener.checks.lock().contains_key("orphan"), "the heir was asked");
        heir.stop().await;
    });
}

/// Commits what it is asked about, and nothing else.
#[derive(Clone, Default)]
struct Heir {
    asked: Arc<Mutex<Vec<String>>>,
}

impl TransactionListener for Heir {
    fn execute<'a>(&'a self, _: &'a Message, _: &'a str) -> BoxFuture<'a, Decision> {
        Box::pin(async { Decision::Unknown })
    }

    fn check<'a>(&'a self, message: &'a ReceivedMessage) -> BoxFuture<'a, Decision> {
        Box::pin(async move {
            self.asked.lock().push(String::from_utf8_lossy(&message.message.body).into_owned());
            Decision::Commit
        })
    }
}

#[test]
fn an_heir_that_never_sent_anything_is_asked_where_topics_are_not_made_up() {
    let strict = |config: &mut broker::config::Config| {
        impatient(config);
        config.auto_create_topic = false;
    };
    run("silent-heir", strict, |cluster| async move {
        let topic = cluster.config.broker_name.clone();
        let one = cluster.client().await;
        let dying = one.producer("T").start_transactional(Heir::default()).await.expect("it starts");
        while dying.producer().queues(&topic).await.is_err() {
            cluster.env.sleep_ms(10).await;
        }
        dying.send_in_transaction(Message::new(&topic, "orphan")).await.expect("stored");
        drop(dying);
        drop(one);
        let listener = Heir::default();
        let two = cluster.client().await;
        let heir = two.producer("T").start_transactional(listener.clone()).await.expect("it starts");
        let asked = || listener.asked.lock().iter().any(|body| body == "orphan");
        crate::fixture::until(&cluster.env, "the heir was asked", asked).await;
        heir.stop().await;
    });
}

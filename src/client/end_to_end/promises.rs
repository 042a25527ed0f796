//! The client's two promises, and proof that these tests would see them broken: each story is told a second time with the
//! bug planted that breaks it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use staticfire::client::Client;
use staticfire::client::ConsumeFrom;
use staticfire::client::ConsumeResult;
use staticfire::client::OrderResult;
use staticfire::client::PLANTED;
use staticfire::client::PushConsumer;
use staticfire::env::Hooks;

use crate::fixture::Cluster;
use crate::fixture::Seen;
use crate::fixture::numbered;
use crate::fixture::run;
use crate::fixture::until;

/// Switches one planted bug on.
struct Planted(&'static str, Arc<dyn Hooks>);

impl Hooks for Planted {
    fn rng(&self, label: &str) -> rand_chacha::ChaCha8Rng {
        self.1.rng(label)
    }

    fn planted(&self, name: &'static str) -> bool {
        name == self.0
    }
}

fn plant(cluster: &mut Cluster, name: &str) {
    let known = PLANTED.iter().find(|known| **known == name).expect("the bug is in the list");
    cluster.env.hooks = Arc::new(Planted(known, Arc::clone(&cluster.env.hooks)));
}

#[test]
fn a_message_whose_handler_was_interrupted_comes_again() {
    run("interrupted", |_| {}, |cluster| async move { assert!(interrupted_comes_again(&cluster).await) });
    run(
        "interrupted-planted",
        |_| {},
        |mut cluster| async move {
            plant(&mut cluster, "client.commit_before_processed");
            assert!(!interrupted_comes_again(&cluster).await, "the planted bug loses it");
        },
    );
}

/// Drops a consumer in the middle of its handler, well after a commit was due; true if the next one gets the message.
async fn interrupted_comes_again(cluster: &Cluster) -> bool {
    let client = cluster.client().await;
    let producer = cluster.producer(&client, "P").await;
    producer.send_to(numbered("Promise", 1), |_| 0).await.expect("it is stored");
    let seen = Seen::new(&cluster.env);
    let consumer = consumer(cluster, &client, &seen, true).await;
    seen.wait_for(1).await;
    cluster.env.sleep_ms(200).await;
    drop(consumer);
    producer.send_to(numbered("Promise", 2), |_| 0).await.expect("it is stored");
    let seen = Seen::new(&cluster.env);
    let consumer = self::consumer(cluster, &client, &seen, false).await;
    until(&cluster.env, "the second message comes", || seen.list().contains(&"0002".to_owned())).await;
    consumer.stop().await;
    seen.list().contains(&"0001".to_owned())
}

async fn consumer(cluster: &Cluster, client: &Client, seen: &Seen, stuck: bool) -> PushConsumer {
    let (seen, env) = (seen.clone(), cluster.env.clone());
    let builder = client.push_consumer("G").subscribe("Promise", "*").consume_from(ConsumeFrom::First);
    let builder = builder.suspend_ms(500).persist_ms(50).handler(move |messages| {
        let (seen, env) = (seen.clone(), env.clone());
        async move {
            seen.note_bodies(&messages);
            if stuck {
                env.sleep_ms(60_000).await;
            }
            ConsumeResult::Done
        }
    });
    builder.start().await.expect("a consumer starts")
}

#[test]
fn an_ordered_queue_is_handed_over_only_when_its_handler_has_returned() {
    run("handover", |_| {}, |cluster| async move { assert!(!handlers_overlap(&cluster).await) });
    run(
        "handover-planted",
        |_| {},
        |mut cluster| async move {
            plant(&mut cluster, "client.unlock_before_handler_done");
            assert!(handlers_overlap(&cluster).await, "the planted bug lets two members in");
        },
    );
}

/// Lets a second member join while the first one's handlers are slow; true if two handlers of one queue were at work at
/// once.
async fn handlers_overlap(cluster: &Cluster) -> bool {
    let (one, two) = (cluster.client().await, cluster.client().await);
    let producer = cluster.producer(&one, "P").await;
    for number in 0..8 {
        producer
            .send_to(numbered("Handover", number), |queues| number % queues.len())
            .await
            .expect("it is stored");
    }
    let overlap = Arc::new(AtomicBool::new(false));
    let at_work: Arc<Mutex<BTreeSet<u32>>> = Arc::default();
    let by_member: Arc<Mutex<BTreeMap<usize, usize>>> = Arc::default();
    let member = |client: Client, name: usize| {
        let (env, overlap) = (cluster.env.clone(), Arc::clone(&overlap));
        let (at_work, by_member) = (Arc::clone(&at_work), Arc::clone(&by_member));
        async move {
            let builder =
                client.push_consumer("G").subscribe("Handover", "*").consume_from(ConsumeFrom::First);
            let builder = builder.suspend_ms(500).ordered_handler(move |messages| {
                let (env, overlap) = (env.clone(), Arc::clone(&overlap));
                let (at_work, by_member) = (Arc::clone(&at_work), Arc::clone(&by_member));
                async move {
                    let queue = messages[0].queue().id.0;
                    *by_member.lock().entry(name).or_default() += 1;
                    if !at_work.lock().insert(queue) {
                        overlap.store(true, Ordering::Relaxed);
                    }
                    env.sleep_ms(1_500).await;
                    at_work.lock().remove(&queue);
                    OrderResult::Done
                }
            });
            builder.start().await.expect("a consumer starts")
        }
    };
    let first = member(one.clone(), 1).await;
    until(&cluster.env, "the first member is at work on all queues", || at_work.lock().len() == 4).await;
    let second = member(two.clone(), 2).await;
    until(&cluster.env, "both members were at work", || by_member.lock().len() == 2).await;
    first.stop().await;
    second.stop().await;
    overlap.load(Ordering::Relaxed)
}

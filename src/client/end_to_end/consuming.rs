//! Push consumers: sharing, resuming, order, retry, dead letters, broadcasting.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use staticfire::client::Client;
use staticfire::client::ConsumeFrom;
use staticfire::client::ConsumeResult;
use staticfire::client::OrderResult;
use staticfire::client::PushConsumer;

use crate::fixture::Cluster;
use crate::fixture::Seen;
use crate::fixture::body;
use crate::fixture::numbered;
use crate::fixture::numbers;
use crate::fixture::run;
use crate::fixture::until;

async fn collector(client: &Client, group: &str, topic: &str, seen: &Seen) -> PushConsumer {
    let seen = seen.clone();
    client
        .push_consumer(group)
        .subscribe(topic, "*")
        .consume_from(ConsumeFrom::First)
        .suspend_ms(1_000)
        .handler(move |messages| {
            let seen = seen.clone();
            async move {
                seen.note_bodies(&messages);
                ConsumeResult::Done
            }
        })
        .start()
        .await
        .expect("a consumer starts")
}

async fn send(cluster: &Cluster, topic: &str, range: std::ops::Range<usize>) {
    let client = cluster.client().await;
    let producer = cluster.producer(&client, "P").await;
    for number in range {
        producer.send(numbered(topic, number)).await.expect("it is stored");
    }
    producer.stop().await;
}

#[test]
fn a_restarted_consumer_goes_on_where_it_stopped() {
    run(
        "resume",
        |_| {},
        |cluster| async move {
            send(&cluster, "Resume", 0..20).await;
            let seen = Seen::new(&cluster.env);
            let client = cluster.client().await;
            let consumer = collector(&client, "G", "Resume", &seen).await;
            seen.wait_for(20).await;
            consumer.stop().await;
            assert_eq!(seen.sorted(), numbers(0..20));
            send(&cluster, "Resume", 20..30).await;
            let seen = Seen::new(&cluster.env);
            let consumer = collector(&client, "G", "Resume", &seen).await;
            seen.wait_for(10).await;
            consumer.stop().await;
            assert_eq!(seen.sorted(), numbers(20..30), "nothing twice, nothing missing");
        },
    );
}

#[test]
fn two_members_share_the_queues_and_one_takes_over_when_the_other_leaves() {
    run(
        "share",
        |_| {},
        |cluster| async move {
            send(&cluster, "Share", 0..1).await;
            let (one, two) = (cluster.client().await, cluster.client().await);
            let (seen_one, seen_two) = (Seen::new(&cluster.env), Seen::new(&cluster.env));
            let first = collector(&one, "G", "Share", &seen_one).await;
            let second = collector(&two, "G", "Share", &seen_two).await;
            let of_topic = |consumer: &PushConsumer| {
                let queues = consumer.queues().into_iter().map(|(queue, _)| queue);
                queues.filter(|queue| &*queue.topic == "Share").collect::<BTreeSet<_>>()
            };
            until(&cluster.env, "each has two of the four queues", || {
                let (one, two) = (of_topic(&first), of_topic(&second));
                one.len() == 2 && two.len() == 2 && one.is_disjoint(&two)
            })
            .await;
            send(&cluster, "Share", 1..41).await;
            until(&cluster.env, "all came", || seen_one.list().len() + seen_two.list().len() >= 41).await;
            let mut all = seen_one.list();
            all.extend(seen_two.list());
            all.sort_unstable();
            assert_eq!(all, numbers(0..41));
            assert!(seen_one.list().len() > 10 && seen_two.list().len() > 10, "both took part");
            first.stop().await;
            until(&cluster.env, "the other has all queues", || of_topic(&second).len() == 4).await;
            send(&cluster, "Share", 41..51).await;
            until(&cluster.env, "the rest came", || {
                all.len() + 10 <= seen_one.list().len() + seen_two.list().len()
            })
            .await;
            let mut all = seen_one.list();
            all.extend(seen_two.list());
            all.sort_unstable();
            assert_eq!(all, numbers(0..51), "a clean hand-over repeats nothing");
        },
    );
}

#[test]
fn an_ordered_handler_sees_each_key_in_the_order_of_sending() {
    run(
        "order",
        |_| {},
        |cluster| async move {
            let client = cluster.client().await;
            let producer = cluster.producer(&client, "P").await;
            for number in 0..60 {
                producer
                    .send_to(numbered("Order", number), |queues| number % queues.len())
                    .await
                    .expect("it is stored");
            }
            let seen = Seen::new(&cluster.env);
            let failed_once = Arc::new(Mutex::new(BTreeSet::new()));
            let (noting, env) = (seen.clone(), cluster.env.clone());
            let consumer = client
                .push_consumer("G")
                .subscribe("Order", "*")
                .consume_from(ConsumeFrom::First)
                .suspend_ms(1_000)
                .ordered_handler(move |messages| {
                    let (seen, env, failed_once) = (noting.clone(), env.clone(), Arc::clone(&failed_once));
                    async move {
                        let text = body(&messages[0]);
                        if text.ends_with('5') && failed_once.lock().insert(text) {
                            return OrderResult::Suspend { ms: 20 };
                        }
                        env.sleep_ms(1).await;
                        seen.note_bodies(&messages);
                        OrderResult::Done
                    }
                })
                .start()
                .await
                .expect("a consumer starts");
            seen.wait_for(60).await;
            consumer.stop().await;
            let mut by_queue: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            for text in seen.list() {
                let number: usize = text.parse().expect("a number");
                by_queue.entry(number % 4).or_default().push(number);
            }
            for (queue, seen) in by_queue {
                let sent: Vec<usize> = (0..60).filter(|number| number % 4 == queue).collect();
                assert_eq!(seen, sent, "what fails comes again before anything later");
            }
        },
    );
}

#[test]
fn a_failing_message_comes_again_and_ends_as_dead_letter() {
    run(
        "retry",
        |_| {},
        |cluster| async move {
            let client = cluster.client().await;
            let producer = cluster.producer(&client, "P").await;
            let seen = Seen::new(&cluster.env);
            let noting = seen.clone();
            let consumer = client
                .push_consumer("G")
                .subscribe("Retry", "bad || good")
                .consume_from(ConsumeFrom::First)
                .suspend_ms(1_000)
                .rebalance_ms(500)
                .max_reconsume_times(2)
                .handler(move |messages| {
                    let seen = noting.clone();
                    async move {
                        let message = &messages[0];
                        seen.note(format!(
                            "{} {} {}",
                            message.topic(),
                            body(message),
                            message.reconsume_times()
                        ));
                        if message.tag() == Some("bad") { ConsumeResult::Retry } else { ConsumeResult::Done }
                    }
                })
                .start()
                .await
                .expect("a consumer starts");
            producer.send(numbered("Retry", 1).with_tag("bad")).await.expect("it is stored");
            producer.send(numbered("Retry", 2).with_tag("good")).await.expect("it is stored");
            producer.send(numbered("Retry", 3).with_tag("other")).await.expect("it is stored");
            seen.wait_for(4).await;
            assert_eq!(seen.sorted(), ["Retry 0001 0", "Retry 0001 1", "Retry 0001 2", "Retry 0002 0"]);
            let reader = client.pull_consumer("reader").start().await.expect("it starts");
            let dead = loop {
                match reader.queues("%DLQ%G").await {
                    Ok(queues) => match reader.poll(&queues[0], 32).await {
                        Ok(messages) if !messages.is_empty() => break messages,
                        _ => cluster.env.sleep_ms(50).await,
                    },
                    Err(_) => cluster.env.sleep_ms(50).await,
                }
            };
            assert_eq!(dead.iter().map(body).collect::<Vec<_>>(), ["0001"]);
            consumer.stop().await;
            assert_eq!(seen.list().len(), 4, "a dead letter does not come again");
        },
    );
}

#[test]
fn broadcast_members_each_get_everything_and_remember_how_far_they_were() {
    run(
        "broadcast",
        |_| {},
        |cluster| async move {
            send(&cluster, "Broadcast", 0..10).await;
            let member = |instance: &'static str| {
                let (cluster, seen) = (&cluster, Seen::new(&cluster.env));
                async move {
                    let client = cluster.named_client(Some(instance)).await;
                    let noting = seen.clone();
                    let consumer = client
                        .push_consumer("G")
                        .subscribe("Broadcast", "*")
                        .broadcasting(cluster.dir.join("offsets"))
                        .consume_from(ConsumeFrom::First)
                        .suspend_ms(1_000)
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
                    (consumer, seen)
                }
            };
            let (one, seen_one) = member("one").await;
            let (two, seen_two) = member("two").await;
            seen_one.wait_for(10).await;
            seen_two.wait_for(10).await;
            assert_eq!((seen_one.sorted(), seen_two.sorted()), (numbers(0..10), numbers(0..10)));
            one.stop().await;
            two.stop().await;
            send(&cluster, "Broadcast", 10..15).await;
            let (one, seen_one) = member("one").await;
            seen_one.wait_for(5).await;
            one.stop().await;
            assert_eq!(seen_one.sorted(), numbers(10..15));
        },
    );
}

#[test]
fn production_and_consumption_go_on_after_the_broker_came_back() {
    run(
        "restart",
        |_| {},
        |mut cluster| async move {
            send(&cluster, "Restart", 0..10).await;
            let client = cluster.client().await;
            let producer = client.producer("Q").start().await.expect("it starts");
            let seen = Seen::new(&cluster.env);
            let consumer = collector(&client, "G", "Restart", &seen).await;
            seen.wait_for(10).await;
            drop(cluster.broker.take());
            cluster.start_broker().await;
            for number in 10..20 {
                while producer.send(numbered("Restart", number)).await.is_err() {
                    cluster.env.sleep_ms(50).await;
                }
            }
            until(&cluster.env, "all came", || seen.list().into_iter().collect::<BTreeSet<_>>().len() >= 20)
                .await;
            let all: BTreeSet<String> = seen.list().into_iter().collect();
            assert_eq!(all.into_iter().collect::<Vec<_>>(), numbers(0..20));
            consumer.stop().await;
        },
    );
}

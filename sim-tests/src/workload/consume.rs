//! The members of the groups: concurrent handlers for plain messages and trades, an ordered one for orders.
//!
//! Some messages fail once, some always: those must end among the dead letters of their group.

use std::sync::Arc;

use staticfire::client::Client;
use staticfire::client::ConsumeFrom;
use staticfire::client::ConsumeResult;
use staticfire::client::MessageView;
use staticfire::client::OrderResult;
use staticfire::client::PushConsumer;
use staticfire::client::PushConsumerBuilder;
use staticfire_chaos::cluster::Process;
use staticfire_chaos::history::Delivery;
use staticfire_chaos::history::Handled;
use staticfire_chaos::history::Name;
use staticfire_chaos::history::What;
use staticfire_chaos::identity::MessageKey;

use super::RETRIES;
use super::Site;
use super::TOPICS;
use super::tag;

/// The life of a member's process.
pub(crate) async fn run(process: Process, site: Arc<Site>) {
    let client = process.client().heartbeat_ms(1_000).poll_name_server_ms(2_000).start().await;
    let client = client.expect("a client that has a name server starts");
    let mut consumers = Vec::new();
    for (topic, group, ordered) in TOPICS {
        let builder = builder(&client, topic, group);
        let consumer = if ordered {
            ordered_member(builder, &process, &site, group).await
        } else {
            member(builder, &process, &site, group).await
        };
        consumers.push(consumer);
    }
    process.stop.asked().await;
    for consumer in consumers {
        consumer.stop().await;
    }
}

fn builder(client: &Client, topic: &str, group: &str) -> PushConsumerBuilder {
    let builder = client.push_consumer(group).subscribe(topic, "*");
    builder.consume_from(ConsumeFrom::First).rebalance_ms(3_000).persist_ms(700).suspend_ms(5_000)
}

async fn member(
    builder: PushConsumerBuilder,
    process: &Process,
    site: &Arc<Site>,
    group: &str,
) -> PushConsumer {
    let group = process.history().name(group);
    let (process, site) = (process.clone(), Arc::clone(site));
    let consumer = builder.max_reconsume_times(RETRIES).handler(move |messages| {
        let (process, site) = (process.clone(), Arc::clone(&site));
        async move {
            let mut result = ConsumeResult::Done;
            for message in messages {
                if !handle(&process, &site, group, &message).await {
                    result = ConsumeResult::Retry;
                }
            }
            result
        }
    });
    consumer.start().await.expect("a process has one member of a group")
}

async fn ordered_member(
    builder: PushConsumerBuilder,
    process: &Process,
    site: &Arc<Site>,
    group: &str,
) -> PushConsumer {
    let group = process.history().name(group);
    let (process, site) = (process.clone(), Arc::clone(site));
    let consumer = builder.ordered_handler(move |messages| {
        let (process, site) = (process.clone(), Arc::clone(&site));
        async move {
            let mut result = OrderResult::Done;
            for message in messages {
                if !handle(&process, &site, group, &message).await {
                    result = OrderResult::Suspend { ms: 100 };
                }
            }
            result
        }
    });
    consumer.start().await.expect("a process has one member of a group")
}

/// Handles one message as its key says; true for success.
async fn handle(process: &Process, site: &Arc<Site>, group: Name, message: &MessageView) -> bool {
    let queue = process.history().queue(message.queue());
    let offset = message.offset();
    let key = match MessageKey::read(message.body()) {
        Ok((key, _)) if is_whole(message, key) => key,
        _ => {
            let len = u32::try_from(message.body().len()).unwrap_or(u32::MAX);
            process.note(What::Damaged { queue, offset, len });
            return true;
        }
    };
    let attempt = message.reconsume_times();
    let delivery = Delivery { group, key, queue, offset, attempt };
    process.note(What::HandlerStarted(delivery));
    let before = site.handed(group, key);
    process.env.sleep_ms(site.of("handling", key, 2 * site.plan.handling_ms)).await;
    let ordered = TOPICS.iter().any(|(topic, _, ordered)| *ordered && *topic == message.topic());
    let fails = match site.of("fate", key, 100) {
        0..3 if !ordered => true,
        0..15 => before == 0,
        _ => false,
    };
    let handled = if fails { Handled::Later } else { Handled::Success };
    process.note(What::HandlerEnded(delivery, handled));
    !fails
}

/// Whether everything beside the body is what was sent.
fn is_whole(message: &MessageView, key: MessageKey) -> bool {
    let text = format!("{}-{}-{}", key.producer, key.shard, key.seq);
    message.tag() == Some(tag(key).as_str()) && message.keys().eq([text.as_str()])
}

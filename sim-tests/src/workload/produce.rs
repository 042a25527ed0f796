//! Plain sends, oneway sends and batches to any queue; ordered sends, each order to a queue of its own.
//!
//! One order is sent by one process, one message after the other, and never twice: what came of a message that got no
//! answer stays unknown.

use std::sync::Arc;

use staticfire::base::QueueId;
use staticfire::client::MessageQueue;
use staticfire::client::Producer;
use staticfire_chaos::cluster::Process;
use staticfire_chaos::history::Intent;
use staticfire_chaos::history::SendOutcome;
use staticfire_chaos::history::What;

use super::ATTEMPTS;
use super::ORDERS;
use super::PLAIN;
use super::Site;

const GROUP: &str = "p-plain";
/// Orders that one process keeps.
const SHARDS: u64 = 6;

/// The life of a producer's process.
pub(crate) async fn run(process: Process, site: Arc<Site>) {
    let client = process.client().heartbeat_ms(1_000).poll_name_server_ms(2_000).start().await;
    let client = client.expect("a client that has a name server starts");
    let producer = client.producer(GROUP).timeout_ms(3_000).retries(ATTEMPTS - 1).start().await;
    let producer = producer.expect("a process has one producer of a group");
    let work = async {
        tokio::join!(plain(&process, &site, &producer), ordered(&process, &site, &producer));
    };
    tokio::select! {
        biased;
        () = process.stop.asked() => {}
        () = work => process.stop.asked().await,
    }
    process.note(What::MemberLeft { group: process.history().name(GROUP) });
    producer.stop().await;
}

async fn plain(process: &Process, site: &Arc<Site>, producer: &Producer) {
    let job = format!("{} plain", process.name());
    while let Some(key) = site.next(&job, |_| 0) {
        process.env.sleep_ms(site.of("pause", key, 2 * site.plan.plain_gap_ms)).await;
        match site.of("kind", key, 100) {
            0..6 => {
                let message = site.invoke(process, PLAIN, key, Intent::Oneway);
                let outcome = match producer.send_oneway(message).await {
                    Err(error) if !error.may_be_stored => SendOutcome::Fail,
                    _ => SendOutcome::Info { attempts: 1 },
                };
                process.note(What::SendEnded { key, outcome });
            }
            6..14 => {
                let others = (0..site.of("batch", key, 4)).filter_map(|_| site.next(&job, |_| 0));
                let keys: Vec<_> = [key].into_iter().chain(others).collect();
                let of = u16::try_from(keys.len()).unwrap_or(1);
                let batch = keys
                    .iter()
                    .zip(0..)
                    .map(|(key, index)| site.invoke(process, PLAIN, *key, Intent::Batch(index, of)));
                let sent = producer.send_batch(batch.collect()).await;
                for (key, index) in keys.into_iter().zip(0..) {
                    process.note(What::SendEnded { key, outcome: site.outcome(process, &sent, index) });
                }
            }
            _ => {
                let message = site.invoke(process, PLAIN, key, Intent::Plain);
                let sent = producer.send(message).await;
                process.note(What::SendEnded { key, outcome: site.outcome(process, &sent, 0) });
            }
        }
    }
}

async fn ordered(process: &Process, site: &Arc<Site>, producer: &Producer) {
    let job = format!("{} orders", process.name());
    let shard_of = |left| site.draw.range("shard", left, 0, 0, SHARDS) as u32;
    while let Some(key) = site.next(&job, shard_of) {
        process.env.sleep_ms(site.of("pause", key, 2 * site.plan.orders_gap_ms)).await;
        let brokers = site.plan.brokers as u64;
        let place = u64::from(key.producer) + u64::from(key.shard);
        let broker = if place.is_multiple_of(brokers) { "broker-a" } else { "broker-b" };
        let id = QueueId((place / brokers) as u32 % site.plan.queues);
        let queue = MessageQueue::new(ORDERS, broker, id);
        let message = site.invoke(process, ORDERS, key, Intent::Plain);
        let sent = producer.send_to_queue(message, &queue).await;
        process.note(What::SendEnded { key, outcome: site.outcome(process, &sent, 0) });
    }
}

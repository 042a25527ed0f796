//! With an async log, a loss of power takes messages, but not the notes of how far they had been delivered or consumed:
//! those are files of their own. What is sent from then on is delivered and consumed all the same.
#![cfg(madsim)]

use staticfire::base::QueueOffset;
use staticfire::broker::config::DelayLevels;
use staticfire::client::Message;
use staticfire::sim::Node;
use staticfire::sim::disk::Survival;
use staticfire::store::Flush;
use staticfire_chaos::history::Event;
use staticfire_chaos::operator::wait_until;
use staticfire_chaos::prelude::*;

/// Two seconds, by RocketMQ's second level of those set below.
const LEVELS: &str = "1s 2s";

/// A broker that syncs its log long after the story's end.
async fn lazy(story: &Story) -> Result<Cluster, Broken> {
    let builder = story.cluster().flush(AsyncFlush).queues(1).topic("orders");
    let levels = |config: &mut BrokerConfig| {
        config.delay_levels = DelayLevels::parse(LEVELS).expect("levels parse");
    };
    let lazy = Flush::Async { interval_ms: 500, least_pages: 1_000, thorough_ms: 3_600_000 };
    let builder = builder.broker_config(levels).store_config(move |config| config.flush = lazy);
    Ok(builder.build().await?)
}

/// Takes all that was not synced.
fn lose_power(broker: &Node) {
    broker.disk().with_faults(|disk| disk.survival = Survival::Nothing);
    broker.os_crash();
    broker.restart();
}

async fn the_power_takes_a_whole_level(story: Story) -> Told {
    let cluster = lazy(&story).await?;
    let broker = cluster.broker(0);
    let process = cluster.client("shop");
    let client = process.client().start().await.map_err(Broken::unexpected)?;
    let producer = client.producer("shop").start().await.map_err(Broken::unexpected)?;
    let queue = cluster.operator().queues("orders", 1).remove(0);
    let delivered = async |wanted: &'static str| {
        wait_until(cluster.world(), wanted, secs(20), async || {
            let read = cluster.operator().read_all(&queue).await.map_err(|error| error.to_string())?;
            let found = read.iter().any(|message| message.body() == wanted.as_bytes());
            if found { Ok(()) } else { Err(format!("{} others", read.len())) }
        })
        .await
    };
    let send = async |text: &'static str| {
        producer.send(Message::new("orders", text).with_delay_level(2)).await.map_err(Broken::unexpected)
    };

    send("before").await?;
    delivered("before").await?;
    // Longer than `flushConsumerOffsetInterval`, with which the cursor is written down.
    story.pass_ms(story.between("written down", 6_000, 9_000)).await;
    lose_power(broker);
    cluster.operator().create_topic("orders", 1, secs(60)).await?;
    let again = async || send("after").await.map(drop).map_err(|error| error.what);
    wait_until(cluster.world(), "a send", secs(60), again).await?;
    Ok(delivered("after").await?)
}

#[test]
fn what_is_delayed_after_a_loss_of_power_is_delivered() {
    scenario("lost_tail.delayed").seeds(10).run(the_power_takes_a_whole_level);
}

async fn the_process_dies_soon_after_the_power_was_lost(story: Story) -> Told {
    let cluster = lazy(&story).await?;
    let billing = cluster.consume("billing-1", Work::of("billing", "orders"));
    cluster.produce("shop-1", Load::to("orders").keys(1).messages(20));
    story.when("everything is sent", || cluster.acknowledged() == 20).await?;
    cluster.settle().drained("billing", "orders").within(secs(120)).await?;
    billing.kill();
    // Longer than `flushConsumerOffsetInterval`.
    story.pass_ms(story.between("written down", 6_000, 9_000)).await;
    let broker = cluster.broker(0);
    lose_power(broker);

    cluster.produce("shop-2", Load::to("orders").keys(1).messages(40).pause_ms(50, 200));
    let before = cluster.acknowledged();
    story.when("something is sent again", || cluster.acknowledged() > before).await?;
    story.pass_ms(story.between("alive", 0, 2_000)).await;
    broker.kill();
    broker.restart();
    cluster.consume("billing-2", Work::of("billing", "orders"));
    let member = cluster.history().name("billing-2");
    let handled = || {
        let first = |what: &What| matches!(what, What::HandlerEnded(of, _) if of.offset == QueueOffset(0));
        let events = |events: &[Event]| events.iter().any(|event| event.node == member && first(&event.what));
        cluster.history().with_events(events)
    };
    story.until("the first message after the loss is handled", secs(60), handled).await
}

#[test]
fn what_comes_after_a_loss_of_power_is_skipped_by_nobody() {
    scenario("lost_tail.consumed").seeds(20).run(the_process_dies_soon_after_the_power_was_lost);
}

//! A broker that dies before it saves an offset learns it again from a consumer that has nothing new to tell.
#![cfg(madsim)]

use staticfire::base::QueueOffset;
use staticfire_chaos::prelude::*;

async fn a_broker_dies_before_it_saves_an_offset(story: Story) -> Told {
    let builder = story.cluster().brokers(1).queues(1).topic("orders");
    let never = |config: &mut BrokerConfig| config.flush_consumer_offset_ms = 86_400_000;
    let cluster = builder.broker_config(never).build().await?;
    cluster.consume("billing-1", Work::of("billing", "orders"));
    cluster.produce("shop", Load::to("orders").keys(1).messages(20));
    story.when("everything is sent", || cluster.acknowledged() == 20).await?;
    cluster.settle().drained("billing", "orders").within(secs(120)).await?;

    cluster.broker(0).kill();
    story.pass_ms(story.between("dead", 0, 5_000)).await;
    cluster.broker(0).restart();
    story.pass_ms(60_000).await;

    let reader = cluster.operator().reader("billing").await;
    let queue = &reader.queues("orders").await.map_err(Broken::unexpected)?[0];
    match reader.committed(queue).await.map_err(Broken::unexpected)? {
        Some(QueueOffset(20)) => Ok(()),
        offset => Err(Broken::promise(promises::ONLY_FORWARD, None, format!("20 became {offset:?}"))),
    }
}

#[test]
fn a_forgotten_offset_is_told_again() {
    scenario("told_again").seeds(5).run(a_broker_dies_before_it_saves_an_offset);
}

#[test]
fn it_would_be_seen_if_an_offset_were_told_only_once() {
    let scenario = scenario("told_again").seeds(5).plant("client.commit_once");
    scenario.finds(promises::ONLY_FORWARD, a_broker_dies_before_it_saves_an_offset);
}

//! Nothing acknowledged is lost when the broker's machine loses power between a send and its sync.
#![cfg(madsim)]

use staticfire_chaos::prelude::*;

const GONE: &str = "a message that was not acknowledged is gone";

async fn power_fails_between_a_send_and_its_sync(story: Story) -> Told {
    let builder = story.cluster().name_servers(2).flush(SyncFlush).topic("orders");
    let cluster = builder.build().await?;
    let broker = cluster.broker(0);
    broker.disk().with_faults(|disk| disk.sync_latency_ns = (2_000_000, 30_000_000));
    cluster.produce("shop", Load::to("orders").keys(8).messages(40));

    let some = story.between("acknowledged", 20, 200) as usize;
    story.when("the shop has been told of some", || cluster.acknowledged() >= some).await?;
    story.pass_ms(story.between("moment", 0, 40)).await;
    broker.os_crash();
    story.pass_ms(story.between("dark", 0, 5_000)).await;

    cluster.settle().sent().within(secs(120)).await?;
    read_everything(&cluster, "orders").await?;
    let record = story.record();
    story.happened(GONE, record.unacknowledged_and_gone() > 0);
    record.nothing_acknowledged_is_lost()?;
    record.nothing_is_invented()
}

#[test]
fn nothing_acknowledged_is_lost_when_power_fails() {
    scenario("power_loss").seeds(20).sometimes(GONE).run(power_fails_between_a_send_and_its_sync);
}

#[test]
fn it_would_be_seen_if_sends_were_acknowledged_before_their_sync() {
    let scenario = scenario("power_loss").seeds(50).plant("store.ack_before_sync");
    scenario.finds(promises::NO_LOSS, power_fails_between_a_send_and_its_sync);
}

#[test]
fn it_would_be_seen_if_a_sync_were_left_out() {
    let scenario = scenario("power_loss").seeds(50).plant("store.skip_sync");
    scenario.finds(promises::NO_LOSS, power_fails_between_a_send_and_its_sync);
}

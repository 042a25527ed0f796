//! A name server forgets a broker with its connection; the broker notices, and is known again long before its next period.
#![cfg(madsim)]

use staticfire::sim::net::Link;
use staticfire_chaos::operator::wait_until;
use staticfire_chaos::prelude::*;

/// RocketMQ's longest `registerNameServerPeriod`: nothing here may wait for it.
const PERIOD_MS: u64 = 60_000;
/// Known again within so long of the network's being whole: a try, a second's wait, another try.
const AGAIN: Duration = secs(8);

async fn cluster(story: &Story) -> Result<Cluster, Broken> {
    let builder = story.cluster().topic("orders");
    Ok(builder.broker_config(|config| config.register_name_server_ms = PERIOD_MS).build().await?)
}

async fn forgotten(cluster: &Cluster) -> Told {
    let waited = wait_until(cluster.world(), "the name server to forget the broker", secs(10), async || {
        let known = cluster.operator().wait_route("orders", Duration::ZERO).await;
        if known.is_ok() { Err("it knows it".to_owned()) } else { Ok(()) }
    });
    waited.await.map_err(Broken::unexpected)
}

async fn a_connection_is_reset(story: Story) -> Told {
    let cluster = cluster(&story).await?;
    let (broker, name_server) = (cluster.broker(0), cluster.name_server(0));
    story.pass_ms(story.between("moment", 0, 20_000)).await;
    story.world().net().reset_connections(broker, name_server);
    let cut = story.world().net().partition(broker, name_server);
    forgotten(&cluster).await?;
    story.pass_ms(story.between("cut", 0, 2_000)).await;
    drop(cut);
    cluster.operator().wait_route("orders", AGAIN).await?;
    Ok(())
}

async fn only_the_broker_believes_in_the_connection(story: Story) -> Told {
    let cluster = cluster(&story).await?;
    let (broker, name_server) = (cluster.broker(0), cluster.name_server(0));
    let link = Link { cut_off_per_million: 1_000_000, ..Link::CALM };
    story.world().net().set_link(broker, name_server, link);
    // A topic that is new makes the broker register.
    cluster.produce("shop", Load::to("fresh").keys(1).messages(1));
    forgotten(&cluster).await?;
    story.world().net().clear_links();
    cluster.operator().wait_route("orders", AGAIN).await?;
    Ok(())
}

#[test]
fn a_broker_whose_connection_was_reset_is_known_again() {
    scenario("known_again.reset").seeds(20).run(a_connection_is_reset);
}

#[test]
fn a_broker_that_waits_for_an_answer_that_never_comes_is_known_again() {
    scenario("known_again.half_open").seeds(20).run(only_the_broker_believes_in_the_connection);
}

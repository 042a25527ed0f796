//! Every check of a half message is lost on its way for a while, over connections that the broker believes in: none of
//! them counts, and the half is decided once one arrives.
#![cfg(madsim)]

use staticfire::sim::net::Link;
use staticfire_chaos::prelude::*;

async fn checks_are_lost_on_their_way(story: Story) -> Told {
    let builder = story.cluster().flush(SyncFlush).topic("orders").transaction_checks(2_000, 2_000);
    let cluster = builder.broker_config(|config| config.transaction_check_max = 2).build().await?;
    cluster.consume("billing-1", Work::of("billing", "orders"));
    let deals = Deals::on("orders", "shop").messages(1).executes(|_| Executes::Hangs);
    let shop = cluster.deal("shop-1", deals);

    story.when("a half message waits for its decision", || !story.record().halves().is_empty()).await?;
    let link = Link { cut_off_per_million: 1_000_000, ..Link::CALM };
    story.world().net().set_link(cluster.broker(0), &shop, link);
    story.pass_ms(story.between("nothing arrives", 20_000, 60_000)).await;
    story.world().net().clear_links();

    cluster.settle().decided().within(secs(60)).await?;
    let billed = || cluster.handled_by("billing-1", "billing") > 0;
    story.until("the message is delivered", secs(60), billed).await?;
    let record = story.record();
    record.exactly_these_are_handled_once("billing", &record.halves())
}

#[test]
fn checks_that_never_arrived_do_not_count() {
    scenario("lost_checks").seeds(20).run(checks_are_lost_on_their_way);
}

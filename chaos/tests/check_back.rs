//! A producer dies between half message and decision, and another member of its group answers the check.
#![cfg(madsim)]

use staticfire_chaos::prelude::*;

async fn a_producer_dies_before_it_decides(story: Story) -> Told {
    let builder = story.cluster().name_servers(2).brokers(2).flush(SyncFlush).topic("orders");
    let cluster = builder.broker_config(|config| config.transaction_check_max = 2).build().await?;
    cluster.consume("billing-1", Work::of("billing", "orders"));
    let deals = Deals::on("orders", "shop");
    let dying = cluster.deal("shop-1", deals.clone().messages(1).executes(|_| Executes::Hangs));

    story.when("a half message waits for its decision", || !story.record().halves().is_empty()).await?;
    story.pass_ms(story.between("moment", 0, 8_000)).await;
    dying.kill();
    story.pass_ms(story.between("nobody is there to ask", 0, 200_000)).await;
    story.happened(UNDELIVERABLE, story.world().now() > secs(120));
    cluster.deal("shop-2", deals);

    cluster.settle().decided().within(secs(120)).await?;
    let billed = || cluster.handled_by("billing-1", "billing") > 0;
    story.until("the message is delivered", secs(60), billed).await?;
    cluster.settle().drained("billing", "orders").within(secs(60)).await?;
    let record = story.record();
    record.exactly_these_are_handled_once("billing", &record.halves())
}

const UNDELIVERABLE: &str = "more checks than the limit found nobody";

#[test]
fn another_member_answers_for_a_producer_that_died() {
    scenario("check_back").seeds(20).sometimes(UNDELIVERABLE).run(a_producer_dies_before_it_decides);
}

#[test]
fn it_would_be_seen_if_checks_that_nobody_got_were_counted() {
    let scenario = scenario("check_back").seeds(50).plant("broker.count_undelivered_checks");
    scenario.finds("O24", a_producer_dies_before_it_decides);
}

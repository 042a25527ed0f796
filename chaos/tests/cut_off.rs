//! One order's messages stay in order while its consumer is cut off and comes back.
#![cfg(madsim)]

use staticfire_chaos::prelude::*;

async fn a_consumer_is_cut_off_and_comes_back(story: Story) -> Told {
    let cluster = story.cluster().brokers(1).queues(4).topic("orders").build().await?;
    cluster.produce("shop", Load::to("orders").keys(8).messages(60).pause_ms(500, 3_000));
    let work = Work::of("billing", "orders").orderly().takes_ms(100, 1_500);
    let first = cluster.consume("billing-1", work.clone());
    cluster.consume("billing-2", work);
    let handled = |who| cluster.handled_by(who, "billing");

    story.when("both members are at work", || handled("billing-1") > 4 && handled("billing-2") > 4).await?;
    let cut = story.world().net().isolate(&first);
    let before = cluster.queues_of("billing-2", "billing");
    let taken_over = || cluster.queues_of("billing-2", "billing") > before;
    story.when("the other member has taken over", taken_over).await?;
    story.pass_ms(story.between("away", 0, 20_000)).await;
    drop(cut);
    let then = handled("billing-1");
    story.when("it is back at work", || handled("billing-1") > then).await?;

    cluster.settle().sent().drained("billing", "orders").within(secs(300)).await?;
    let record = story.record();
    record.each_key_is_handled_in_order("billing")?;
    record.everything_is_handled("billing")
}

#[test]
fn messages_of_an_order_stay_in_order_while_their_consumer_is_cut_off() {
    scenario("cut_off").seeds(20).run(a_consumer_is_cut_off_and_comes_back);
}

#[test]
fn it_would_be_seen_if_a_queue_were_unlocked_before_its_handler_is_done() {
    let scenario = scenario("cut_off").seeds(50).plant("client.unlock_before_handler_done");
    scenario.finds(promises::ONE_HANDLER, a_consumer_is_cut_off_and_comes_back);
}

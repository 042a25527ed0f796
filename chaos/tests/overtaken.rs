//! Retention overtakes a slow consumer: it goes on at what is left, and misses nothing that is still there.
#![cfg(madsim)]

use staticfire::machine::consume::Window;
use staticfire_chaos::prelude::*;

const OVERTAKEN: &str = "the consumer was overtaken";
/// Two segments of the simulated store.
const KEEP_BYTES: u64 = 128 * 1024;

async fn retention_overtakes_a_slow_consumer(story: Story) -> Told {
    let builder = story.cluster().brokers(1).queues(4).flush(SyncFlush).topic("orders");
    let cluster = builder.store_config(|store| store.retention.keep_bytes = Some(KEEP_BYTES)).build().await?;
    let looking = cluster.clone();
    cluster.world().spawn(async move {
        loop {
            looking.world().sleep(Duration::from_millis(200)).await;
            // While the broker is down nothing is to be seen.
            let _ = looking.operator().lag("billing", "orders").await;
        }
    });
    let little = Window { messages_max: 16, ..Window::default() };
    let work = Work::of("billing", "orders").takes_ms(500, 2_000);
    cluster.consume("billing-1", work.tune(move |consumer| consumer.concurrency(4).window(little)));
    cluster.produce("shop", Load::to("orders").keys(8).messages(100).pause_ms(50, 150));
    story.when("the shop has been told of some", || cluster.acknowledged() > 100).await?;
    if story.between("power", 0, 1) == 1 {
        story.pass_ms(story.between("moment", 5_000, 25_000)).await;
        cluster.broker(0).os_crash();
        story.pass_ms(story.between("dark", 0, 3_000)).await;
        cluster.broker(0).restart();
    }
    cluster.settle().sent().drained("billing", "orders").within(secs(900)).await?;
    // Whatever has gone from now on, the group has read.
    cluster.operator().lag("billing", "orders").await?;
    let record = story.record();
    story.happened(OVERTAKEN, record.everything_is_handled("billing").is_err());
    record.nothing_is_invented()?;
    record.only_what_was_removed_is_skipped("billing")
}

#[test]
fn a_consumer_overtaken_by_retention_goes_on_at_what_is_left() {
    scenario("overtaken").seeds(20).sometimes(OVERTAKEN).run(retention_overtakes_a_slow_consumer);
}

#[test]
fn it_would_be_seen_if_it_were_sent_to_the_end_of_its_queue() {
    let scenario = scenario("overtaken").seeds(20).plant("broker.overtaken_goes_to_the_end");
    scenario.finds(promises::KEPT_IS_DELIVERED, retention_overtakes_a_slow_consumer);
}

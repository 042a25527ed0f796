//! A group's progress is written down every five seconds, however often topics and groups change meanwhile.
#![cfg(madsim)]

use staticfire::base::QueueOffset;
use staticfire_chaos::operator::wait_until;
use staticfire_chaos::prelude::*;

async fn tables_change_all_the_time(story: Story) -> Told {
    let cluster = story.cluster().flush(SyncFlush).queues(1).topic("orders").build().await?;
    let billing = cluster.consume("billing-1", Work::of("billing", "orders"));
    cluster.produce("shop", Load::to("orders").keys(1).messages(20));
    story.when("everything is sent", || cluster.acknowledged() == 20).await?;
    // Never five seconds' rest, from before the offset is committed until long after it is to be written down.
    let (mut topics, mut after) = (0, 0);
    while after < 12 {
        topics += 1;
        cluster.operator().create_topic(&format!("more-{topics}"), 1, secs(10)).await?;
        story.pass_ms(story.between("pause", 900, 2_000)).await;
        if after > 0 || cluster.operator().lag("billing", "orders").await? == 0 {
            // Nobody is to tell the broker again.
            billing.kill();
            after += 1;
        }
    }
    cluster.broker(0).os_crash();
    cluster.broker(0).restart();
    cluster.operator().wait_registered(secs(60)).await?;

    let committed = async || {
        let reader = cluster.operator().reader("billing").await;
        let queues = reader.queues("orders").await.map_err(|error| error.to_string())?;
        reader.committed(&queues[0]).await.map_err(|error| error.to_string())
    };
    let answered = async || committed().await.map(drop);
    wait_until(cluster.world(), "the broker to answer", secs(60), answered).await?;
    match committed().await.map_err(Broken::unexpected)? {
        Some(QueueOffset(20)) => Ok(()),
        offset => Err(Broken::promise(promises::ONLY_FORWARD, None, format!("20 became {offset:?}"))),
    }
}

#[test]
fn progress_is_written_down_while_tables_change() {
    scenario("written_down").seeds(10).run(tables_change_all_the_time);
}

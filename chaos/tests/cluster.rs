//! A cluster of name servers, brokers and clients comes up in one world, carries a message, and survives its restarts.
#![cfg(madsim)]

use staticfire::broker::config::FlushDiskType;
use staticfire::client::Message;
use staticfire::sim::Limits;
use staticfire::sim::Seed;
use staticfire::sim::World;
use staticfire_chaos::cluster::Cluster;
use staticfire_chaos::history::Record;

async fn send_restart_read(world: World) -> Record {
    let builder = Cluster::builder(&world).name_servers(2).brokers(2).flush(FlushDiskType::Sync);
    let cluster = builder.queues(2).topic("orders").build().await.expect("a cluster");
    let process = cluster.client("producer-1");
    let client = process.client().start().await.expect("a client");
    let producer = client.producer("shop").start().await.expect("a producer");
    let mut sent = Vec::new();
    for n in 0..8 {
        let receipt = producer.send(Message::new("orders", format!("order {n}"))).await.expect("stored");
        sent.push((receipt.queue, receipt.offset));
    }
    for broker in cluster.brokers() {
        broker.stop().await;
        broker.restart();
    }
    cluster.operator().wait_registered(std::time::Duration::from_secs(60)).await.expect("registered");
    for (n, (queue, offset)) in sent.into_iter().enumerate() {
        let read = cluster.operator().read_all(&queue).await.expect("readable");
        let found = read.iter().find(|message| message.offset() == offset).expect("still there");
        assert_eq!(found.body(), format!("order {n}").as_bytes());
    }
    assert_eq!(cluster.exits(), []);
    cluster.history().seal()
}

#[test]
fn a_cluster_carries_messages_over_a_restart_and_is_the_same_cluster_again() {
    let run = || staticfire::sim::run(Seed(1), Limits::default(), send_restart_read);
    let (first, second) = (run(), run());
    assert_eq!(first.report.trace_hash, second.report.trace_hash, "one seed, one run");
    let record = first.expect_ok();
    assert_eq!(Record::decode(&record.encode()).expect("what was encoded"), record);
    assert_eq!(record, second.expect_ok());
}

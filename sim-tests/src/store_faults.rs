//! The store on a disk that fails: what it says, what it keeps, when it goes on.

use std::sync::Arc;

use staticfire::base::PhysicalOffset;
use staticfire::base::QueueId;
use staticfire::base::QueueOffset;
use staticfire::sim::Limits;
use staticfire::sim::Node;
use staticfire::sim::Outcome;
use staticfire::sim::Seed;
use staticfire::sim::World;
use staticfire::sim::disk::Survival;
use staticfire::sim::run;
use staticfire::store::AppendError;
use staticfire::store::Flush;
use staticfire::store::FlushError;
use staticfire::store::ReadLimits;
use staticfire::store::Store;
use staticfire::store::planted;

use crate::store_crash::append;
use crate::store_crash::config;
use crate::store_crash::new_record;

async fn open(node: &Node, flush: Flush) -> Arc<Store> {
    let (store, _) = Store::open(&node.env(), config(flush)).await.expect("opens");
    store
}

/// Appends one record of queue 0 and waits until it is durable.
async fn send(store: &Store, number: usize, bytes: usize) -> Result<PhysicalOffset, FlushError> {
    let appended = append(store, &[new_record(number, 0, bytes)]).await.expect("appends");
    let end = appended.last().expect("one record").end();
    store.wait_durable(end).await.map(|()| end)
}

fn max(store: &Store) -> u64 {
    store.bounds("even", QueueId(0)).map_or(0, |bounds| bounds.max.0)
}

async fn max_after_recovery(node: &Node) -> u64 {
    max(&*open(node, Flush::Sync).await)
}

fn simulate<F, Fut>(seed: u64, bug: Option<&str>, scenario: F) -> Outcome<()>
where
    F: FnOnce(World) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let planted = bug.map(str::to_owned).into_iter().collect();
    run(Seed(seed), Limits { planted, ..Limits::default() }, scenario)
}

fn failed_sync(seed: u64, bug: Option<&str>) -> Outcome<()> {
    simulate(seed, bug, |world| async move {
        let node = world.machine("broker");
        node.disk().with_faults(|faults| faults.survival = Survival::Nothing);
        let store = open(&node, Flush::Sync).await;
        send(&store, 0, 100).await.expect("a healthy disk");
        node.disk().with_faults(|faults| faults.sync_error = 1_000_000);
        let refused = send(&store, 1, 100).await;
        assert!(
            matches!(&refused, Err(FlushError::Latched(cause)) if cause.to_string().contains("sync")),
            "{refused:?}"
        );
        // The disk says that all is well again. Nothing is known about what it was given before.
        node.disk().with_faults(|faults| faults.sync_error = 0);
        let refused = store.append(&[new_record(2, 0, 8)], &mut Vec::new());
        assert!(matches!(refused, Err(AppendError::Latched(_))), "{refused:?}");
        assert_eq!(max(&store), 1, "what is not durable is not visible");
        let read = store.read("even", QueueId(0), QueueOffset(0), &ReadLimits::pull(1), &|_| true).await;
        assert_eq!(read.expect("reads go on").records.len(), 1);
        assert!(store.shutdown().await.is_err());
        drop(store);
        node.os_crash();
        node.restart();
        assert_eq!(max_after_recovery(&node).await, 1);
    })
}

#[test]
fn a_failed_sync_latches_the_store_by_name() {
    for seed in 0..5 {
        failed_sync(seed, None).expect_ok();
    }
    assert!(failed_sync(0, Some(planted::IGNORE_SYNC_ERROR)).result.is_err());
}

fn read_while_stalled(seed: u64, bug: Option<&str>) -> Outcome<()> {
    simulate(seed, bug, |world| async move {
        let node = world.machine("broker");
        node.disk().with_faults(|faults| faults.survival = Survival::Nothing);
        let store = open(&node, Flush::Sync).await;
        send(&store, 0, 100).await.expect("a healthy disk");
        node.disk().stall(60_000_000_000);
        let late = send(&store, 1, 100).await;
        assert!(matches!(late, Err(FlushError::Timeout(5_000))), "{late:?}");
        let seen = max(&store);
        drop(store);
        node.os_crash();
        node.disk().heal();
        node.restart();
        assert_eq!(max_after_recovery(&node).await, seen, "what a reader saw is gone");
    })
}

#[test]
fn a_stalled_sync_is_said_in_time_and_hides_its_messages() {
    for seed in 0..5 {
        read_while_stalled(seed, None).expect_ok();
    }
    assert!(read_while_stalled(0, Some(planted::VISIBLE_BEFORE_DURABLE)).result.is_err());
}

#[test]
fn a_full_disk_refuses_by_name_and_goes_on_when_there_is_space() {
    for seed in 0..5 {
        let outcome = simulate(seed, None, |world| async move {
            let node = world.machine("broker");
            let store = open(&node, Flush::Sync).await;
            let mut sent = 0;
            for round in 1..6u64 {
                let capacity = node.disk().used() + 3_000 * round;
                node.disk().with_faults(|faults| faults.capacity = capacity);
                let text = loop {
                    match store.append(&[new_record(sent, 0, 700)], &mut Vec::new()) {
                        Ok(()) => {
                            sent += 1;
                            store.wait_durable(store.appended()).await.expect("becomes durable");
                        }
                        Err(AppendError::NotReady) => store.writable().await,
                        Err(error) => break error.to_string(),
                    }
                };
                assert!(text.starts_with("the disk is full"), "{text}");
                assert_eq!(max(&store), sent as u64, "reads go on");
                node.disk().with_faults(|faults| faults.capacity = 1 << 30);
                let env = node.env();
                let more = env.timeout_ms(5_000, async {
                    loop {
                        match store.append(&[new_record(sent, 0, 700)], &mut Vec::new()) {
                            Ok(()) => break,
                            Err(AppendError::NotReady) => store.writable().await,
                            Err(AppendError::DiskFull(_)) => env.sleep_ms(100).await,
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
                more.await.expect("goes on soon after there is space");
                sent += 1;
                store.wait_durable(store.appended()).await.expect("becomes durable");
            }
            drop(store);
            node.os_crash();
            node.restart();
            assert_eq!(max_after_recovery(&node).await, sent as u64);
        });
        outcome.expect_ok();
    }
}

//! The store on a disk that fails: what it says, what it keeps, when it goes on.

use std::path::Path;
use std::sync::Arc;

use staticfire::base::PhysicalOffset;
use staticfire::base::QueueId;
use staticfire::base::QueueOffset;
use staticfire::env::Access;
use staticfire::env::Env;
use staticfire::protocol::record::NewRecord;
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
use staticfire::store::Read;
use staticfire::store::ReadError;
use staticfire::store::ReadLimits;
use staticfire::store::ReadStatus;
use staticfire::store::Store;
use staticfire::store::planted;

use crate::store_crash::append;
use crate::store_crash::config;
use crate::store_crash::new_record;

pub(crate) async fn open(node: &Node, flush: Flush) -> Arc<Store> {
    let (store, _) = Store::open(&node.env(), config(flush)).await.expect("opens");
    store
}

/// Appends one record of queue 0 and waits until it is durable.
pub(crate) async fn send(store: &Store, number: usize, bytes: usize) -> Result<PhysicalOffset, FlushError> {
    let appended = append(store, &[new_record(number, 0, bytes)]).await.expect("appends");
    let end = appended.last().expect("one record").end();
    store.wait_durable(end).await.map(|()| end)
}

pub(crate) fn max(store: &Store) -> u64 {
    store.bounds("even", QueueId(0)).map_or(0, |bounds| bounds.max.0)
}

pub(crate) async fn max_after_recovery(node: &Node) -> u64 {
    max(&*open(node, Flush::Sync).await)
}

pub(crate) fn simulate<F, Fut>(seed: u64, bug: Option<&str>, scenario: F) -> Outcome<()>
where
    F: FnOnce(World) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let planted = bug.map(str::to_owned).into_iter().collect();
    run(Seed(seed), Limits { planted, ..Limits::default() }, scenario)
}

/// Leaves the queue file that begins at `bytes` of queue 0 without a length, durably, as a crash over its creation does.
pub(crate) async fn make_empty_queue_file(node: &Node, bytes: u64) {
    node.restart();
    let disk = node.env().disk;
    let dir = Path::new("store/consumequeue/even/0");
    disk.create_dir_all(dir).await.expect("creates");
    disk.open(&dir.join(format!("{bytes:020}")), Access::Create).await.expect("creates");
    for dir in dir.ancestors().take(3) {
        disk.sync_dir(dir).await.expect("syncs");
    }
    node.kill();
}

/// A process died over the creation of a queue's second file. The next one finds the file, and writes what belongs there.
fn killed_over_a_new_queue_file(seed: u64, bug: Option<&str>) -> Outcome<()> {
    simulate(seed, bug, |world| async move {
        let node = world.machine("broker");
        node.disk().with_faults(|faults| faults.survival = Survival::Nothing);
        let store = open(&node, Flush::Sync).await;
        let units = store.config().queue_file_units as usize;
        for number in 0..units {
            send(&store, number, 100).await.expect("a healthy disk");
        }
        store.shutdown().await.expect("shuts down");
        drop(store);
        node.kill();
        let file_bytes = units as u64 * 20;
        make_empty_queue_file(&node, file_bytes).await;
        node.restart();
        let store = open(&node, Flush::Sync).await;
        send(&store, units, 100).await.expect("a healthy disk");
        store.shutdown().await.expect("shuts down");
        drop(store);
        node.os_crash();
        for (path, len) in node.disk().image().files() {
            assert!(!path.contains("/consumequeue/") || len == file_bytes, "{path} has {len} bytes");
        }
        node.restart();
        assert_eq!(
            max_after_recovery(&node).await,
            units as u64 + 1,
            "a queue lost the units of its last file"
        );
    })
}

#[test]
fn a_queue_file_that_a_dead_process_left_half_made_is_completed() {
    for seed in 0..5 {
        killed_over_a_new_queue_file(seed, None).expect_ok();
    }
    assert!(killed_over_a_new_queue_file(0, Some(planted::HALF_MADE_FILE)).result.is_err());
}

/// The store takes a message now that its disk has space again, and refuses it for nothing else until then.
async fn taken_soon(env: &Env, store: &Store, record: NewRecord) {
    let taken = env.timeout_ms(5_000, async {
        loop {
            match store.append(std::slice::from_ref(&record), &mut Vec::new()) {
                Ok(()) => break,
                Err(AppendError::NotReady) => store.writable().await,
                Err(AppendError::DiskFull(_)) => env.sleep_ms(100).await,
                Err(error) => panic!("{error}"),
            }
        }
    });
    taken.await.expect("goes on soon after there is space");
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
                taken_soon(&env, &store, new_record(sent, 0, 700)).await;
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

fn a_deletion_meets_a_full_disk(checkpointed: bool, bug: Option<&str>) -> Outcome<()> {
    simulate(1, bug, move |world| async move {
        let node = world.machine("broker");
        let env = node.env();
        let mut config = config(Flush::Sync);
        (config.settle_interval_ms, config.checkpoint_interval_ms) = (3_600_000, 3_600_000);
        if checkpointed {
            config.checkpoint_interval_ms = 100;
        }
        let (store, _) = Store::open(&env, config).await.expect("opens");
        send(&store, 0, 700).await.expect("becomes durable");
        while checkpointed && store.stats().checkpoint < store.appended() {
            env.sleep_ms(50).await;
        }
        let used = node.disk().used();
        node.disk().with_faults(|faults| faults.capacity = used);
        let refused = store.delete_topic("even").await.expect_err("needs space").to_string();
        let missing = if checkpointed { "/queuejournal/queues.tmp" } else { "/queuejournal/0" };
        assert!(refused.starts_with("the disk is full") && refused.contains(missing), "{refused}");
        let refused = store.append(&[new_record(1, 1, 700)], &mut Vec::new());
        assert!(matches!(refused, Err(AppendError::DiskFull(_))), "{refused:?}");
        node.disk().with_faults(|faults| faults.capacity = 1 << 30);
        taken_soon(&env, &store, new_record(1, 1, 700)).await;
    })
}

/// Swarm seed 5438: retention met a full disk. The tasks that clear the store's refusal slept until a message would come,
/// and every message was refused.
#[test]
fn a_full_disk_that_a_deletion_met_is_asked_again_when_there_is_space() {
    for checkpointed in [false, true] {
        a_deletion_meets_a_full_disk(checkpointed, None).expect_ok();
        let stuck = a_deletion_meets_a_full_disk(checkpointed, Some(planted::FULL_FOR_EVER));
        assert!(stuck.result.is_err(), "messages are refused for ever");
    }
}

#[test]
fn what_was_taken_before_a_failed_write_is_on_the_disk_when_the_power_goes() {
    for seed in 0..5 {
        let outcome = simulate(seed, None, |world| async move {
            let node = world.machine("broker");
            node.disk().with_faults(|faults| faults.survival = Survival::Nothing);
            let store = open(&node, Flush::ASYNC).await;
            append(&store, &[new_record(0, 0, 700)]).await.expect("appends");
            node.disk().with_faults(|faults| faults.read_only = true);
            let refused = store.append(&[new_record(1, 0, 700)], &mut Vec::new());
            assert!(matches!(refused, Err(AppendError::Latched(_))), "{refused:?}");
            node.disk().heal();
            let env = node.env();
            let durable = env.timeout_ms(11_000, async {
                while store.durable() < store.appended() {
                    env.sleep_ms(100).await;
                }
            });
            durable.await.expect("what was taken is synced as ever");
            let refused = store.append(&[new_record(1, 0, 700)], &mut Vec::new());
            assert!(matches!(refused, Err(AppendError::Latched(_))), "and nothing more is taken");
            drop(store);
            node.disk().with_faults(|faults| faults.survival = Survival::Nothing);
            node.os_crash();
            node.restart();
            assert_eq!(max_after_recovery(&node).await, 1);
        });
        outcome.expect_ok();
    }
}

async fn read(store: &Store, from: u64) -> Result<Read, ReadError> {
    store.read("even", QueueId(0), QueueOffset(from), &ReadLimits::pull(32), &|_| true).await
}

/// Three messages of an earlier life; the second one has a sector that the disk no longer reads.
async fn with_a_bad_sector(node: &Node) -> Arc<Store> {
    let store = open(node, Flush::Sync).await;
    for (number, bytes) in [1_000, 8_000, 1_000].into_iter().enumerate() {
        send(&store, number, bytes).await.expect("becomes durable");
    }
    drop(store);
    node.kill();
    node.restart();
    let store = open(node, Flush::Sync).await;
    assert!(node.disk().make_unreadable_at("store/commitlog/00000000000000000000", 4_096));
    store
}

fn is_found(read: &Read, records: usize, next: u64) -> bool {
    (read.status, read.records.len(), read.next) == (ReadStatus::Found, records, QueueOffset(next))
}

#[test]
fn a_sector_that_stays_unreadable_costs_its_record_and_no_neighbour() {
    let outcome = simulate(1, None, |world| async move {
        let node = world.machine("broker");
        let store = with_a_bad_sector(&node).await;
        assert!(is_found(&read(&store, 0).await.expect("the first is whole"), 1, 1));
        assert!(is_found(&read(&store, 2).await.expect("the third is whole"), 1, 3));
        let error = read(&store, 1).await.expect_err("it may be a cable").to_string();
        assert!(error.contains("store/commitlog/00000000000000000000"), "{error}");
        node.env().sleep_ms(61_000).await;
        read(&store, 1).await.expect_err("nothing says that the disk works");
        send(&store, 3, 100).await.expect("the disk works");
        let read_later = read(&store, 1).await.expect("readers pass over it");
        assert_eq!((read_later.status, read_later.next), (ReadStatus::Damaged, QueueOffset(2)));
        assert_eq!(store.stats().damaged_reads, 1);
        assert!(world.probes().contains_key("store.unreadable_record"));
    });
    outcome.expect_ok();
}

#[test]
fn a_disk_that_reads_nothing_for_a_while_loses_nothing() {
    let outcome = simulate(2, None, |world| async move {
        let node = world.machine("broker");
        let store = with_a_bad_sector(&node).await;
        node.disk().with_faults(|faults| faults.read_error = 1_000_000);
        for _ in 0..3 {
            send(&store, 3, 100).await.expect("it writes");
            read(&store, 0).await.expect_err("it does not read");
            node.env().sleep_ms(25_000).await;
        }
        node.disk().heal();
        assert!(is_found(&read(&store, 0).await.expect("it reads again"), 1, 1));
    });
    outcome.expect_ok();
}

//! Z4, rmq#495 and #678: queue files that are older than the checkpoint says, by a crash of their own or by one inside
//! recovery.

use staticfire::sim::Crash;
use staticfire::sim::disk::Survival;
use staticfire::store::Flush;
use staticfire::store::planted;

use super::*;

/// The power goes while units are brought into a queue file.
fn crashed_over_a_checkpoint(seed: u64, bug: Option<&str>) -> Outcome<()> {
    simulate(seed, bug, |world| async move {
        let node = world.machine("broker");
        node.disk().with_faults(|faults| faults.survival = Survival::Nothing);
        let store = open(&node, Flush::Sync).await;
        node.crash_at("store.queue_files_written", 1, Crash::Os);
        for number in 0..5 {
            send(&store, number, 100).await.expect("a healthy disk");
        }
        node.down().await;
        drop(store);
        node.restart();
        assert_eq!(max_after_recovery(&node).await, 5);
    })
}

/// The power goes, and again while recovery writes what it replayed into the journal.
fn crashed_twice(seed: u64, bug: Option<&str>) -> Outcome<()> {
    simulate(seed, bug, |world| async move {
        let node = world.machine("broker");
        node.disk().with_faults(|faults| faults.survival = Survival::Nothing);
        let store = open(&node, Flush::Sync).await;
        for number in 0..5 {
            send(&store, number, 100).await.expect("a healthy disk");
        }
        drop(store);
        node.os_crash();
        node.restart();
        node.crash_at("store.journal_written", 1, Crash::Os);
        let died = Store::open(&node.env(), config(Flush::Sync)).await;
        assert!(died.is_err(), "the process was to die inside recovery");
        node.restart();
        assert_eq!(max_after_recovery(&node).await, 5);
    })
}

#[test]
fn a_crash_over_a_checkpoint_leaves_the_older_one() {
    directed(crashed_over_a_checkpoint, planted::CHECKPOINT_AHEAD);
}

#[test]
fn a_crash_inside_recovery_loses_no_unit() {
    directed(crashed_twice, planted::RECOVERY_CHECKPOINT_FIRST);
}

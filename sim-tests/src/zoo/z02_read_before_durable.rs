//! Z2, rmq#8239: readers see what is not durable yet; after a loss of power their offset is ahead of the queue.

use staticfire::sim::disk::Survival;
use staticfire::store::Flush;
use staticfire::store::FlushError;
use staticfire::store::planted;

use super::*;

fn story(seed: u64, bug: Option<&str>) -> Outcome<()> {
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
    directed(story, planted::VISIBLE_BEFORE_DURABLE);
}

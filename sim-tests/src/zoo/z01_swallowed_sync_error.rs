//! Z1, rmq#2706: a sync fails, nobody says so, and the producer is told that its message is safe.

use staticfire::sim::disk::Survival;
use staticfire::store::AppendError;
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
    directed(story, planted::IGNORE_SYNC_ERROR);
}

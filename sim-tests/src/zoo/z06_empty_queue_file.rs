//! Z6, rmq#9728 and #10108: a queue file that a crash left empty keeps the broker from starting for ever.

use staticfire::sim::disk::Survival;
use staticfire::store::Flush;
use staticfire::store::planted;

use super::*;

fn story(seed: u64, bug: Option<&str>) -> Outcome<()> {
    simulate(seed, bug, |world| async move {
        let node = world.machine("broker");
        node.disk().with_faults(|faults| faults.survival = Survival::Nothing);
        let store = open(&node, Flush::Sync).await;
        send(&store, 0, 100).await.expect("a healthy disk");
        drop(store);
        node.os_crash();
        make_empty_queue_file(&node, 0).await;
        let empty = |(path, len): &(String, u64)| path.contains("/consumequeue/") && *len == 0;
        assert!(node.disk().image().files().iter().any(empty), "there was to be an empty file");
        node.restart();
        assert_eq!(max_after_recovery(&node).await, 1);
    })
}

#[test]
fn a_store_with_an_empty_queue_file_starts() {
    directed(story, planted::SHORT_QUEUE_FILE_REFUSED);
}

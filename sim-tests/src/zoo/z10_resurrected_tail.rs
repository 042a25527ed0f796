//! Z10, iggy PR 3946: a torn tail is left where it is; a later record of the same length brings back what stood behind it.

use staticfire::store::Flush;
use staticfire::store::planted;

use super::*;

fn story(seed: u64, bug: Option<&str>) -> Outcome<()> {
    simulate(seed, bug, |world| async move {
        let node = world.machine("broker");
        let store = open(&node, Flush::Sync).await;
        let first = send(&store, 0, 100).await.expect("a healthy disk");
        for number in 1..4 {
            append(&store, &[new_record(number, 0, 100)]).await.expect("appends, and nobody waits");
        }
        drop(store);
        node.kill();
        // The first of the three is torn, the others are whole.
        flip(&node, first.0 + 120).await;
        node.restart();
        let store = open(&node, Flush::Sync).await;
        assert_eq!(max(&store), 1, "the log ends before the torn record");
        send(&store, 1, 100).await.expect("a record of the same length");
        drop(store);
        node.kill();
        node.restart();
        assert_eq!(max_after_recovery(&node).await, 2, "what was cut came back");
    })
}

#[test]
fn what_stood_behind_a_torn_record_does_not_come_back() {
    directed(story, planted::KEEP_TORN_TAIL);
}

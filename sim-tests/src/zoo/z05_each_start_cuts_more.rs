//! Z5, rmq#6665: each start removes a little more of the log.

use staticfire::store::Flush;
use staticfire::store::planted;

use super::*;

fn story(seed: u64, bug: Option<&str>) -> Outcome<()> {
    simulate(seed, bug, |world| async move {
        let node = world.machine("broker");
        let store = open(&node, Flush::Sync).await;
        for number in 0..5 {
            send(&store, number, 100).await.expect("a healthy disk");
        }
        append(&store, &[new_record(5, 0, 9_000)]).await.expect("appends, and nobody waits");
        drop(store);
        node.os_crash();
        node.restart();
        let first = max_after_recovery(&node).await;
        assert!(first >= 5, "{first} messages of 5 that were acknowledged");
        for start in 2..=5 {
            node.kill();
            node.restart();
            assert_eq!(max_after_recovery(&node).await, first, "start {start} cut more");
        }
    })
}

#[test]
fn starting_five_times_cuts_once() {
    directed(story, planted::CUT_ONE_MORE);
}

//! Z3, rmq#467 and #1434: after a kill, what stands in the last segment but one is not dispatched again.

use staticfire::store::Flush;
use staticfire::store::planted;

use super::*;

fn story(seed: u64, bug: Option<&str>) -> Outcome<()> {
    simulate(seed, bug, |world| async move {
        let node = world.machine("broker");
        let store = open(&node, Flush::ASYNC).await;
        // Beyond the end of a segment of 16 KiB; the next checkpoint would come at 24 KiB.
        for number in 0..20 {
            append(&store, &[new_record(number, 0, 900)]).await.expect("appends");
        }
        drop(store);
        node.kill();
        node.restart();
        let store = open(&node, Flush::ASYNC).await;
        assert_eq!(
            readable(&store).await,
            (20, 0),
            "the log is there, and its queue does not know all of it"
        );
    })
}

#[test]
fn a_kill_right_after_a_segment_roll_loses_no_unit() {
    directed(story, planted::REPLAY_LAST_SEGMENT);
}

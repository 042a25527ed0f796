//! Z11, NATS #7549: one bit flips in a closed segment, and the acknowledged neighbours of the record are gone with it.

use staticfire::store::Flush;
use staticfire::store::planted;

use super::*;

fn story(seed: u64, bug: Option<&str>) -> Outcome<()> {
    simulate(seed, bug, |world| async move {
        let node = world.machine("broker");
        let store = open(&node, Flush::Sync).await;
        let mut ends = Vec::new();
        for number in 0..60 {
            ends.push(send(&store, number, 900).await.expect("a healthy disk"));
        }
        store.shutdown().await.expect("shuts down");
        drop(store);
        node.kill();
        flip(&node, ends[3].0 + 200).await;
        node.restart();
        let store = open(&node, Flush::Sync).await;
        assert_eq!(readable(&store).await, (59, 1), "one record is damaged; its neighbours are as they were");
    })
}

/// The same without knowing where: any number of messages of any size, and a bit of the log, drawn.
pub(crate) fn flipped_somewhere(seed: u64, bug: Option<&str>) -> Outcome<()> {
    simulate(seed, bug, |world| async move {
        let draw = world.draw().domain("flip");
        let node = world.machine("broker");
        let store = open(&node, Flush::Sync).await;
        let count = draw.range("count", 0, 0, 2, 80);
        for number in 0..count {
            let bytes = draw.range("bytes", number, 0, 8, 2_000) as usize;
            send(&store, number as usize, bytes).await.expect("a healthy disk");
        }
        let end = store.appended();
        store.shutdown().await.expect("shuts down");
        drop(store);
        node.kill();
        flip(&node, draw.range("at", 0, 0, 0, end.0)).await;
        node.restart();
        let (found, damaged) = readable(&*open(&node, Flush::Sync).await).await;
        // Flags, addresses and properties are under no checksum; neither is what lies behind a filler.
        assert!(
            found + damaged == count && damaged <= 1,
            "O3: of {count}, {found} are there, {damaged} damaged"
        );
    })
}

#[test]
fn a_bit_that_flips_anywhere_in_the_log_costs_one_record_at_most() {
    for seed in 0..200 {
        flipped_somewhere(seed, None).expect_ok();
    }
}

#[test]
fn one_flipped_bit_costs_one_record() {
    directed(story, planted::DAMAGE_HIDES_THE_REST);
}

//! Mistakes that others made, planted in our code, and found again.
//!
//! Each row of the zoo is a bug of another broker's history. Here, for each: the mistake as a planted bug of the layer
//! where our code could make it, and the shortest story that finds it at once. `table` asks the generic swarm the same
//! question without the story, and counts the seeds: `cargo ci zoo`, published in `docs/ZOO.md`.

mod table;
mod z01_swallowed_sync_error;
mod z02_read_before_durable;
mod z03_last_segment_only;
mod z04_two_crashes;
mod z05_each_start_cuts_more;
mod z06_empty_queue_file;
mod z10_resurrected_tail;
mod z11_one_bit_hides_a_block;
mod z14_killed_over_metadata;

use std::path::Path;

use bytes::Bytes;
use staticfire::base::QueueId;
use staticfire::base::QueueOffset;
use staticfire::env::Access;
use staticfire::sim::Node;
use staticfire::sim::Outcome;
use staticfire::store::ReadLimits;
use staticfire::store::ReadStatus;
use staticfire::store::Store;

use crate::store_crash::append;
use crate::store_crash::config;
use crate::store_crash::new_record;
use crate::store_faults::make_empty_queue_file;
use crate::store_faults::max;
use crate::store_faults::max_after_recovery;
use crate::store_faults::open;
use crate::store_faults::send;
use crate::store_faults::simulate;

/// The story ends well under several seeds, and does not with the bug.
#[track_caller]
fn directed(story: fn(u64, Option<&str>) -> Outcome<()>, bug: &str) {
    for seed in 0..5 {
        story(seed, None).expect_ok();
    }
    assert!(story(0, Some(bug)).result.is_err(), "the story ends well with {bug}");
}

/// How many messages of queue 0 a reader gets, and how many it is told are damaged.
async fn readable(store: &Store) -> (u64, u64) {
    let (mut found, mut damaged) = (0, 0);
    let mut next = QueueOffset(0);
    while next.0 < max(store) {
        let read = store.read("even", QueueId(0), next, &ReadLimits::pull(32), &|_| true).await;
        let read = read.expect("a healthy disk is readable");
        found += read.records.len() as u64;
        damaged += u64::from(read.status == ReadStatus::Damaged);
        next = read.next;
    }
    (found, damaged)
}

/// Changes the byte of the log at `at`, durably, while no process runs.
async fn flip(node: &Node, at: u64) {
    node.restart();
    let env = node.env();
    let segment_bytes = config(staticfire::store::Flush::Sync).segment_bytes;
    let path = format!("store/commitlog/{:020}", at - at % segment_bytes);
    let file = env.disk.open(Path::new(&path), Access::Write).await.expect("the segment is there");
    let byte = file.read_at(at % segment_bytes, 1).await.expect("reads");
    let flipped: Vec<u8> = byte.iter().map(|byte| byte ^ 1).collect();
    file.write_at(at % segment_bytes, Bytes::from(flipped)).await.expect("writes");
    file.sync().await.expect("syncs");
    drop(file);
    node.kill();
}

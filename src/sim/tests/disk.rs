//! The disk as a process meets it, and its faults.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::simulate;
use crate::env::Access;
use crate::env::Env;
use crate::env::Segment;
use crate::sim::Damage;
use crate::sim::disk::Survival;

async fn segment(env: &Env, len: u64) -> Arc<dyn Segment> {
    let segment = env.disk.map(Path::new("segment"), len, Access::Create).await.expect("maps");
    env.disk.sync_dir(Path::new("")).await.expect("syncs");
    segment
}

fn fill(segment: &dyn Segment, offset: u64, len: usize, byte: u8) {
    segment.fill(offset, len, &mut |buffer| buffer.fill(byte)).expect("fills");
}

#[test]
fn any_subset_of_unsynced_pages_survives_a_power_loss() {
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..60 {
        outcomes.insert(simulate(seed, |world| async move {
            let node = world.machine("a");
            node.disk().with_faults(|faults| faults.survival = Survival::Subset);
            let env = node.env();
            let log = segment(&env, 64 << 10).await;
            fill(&*log, 0, 4_096, 1);
            log.sync(0, 4_096).await.expect("syncs");
            fill(&*log, 4_096, 3 * 4_096, 2);
            node.os_crash();
            node.restart();
            let log = segment(&node.env(), 64 << 10).await;
            assert_eq!(log.slice(0, 4_096).expect("reads"), vec![1; 4_096]);
            let rest = log.slice(4_096, 3 * 4_096).expect("reads");
            let kinds: Vec<u8> = rest
                .chunks(4_096)
                .map(|page| match page.iter().filter(|byte| **byte == 2).count() {
                    0 => b'l',
                    4_096 => b'k',
                    n => {
                        assert!(n % 512 == 0);
                        b't'
                    }
                })
                .collect();
            String::from_utf8(kinds).expect("letters")
        }));
    }
    assert!(outcomes.len() > 15, "{outcomes:?}");
}

#[test]
fn a_failed_sync_drops_its_pages_and_the_next_says_ok() {
    simulate(1, |world| async move {
        let node = world.machine("a");
        let env = node.env();
        let log = segment(&env, 16 << 10).await;
        fill(&*log, 0, 100, 7);
        node.disk().with_faults(|faults| faults.sync_error = 1_000_000);
        assert!(log.sync(0, 100).await.is_err());
        node.disk().with_faults(|faults| faults.sync_error = 0);
        log.sync(0, 100).await.expect("the kernel believes them clean");
        assert_eq!(log.slice(0, 100).expect("reads"), vec![7; 100]);
        node.os_crash();
        node.restart();
        let log = segment(&node.env(), 16 << 10).await;
        assert_eq!(log.slice(0, 100).expect("reads"), vec![0; 100]);
        assert!(
            world.ledger().iter().any(|entry| matches!(entry.damage, Damage::SyncFailed { pages: 1, .. }))
        );
    });
}

#[test]
fn a_sticky_sync_error_lasts_and_a_lie_is_in_the_ledger() {
    simulate(2, |world| async move {
        let node = world.machine("a");
        let env = node.env();
        let log = segment(&env, 16 << 10).await;
        node.disk().with_faults(|faults| (faults.sync_error, faults.sync_error_sticks) = (1_000_000, true));
        assert!(log.sync(0, 1).await.is_err());
        node.disk().with_faults(|faults| faults.sync_error = 0);
        assert!(log.sync(0, 1).await.is_err());
        node.disk().heal();
        node.disk().with_faults(|faults| {
            faults.lying_sync = 1_000_000;
            faults.survival = Survival::Nothing;
        });
        fill(&*log, 0, 100, 7);
        log.sync(0, 100).await.expect("a lie");
        node.os_crash();
        node.restart();
        let log = segment(&node.env(), 16 << 10).await;
        assert_eq!(log.slice(0, 100).expect("reads"), vec![0; 100]);
        assert!(world.ledger().iter().any(|entry| matches!(entry.damage, Damage::Lie { .. })));
    });
}

#[test]
fn a_full_disk_refuses_a_segment_before_and_tears_a_write_in_the_middle() {
    simulate(3, |world| async move {
        let node = world.machine("a");
        let env = node.env();
        node.disk().with_faults(|faults| faults.capacity = 10_000);
        let refused = env.disk.map(Path::new("big"), 20_000, Access::Create).await.map(|_| ());
        assert_eq!(refused.map_err(|error| error.kind()), Err(ErrorKind::StorageFull));
        let file = env.disk.open(Path::new("f"), Access::Create).await.expect("opens");
        file.write_at(0, Bytes::from(vec![1; 9_990])).await.expect("fits");
        let refused = file.write_at(9_990, Bytes::from(vec![2; 100])).await;
        assert_eq!(refused.map_err(|error| error.kind()), Err(ErrorKind::StorageFull));
        assert_eq!(file.len().await.expect("a length"), 10_000);
        assert_eq!(env.disk.space(Path::new("")).await.expect("space").available, 0);
        env.disk.remove(Path::new("f")).await.expect("removes");
        drop(file);
        env.disk.sync_dir(Path::new("")).await.expect("syncs");
        assert_eq!(env.disk.space(Path::new("")).await.expect("space").available, 10_000);
    });
}

#[test]
fn a_stalled_disk_answers_late_and_a_hanging_one_when_it_is_healed() {
    simulate(4, |world| async move {
        let node = world.machine("a");
        let env = node.env();
        let log = segment(&env, 16 << 10).await;
        node.disk().stall(3_000_000_000);
        let start = world.now();
        log.sync(0, 1).await.expect("syncs");
        assert!(world.now() - start >= Duration::from_secs(3));
        node.disk().stall(u64::MAX);
        assert!(env.timeout_ms(600_000, log.sync(0, 1)).await.is_none());
        let heals = async {
            world.sleep(Duration::from_secs(9)).await;
            node.disk().heal();
        };
        let (synced, ()) = tokio::join!(biased; log.sync(0, 1), heals);
        synced.expect("syncs");
    });
}

#[test]
fn rot_unreadable_pages_and_stray_writes_are_silent_until_read() {
    simulate(5, |world| async move {
        let node = world.machine("a");
        let env = node.env();
        let log = segment(&env, 8 << 10).await;
        fill(&*log, 0, 8 << 10, 7);
        log.sync(0, 8 << 10).await.expect("syncs");
        assert!(node.disk().rot(true));
        assert_eq!(log.slice(0, 8 << 10).expect("reads"), vec![7; 8 << 10], "the page cache is still right");
        node.os_crash();
        node.restart();
        let log = segment(&node.env(), 8 << 10).await;
        let read = log.slice(0, 8 << 10).expect("reads");
        assert_eq!(read.iter().filter(|byte| **byte != 7).count(), 1);
        assert!(node.disk().make_unreadable());
        assert!(log.slice(0, 8 << 10).is_err());
        fill(&*log, 0, 8 << 10, 9);
        assert_eq!(log.slice(0, 8 << 10).expect("a written page can be read"), vec![9; 8 << 10]);
        node.disk().with_faults(|faults| faults.misdirected_write = 1_000_000);
        fill(&*log, 0, 10, 1);
        assert_eq!(log.slice(0, 10).expect("reads"), vec![9; 10]);
        assert_eq!(log.slice(4_096, 10).expect("reads"), vec![1; 10]);
    });
}

#[test]
fn images_taken_at_each_sync_have_legal_successors_that_a_new_machine_can_open() {
    simulate(6, |world| async move {
        let node = world.machine("a");
        node.disk().record_images();
        let env = node.env();
        let log = segment(&env, 64 << 10).await;
        for n in 0..8u64 {
            fill(&*log, n * 5_000, 5_000, n as u8 + 1);
            log.sync(n * 5_000, 5_000).await.expect("syncs");
        }
        let images = node.disk().take_images();
        assert_eq!(images.len(), 9, "one directory sync and eight of the segment");
        for (nth, image) in images.iter().enumerate().skip(1) {
            for (k, crashed) in image.crash_images(nth as u64, 8).enumerate() {
                let fresh = world.machine(&format!("fresh-{nth}-{k}"));
                fresh.disk().restore(crashed);
                let log = segment(&fresh.env(), 64 << 10).await;
                for synced in 0..nth as u64 - 1 {
                    let read = log.slice(synced * 5_000, 5_000).expect("reads");
                    assert!(
                        read.iter().all(|byte| *byte == synced as u8 + 1),
                        "what was synced is in every image"
                    );
                }
            }
        }
    });
}

#[test]
fn names_and_errors_are_those_of_a_file_system() {
    simulate(7, |world| async move {
        let env = world.client_env("a");
        let disk = &env.disk;
        let kind = |result: std::io::Result<()>| result.map_err(|error| error.kind());
        assert_eq!(
            kind(disk.open(Path::new("x"), Access::Write).await.map(|_| ())),
            Err(ErrorKind::NotFound)
        );
        assert_eq!(
            kind(disk.open(Path::new("d/x"), Access::Create).await.map(|_| ())),
            Err(ErrorKind::NotFound)
        );
        disk.create_dir_all(Path::new("d/e")).await.expect("creates");
        disk.create_dir_all(Path::new("d/e")).await.expect("twice is fine");
        assert_eq!(kind(disk.remove_dir(Path::new("d")).await), Err(ErrorKind::DirectoryNotEmpty));
        let file = disk.open(Path::new("d/x"), Access::Create).await.expect("opens");
        file.write_at(3, Bytes::from_static(b"abc")).await.expect("writes");
        assert_eq!(&file.read_at(0, 100).await.expect("reads")[..], b"\0\0\0abc");
        disk.rename(Path::new("d"), Path::new("moved")).await.expect("a directory moves with what is in it");
        let names: Vec<_> = disk.list(Path::new("/moved")).await.expect("lists");
        assert_eq!(
            names.iter().map(|entry| (&*entry.name, entry.len)).collect::<Vec<_>>(),
            [("e", 0), ("x", 6)]
        );
        let lock = disk.lock(Path::new("lock")).await.expect("locks");
        assert_eq!(kind(disk.lock(Path::new("lock")).await.map(|_| ())), Err(ErrorKind::WouldBlock));
        drop(lock);
        disk.lock(Path::new("lock")).await.expect("locks again");
        let read_only = disk.open(Path::new("moved/x"), Access::Read).await.expect("opens");
        assert!(read_only.write_at(0, Bytes::from_static(b"z")).await.is_err());
        let longer = disk.map(Path::new("moved/x"), 3, Access::Write).await.map(|_| ());
        assert_eq!(kind(longer), Err(ErrorKind::InvalidData));
    });
}

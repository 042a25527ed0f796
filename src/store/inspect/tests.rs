//! A check finds what was changed, says so without a panic, and leaves every byte as it was.

#![expect(clippy::disallowed_methods, reason = "damages the files of a store from outside")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::store::Store;
use crate::store::config_file;
use crate::store::tests::append;
use crate::store::tests::env;
use crate::store::tests::open;
use crate::store::tests::remove;
use crate::store::tests::run;
use crate::store::tests::scratch;
use crate::store::tests::sized;

const QUEUE_UNITS: u32 = 16;
const SEGMENT_BYTES: u64 = 4096;
const MESSAGES: u64 = 26;

pub(super) type Files = BTreeMap<PathBuf, Vec<u8>>;

pub(super) fn config(dir: &Path) -> Config {
    Config { segment_bytes: SEGMENT_BYTES, queue_file_units: QUEUE_UNITS, ..Config::small(dir) }
}

/// Messages of two topics in three queues, over two segments and one ahead; a table; shut down, or left as by a crash.
pub(super) async fn fill(dir: &Path, clean: bool) -> Arc<Store> {
    let (store, _) = open(&config(dir)).await;
    for n in 0..MESSAGES {
        let topic = if n % 4 == 0 { "Other" } else { "T" };
        append(&store, &[sized(topic, (n % 2) as u32, n, 60)]).await;
    }
    store.wait_durable(store.appended()).await.unwrap();
    let table = dir.join("config/topics.json");
    config_file::save(&env(), &table, "{\"topicConfigTable\":{}}".into()).await.unwrap();
    if clean {
        store.shutdown().await.unwrap();
    }
    store
}

async fn report(dir: &Path) -> Report {
    let closed = ClosedStore::open(&env(), dir, Sizes::default()).await.unwrap();
    closed.check(&mut |_| {}).await.unwrap()
}

pub(super) fn files(dir: &Path) -> Files {
    let mut all = Files::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    all
}

#[test]
fn a_store_that_was_shut_down_is_whole() {
    run(async {
        let dir = scratch("inspect-whole");
        fill(&dir, true).await;
        let before = files(&dir);
        let mut words = Vec::new();
        let closed = ClosedStore::open(&env(), &dir, Sizes::default()).await.unwrap();
        let report = closed.check(&mut |progress| words.push(progress)).await.unwrap();
        assert!(report.is_whole(), "{:#?}", report.findings);
        assert_eq!((report.records, report.units, report.queues, report.topics), (MESSAGES, MESSAGES, 3, 2));
        assert_eq!((report.segment_bytes, report.queue_file_bytes), (SEGMENT_BYTES, 320));
        assert_eq!((report.first_invalid, report.torn_bytes, report.clean), (None, 0, true));
        assert_eq!(report.recovery, ["nothing: the log ends at the checkpoint"]);
        let last = words.last().unwrap();
        assert_eq!(last.done, last.all);
        assert_eq!(files(&dir), before, "a check changed a file");
        remove(&dir);
    });
}

#[test]
fn a_running_store_is_refused_by_name() {
    run(async {
        let dir = scratch("inspect-running");
        let store = fill(&dir, false).await;
        let refused = ClosedStore::open(&env(), &dir, Sizes::default()).await.err().unwrap().to_string();
        assert!(refused.contains("is in use") && refused.contains("held by process"), "{refused}");
        store.shutdown().await.unwrap();
        assert!(report(&dir).await.is_whole());
        let nothing = dir.join("config");
        let refused = ClosedStore::open(&env(), &nothing, Sizes::default()).await.err().unwrap();
        assert!(matches!(refused, InspectError::NoStore { .. }), "{refused}");
        remove(&dir);
    });
}

#[test]
fn what_a_crash_leaves_to_recovery_is_no_damage() {
    run(async {
        let dir = scratch("inspect-crash");
        drop(fill(&dir, false).await);
        let found = report(&dir).await;
        assert!(found.is_whole() && !found.clean, "{found:#?}");
        assert_eq!(found.units + found.units_to_come, MESSAGES);
        let (_, recovery) = open(&config(&dir)).await;
        assert_eq!(recovery.end.0, found.end);
        // What the journal has is not replayed.
        assert!(recovery.records + found.units <= MESSAGES, "{recovery:?} {found:#?}");
        remove(&dir);
    });
}

#[test]
fn what_only_the_journal_has_was_acknowledged_and_is_no_damage() {
    run(async {
        let dir = scratch("inspect-journal");
        let config = Config { checkpoint_interval_ms: 1, settle_interval_ms: 3_600_000, ..config(&dir) };
        let (store, _) = open(&config).await;
        for n in 0..10 {
            append(&store, &[sized("T", 0, n, 60)]).await;
        }
        while store.stats().checkpoint != store.appended() {
            env().sleep_ms(1).await;
        }
        let end = store.appended().0;
        assert_eq!(store.stats().settled.0, 0);
        drop(store);
        let found = report(&dir).await;
        assert!(found.is_whole(), "{:#?}", found.findings);
        assert_eq!((found.end, found.units, found.units_to_come), (end, 0, 10));
        let path = Layout::new(&config).segment(0);
        let mut bytes = fs::read(&path).unwrap();
        bytes[20] ^= 7;
        fs::write(&path, &bytes).unwrap();
        let found = report(&dir).await;
        assert!(found.has(Damage::Record) && !found.has(Damage::Tail), "{:#?}", found.findings);
        assert_eq!((found.end, found.torn_bytes), (end, 0));
        remove(&dir);
    });
}

#[test]
fn topics_that_were_removed_leave_orphans_and_no_damage() {
    run(async {
        let dir = scratch("inspect-orphans");
        let (store, _) = open(&config(&dir)).await;
        for n in 0..10 {
            append(&store, &[sized("Gone", 0, n, 50), sized("Again", 0, n, 50)]).await;
        }
        store.delete_topic("Gone").await.unwrap();
        store.delete_topic("Again").await.unwrap();
        append(&store, &[sized("Again", 0, 99, 50), sized("Again", 0, 100, 50)]).await;
        store.shutdown().await.unwrap();
        let report = report(&dir).await;
        assert!(report.is_whole(), "{:#?}", report.findings);
        assert_eq!((report.records, report.orphans, report.units), (22, 20, 2));
        remove(&dir);
    });
}

#[test]
fn what_retention_left_is_whole() {
    run(async {
        let dir = scratch("inspect-retention");
        let mut config = config(&dir);
        config.retention.keep_bytes = Some(2 * SEGMENT_BYTES);
        let (store, _) = open(&config).await;
        for n in 0..120 {
            append(&store, &[sized("T", 0, n, 60)]).await;
        }
        store.shutdown().await.unwrap();
        let (store, _) = open(&config).await;
        assert!(store.run_retention(env().wall()).await.unwrap().segments > 0);
        store.shutdown().await.unwrap();
        let report = report(&dir).await;
        assert!(report.is_whole() && report.first > 0, "{report:#?}");
        remove(&dir);
    });
}

/// Offsets of a record's bytes that some check of the format covers, by the record's length.
fn is_covered(within: usize, record: &[u8]) -> bool {
    let topic_at = 88 + u32::from_be_bytes(record[84..88].try_into().unwrap()) as usize;
    // Not the flag, the sys flag, times, hosts, counters.
    let fixed = within < 16 || (20..36).contains(&within) || (84..topic_at).contains(&within);
    let topic = (topic_at..topic_at + 1 + usize::from(record[topic_at])).contains(&within);
    fixed || topic
}

#[test]
fn flipped_bytes_of_a_record_or_unit_are_found_and_none_panics() {
    run(async {
        let dir = scratch("inspect-flips");
        drop(fill(&dir, true).await);
        let whole = files(&dir);
        let mut found = 0;
        for (path, bytes) in &whole {
            let in_log = path.parent().unwrap().ends_with("commitlog");
            let in_queue = path.starts_with(dir.join("consumequeue"));
            let mut record_at = 0;
            for at in 0..bytes.len() {
                let size =
                    u32::from_be_bytes(bytes[at..].first_chunk().copied().unwrap_or_default()) as usize;
                let magic = bytes.get(at + 4..at + 8) == Some(&[0xDA, 0xA3, 0x20, 0xA7]);
                if in_log && magic && bytes.len() >= at + size {
                    record_at = at;
                }
                let blank =
                    bytes[at] == 0 && bytes[at.saturating_sub(64)..].iter().take(128).all(|b| *b == 0);
                if (blank && at % 397 != 0) || (at > 400 && at % 7 != 0) {
                    continue;
                }
                let mut changed = bytes.clone();
                changed[at] ^= 1 << (at % 8);
                fs::write(path, &changed).unwrap();
                let report = report(&dir).await;
                let name = path.strip_prefix(&dir).unwrap().display();
                let covered = match bytes.get(record_at..) {
                    Some(record) if in_log && record.len() > 91 => {
                        let len = u32::from_be_bytes(record[..4].try_into().unwrap()) as usize;
                        at - record_at < len && len < 4096 && is_covered(at - record_at, &record[..len])
                    }
                    _ => false,
                };
                let in_checkpoint = path.ends_with("checkpoint") && at < 100;
                if covered || in_queue || in_checkpoint {
                    assert!(!report.is_whole(), "byte {at} of {name} was flipped unseen");
                    found += 1;
                }
            }
            fs::write(path, bytes).unwrap();
        }
        assert!(found > 800, "only {found} flips were judged");
        assert!(report(&dir).await.is_whole());
        assert_eq!(files(&dir), whole, "a check changed a file");
        remove(&dir);
    });
}

#[test]
fn each_cut_of_a_segment_or_queue_file_is_found() {
    run(async {
        let dir = scratch("inspect-cuts");
        drop(fill(&dir, true).await);
        let whole = files(&dir);
        for (path, bytes) in &whole {
            let judged =
                path.to_string_lossy().contains("commitlog") || path.starts_with(dir.join("consumequeue"));
            for len in (0..bytes.len()).step_by(37) {
                fs::write(path, &bytes[..len]).unwrap();
                let report = report(&dir).await;
                assert!(!judged || !report.is_whole(), "{} was cut to {len} bytes unseen", path.display());
            }
            fs::remove_file(path).unwrap();
            let report = report(&dir).await;
            // Without its first segment a log is what retention leaves; the last one was prepared and is empty.
            let layout = Layout::new(&config(&dir));
            let judged = judged && *path != layout.segment(0) && *path != layout.segment(2 * SEGMENT_BYTES);
            assert!(!judged || !report.is_whole(), "{} is gone unseen", path.display());
            fs::write(path, bytes).unwrap();
        }
        assert_eq!(files(&dir), whole, "a check changed a file");
        remove(&dir);
    });
}

#[test]
fn damage_is_named_with_its_place_and_what_a_start_does() {
    run(async {
        let dir = scratch("inspect-words");
        let store = fill(&dir, true).await;
        let middle = store.appended().0 / 2;
        let closed = ClosedStore::open(&env(), &dir, Sizes::default()).await.unwrap();
        let mut records = closed.records(middle).unwrap();
        let Some(Seen::Record(first)) = records.next().await.unwrap() else { panic!("a record") };
        let at = crate::protocol::record::RecordView::decode(&first).unwrap().physical.0;
        drop(closed);
        let path = Layout::new(&config(&dir)).segment(at);
        let mut bytes = fs::read(&path).unwrap();
        bytes[(at % SEGMENT_BYTES) as usize + 100] ^= 1;
        fs::write(&path, bytes).unwrap();
        let report = report(&dir).await;
        assert_eq!(report.first_invalid, Some(at));
        assert_eq!(report.records, MESSAGES - 1);
        assert!(report.has(Damage::Record) && report.has(Damage::Gap), "{:#?}", report.findings);
        assert!(!report.refused && report.recovery[0].starts_with("leave damaged records"), "{report:#?}");
        // The store opens all the same, and the walk goes on behind the damage.
        let closed = ClosedStore::open(&env(), &dir, Sizes::default()).await.unwrap();
        let mut records = closed.records(0).unwrap();
        let (mut whole, mut damaged) = (0u64, 0);
        while let Some(seen) = records.next().await.unwrap() {
            match seen {
                Seen::Record(_) => whole += 1,
                Seen::Damage { .. } => damaged += 1,
            }
        }
        assert_eq!((whole, damaged), (MESSAGES - 1, 1));
        assert_eq!(closed.position_of("T", 1, 3).await.unwrap().map(|at| at > 0), Some(true));
        assert_eq!(closed.position_of("T", 1, 300).await.unwrap(), None);
        remove(&dir);
    });
}

#[test]
fn a_hole_in_the_log_is_named_and_its_start_refused() {
    run(async {
        let dir = scratch("inspect-hole");
        let (store, _) = open(&config(&dir)).await;
        for n in 0..80 {
            append(&store, &[sized("T", 0, n, 60)]).await;
        }
        store.shutdown().await.unwrap();
        fs::remove_file(Layout::new(&config(&dir)).segment(SEGMENT_BYTES)).unwrap();
        let report = report(&dir).await;
        assert!(report.has(Damage::Hole) && report.refused, "{report:#?}");
        assert!(Store::open(&env(), config(&dir)).await.is_err());
        remove(&dir);
    });
}

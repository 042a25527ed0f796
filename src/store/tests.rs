//! Stories of the store on a real disk, and a law: whatever is done, a queue is what was appended to it.

mod foreign;
mod index;

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::base::PhysicalOffset;
use crate::base::QueueId;
use crate::base::QueueOffset;
use crate::base::Timestamp;
use crate::env::Access;
use crate::env::Env;
use crate::protocol::record::NewRecord;
use crate::protocol::record::RecordView;
use crate::protocol::record::tags_code;

/// A fresh directory of this test process, by purpose.
#[expect(clippy::disallowed_methods, reason = "prepares the directory that a test works in")]
pub(super) fn scratch(purpose: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("staticfire-store-{}-{purpose}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    dir
}

#[expect(clippy::disallowed_methods, reason = "removes the directory that a test worked in")]
pub(super) fn remove(dir: &Path) {
    let _ = std::fs::remove_dir_all(dir);
}

pub(super) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio_real::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(super) fn env() -> Env {
    crate::env::real::env_with_seed(1)
}

pub(super) fn record(topic: &str, queue: u32, body: impl Into<Bytes>) -> NewRecord {
    let properties = Bytes::from_static(b"TAGS\x01TagA\x02");
    NewRecord {
        topic: Arc::from(topic),
        queue: QueueId(queue),
        flag: 0,
        sys_flag: 0,
        born_at: Timestamp(1),
        born_host: "127.0.0.1:50000".parse().unwrap(),
        store_host: "127.0.0.1:10911".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: body.into(),
        tags_code: tags_code(&properties),
        properties,
    }
}

pub(super) fn sized(topic: &str, queue: u32, n: u64, bytes: usize) -> NewRecord {
    let mut body = n.to_be_bytes().to_vec();
    body.resize(bytes.max(8), n as u8);
    record(topic, queue, body)
}

/// Appends, waiting whenever the log makes room.
pub(super) async fn append(store: &Store, unit: &[NewRecord]) -> Vec<Appended> {
    let mut out = Vec::new();
    loop {
        match store.append(unit, &mut out) {
            Ok(()) => return out,
            Err(AppendError::NotReady) => store.writable().await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Bodies of a whole queue, by reading it as a consumer does.
pub(super) async fn bodies(store: &Store, topic: &str, queue: u32) -> Vec<Bytes> {
    let Some(bounds) = store.bounds(topic, QueueId(queue)) else { return Vec::new() };
    let mut next = bounds.min;
    let mut out = Vec::new();
    while next < bounds.max {
        let read = store.read(topic, QueueId(queue), next, &ReadLimits::pull(32), &|_| true).await.unwrap();
        assert_eq!(read.status, ReadStatus::Found, "at {next}");
        assert_eq!(read.next.0 - next.0, read.records.len() as u64);
        for record in &read.records {
            let view = RecordView::decode(record).unwrap();
            assert_eq!((view.topic, view.queue.0), (topic, queue));
            assert_eq!(view.queue_offset.0, bounds.min.0 + out.len() as u64);
            view.verify_body().unwrap();
            out.push(Bytes::copy_from_slice(view.body));
        }
        next = read.next;
    }
    out
}

pub(super) async fn open(config: &Config) -> (Arc<Store>, Recovery) {
    Store::open(&env(), config.clone()).await.unwrap()
}

#[test]
fn a_read_says_what_pull_needs_to_know() {
    run(async {
        let dir = scratch("statuses");
        let (store, _) = open(&Config::small(&dir)).await;
        let status = |topic: &'static str, from: u64| {
            let store = Arc::clone(&store);
            async move {
                let limits = ReadLimits::pull(2);
                let read =
                    store.read(topic, QueueId(0), QueueOffset(from), &limits, &|tag| tag != 0).await.unwrap();
                (read.status, read.next.0, read.records.len())
            }
        };
        assert_eq!(status("T", 3).await, (ReadStatus::NoMessageInQueue, 0, 0));
        let unit: Vec<_> = (0..3).map(|n| sized("T", 0, n, 10)).collect();
        let appended = append(&store, &unit).await;
        assert_eq!(appended.iter().map(|at| at.queue_offset.0).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(appended[1].physical, appended[0].end());
        assert_eq!(status("T", 0).await, (ReadStatus::Found, 2, 2));
        assert_eq!(status("T", 2).await, (ReadStatus::Found, 3, 1));
        assert_eq!(status("T", 3).await, (ReadStatus::OffsetOverflowOne, 3, 0));
        assert_eq!(status("T", 9).await, (ReadStatus::OffsetOverflowBadly, 3, 0));
        let mut untagged = record("T", 0, "x");
        (untagged.properties, untagged.tags_code) = (Bytes::new(), 0);
        append(&store, &[untagged]).await;
        assert_eq!(status("T", 3).await, (ReadStatus::NoMatch, 4, 0));
        let found = store.record_at(appended[1].physical).unwrap().unwrap();
        assert_eq!(found.len(), appended[1].bytes as usize);
        assert_eq!(store.record_at(PhysicalOffset(appended[1].physical.0 + 1)).unwrap(), None);
        assert_eq!(store.record_at(store.appended()).unwrap(), None);
        remove(&dir);
    });
}

#[test]
fn what_became_visible_is_published_once() {
    run(async {
        let dir = scratch("published");
        let (store, _) = open(&Config::small(&dir)).await;
        append(&store, &[record("T", 1, "a"), record("U", 0, "b"), record("T", 1, "c")]).await;
        let mut out = Vec::new();
        store.take_published(&mut out);
        let seen: Vec<_> = out.iter().map(|p| (&*p.topic, p.queue.0, p.max.0, p.tags_code)).collect();
        let tag = Some(2_598_919);
        assert_eq!(seen, [("T", 1, 1, tag), ("U", 0, 1, tag), ("T", 1, 2, tag)]);
        out.clear();
        store.take_published(&mut out);
        assert!(out.is_empty());
        remove(&dir);
    });
}

#[test]
fn under_sync_flush_nothing_is_visible_before_it_is_durable() {
    run(async {
        let dir = scratch("sync");
        let config = Config { flush: Flush::Sync, ..Config::small(&dir) };
        let (store, _) = open(&config).await;
        let appended = append(&store, &[record("T", 0, "a")]).await;
        // The flush task has had no turn yet: this test has not awaited anything that was not ready.
        assert_eq!(store.durable(), PhysicalOffset(0));
        assert_eq!(store.bounds("T", QueueId(0)).unwrap().max, QueueOffset(0));
        assert_eq!(store.record_at(appended[0].physical).unwrap(), None);
        let mut published = Vec::new();
        store.take_published(&mut published);
        assert!(published.is_empty());
        store.wait_durable(appended[0].end()).await.unwrap();
        assert_eq!(store.bounds("T", QueueId(0)).unwrap().max, QueueOffset(1));
        assert!(store.record_at(appended[0].physical).unwrap().is_some());
        store.take_published(&mut published);
        assert_eq!(published.len(), 1);
        assert_eq!(store.durable_changed(PhysicalOffset(0)).await.unwrap(), appended[0].end());
        assert_eq!(store.stats().syncs, 1);
        remove(&dir);
    });
}

#[test]
fn a_log_of_many_segments_survives_shutdown_and_kill() {
    run(async {
        let dir = scratch("rolls");
        let config = Config::small(&dir);
        let mut expected: Vec<Bytes> = Vec::new();
        for life in 0..4u64 {
            let (store, recovery) = open(&config).await;
            assert_eq!(recovery.clean, life != 2, "life {life} began after a kill only if it is the third");
            assert_eq!(recovery.rebuilt, None);
            if recovery.clean {
                assert!(recovery.read_bytes <= 8192, "a clean start reads the tail: {recovery:?}");
            }
            assert_eq!(bodies(&store, "T", 0).await, expected);
            for n in 0..40u64 {
                let unit: Vec<_> = (0..16).map(|i| sized("T", 0, life << 32 | n << 8 | i, 700)).collect();
                append(&store, &unit).await;
                expected.extend(unit.into_iter().map(|record| record.body));
            }
            assert_eq!(bodies(&store, "T", 0).await, expected);
            if life != 1 {
                store.shutdown().await.unwrap();
                assert!(matches!(
                    store.append(&[record("T", 0, "late")], &mut vec![]),
                    Err(AppendError::Closed)
                ));
            }
        }
        remove(&dir);
    });
}

/// Overwrites bytes of the segment that holds `at`.
async fn damage(dir: &Path, config: &Config, at: u64, bytes: &'static [u8]) {
    let start = at - at % config.segment_bytes;
    let path = dir.join("commitlog").join(format!("{start:020}"));
    let file = env().disk.open(&path, Access::Write).await.unwrap();
    file.write_at(at - start, Bytes::from_static(bytes)).await.unwrap();
}

#[test]
fn a_torn_tail_is_cut_and_never_comes_back() {
    run(async {
        let dir = scratch("torn");
        let config = Config::small(&dir);
        let (store, _) = open(&config).await;
        let unit: Vec<_> = (0..5).map(|n| sized("T", 0, n, 200)).collect();
        let appended = append(&store, &unit).await;
        drop(store);
        damage(&dir, &config, appended[2].physical.0 + 100, b"torn").await;

        // The third record is damaged; the fourth and fifth are whole, but behind it.
        let (store, recovery) = open(&config).await;
        assert_eq!((recovery.clean, recovery.records, recovery.end), (false, 2, appended[2].physical));
        assert!(recovery.torn_bytes > 0 && recovery.torn.is_some(), "{recovery:?}");
        assert_eq!(bodies(&store, "T", 0).await.len(), 2);
        // A record of the same size in the place of the third one leads right up to where the fourth one was.
        let again = append(&store, &[sized("T", 0, 77, 200)]).await;
        assert_eq!((again[0].physical, again[0].queue_offset.0), (appended[2].physical, 2));
        drop(store);

        for _ in 0..3 {
            let (store, recovery) = open(&config).await;
            assert_eq!((recovery.end, recovery.torn), (again[0].end(), None));
            assert_eq!(bodies(&store, "T", 0).await.len(), 3);
            drop(store);
        }
        remove(&dir);
    });
}

#[test]
fn queues_are_a_function_of_the_log() {
    run(async {
        let dir = scratch("rebuild");
        let config = Config::small(&dir);
        let (store, _) = open(&config).await;
        for n in 0..300u64 {
            append(&store, &[sized("T", (n % 3) as u32, n, 500), sized("U", 0, n, 100)]).await;
        }
        let mut before = Vec::new();
        for (topic, queue) in [("T", 0), ("T", 1), ("T", 2), ("U", 0)] {
            before.push(bodies(&store, topic, queue).await);
        }
        store.shutdown().await.unwrap();
        for (missing, rebuilt) in [("consumequeue/T", true), ("consumequeue", true), ("nothing", false)] {
            remove(&dir.join(missing));
            let (store, recovery) = open(&config).await;
            assert_eq!(recovery.rebuilt.is_some(), rebuilt, "without {missing}: {recovery:?}");
            let mut after = Vec::new();
            for (topic, queue) in [("T", 0), ("T", 1), ("T", 2), ("U", 0)] {
                after.push(bodies(&store, topic, queue).await);
            }
            assert_eq!(after, before);
            store.shutdown().await.unwrap();
        }
        remove(&dir);
    });
}

#[test]
fn a_log_that_apache_wrote_is_served() {
    run(async {
        let dir = scratch("apache");
        let config = Config::small(&dir);
        let records = crate::protocol::fixtures::records();
        let log = dir.join("commitlog");
        env().disk.create_dir_all(&log).await.unwrap();
        let segment = env().disk.open(&log.join(format!("{:020}", 0)), Access::Create).await.unwrap();
        for (at, bytes) in &records {
            segment.write_at(*at, bytes.clone()).await.unwrap();
        }
        segment.set_len(config.segment_bytes).await.unwrap();

        let (store, recovery) = open(&config).await;
        assert_eq!((recovery.records, recovery.torn), (records.len() as u64, None));
        let mut queued = 0;
        for (at, bytes) in &records {
            assert_eq!(store.record_at(PhysicalOffset(*at)).unwrap().as_ref(), Some(bytes));
            let view = RecordView::decode(bytes).unwrap();
            if view.is_queued() {
                let limits = ReadLimits::pull(1);
                let read = store.read(view.topic, view.queue, view.queue_offset, &limits, &|_| true).await;
                assert_eq!(read.unwrap().records, [bytes]);
                queued += 1;
            }
        }
        assert!(queued > 10, "the recorded log has messages of many topics");
        remove(&dir);
    });
}

/// Compares queue files rebuilt from a log with those that are there: `STORE=dir`, a store of Apache's that was shut
/// down; it is changed.
#[test]
#[ignore = "needs a store that Apache RocketMQ wrote"]
fn queue_files_rebuilt_from_apaches_log_are_apaches() {
    run(async {
        let root = PathBuf::from(std::env::var("STORE").expect("STORE names a directory"));
        let files = |root: PathBuf| async move {
            let mut found = std::collections::BTreeMap::new();
            let disk = env().disk;
            let queues = root.join("consumequeue");
            for topic in disk.list(&queues).await.unwrap() {
                for queue in disk.list(&queues.join(&topic.name)).await.unwrap() {
                    let dir = queues.join(&topic.name).join(&queue.name);
                    for entry in disk.list(&dir).await.unwrap() {
                        let file = disk.open(&dir.join(&entry.name), Access::Read).await.unwrap();
                        let name = format!("{}/{}/{}", topic.name, queue.name, entry.name);
                        found.insert(name, file.read_at(0, entry.len as usize).await.unwrap());
                    }
                }
            }
            found
        };
        let apaches = files(root.clone()).await;
        remove(&root.join("consumequeue"));
        let (store, recovery) = open(&Config::new(&root)).await;
        assert!(recovery.rebuilt.is_some() || recovery.records > 0, "{recovery:?}");
        store.shutdown().await.unwrap();
        let ours = files(root).await;
        assert_eq!(ours.keys().collect::<Vec<_>>(), apaches.keys().collect::<Vec<_>>());
        for (name, bytes) in &apaches {
            assert!(ours.get(name) == Some(bytes), "{name} differs");
        }
    });
}

#[test]
fn an_empty_queue_file_is_a_queue_without_units() {
    run(async {
        let dir = scratch("empty-file");
        let config = Config::small(&dir);
        let (store, _) = open(&config).await;
        append(&store, &[record("T", 0, "a"), record("T", 0, "b")]).await;
        drop(store);
        let queue = dir.join("consumequeue/T/0");
        env().disk.create_dir_all(&queue).await.unwrap();
        env().disk.open(&queue.join(format!("{:020}", 0)), Access::Create).await.unwrap();
        let (store, _) = open(&config).await;
        assert_eq!(bodies(&store, "T", 0).await, [Bytes::from("a"), Bytes::from("b")]);
        remove(&dir);
    });
}

#[test]
fn a_removed_topic_stays_removed_and_starts_again_at_zero() {
    run(async {
        let dir = scratch("delete");
        let config = Config::small(&dir);
        let (store, _) = open(&config).await;
        append(&store, &[record("T", 0, "old"), record("T", 7, "old"), record("U", 0, "kept")]).await;
        assert_eq!(store.queues_of("T"), [QueueId(0), QueueId(7)]);
        store.delete_topic("T").await.unwrap();
        assert_eq!(store.bounds("T", QueueId(0)), None);
        drop(store);
        let (store, recovery) = open(&config).await;
        assert_eq!((recovery.records, store.topics()), (0, vec![Arc::from("U")]));
        let appended = append(&store, &[record("T", 0, "new")]).await;
        assert_eq!(appended[0].queue_offset, QueueOffset(0));
        drop(store);
        let (store, _) = open(&config).await;
        assert_eq!(bodies(&store, "T", 0).await, [Bytes::from("new")]);
        assert_eq!(bodies(&store, "U", 0).await, [Bytes::from("kept")]);
        remove(&dir);
    });
}

#[test]
fn retention_removes_whole_segments_and_raises_minima() {
    run(async {
        let dir = scratch("retention");
        let mut config = Config::small(&dir);
        config.retention = Retention { keep_ms: None, keep_bytes: Some(128 * 1024) };
        let (store, _) = open(&config).await;
        append(&store, &[record("Idle", 0, "x")]).await;
        for n in 0..600u64 {
            append(&store, &[sized("T", 0, n, 900)]).await;
        }
        store.shutdown().await.unwrap();
        let (store, _) = open(&config).await;
        let removed = store.run_retention(Timestamp(0)).await.unwrap();
        assert!(removed.segments >= 6, "{removed:?}");
        let bounds = store.bounds("T", QueueId(0)).unwrap();
        assert!(bounds.min.0 > 0 && bounds.max.0 == 600);
        let limits = ReadLimits::pull(1);
        let read = store.read("T", QueueId(0), QueueOffset(0), &limits, &|_| true).await.unwrap();
        assert_eq!((read.status, read.next), (ReadStatus::OffsetTooSmall, bounds.min));
        let first = store.read("T", QueueId(0), bounds.min, &limits, &|_| true).await.unwrap();
        assert_eq!(first.status, ReadStatus::Found);
        let kept = bodies(&store, "T", 0).await;
        drop(store);
        // An idle queue keeps its maximum, so that its offsets are not used again.
        let (store, _) = open(&config).await;
        assert_eq!(store.bounds("T", QueueId(0)), Some(bounds));
        assert_eq!(bodies(&store, "T", 0).await, kept);
        let idle = store.bounds("Idle", QueueId(0)).unwrap();
        assert_eq!((idle.min.0, idle.max.0), (1, 1));
        remove(&dir);
    });
}

#[test]
fn offsets_are_found_by_time() {
    run(async {
        let dir = scratch("time");
        let (store, _) = open(&Config::small(&dir)).await;
        let mut times = Vec::new();
        for n in 0..4u64 {
            times.push(append(&store, &[sized("T", 0, n, 64)]).await[0].store_at);
            env().sleep_ms(3).await;
        }
        let find = |time: i64, boundary| {
            let store = Arc::clone(&store);
            async move { store.offset_by_time("T", QueueId(0), Timestamp(time), boundary).await.unwrap().0 }
        };
        for (n, time) in times.iter().enumerate() {
            assert_eq!(find(time.0, Boundary::Lower).await, n as u64);
            assert_eq!(find(time.0, Boundary::Upper).await, n as u64);
            assert_eq!(
                store.store_time_of("T", QueueId(0), QueueOffset(n as u64)).await.unwrap(),
                Some(*time)
            );
        }
        assert_eq!((find(0, Boundary::Lower).await, find(0, Boundary::Upper).await), (0, 0));
        assert_eq!(find(i64::MAX, Boundary::Lower).await, 4);
        assert_eq!(find(i64::MAX, Boundary::Upper).await, 3);
        assert_eq!(store.earliest_store_time(), Some(times[0]));
        remove(&dir);
    });
}

#[test]
fn a_second_process_is_refused_by_name() {
    run(async {
        let dir = scratch("locked");
        let config = Config::small(&dir);
        let (store, _) = open(&config).await;
        let error = Store::open(&env(), config.clone()).await.err().unwrap().to_string();
        assert!(error.contains("is in use") && error.contains(&std::process::id().to_string()), "{error}");
        store.shutdown().await.unwrap();
        open(&config).await;
        remove(&dir);
    });
}

#[test]
fn a_damaged_record_does_not_hide_its_neighbours() {
    run(async {
        let dir = scratch("damaged");
        let config = Config { hot_bytes: 1 << 30, ..Config::small(&dir) };
        let (store, _) = open(&config).await;
        let unit: Vec<_> = (0..3).map(|n| sized("T", 0, n, 200)).collect();
        let appended = append(&store, &unit).await;
        store.shutdown().await.unwrap();
        drop(store);
        damage(&dir, &config, appended[1].physical.0 + 120, b"rot").await;
        let (store, _) = open(&config).await;
        let mut seen = Vec::new();
        let mut next = QueueOffset(0);
        while next.0 < 3 {
            let read = store.read("T", QueueId(0), next, &ReadLimits::pull(32), &|_| true).await.unwrap();
            seen.push((read.status, next.0, read.records.len()));
            next = read.next;
        }
        let damaged = (ReadStatus::Damaged, 1, 0);
        assert_eq!(seen, [(ReadStatus::Found, 0, 1), damaged, (ReadStatus::Found, 2, 1)]);
        remove(&dir);
    });
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_stored() {
    run(async {
        let dir = scratch("limits");
        let (store, _) = open(&Config::small(&dir)).await;
        let mut out = Vec::new();
        let refused = store.append(&[record("T", 0, "a"), record("", 0, "b")], &mut out);
        assert!(matches!(refused, Err(AppendError::Record { index: 1, .. })));
        let refused = store.append(&[sized("T", 0, 0, 70_000)], &mut out);
        assert!(matches!(refused, Err(AppendError::RecordTooLarge { index: 0, .. })));
        let unit: Vec<_> = (0..5).map(|n| sized("T", 0, n, 40_000)).collect();
        assert!(matches!(store.append(&unit, &mut out), Err(AppendError::UnitTooLarge { .. })));
        assert_eq!((out.len(), store.appended()), (0, PhysicalOffset(0)));
        remove(&dir);
    });
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<(u32, usize)>),
    Restart,
    Kill,
    Read(u32, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec((0u32..3, 0usize..4_000), 1..20).prop_map(Step::Append),
        1 => Just(Step::Restart),
        1 => Just(Step::Kill),
        4 => (0u32..3, 0u64..60).prop_map(|(queue, from)| Step::Read(queue, from)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn a_queue_is_what_was_appended_to_it(steps in prop::collection::vec(step(), 1..30), sync: bool) {
        run(async {
            let dir = scratch("law");
            let mut config = Config { queue_file_units: 7, open_files: 2, ..Config::small(&dir) };
            if sync {
                config.flush = Flush::Sync;
            }
            let mut model: Vec<Vec<Bytes>> = vec![Vec::new(); 3];
            let (mut store, _) = open(&config).await;
            for (n, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Append(unit) => {
                        let unit: Vec<_> =
                            unit.into_iter().map(|(queue, bytes)| sized("T", queue, n as u64, bytes)).collect();
                        let appended = append(&store, &unit).await;
                        store.wait_durable(appended.last().unwrap().end()).await.unwrap();
                        for (record, at) in unit.iter().zip(&appended) {
                            let queue = &mut model[record.queue.0 as usize];
                            assert_eq!(at.queue_offset.0, queue.len() as u64);
                            queue.push(record.body.clone());
                        }
                    }
                    Step::Restart | Step::Kill => {
                        if matches!(step, Step::Restart) {
                            store.shutdown().await.unwrap();
                        }
                        drop(store);
                        let recovery;
                        (store, recovery) = open(&config).await;
                        assert_eq!(recovery.clean, matches!(step, Step::Restart));
                        assert_eq!(recovery.torn, None);
                    }
                    Step::Read(queue, from) => {
                        let read = store
                            .read("T", QueueId(queue), QueueOffset(from), &ReadLimits::pull(5), &|_| true)
                            .await
                            .unwrap();
                        let wanted = model[queue as usize].iter().skip(from as usize);
                        for (record, body) in read.records.iter().zip(wanted) {
                            assert_eq!(RecordView::decode(record).unwrap().body, &body[..]);
                        }
                        let found = from < model[queue as usize].len() as u64;
                        assert_eq!(read.status == ReadStatus::Found, found);
                    }
                }
            }
            for (queue, expected) in model.iter().enumerate() {
                assert_eq!(&bodies(&store, "T", queue as u32).await, expected);
            }
            drop(store);
            remove(&dir);
        });
    }
}

#[test]
fn above_its_mark_a_disk_takes_no_message_and_below_it_does_again() {
    run(async {
        let dir = scratch("mark");
        let (store, _) = open(&Config::small(&dir)).await;
        append(&store, &[record("T", 0, "before")]).await;
        let mark = OverMark { dir: dir.clone(), used_percent: 91, limit_percent: 90 };
        store.refuse_above(Some(mark.clone()));
        let refused = store.append(&[record("T", 0, "above")], &mut Vec::new()).unwrap_err();
        assert!(matches!(&refused, AppendError::OverMark(told) if **told == mark), "{refused}");
        assert_eq!(store.stats().trouble, Some(mark.to_string()));
        assert_eq!(bodies(&store, "T", 0).await, ["before"]);
        store.refuse_above(None);
        append(&store, &[record("T", 0, "below")]).await;
        assert_eq!(bodies(&store, "T", 0).await, ["before", "below"]);
        assert_eq!(store.stats().trouble, None);
        store.shutdown().await.unwrap();
        remove(&dir);
    });
}

#[test]
fn the_oldest_segment_goes_by_force_and_never_the_active_one() {
    run(async {
        let dir = scratch("by-force");
        let (store, _) = open(&Config { segment_bytes: 4096, ..Config::small(&dir) }).await;
        for n in 0..60 {
            append(&store, &[sized("T", 0, n, 100)]).await;
        }
        store.shutdown().await.unwrap();
        let (store, _) = open(&Config { segment_bytes: 4096, ..Config::small(&dir) }).await;
        let before = store.stats().segments;
        assert!(before > 2);
        for gone in 1..before {
            assert_eq!(store.remove_oldest().await.unwrap().segments, 1);
            assert_eq!(store.stats().segments, before - gone);
        }
        assert_eq!(store.remove_oldest().await.unwrap(), Removed::default());
        let bounds = store.bounds("T", QueueId(0)).unwrap();
        assert!(bounds.min.0 > 0 && bounds.max.0 == 60, "{bounds:?}");
        let below =
            store.read("T", QueueId(0), QueueOffset(0), &ReadLimits::pull(32), &|_| true).await.unwrap();
        assert_eq!((below.status, below.next), (ReadStatus::OffsetTooSmall, bounds.min));
        store.shutdown().await.unwrap();
        remove(&dir);
    });
}

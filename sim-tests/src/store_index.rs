//! The index of a store that is killed, loses power, and loses its index.
//!
//! The promise: whatever happened, each record that is there is found by its id, by each of its keys and by its tag, and
//! nothing else is found; an index that was removed and built again gives the same answers (O21 for the index, O1 and O2
//! for look-ups by key). The log itself is `store_crash`'s business: here it is the model.
//!
//! How: a workload of appends, pauses, checkpoints, kills, power losses and queries, on files so small that they fill,
//! roll and are sealed all the time. After each start the whole queue is read and compared with what is found.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use staticfire::base::Draw;
use staticfire::base::QueueId;
use staticfire::base::QueueOffset;
use staticfire::base::Timestamp;
use staticfire::protocol::record::NewRecord;
use staticfire::protocol::record::RecordView;
use staticfire::sim::Limits;
use staticfire::sim::Node;
use staticfire::sim::Outcome;
use staticfire::sim::Seed;
use staticfire::sim::World;
use staticfire::sim::run;
use staticfire::store::Config;
use staticfire::store::Flush;
use staticfire::store::IndexShape;
use staticfire::store::KeyKind;
use staticfire::store::KeyQuery;
use staticfire::store::ReadLimits;
use staticfire::store::Store;
use staticfire::store::planted;

use crate::store_crash;
use crate::store_crash::record;

/// Records share so many keys.
const KEYS: u64 = 40;

fn config(flush: Flush, draw: &Draw) -> Config {
    let mut config = Config::small("store");
    config.segment_bytes = 16 * 1024;
    config.checkpoint_bytes = 16 * 1024;
    config.checkpoint_interval_ms = 50;
    config.window_bytes = 64 * 1024;
    config.hot_bytes = 8 * 1024;
    config.open_files = 3;
    config.flush = flush;
    let slots = u32::try_from(draw.range("slots", 0, 0, 1, 60)).expect("few");
    let entries = u32::try_from(draw.range("entries", 0, 0, 2, 60)).expect("few");
    config.index = Some(IndexShape { slots, entries });
    config
}

fn new_record(number: u64, draw: &Draw) -> NewRecord {
    let key = draw.range("key", 0, number, 0, KEYS);
    let mut properties = format!("UNIQ_KEY\u{1}id{number}\u{2}KEYS\u{1}k{key}");
    if draw.chance("second key", 0, number, 300_000) {
        properties += &format!(" k{}", draw.range("second", 0, number, 0, KEYS));
    }
    properties += "\u{2}";
    if draw.chance("tag", 0, number, 500_000) {
        properties += &format!("TAGS\u{1}t{}\u{2}", number % 7);
    }
    if draw.chance("no keys", 0, number, 100_000) {
        properties.clear();
    }
    let body = vec![number as u8; draw.range("bytes", 0, number, 0, 400) as usize];
    record("T", 0, Bytes::from(body), Bytes::from(properties))
}

async fn append(store: &Store, unit: &[NewRecord]) -> u64 {
    let out = store_crash::append(store, unit).await.expect("a healthy store appends");
    out.last().map_or(0, |last| last.end().0)
}

/// What each record that is there can be found by, and its position.
async fn contents(store: &Store) -> Vec<(u64, Vec<(KeyKind, String)>)> {
    let mut all = Vec::new();
    let Some(bounds) = store.bounds("T", QueueId(0)) else { return all };
    let mut next = QueueOffset(0);
    while next < bounds.max {
        let read = store.read("T", QueueId(0), next, &ReadLimits::pull(32), &|_| true).await;
        let read = read.expect("a healthy disk is readable");
        assert!(read.next > next, "a queue is read to its end");
        for record in &read.records {
            let view = RecordView::decode(record).expect("what is read is a record");
            let properties = String::from_utf8(view.properties.to_vec()).expect("text");
            let mut keys = Vec::new();
            for (name, value) in properties.split('\u{2}').filter_map(|pair| pair.split_once('\u{1}')) {
                match name {
                    "UNIQ_KEY" => keys.push((KeyKind::Unique, value.to_owned())),
                    "TAGS" => keys.push((KeyKind::Tags, value.to_owned())),
                    _ => keys.extend(value.split(' ').map(|word| (KeyKind::Key, word.to_owned()))),
                }
            }
            all.push((view.physical.0, keys));
        }
        next = read.next;
    }
    all
}

/// Positions under a key, oldest first.
async fn look_up(store: &Store, kind: KeyKind, key: &str) -> Vec<u64> {
    let (begin, end) = (Timestamp(i64::MIN), Timestamp(i64::MAX));
    let found = store.query(KeyQuery { topic: "T", kind, key, max: 64, begin, end }).await;
    let found = found.expect("a healthy disk is readable").records;
    found.iter().map(|record| RecordView::decode(record).expect("a record").physical.0).collect()
}

/// What is found is what is there. Returns what was asked and answered.
async fn check(store: &Store, story: &str) -> Vec<Vec<u64>> {
    // Nothing becomes visible while it is being asked for.
    store.wait_durable(store.appended()).await.expect("becomes durable");
    let all = contents(store).await;
    let due = |kind: KeyKind, key: &str| -> Vec<u64> {
        let has = |keys: &[(KeyKind, String)]| keys.iter().any(|(of, is)| *of == kind && is == key);
        let positions: Vec<u64> = all.iter().filter(|(_, keys)| has(keys)).map(|(at, _)| *at).collect();
        positions.get(positions.len().saturating_sub(64)..).unwrap_or_default().to_vec()
    };
    let mut questions: Vec<(KeyKind, String)> =
        (0..KEYS + 1).map(|key| (KeyKind::Key, format!("k{key}"))).collect();
    questions.extend((0..8).map(|tag| (KeyKind::Tags, format!("t{tag}"))));
    // Ids of the oldest and the youngest, and one that nobody has.
    let unique = |(_, keys): &(u64, Vec<(KeyKind, String)>)| keys.first().cloned();
    questions.extend(all.iter().take(2).filter_map(unique));
    questions.extend(all.iter().rev().take(8).filter_map(unique));
    questions.push((KeyKind::Unique, "id".to_owned()));
    let mut answers = Vec::new();
    for (kind, key) in questions {
        let found = look_up(store, kind, &key).await;
        assert_eq!(found, due(kind, &key), "{story}: {kind:?} {key}");
        answers.push(found);
    }
    answers
}

/// Starts the store again after what a drawn misfortune left of it.
async fn restart(
    store: Arc<Store>,
    node: &Node,
    config: &Config,
    draw: &Draw,
    n: u64,
) -> (Arc<Store>, &'static str) {
    let fate = draw.range("fate", 0, n, 0, 4);
    if fate == 0 {
        store.shutdown().await.expect("shuts down");
    }
    drop(store);
    node.kill();
    let story = match fate {
        0 => "after a shutdown",
        1 => "after a kill",
        _ => {
            let image = node.disk().image().crash_images(draw.at("image", n, 0), 3).last();
            node.disk().restore(image.expect("three were asked for"));
            "after a power loss"
        }
    };
    node.restart();
    let (store, _) = Store::open(&node.env(), config.clone()).await.expect("opens again");
    (store, story)
}

async fn remove_index(node: &Node) {
    let env = node.env();
    let dir = std::path::Path::new("store/index");
    for entry in env.disk.list(dir).await.expect("there is an index") {
        env.disk.remove(&dir.join(entry.name)).await.expect("removes");
    }
    env.disk.sync_dir(dir).await.expect("syncs");
}

async fn work(world: World, flush: Flush, operations: u64) -> u64 {
    let draw = world.draw().domain("index");
    let node = world.machine("broker");
    let config = config(flush, &draw);
    let (mut store, _) = Store::open(&node.env(), config.clone()).await.expect("opens");
    let (mut number, mut restarts) = (0, 0);
    for n in 0..operations {
        match draw.range("what", 0, n, 0, 100) {
            0..8 => {
                let story;
                (store, story) = restart(store, &node, &config, &draw, n).await;
                check(&store, story).await;
                restarts += 1;
            }
            8..14 => drop(check(&store, "while it runs").await),
            14..30 => node.env().sleep_ms(draw.range("pause", 0, n, 1, 800)).await,
            _ => {
                let count = draw.range("unit", 0, n, 1, 9);
                let unit: Vec<NewRecord> = (number..number + count).map(|id| new_record(id, &draw)).collect();
                number += count;
                append(&store, &unit).await;
            }
        }
    }
    let before = check(&store, "at the end").await;
    store.shutdown().await.expect("shuts down");
    drop(store);
    remove_index(&node).await;
    let (store, _) = Store::open(&node.env(), config).await.expect("opens without an index");
    assert_eq!(check(&store, "built again").await, before);
    restarts
}

fn story(seed: u64, flush: Flush, bug: Option<&'static str>) -> Outcome<u64> {
    let limits = Limits {
        virtual_time: Duration::from_secs(1_000_000),
        real_time: Duration::from_secs(600),
        planted: bug.map(str::to_owned).into_iter().collect(),
        ..Limits::default()
    };
    run(Seed(seed), limits, move |world| work(world, flush, 150))
}

fn seeds(count: u64) -> std::ops::Range<u64> {
    let read = |name: &str| std::env::var(name).ok().and_then(|text| Seed::parse(&text)).map(|seed| seed.0);
    if let Some(seed) = read("SEED") {
        return seed..seed + 1;
    }
    let from = read("FROM").unwrap_or(0);
    from..from + read("SEEDS").unwrap_or(count)
}

const LAZY: Flush = Flush::Async { interval_ms: 5, least_pages: 1, thorough_ms: 50 };

#[test]
fn whatever_is_there_is_found_and_nothing_else() {
    let mut restarts = 0;
    for seed in seeds(30) {
        let flush = if seed % 2 == 0 { Flush::Sync } else { LAZY };
        let outcome = story(seed, flush, None);
        restarts += outcome.expect_ok();
    }
    assert!(restarts > 0, "somebody restarts");
}

#[test]
fn a_checkpoint_ahead_of_the_index_is_found() {
    let bug = Some(planted::INDEX_MARK_AHEAD);
    let found = (0..40).find(|seed| story(*seed, LAZY, bug).result.is_err());
    assert!(found.is_some(), "{} was not found", planted::INDEX_MARK_AHEAD);
}

//! Stories of looking messages up by key, on a real disk.

use super::*;
use crate::base::limits::QUERY_MESSAGES_MAX;

const EVER: (Timestamp, Timestamp) = (Timestamp(0), Timestamp(i64::MAX));

fn keyed(topic: &str, properties: &str, body: impl Into<Bytes>) -> NewRecord {
    let properties = properties.replace('=', "\u{1}").replace(';', "\u{2}");
    let properties = Bytes::from(properties);
    NewRecord { tags_code: tags_code(&properties), properties, ..record(topic, 0, body) }
}

/// Bodies of what is found, as text.
async fn found(store: &Store, topic: &str, kind: KeyKind, key: &str) -> Vec<String> {
    found_in(store, KeyQuery { topic, kind, key, max: 64, begin: EVER.0, end: EVER.1 }).await
}

async fn found_in(store: &Store, query: KeyQuery<'_>) -> Vec<String> {
    let found = store.query(query).await.unwrap();
    let body = |record: &Bytes| String::from_utf8(RecordView::decode(record).unwrap().body.to_vec()).unwrap();
    found.records.iter().map(body).collect()
}

/// Fifty messages under ten keys, then a few of their own kind.
async fn fill(store: &Store) {
    for n in 0..50 {
        let properties = format!("UNIQ_KEY=U{n};KEYS=k{} all;TAGS=t{};", n % 10, n % 2);
        append(store, &[keyed("T", &properties, format!("{n}"))]).await;
    }
    // Two keys of one hash; a word beyond ASCII; one key twice; nothing to be found by.
    append(store, &[keyed("T", "KEYS=AaAa;", "a"), keyed("T", "KEYS=BBBB;", "b")]).await;
    append(store, &[keyed("T", "KEYS=ключ  x x ;", "c"), keyed("T", "", "d"), keyed("S", "KEYS=k1;", "e")])
        .await;
    let mut rolled_back = keyed("T", "UNIQ_KEY=gone;KEYS=k1;TAGS=t1;", "f");
    rolled_back.sys_flag = 0xc;
    append(store, &[rolled_back]).await;
}

async fn check_filled(store: &Store) {
    let numbers =
        |from: usize, step: usize| (from..50).step_by(step).map(|n| n.to_string()).collect::<Vec<_>>();
    for n in 0..10 {
        assert_eq!(found(store, "T", KeyKind::Key, &format!("k{n}")).await, numbers(n, 10));
    }
    assert_eq!(found(store, "T", KeyKind::Unique, "U7").await, ["7"]);
    assert_eq!(found(store, "T", KeyKind::Key, "U7").await, ["7"], "RocketMQ finds an id as a key too");
    assert_eq!(found(store, "T", KeyKind::Unique, "k7").await, [""; 0]);
    assert_eq!(found(store, "T", KeyKind::Tags, "t1").await, numbers(1, 2));
    assert_eq!(found(store, "T", KeyKind::Key, "all").await, numbers(0, 1));
    assert_eq!(found(store, "T", KeyKind::Key, "AaAa").await, ["a"]);
    assert_eq!(found(store, "T", KeyKind::Key, "BBBB").await, ["b"]);
    assert_eq!(found(store, "T", KeyKind::Key, "ключ").await, ["c"]);
    assert_eq!(found(store, "T", KeyKind::Key, "x").await, ["c"]);
    assert_eq!(found(store, "S", KeyKind::Key, "k1").await, ["e"]);
    assert_eq!(found(store, "S", KeyKind::Key, "k2").await, [""; 0]);
    assert_eq!(found(store, "T", KeyKind::Unique, "gone").await, [""; 0]);
}

/// Names and contents of the index files.
#[expect(clippy::disallowed_methods, reason = "looks at files behind the store's back")]
fn files(config: &Config) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = std::fs::read_dir(config.root.join("index")).unwrap();
    let mut files: Vec<_> = dir.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

#[expect(clippy::disallowed_methods, reason = "changes files behind the store's back")]
fn put(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_message_is_found_at_once_and_after_every_restart() {
    run(async {
        let dir = scratch("index");
        for hot_bytes in [0, 1 << 20] {
            for shape in [IndexShape { slots: 3, entries: 7 }, IndexShape { slots: 1_000, entries: 1_000 }] {
                remove(&dir);
                let config = Config { index: Some(shape), hot_bytes, ..Config::small(&dir) };
                let (store, _) = open(&config).await;
                fill(&store).await;
                check_filled(&store).await;
                drop(store);
                let (store, _) = open(&config).await;
                check_filled(&store).await;
                store.shutdown().await.unwrap();
                let before = files(&config);
                let (store, _) = open(&config).await;
                check_filled(&store).await;
                store.shutdown().await.unwrap();
                assert!(before == files(&config), "a restart changes nothing");
                remove(&config.root.join("index"));
                let (store, _) = open(&config).await;
                check_filled(&store).await;
                store.shutdown().await.unwrap();
                let contents = |files: Vec<(PathBuf, Vec<u8>)>| -> Vec<_> {
                    files.into_iter().map(|file| file.1).collect()
                };
                assert!(contents(before) == contents(files(&config)), "what is built again is what it was");
            }
        }
        remove(&dir);
    });
}

#[test]
fn a_damaged_index_is_built_again_from_where_it_is_damaged() {
    run(async {
        let dir = scratch("index-damage");
        let config = Config { index: Some(IndexShape { slots: 5, entries: 30 }), ..Config::small(&dir) };
        let (store, _) = open(&config).await;
        fill(&store).await;
        store.shutdown().await.unwrap();
        let good = files(&config);
        assert!(good.len() > 3);
        let last = good.len() - 1;
        // Which file, and what happens to it: a byte of it, its length.
        let harm = [
            (0, 39, 0),
            (1, 7 + 24, 0),
            (last, 31, 0),
            (last, 40 + 20 + 20 + 11, 0),
            (last, 0, 5),
            (1, 0, 9),
        ];
        for (file, byte, shorter) in harm {
            let (path, mut bytes) = good[file].clone();
            bytes.truncate(bytes.len() - shorter);
            bytes[byte] ^= u8::from(shorter == 0) * 0x55;
            put(&path, &bytes);
            let (store, _) = open(&config).await;
            check_filled(&store).await;
            store.shutdown().await.unwrap();
            let now = files(&config);
            assert_eq!(now.len(), good.len(), "byte {byte} of file {file}");
            for (at, (is, was)) in now.iter().zip(&good).enumerate() {
                assert!(is.1 == was.1, "file {at} after byte {byte} of file {file}");
                assert!(at >= file || is.0 == was.0, "what is before the damage stays");
            }
            remove(&config.root.join("index"));
            good.iter().for_each(|(path, bytes)| put(path, bytes));
            put(&config.root.join("index/notes.txt"), b"not an index file");
            let (store, _) = open(&config).await;
            store.shutdown().await.unwrap();
            remove(&config.root.join("index"));
            good.iter().for_each(|(path, bytes)| put(path, bytes));
        }
        remove(&dir);
    });
}

#[test]
fn a_query_is_bounded_by_time_and_by_number() {
    run(async {
        let dir = scratch("index-time");
        let config = Config { index: Some(IndexShape { slots: 2, entries: 40 }), ..Config::small(&dir) };
        let (store, _) = open(&config).await;
        let mut stored = Vec::new();
        for n in 0..100 {
            let at = append(&store, &[keyed("T", &format!("KEYS=k m{};", n % 3), format!("{n}"))]).await;
            stored.push(at[0].store_at);
            env().sleep_ms(u64::from(n % 10 == 0)).await;
        }
        let query = |max, begin, end| KeyQuery { topic: "T", kind: KeyKind::Key, key: "k", max, begin, end };
        let all = found_in(&store, query(1_000, EVER.0, EVER.1)).await;
        assert_eq!(all.len(), QUERY_MESSAGES_MAX);
        assert_eq!(all.last().unwrap(), "99", "the youngest are found");
        assert_eq!(found_in(&store, query(2, EVER.0, EVER.1)).await, ["98", "99"]);
        assert_eq!(found_in(&store, query(0, EVER.0, EVER.1)).await, [""; 0]);
        let (begin, end) = (stored[30], stored[60]);
        let within: Vec<_> =
            (0..100).filter(|n| (begin..=end).contains(&stored[*n])).map(|n| n.to_string()).collect();
        assert_eq!(found_in(&store, query(64, begin, end)).await, within);
        assert_eq!(found_in(&store, query(64, end, begin.plus_ms(-1))).await, [""; 0]);
        let found = store.query(query(1, EVER.0, EVER.1)).await.unwrap();
        let last = RecordView::decode(&found.records[0]).unwrap();
        assert_eq!((found.indexed, found.indexed_at), (last.physical, last.store_at));
        remove(&dir);
    });
}

#[test]
fn retention_takes_index_files_with_the_log() {
    run(async {
        let dir = scratch("index-retention");
        let mut config = Config { index: Some(IndexShape { slots: 10, entries: 20 }), ..Config::small(&dir) };
        config.retention.keep_bytes = Some(config.segment_bytes);
        let (store, _) = open(&config).await;
        for n in 0..300 {
            let body = format!("{n:0>1000}");
            append(&store, &[keyed("T", &format!("KEYS=k{n};"), body)]).await;
        }
        assert_eq!(found(&store, "T", KeyKind::Key, "k0").await.len(), 1);
        store.shutdown().await.unwrap();
        let before = files(&config).len();
        let (store, _) = open(&config).await;
        assert_eq!(found(&store, "T", KeyKind::Key, "k0").await.len(), 1);
        let removed = store.run_retention(env().wall()).await.unwrap();
        assert!(removed.segments > 0 && removed.index_files > 0, "{removed:?}");
        assert_eq!(files(&config).len() as u64, before as u64 - removed.index_files);
        assert_eq!(found(&store, "T", KeyKind::Key, "k0").await, [""; 0]);
        assert_eq!(found(&store, "T", KeyKind::Key, "k299").await.len(), 1);
        drop(store);
        let (store, _) = open(&config).await;
        assert_eq!(found(&store, "T", KeyKind::Key, "k0").await, [""; 0]);
        assert_eq!(found(&store, "T", KeyKind::Key, "k299").await.len(), 1);
        remove(&dir);
    });
}

#[test]
fn without_an_index_nothing_is_found_and_with_one_again_everything_is() {
    run(async {
        let dir = scratch("index-off");
        let config = Config::small(&dir);
        let (store, _) = open(&config).await;
        append(&store, &[keyed("T", "KEYS=before;", "before")]).await;
        store.shutdown().await.unwrap();
        let off = Config { index: None, ..config.clone() };
        let (store, _) = open(&off).await;
        append(&store, &[keyed("T", "KEYS=meanwhile;", "meanwhile")]).await;
        assert_eq!(found(&store, "T", KeyKind::Key, "before").await, [""; 0]);
        store.shutdown().await.unwrap();
        let (store, _) = open(&config).await;
        for key in ["before", "meanwhile"] {
            assert_eq!(found(&store, "T", KeyKind::Key, key).await, [key]);
        }
        remove(&dir);
    });
}

/// The log and the index files of `index/fixtures`, which Apache RocketMQ 5.5.0 wrote and closed.
#[test]
fn apaches_index_files_are_taken_over_and_continued() {
    const NAMES: [&str; 4] =
        ["20261121131050188", "20261121131059666", "20261121131119822", "20261121131135224"];
    const FILES: [&[u8]; 4] = [
        include_bytes!("../index/fixtures/20261121131050188"),
        include_bytes!("../index/fixtures/20261121131059666"),
        include_bytes!("../index/fixtures/20261121131119822"),
        include_bytes!("../index/fixtures/20261121131135224"),
    ];
    run(async {
        let dir = scratch("index-apache");
        let config = Config { index: Some(IndexShape { slots: 8, entries: 10 }), ..Config::small(&dir) };
        put(&dir.join("commitlog/00000000000000000000"), include_bytes!("../index/fixtures/commitlog"));
        for (name, bytes) in NAMES.iter().zip(FILES) {
            put(&dir.join("index").join(name), bytes);
        }
        let (store, _) = open(&config).await;
        assert_eq!(found(&store, "orders", KeyKind::Key, "k1").await, ["body-1", "body-2"]);
        assert_eq!(found(&store, "bills", KeyKind::Key, "k1").await, ["body-6"]);
        assert_eq!(found(&store, "orders", KeyKind::Key, "AaAa").await, ["body-7"]);
        assert_eq!(found(&store, "orders", KeyKind::Tags, "TagA").await.len(), 6);
        append(&store, &[keyed("orders", "KEYS=k1 k1;TAGS=TagA;", "ours")]).await;
        assert_eq!(found(&store, "orders", KeyKind::Key, "k1").await, ["body-1", "body-2", "ours"]);
        store.shutdown().await.unwrap();
        let now = files(&config);
        assert_eq!(now.len(), 4, "the last file had room");
        for ((path, bytes), (name, was)) in now.iter().zip(NAMES.iter().zip(FILES)).take(3) {
            assert!(path.ends_with(name) && bytes == was, "{name} is as Apache left it");
        }
        assert!(now[3].0.ends_with(NAMES[3]));
        let count = |bytes: &[u8]| u32::from_be_bytes(bytes[36..40].try_into().unwrap());
        assert_eq!((count(FILES[3]), count(&now[3].1)), (6, 9));
        // Entries of before, byte for byte.
        assert_eq!(now[3].1[72..72 + 6 * 20], FILES[3][72..72 + 6 * 20]);
        remove(&dir);
    });
}

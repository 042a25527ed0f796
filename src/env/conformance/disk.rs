//! Files, directories, locks.

use std::io;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::{Ground, cases};
use crate::env::{Access, File, Piece};

cases! {
    "a file that is missing is NotFound, for reading and for writing" => missing,
    "Create makes an empty file and keeps an existing one" => create,
    "a file needs its directory" => needs_directory,
    "what was written is read back" => write_and_read,
    "a file opened for reading refuses every change" => read_only,
    "reading past the end gives what is there" => past_the_end,
    "a write beyond the end fills the gap with zeros" => gap_is_zero,
    "a new length cuts or adds zeros" => set_len,
    "sync succeeds, also when there is nothing to sync" => sync,
    "one handle sees what another wrote" => handles_share,
    "several operations on one file may be under way at once" => concurrent,
    "rename moves a file and replaces its target" => rename,
    "renaming what is missing is NotFound" => rename_missing,
    "a removed file is gone, and still there for who has it open" => remove,
    "a directory is removed only when it is empty" => remove_dir,
    "a list is sorted by name and tells files from directories" => list,
    "directories are made with their parents, twice if need be" => create_dirs,
    "a directory can be synced" => sync_dir,
    "a tree writes into files, makes those that are missing, and syncs" => tree,
    "the space that is available is part of the whole" => space,
    "a lock is exclusive until it is dropped" => lock,
    "a lock taken only if it is there leaves no trace, and excludes as any other" => lock_if_there,
}

async fn open(ground: &Ground, rule: &str, name: &str, access: Access) -> Arc<dyn File> {
    must(rule, ground.env.disk.open(&ground.path(name), access).await)
}

async fn put(ground: &Ground, rule: &str, name: &str, data: &'static [u8]) -> Arc<dyn File> {
    let file = open(ground, rule, name, Access::Create).await;
    must(rule, file.write_at(0, Bytes::from_static(data)).await);
    file
}

async fn content(ground: &Ground, rule: &str, name: &str) -> Bytes {
    let file = open(ground, rule, name, Access::Read).await;
    must(rule, file.read_at(0, 1 << 20).await)
}

async fn opened(ground: &Ground, path: &Path, access: Access) -> Option<ErrorKind> {
    kind(ground.env.disk.open(path, access).await)
}

fn must<T>(rule: &str, result: io::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{rule}: {error} ({:?})", error.kind()))
}

fn kind<T>(result: io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

async fn missing(ground: Ground, rule: &'static str) {
    for access in [Access::Read, Access::Write] {
        let found = opened(&ground, &ground.path("missing"), access).await;
        assert_eq!(found, Some(ErrorKind::NotFound), "{rule}");
    }
    assert_eq!(
        kind(ground.env.disk.remove(&ground.path("missing")).await),
        Some(ErrorKind::NotFound),
        "{rule}"
    );
}

async fn create(ground: Ground, rule: &'static str) {
    let file = open(&ground, rule, "file", Access::Create).await;
    assert_eq!(must(rule, file.len().await), 0, "{rule}");
    must(rule, file.write_at(0, Bytes::from_static(b"kept")).await);
    open(&ground, rule, "file", Access::Create).await;
    assert_eq!(content(&ground, rule, "file").await, "kept", "{rule}");
}

async fn needs_directory(ground: Ground, rule: &'static str) {
    let path = ground.path("nowhere").join("file");
    assert_eq!(opened(&ground, &path, Access::Create).await, Some(ErrorKind::NotFound), "{rule}");
}

async fn write_and_read(ground: Ground, rule: &'static str) {
    let file = put(&ground, rule, "file", b"hello, world").await;
    must(rule, file.write_at(7, Bytes::from_static(b"there")).await);
    assert_eq!(must(rule, file.read_at(0, 12).await), "hello, there", "{rule}");
    assert_eq!(must(rule, file.read_at(7, 3).await), "the", "{rule}");
    assert_eq!(must(rule, file.len().await), 12, "{rule}");
}

async fn read_only(ground: Ground, rule: &'static str) {
    put(&ground, rule, "file", b"kept").await;
    let file = open(&ground, rule, "file", Access::Read).await;
    let refused = Some(ErrorKind::PermissionDenied);
    assert_eq!(kind(file.write_at(0, Bytes::from_static(b"lost")).await), refused, "{rule}");
    assert_eq!(kind(file.set_len(0).await), refused, "{rule}");
    assert_eq!(content(&ground, rule, "file").await, "kept", "{rule}");
}

async fn past_the_end(ground: Ground, rule: &'static str) {
    let file = put(&ground, rule, "file", b"0123456789").await;
    assert_eq!(must(rule, file.read_at(8, 100).await), "89", "{rule}");
    assert_eq!(must(rule, file.read_at(10, 1).await), "", "{rule}");
    assert_eq!(must(rule, file.read_at(1 << 40, usize::MAX).await), "", "{rule}");
    assert_eq!(must(rule, file.read_at(3, usize::MAX).await), "3456789", "{rule}");
    assert_eq!(must(rule, file.read_at(3, 0).await), "", "{rule}");
}

async fn gap_is_zero(ground: Ground, rule: &'static str) {
    let file = put(&ground, rule, "file", b"a").await;
    must(rule, file.write_at(10_000, Bytes::from_static(b"b")).await);
    let read = must(rule, file.read_at(0, 20_000).await);
    assert_eq!(read.len(), 10_001, "{rule}");
    assert!(read[0] == b'a' && read[10_000] == b'b', "{rule}");
    assert!(read[1..10_000].iter().all(|byte| *byte == 0), "{rule}");
}

async fn set_len(ground: Ground, rule: &'static str) {
    let file = put(&ground, rule, "file", b"0123456789").await;
    must(rule, file.set_len(4).await);
    assert_eq!(must(rule, file.read_at(0, 100).await), "0123", "{rule}");
    must(rule, file.set_len(6).await);
    assert_eq!(must(rule, file.read_at(0, 100).await), "0123\0\0", "{rule}: what was cut does not come back");
}

async fn sync(ground: Ground, rule: &'static str) {
    let file = open(&ground, rule, "file", Access::Create).await;
    must(rule, file.sync().await);
    must(rule, file.write_at(0, Bytes::from_static(b"data")).await);
    must(rule, file.sync().await);
    must(rule, file.sync().await);
    assert_eq!(content(&ground, rule, "file").await, "data", "{rule}");
}

async fn handles_share(ground: Ground, rule: &'static str) {
    let one = put(&ground, rule, "file", b"first").await;
    let two = open(&ground, rule, "file", Access::Write).await;
    must(rule, two.write_at(0, Bytes::from_static(b"FIRST")).await);
    assert_eq!(must(rule, one.read_at(0, 5).await), "FIRST", "{rule}");
}

async fn concurrent(ground: Ground, rule: &'static str) {
    let file = open(&ground, rule, "file", Access::Create).await;
    let half = |at: u64, byte: u8| file.write_at(at, Bytes::from(vec![byte; 50_000]));
    let (one, two, three) = tokio::join!(half(0, 1), half(100_000, 3), half(50_000, 2));
    for written in [one, two, three] {
        must(rule, written);
    }
    let (low, high) = tokio::join!(file.read_at(0, 75_000), file.read_at(75_000, 75_000));
    let read = [must(rule, low), must(rule, high)].concat();
    assert!(read.iter().enumerate().all(|(at, byte)| usize::from(*byte) == at / 50_000 + 1), "{rule}");
}

async fn rename(ground: Ground, rule: &'static str) {
    put(&ground, rule, "new", b"new").await;
    put(&ground, rule, "old", b"longer and old").await;
    must(rule, ground.env.disk.rename(&ground.path("new"), &ground.path("old")).await);
    assert_eq!(content(&ground, rule, "old").await, "new", "{rule}");
    assert_eq!(opened(&ground, &ground.path("new"), Access::Read).await, Some(ErrorKind::NotFound), "{rule}");
}

async fn rename_missing(ground: Ground, rule: &'static str) {
    put(&ground, rule, "target", b"kept").await;
    let renamed = ground.env.disk.rename(&ground.path("missing"), &ground.path("target")).await;
    assert_eq!(kind(renamed), Some(ErrorKind::NotFound), "{rule}");
    assert_eq!(content(&ground, rule, "target").await, "kept", "{rule}");
}

async fn remove(ground: Ground, rule: &'static str) {
    let file = put(&ground, rule, "file", b"data").await;
    must(rule, ground.env.disk.remove(&ground.path("file")).await);
    assert_eq!(
        opened(&ground, &ground.path("file"), Access::Read).await,
        Some(ErrorKind::NotFound),
        "{rule}"
    );
    assert_eq!(must(rule, file.read_at(0, 10).await), "data", "{rule}");
    put(&ground, rule, "file", b"other").await;
    assert_eq!(
        must(rule, file.read_at(0, 10).await),
        "data",
        "{rule}: a new file of that name is another file"
    );
}

async fn remove_dir(ground: Ground, rule: &'static str) {
    let dir = ground.path("dir");
    must(rule, ground.env.disk.create_dir_all(&dir).await);
    must(rule, ground.env.disk.open(&dir.join("file"), Access::Create).await);
    assert_eq!(kind(ground.env.disk.remove_dir(&dir).await), Some(ErrorKind::DirectoryNotEmpty), "{rule}");
    must(rule, ground.env.disk.remove(&dir.join("file")).await);
    must(rule, ground.env.disk.remove_dir(&dir).await);
    assert_eq!(kind(ground.env.disk.remove_dir(&dir).await), Some(ErrorKind::NotFound), "{rule}");
    assert_eq!(kind(ground.env.disk.list(&dir).await), Some(ErrorKind::NotFound), "{rule}");
}

async fn list(ground: Ground, rule: &'static str) {
    let disk = &ground.env.disk;
    assert_eq!(must(rule, disk.list(&ground.scratch).await), [], "{rule}: an empty directory has no entries");
    for name in ["b", "a10", "a2", "Z"] {
        put(&ground, rule, name, b"12345").await;
    }
    must(rule, disk.create_dir_all(&ground.path("m").join("below")).await);
    let entries = must(rule, disk.list(&ground.scratch).await);
    let seen: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.len, entry.is_dir)).collect();
    let expected = [("Z", 5, false), ("a10", 5, false), ("a2", 5, false), ("b", 5, false), ("m", 0, true)];
    assert_eq!(seen, expected, "{rule}");
    assert_eq!(kind(disk.list(&ground.path("missing")).await), Some(ErrorKind::NotFound), "{rule}");
}

async fn create_dirs(ground: Ground, rule: &'static str) {
    let dir = ground.path("one").join("two").join("three");
    must(rule, ground.env.disk.create_dir_all(&dir).await);
    must(rule, ground.env.disk.create_dir_all(&dir).await);
    must(rule, ground.env.disk.open(&dir.join("file"), Access::Create).await);
}

async fn sync_dir(ground: Ground, rule: &'static str) {
    put(&ground, rule, "file", b"data").await;
    must(rule, ground.env.disk.sync_dir(&ground.scratch).await);
    assert_eq!(
        kind(ground.env.disk.sync_dir(&ground.path("missing")).await),
        Some(ErrorKind::NotFound),
        "{rule}"
    );
}

async fn tree(ground: Ground, rule: &'static str) {
    assert_eq!(
        kind(ground.env.disk.tree(&ground.path("missing")).await),
        Some(ErrorKind::NotFound),
        "{rule}"
    );
    put(&ground, rule, "file", b"abcd").await;
    let tree = must(rule, ground.env.disk.tree(&ground.scratch).await);
    let piece = |name: &str, offset, data: &'static [u8]| Piece {
        path: ground.path(name),
        len: 6,
        offset,
        data: Bytes::from_static(data),
    };
    let pieces = vec![piece("file", 1, b"X"), piece("a/b/new", 2, b"yz"), piece("a/b/new", 3, b"w")];
    must(rule, tree.write(pieces).await);
    must(rule, tree.sync().await);
    // A process that died over its creation may have left it short.
    assert_eq!(content(&ground, rule, "file").await, "aXcd\0\0", "{rule}");
    assert_eq!(content(&ground, rule, "a/b/new").await, "\0\0yw\0\0", "{rule}");
    must(rule, tree.write(Vec::new()).await);
    must(rule, tree.sync().await);
}

async fn space(ground: Ground, rule: &'static str) {
    let space = must(rule, ground.env.disk.space(&ground.scratch).await);
    assert!(0 < space.available && space.available <= space.total, "{rule}: {space:?}");
}

async fn lock(ground: Ground, rule: &'static str) {
    let path = ground.path("lock");
    let held = must(rule, ground.env.disk.lock(&path).await);
    for _ in 0..2 {
        assert_eq!(kind(ground.env.disk.lock(&path).await), Some(ErrorKind::WouldBlock), "{rule}");
    }
    drop(held);
    drop(must(rule, ground.env.disk.lock(&path).await));
    must(rule, ground.env.disk.lock(&path).await);
}

async fn lock_if_there(ground: Ground, rule: &'static str) {
    let path = ground.path("lock");
    assert!(must(rule, ground.env.disk.lock_if_there(&path).await).is_none(), "{rule}");
    assert_eq!(opened(&ground, &path, Access::Read).await, Some(ErrorKind::NotFound), "{rule}: it was made");
    let held = must(rule, ground.env.disk.lock(&path).await);
    assert_eq!(kind(ground.env.disk.lock_if_there(&path).await), Some(ErrorKind::WouldBlock), "{rule}");
    drop(held);
    let before = content(&ground, rule, "lock").await;
    let held = must(rule, ground.env.disk.lock_if_there(&path).await);
    assert!(held.is_some(), "{rule}");
    assert_eq!(content(&ground, rule, "lock").await, before, "{rule}: it was written");
    assert_eq!(kind(ground.env.disk.lock(&path).await), Some(ErrorKind::WouldBlock), "{rule}");
    drop(held);
    must(rule, ground.env.disk.lock(&path).await);
}

//! Mapped segments.

use std::io;
use std::io::ErrorKind;
use std::sync::Arc;

use bytes::Bytes;

use super::{Ground, cases};
use crate::env::{Access, Segment};

/// Bytes of a segment here: two pages and a bit, so that neither its length nor its middle is a page's.
const LEN: u64 = 9_000;

cases! {
    "a new segment is all zeros and exactly as long as asked" => new_is_zero,
    "a shorter file is extended with zeros" => extends,
    "a longer file is refused with InvalidData and left alone" => longer_is_refused,
    "only Create makes a segment" => missing,
    "what was filled is read at once" => fill_is_visible,
    "a slice is what it was when others are filled" => slice_is_stable,
    "a slice outlives the segment and its file" => slice_outlives,
    "a range outside the segment is refused with InvalidInput" => outside,
    "a segment mapped for reading refuses to be filled" => read_only,
    "sync succeeds, for any range within" => sync,
    "a segment is a file like any other" => is_a_file,
    "two mappings of one file show the same bytes" => two_mappings,
    "threads may read while one fills" => read_beside_fill,
}

async fn map(ground: &Ground, rule: &str, access: Access) -> Arc<dyn Segment> {
    must(rule, ground.env.disk.map(&ground.path("segment"), LEN, access).await)
}

fn put(rule: &str, segment: &dyn Segment, offset: u64, data: &[u8]) {
    must(rule, segment.fill(offset, data.len(), &mut |target| target.copy_from_slice(data)));
}

fn must<T>(rule: &str, result: io::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{rule}: {error} ({:?})", error.kind()))
}

fn kind<T>(result: io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

fn all_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

async fn new_is_zero(ground: Ground, rule: &'static str) {
    let segment = map(&ground, rule, Access::Create).await;
    assert_eq!(segment.len(), LEN, "{rule}");
    let bytes = must(rule, segment.slice(0, 9_000));
    assert!(bytes.len() == 9_000 && all_zero(&bytes), "{rule}");
    let file = must(rule, ground.env.disk.open(&ground.path("segment"), Access::Read).await);
    assert_eq!(must(rule, file.len().await), LEN, "{rule}");
}

async fn extends(ground: Ground, rule: &'static str) {
    let file = must(rule, ground.env.disk.open(&ground.path("segment"), Access::Create).await);
    must(rule, file.write_at(0, Bytes::from_static(b"kept")).await);
    for access in [Access::Write, Access::Create] {
        let segment = map(&ground, rule, access).await;
        let bytes = must(rule, segment.slice(0, 9_000));
        assert!(bytes.starts_with(b"kept") && all_zero(&bytes[4..]), "{rule}");
    }
    assert_eq!(must(rule, file.len().await), LEN, "{rule}");
}

async fn longer_is_refused(ground: Ground, rule: &'static str) {
    let file = must(rule, ground.env.disk.open(&ground.path("segment"), Access::Create).await);
    must(rule, file.set_len(LEN + 1).await);
    for access in [Access::Read, Access::Write, Access::Create] {
        let mapped = ground.env.disk.map(&ground.path("segment"), LEN, access).await;
        assert_eq!(kind(mapped), Some(ErrorKind::InvalidData), "{rule}");
    }
    assert_eq!(must(rule, file.len().await), LEN + 1, "{rule}");
}

async fn missing(ground: Ground, rule: &'static str) {
    for access in [Access::Read, Access::Write] {
        let mapped = ground.env.disk.map(&ground.path("segment"), LEN, access).await;
        assert_eq!(kind(mapped), Some(ErrorKind::NotFound), "{rule}");
    }
    assert_eq!(must(rule, ground.env.disk.list(&ground.scratch).await), [], "{rule}");
}

async fn fill_is_visible(ground: Ground, rule: &'static str) {
    let segment = map(&ground, rule, Access::Create).await;
    for offset in [0, 1, 4_095, 4_096, 8_995] {
        must(
            rule,
            segment.fill(offset, 5, &mut |target| {
                assert_eq!(target.len(), 5, "{rule}: a fill gets the range that it asked for");
                target.copy_from_slice(b"hello");
            }),
        );
        assert_eq!(must(rule, segment.slice(offset, 5)), "hello", "{rule}");
    }
    must(rule, segment.fill(0, 0, &mut |target| assert!(target.is_empty(), "{rule}")));
    assert_eq!(must(rule, segment.slice(LEN, 0)), "", "{rule}: nothing may be read at the very end");
}

async fn slice_is_stable(ground: Ground, rule: &'static str) {
    let segment = map(&ground, rule, Access::Create).await;
    put(rule, segment.as_ref(), 0, b"first");
    let first = must(rule, segment.slice(0, 5));
    put(rule, segment.as_ref(), 5, b"second");
    assert_eq!(first, "first", "{rule}");
    assert_eq!(must(rule, segment.slice(0, 11)), "firstsecond", "{rule}");
}

async fn slice_outlives(ground: Ground, rule: &'static str) {
    let segment = map(&ground, rule, Access::Create).await;
    put(rule, segment.as_ref(), 4_000, b"lives on");
    let slice = must(rule, segment.slice(4_000, 8));
    drop(segment);
    assert_eq!(slice, "lives on", "{rule}");
    must(rule, ground.env.disk.remove(&ground.path("segment")).await);
    assert_eq!(slice.slice(6..), "on", "{rule}");
}

async fn outside(ground: Ground, rule: &'static str) {
    let segment = map(&ground, rule, Access::Create).await;
    let refused = Some(ErrorKind::InvalidInput);
    for (offset, len) in [(LEN, 1), (0, 9_001), (8_999, 2), (u64::MAX, 1), (1, usize::MAX)] {
        assert_eq!(kind(segment.slice(offset, len)), refused, "{rule}: slice {offset} {len}");
        let mut called = false;
        assert_eq!(
            kind(segment.fill(offset, len, &mut |_| called = true)),
            refused,
            "{rule}: fill {offset} {len}"
        );
        assert!(!called, "{rule}: nothing is written outside");
        assert_eq!(kind(segment.sync(offset, len as u64).await), refused, "{rule}: sync {offset} {len}");
    }
}

async fn read_only(ground: Ground, rule: &'static str) {
    put(rule, map(&ground, rule, Access::Create).await.as_ref(), 0, b"kept");
    let segment = map(&ground, rule, Access::Read).await;
    let filled = segment.fill(0, 4, &mut |target| target.copy_from_slice(b"lost"));
    assert_eq!(kind(filled), Some(ErrorKind::PermissionDenied), "{rule}");
    assert_eq!(must(rule, segment.slice(0, 4)), "kept", "{rule}");
}

async fn sync(ground: Ground, rule: &'static str) {
    let segment = map(&ground, rule, Access::Create).await;
    put(rule, segment.as_ref(), 4_090, b"across a page");
    for (offset, len) in [(4_090, 13), (0, LEN), (0, 0), (LEN, 0)] {
        must(rule, segment.sync(offset, len).await);
    }
    assert_eq!(must(rule, segment.slice(4_090, 13)), "across a page", "{rule}");
}

async fn is_a_file(ground: Ground, rule: &'static str) {
    let segment = map(&ground, rule, Access::Create).await;
    put(rule, segment.as_ref(), 4_090, b"across a page");
    let file = must(rule, ground.env.disk.open(&ground.path("segment"), Access::Read).await);
    assert_eq!(must(rule, file.read_at(4_090, 13).await), "across a page", "{rule}");
    drop(segment);
    assert_eq!(must(rule, map(&ground, rule, Access::Write).await.slice(4_090, 6)), "across", "{rule}");
}

async fn two_mappings(ground: Ground, rule: &'static str) {
    let writer = map(&ground, rule, Access::Create).await;
    let reader = map(&ground, rule, Access::Read).await;
    put(rule, writer.as_ref(), 100, b"shared");
    assert_eq!(must(rule, reader.slice(100, 6)), "shared", "{rule}");
}

async fn read_beside_fill(ground: Ground, rule: &'static str) {
    let segment = map(&ground, rule, Access::Create).await;
    let (publish, mut published) = tokio::sync::watch::channel(0u64);
    let source = Arc::clone(&segment);
    let _reader = ground.env.spawn("conformance.reader", async move {
        while published.changed().await.is_ok() {
            let end = *published.borrow_and_update();
            let bytes = must(rule, source.slice(0, usize::try_from(end).unwrap_or(0)));
            assert!(bytes.iter().all(|byte| *byte == 7), "{rule}");
        }
    });
    for offset in (0..LEN - 100).step_by(100) {
        put(rule, segment.as_ref(), offset, &[7; 100]);
        publish.send_replace(offset + 100);
        ground.env.sleep_ms(u64::from(offset % 1_000 == 0)).await;
    }
    let all = must(rule, segment.slice(0, 8_900));
    assert!(all.iter().all(|byte| *byte == 7), "{rule}");
}

//! What the conformance suite cannot ask of both worlds: the words of real errors, and mapped memory itself.

use std::io;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::env::Access;
use crate::env::conformance;
use crate::env::conformance::{FileChange, Ground};

/// A fresh directory of this test process, by purpose.
#[expect(clippy::disallowed_methods, reason = "prepares the directory that the tests work in")]
pub(super) fn scratch(purpose: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("staticfire-env-{}-{purpose}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("the temporary directory is writable");
    dir
}

fn run(future: impl Future<Output = ()>) {
    tokio_real::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
}

#[test]
fn an_error_names_the_operation_and_the_path() {
    run(async {
        let path = scratch("words").join("missing");
        let error = env().disk.open(&path, Access::Read).await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().starts_with(&format!("open {}: ", path.display())), "{error}");
    });
}

#[test]
fn a_held_lock_names_its_holder() {
    run(async {
        let path = scratch("holder").join("lock");
        let _held = env().disk.lock(&path).await.unwrap();
        let error = env().disk.lock(&path).await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(error.to_string().contains(&format!("held by process {}", std::process::id())), "{error}");
    });
}

#[test]
fn slices_share_the_mapping_instead_of_copying_it() {
    run(async {
        let path = scratch("zero-copy").join("segment");
        let segment = env().disk.map(&path, 8192, Access::Create).await.unwrap();
        segment.fill(0, 8192, &mut |room| room.fill(7)).unwrap();
        let before = segment.slice(4096, 4).unwrap();
        let again = segment.slice(4096, 8).unwrap();
        assert_eq!(before.as_ptr(), again.as_ptr());
        let start = segment.slice(0, 1).unwrap();
        assert_eq!(before.as_ptr() as usize - start.as_ptr() as usize, 4096);
    });
}

/// Runs the suite on a runtime, in a directory and on a host of this machine.
fn conforms(runtime: &tokio_real::runtime::Runtime, purpose: &str, host: &str) {
    let dir = scratch(purpose);
    let kept = runtime.block_on(conformance::run_all(env(), &dir, host.parse().unwrap()));
    assert!(kept.len() >= 60, "only {} rules were checked", kept.len());
}

#[test]
fn the_real_world_keeps_every_rule_on_one_thread() {
    let runtime = tokio_real::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    conforms(&runtime, "one-thread", "127.0.0.1");
}

#[test]
fn the_real_world_keeps_every_rule_on_several_threads() {
    let runtime = tokio_real::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    conforms(&runtime.unwrap(), "several-threads", "127.0.0.1");
}

fn change() -> impl Strategy<Value = FileChange> {
    let data = || proptest::collection::vec(1..=255u8, 0..5_000);
    prop_oneof![
        4 => (0..4usize, 0..12_000u64, data())
            .prop_map(|(name, offset, data)| FileChange::Write { name, offset, data }),
        1 => (0..4usize, 0..16_000u64).prop_map(|(name, len)| FileChange::SetLen { name, len }),
        1 => (0..4usize, 0..4usize).prop_map(|(from, to)| FileChange::Rename { from, to }),
        1 => (0..4usize).prop_map(|name| FileChange::Remove { name }),
        2 => (0..4usize, 1..16_000u64, 0..12_000u64, data())
            .prop_map(|(name, len, offset, data)| FileChange::Fill { name, len, offset, data }),
        1 => (0..4usize).prop_map(|name| FileChange::Sync { name }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn real_files_follow_the_model(changes in proptest::collection::vec(change(), 1..40)) {
        run(async {
            let ground = Ground::new(env(), &scratch("model"), "127.0.0.1".parse().unwrap());
            conformance::files_follow_the_model(&ground, &changes).await;
        });
    }
}

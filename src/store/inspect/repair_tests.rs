//! A repair keeps every acknowledged message, keeps aside what it cuts, and does nothing unasked.

#![expect(clippy::disallowed_methods, reason = "damages the files of a store from outside")]

use std::fs;

use super::tests::config;
use super::tests::files;
use super::tests::fill;
use super::*;
use crate::store::tests::bodies;
use crate::store::tests::env;
use crate::store::tests::open;
use crate::store::tests::remove;
use crate::store::tests::run;
use crate::store::tests::scratch;

async fn look(dir: &Path) -> (ClosedStore, Report, Repair) {
    let closed = ClosedStore::open(&env(), dir, Sizes::default()).await.unwrap();
    let report = closed.check(&mut |_| {}).await.unwrap();
    let repair = Repair::of(&report, &closed);
    (closed, report, repair)
}

#[test]
fn damaged_queue_files_are_built_again_and_kept_aside() {
    run(async {
        let dir = scratch("repair-queues");
        fill(&dir, true).await;
        let (store, _) = open(&config(&dir)).await;
        let whole = bodies(&store, "T", 1).await;
        store.shutdown().await.unwrap();
        let path = Layout::new(&config(&dir)).queue_file("T", 1, 0);
        let mut bytes = fs::read(&path).unwrap();
        bytes[45] ^= 7;
        fs::write(&path, &bytes).unwrap();
        let before = files(&dir);
        let (closed, report, repair) = look(&dir).await;
        assert!(report.has(Damage::Unit) && repair.steps.len() == 1, "{repair:?}");
        assert_eq!(files(&dir), before, "looking changed a file");
        let (aside, recovery) = closed.repair(&report, &repair).await.unwrap();
        assert!(recovery.rebuilt.is_some());
        assert_eq!(fs::read(aside.join("consumequeue/T/1").join(path.file_name().unwrap())).unwrap(), bytes);
        let (_, report, repair) = look(&dir).await;
        assert!(report.is_whole() && repair == Repair::default(), "{:#?}", report.findings);
        let (store, _) = open(&config(&dir)).await;
        assert_eq!(bodies(&store, "T", 1).await, whole);
        store.shutdown().await.unwrap();
        remove(&dir);
    });
}

#[test]
fn what_stands_behind_the_log_is_cut_and_kept_aside() {
    run(async {
        let dir = scratch("repair-tail");
        let store = fill(&dir, true).await;
        let end = store.appended().0;
        let path = Layout::new(&config(&dir)).segment(end);
        let mut bytes = fs::read(&path).unwrap();
        let within = (end % bytes.len() as u64) as usize;
        bytes[within + 40..within + 48].copy_from_slice(b"leftover");
        fs::write(&path, &bytes).unwrap();
        let (closed, report, repair) = look(&dir).await;
        assert_eq!((report.end, report.torn_bytes), (end, 48));
        let (aside, recovery) = closed.repair(&report, &repair).await.unwrap();
        assert_eq!(recovery.end.0, end);
        assert!(fs::read(aside.join(format!("commitlog-{end:020}"))).unwrap().ends_with(b"leftover"));
        let (_, report, _) = look(&dir).await;
        assert!(report.is_whole(), "{:#?}", report.findings);
        remove(&dir);
    });
}

#[test]
fn what_cannot_be_mended_is_left_alone_by_name() {
    run(async {
        let dir = scratch("repair-gone");
        fill(&dir, true).await;
        fs::remove_file(Layout::new(&config(&dir)).segment(4096)).unwrap();
        let before = files(&dir);
        let (closed, report, repair) = look(&dir).await;
        assert!(repair.steps.is_empty() && !repair.stays.is_empty(), "{repair:?}");
        let refused = closed.repair(&report, &repair).await.unwrap_err();
        assert!(refused.to_string().contains("segments of the log are gone"), "{refused}");
        assert_eq!(files(&dir), before);
        remove(&dir);
    });
}

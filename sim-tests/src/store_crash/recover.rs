//! One image, recovered in every way.

use std::sync::Arc;

use staticfire::base::Draw;
use staticfire::sim::Node;
use staticfire::sim::disk::DiskImage;
use staticfire::sim::disk::Survival;
use staticfire::store::Config;
use staticfire::store::Recovery;
use staticfire::store::Store;

use super::records::Contents;
use super::records::Model;
use super::records::append;
use super::records::contents;

/// Of so many images one is also recovered without its queue files.
const REBUILD_EVERY: u64 = 8;

/// An image to recover, and what must be in it.
pub(crate) struct Patient<'a> {
    pub(crate) image: DiskImage,
    pub(crate) model: &'a Model,
    /// Records that must be there …
    pub(crate) at_least: usize,
    /// … and, after a kill, that must be there when the power goes while it recovers: the page cache goes with it.
    pub(crate) durable: Option<usize>,
    /// How it came to be, in words.
    pub(crate) moment: &'a str,
    pub(crate) seed: u64,
}

/// Recovers images on one node, one after the other.
pub(crate) struct Ward<'a> {
    pub(crate) node: &'a Node,
    pub(crate) config: Config,
    pub(crate) recoveries: u64,
    /// Recoveries that were interrupted by a loss of power.
    pub(crate) interrupted: u64,
    pub(crate) rebuilt: u64,
}

impl Ward<'_> {
    /// Recovers the image in every way; panics, naming the promise, when one is broken.
    pub(crate) async fn treat(&mut self, patient: Patient<'_>) {
        let Patient { image, model, at_least, durable, moment, seed } = patient;
        let draw = Draw::new(seed).domain("recover");
        let disk = self.node.disk();
        disk.take_images();
        disk.record_images();
        let queues_gone = (draw.range("rebuild", 0, 0, 0, REBUILD_EVERY) == 0).then(|| image.clone());
        let (store, recovery) = self.open(image, moment).await;
        let inside = disk.take_images();
        let found = contents(&store, model, moment).await;
        let kept = found.records;
        assert!(
            kept >= at_least,
            "O1, O5: {kept} records of {at_least} promised ones, {moment}, {recovery:?}"
        );
        let end = recovery.end;
        drop(store);

        // What recovery found is durable now: another loss of power takes nothing of it.
        let how = 2 + draw.range("again", 0, 0, 0, Survival::EACH.len() as u64) as usize;
        let (again, _) = disk.image().crash_image(seed, how);
        let (store, recovery) = self.open(again, moment).await;
        assert_eq!(contents(&store, model, moment).await, found, "O21: recovered a second time, {moment}");
        assert_eq!(recovery.end, end, "O21: the log's end, recovered a second time, {moment}");
        self.append_and_lose_power(&store, model, kept, moment, seed).await;
        drop(store);

        self.interrupt(inside, model, (found, durable), moment, seed).await;
        if let Some(mut image) = queues_gone {
            image.remove_all("store/consumequeue");
            image.remove_all("store/checkpoint");
            let (store, _) = self.open(image, moment).await;
            self.rebuilt += 1;
            let rebuilt = contents(&store, model, moment).await;
            assert_eq!(rebuilt, found, "O21: recovered without queue files, {moment}");
        }
    }

    /// One record more, as long as the one that was torn away: whatever stood behind that one must not come back.
    async fn append_and_lose_power(
        &mut self,
        store: &Arc<Store>,
        model: &Model,
        kept: usize,
        moment: &str,
        seed: u64,
    ) {
        let queue = model.queue_of.get(kept).copied().unwrap_or(0);
        let bytes = model.size_of.get(kept).copied().unwrap_or(8);
        let mut longer = model.prefix(kept);
        let record = longer.push(queue, bytes);
        let appended = append(store, &[record]).await.expect("appends after recovery");
        let end = appended.last().expect("one record").end();
        store.wait_durable(end).await.expect("becomes durable");
        let (last, _) = self.node.disk().image().crash_image(seed ^ 1, (seed % 8) as usize);
        let (store, _) = self.open(last, moment).await;
        let found = contents(&store, &longer, moment).await.records;
        assert_eq!(found, kept + 1, "O1: one record more, then a loss of power, {moment}");
    }

    /// The power goes before one of the syncs of a recovery, drawn; the next one must find the same, or at least what was
    /// durable.
    async fn interrupt(
        &mut self,
        inside: Vec<DiskImage>,
        model: &Model,
        (found, durable): (Contents, Option<usize>),
        moment: &str,
        seed: u64,
    ) {
        let draw = Draw::new(seed).domain("interrupt");
        let step = draw.range("step", 0, 0, 0, inside.len() as u64) as usize;
        let Some(image) = inside.get(step) else { return };
        let how = draw.range("how", 0, 0, 0, Survival::EACH.len() as u64) as usize;
        let (image, _) = image.crash_image(seed, how);
        let (store, _) = self.open(image, moment).await;
        self.interrupted += 1;
        let again = contents(&store, model, moment).await;
        let how = Survival::EACH[how];
        let holds = match durable {
            None => again == found,
            Some(durable) => (durable..=found.records).contains(&again.records),
        };
        assert!(
            holds,
            "O21: {again:?} after {found:?}, interrupted before its sync {step} ({how:?}), {moment}"
        );
    }

    async fn open(&mut self, image: DiskImage, moment: &str) -> (Arc<Store>, Recovery) {
        if self.node.is_up() {
            self.node.kill();
        }
        self.node.disk().restore(image);
        self.node.restart();
        self.recoveries += 1;
        let opened = Store::open(&self.node.env(), self.config.clone()).await;
        opened.unwrap_or_else(|error| panic!("O24: a crashed store opens, {moment}: {error}"))
    }
}

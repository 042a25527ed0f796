//! One node's disk: its image, its faults, and what a nemesis or a crash test can do with it.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use parking_lot::MutexGuard;
use tokio::sync::Notify;

use super::image::DiskImage;
use super::image::Loss;
use super::image::Survival;
use super::inode::PAGE;
use crate::base::Draw;
use crate::sim::NodeId;
use crate::sim::World;
use crate::sim::ledger::Damage;
use crate::sim::node::NodeState;
use crate::sim::trace::Kind;

/// Rates are parts in a million of the operations of that kind; ranges are `low..high` nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskFaults {
    pub latency_ns: (u64, u64),
    pub sync_latency_ns: (u64, u64),
    /// On top, per 1024 bytes moved: a disk whose throughput collapsed.
    pub ns_per_kib: u64,
    pub read_error: u32,
    pub write_error: u32,
    pub sync_error: u32,
    /// After the first failed sync every sync fails.
    pub sync_error_sticks: bool,
    pub dir_sync_error: u32,
    /// Opening fails: too many open files.
    pub open_error: u32,
    /// A sync says `Ok` and leaves its pages in the drive's cache.
    pub lying_sync: u32,
    /// A write says `Ok` and nothing is written.
    pub lost_write: u32,
    /// A write lands one page away from where it should.
    pub misdirected_write: u32,
    /// A read shows what the platter has instead of what was written.
    pub stale_read: u32,
    /// A written page reaches the platter before anybody asked.
    pub early_write_back: u32,
    /// A power loss also flips a bit of something that was durable.
    pub rot_at_crash: u32,
    /// Every change is refused.
    pub read_only: bool,
    /// Bytes that fit.
    pub capacity: u64,
    /// How much of what was not synced a power loss leaves.
    pub survival: Survival,
}

impl Default for DiskFaults {
    /// A healthy disk. Un-synced data is still lost at a power loss: that is no fault of the disk's.
    fn default() -> DiskFaults {
        DiskFaults {
            latency_ns: (10_000, 100_000),
            sync_latency_ns: (100_000, 2_000_000),
            ns_per_kib: 0,
            read_error: 0,
            write_error: 0,
            sync_error: 0,
            sync_error_sticks: false,
            dir_sync_error: 0,
            open_error: 0,
            lying_sync: 0,
            lost_write: 0,
            misdirected_write: 0,
            stale_read: 0,
            early_write_back: 10_000,
            rot_at_crash: 0,
            read_only: false,
            capacity: 8 << 30,
            survival: Survival::Drawn,
        }
    }
}

/// Operations since the disk was made, and what its crashes did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskStats {
    pub opens: u64,
    pub reads: u64,
    pub writes: u64,
    pub bytes_written: u64,
    pub syncs: u64,
    pub dir_syncs: u64,
    pub crashes: u64,
    pub loss: Loss,
}

pub(in crate::sim) struct NodeDisk {
    pub(super) id: NodeId,
    pub(super) draw: Draw,
    inner: Mutex<Inner>,
    /// A stall or a hang may be over.
    pub(super) changed: Notify,
}

pub(super) struct Inner {
    pub(super) image: DiskImage,
    pub(super) faults: DiskFaults,
    pub(super) stats: DiskStats,
    pub(super) sync_is_broken: bool,
    /// Nothing ends before this true time.
    pub(super) stalled_until: u64,
    pub(super) locks: BTreeSet<String>,
    pub(super) recorded: Option<Vec<DiskImage>>,
    damage_draws: u64,
    stall_entry: Option<usize>,
    read_only_entry: Option<usize>,
    full_entry: Option<usize>,
}

impl NodeDisk {
    pub(in crate::sim) fn new(id: NodeId, draw: Draw) -> NodeDisk {
        NodeDisk {
            id,
            draw,
            inner: Mutex::new(Inner {
                image: DiskImage::default(),
                faults: DiskFaults::default(),
                stats: DiskStats::default(),
                sync_is_broken: false,
                stalled_until: 0,
                locks: BTreeSet::new(),
                recorded: None,
                damage_draws: 0,
                stall_entry: None,
                read_only_entry: None,
                full_entry: None,
            }),
            changed: Notify::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// The process is gone: its handles and locks with it. The page cache stays.
    pub(in crate::sim) fn process_ended(&self) {
        let mut inner = self.lock();
        inner.locks.clear();
        for inode in inner.image.inodes.values_mut() {
            inode.open = 0;
        }
        inner.image.forget_unreachable();
    }

    /// The machine lost power.
    pub(in crate::sim) fn os_crash(&self, world: &World) -> Loss {
        let mut inner = self.lock();
        inner.stats.crashes += 1;
        let nth = inner.stats.crashes;
        let draw = Draw::new(self.draw.at("crash", 0, nth));
        let survival = inner.faults.survival;
        let loss = inner.image.crash(draw, survival);
        // A machine that comes back has a working controller again.
        inner.sync_is_broken = false;
        inner.stats.loss.add(loss);
        let rots = draw.chance("rot", 0, 0, inner.faults.rot_at_crash);
        drop(inner);
        for (name, count) in loss.kinds() {
            if count > 0 {
                world.bite(self.id, name);
            }
        }
        if rots {
            self.rot(world, false);
        }
        loss
    }

    pub(in crate::sim) fn lose(&self) {
        let mut inner = self.lock();
        inner.image = DiskImage::default();
        inner.sync_is_broken = false;
    }

    /// Flips a bit of some file. False when there is nothing to flip.
    fn rot(&self, world: &World, platter_only: bool) -> bool {
        self.damage_somewhere(world, "disk.rot", |inode, offset, draw| {
            inode.rot(offset, 1 << (draw % 8), platter_only)
        })
    }

    fn damage_somewhere(
        &self,
        world: &World,
        name: &'static str,
        hit: impl FnOnce(&mut super::inode::Inode, u64, u64) -> bool,
    ) -> bool {
        let mut inner = self.lock();
        inner.damage_draws += 1;
        let n = inner.damage_draws;
        let used = inner.image.used();
        let mut at = self.draw.range("damage.at", 0, n, 0, used);
        let Some(id) = inner.image.inodes.iter().find_map(|(id, inode)| {
            let here = at < inode.len();
            if !here {
                at -= inode.len();
            }
            here.then_some(*id)
        }) else {
            return false;
        };
        let path = inner.image.path_of(id);
        let bits = self.draw.at("damage.bits", 0, n);
        let done = inner.image.inodes.get_mut(&id).is_some_and(|inode| hit(inode, at, bits));
        drop(inner);
        if done {
            let offset = at - at % PAGE as u64;
            world.damage(self.id, Damage::Rot { path, offset, len: PAGE as u64 });
            world.bite(self.id, name);
        }
        done
    }
}

impl Inner {
    /// Bytes that may still be added.
    pub(super) fn room(&self) -> u64 {
        self.faults.capacity.saturating_sub(self.image.used())
    }
}

/// The faults and images of one node's disk.
pub struct DiskControl<'a> {
    pub(in crate::sim) world: &'a World,
    pub(in crate::sim) node: &'a NodeState,
}

impl DiskControl<'_> {
    fn disk(&self) -> &NodeDisk {
        &self.node.disk
    }

    pub fn faults(&self) -> DiskFaults {
        self.disk().lock().faults
    }

    pub fn set_faults(&self, faults: DiskFaults) {
        self.with_faults(|now| *now = faults);
    }

    /// Changes some of the faults: `disk.with_faults(|f| f.sync_error = 1_000_000)`.
    pub fn with_faults(&self, change: impl FnOnce(&mut DiskFaults)) {
        change(&mut self.disk().lock().faults);
        self.note_limits();
    }

    /// Opens and closes the ledger's entries of a disk that takes no changes, or has no room.
    fn note_limits(&self) {
        let mut inner = self.disk().lock();
        let (read_only, full) =
            (inner.faults.read_only, inner.faults.capacity < DiskFaults::default().capacity);
        let mut read_only_entry = inner.read_only_entry.take();
        let mut full_entry = inner.full_entry.take();
        drop(inner);
        self.note_limit(&mut read_only_entry, read_only, Damage::ReadOnly { ns: u64::MAX });
        self.note_limit(&mut full_entry, full, Damage::Full { ns: u64::MAX });
        let mut inner = self.disk().lock();
        inner.read_only_entry = read_only_entry;
        inner.full_entry = full_entry;
    }

    fn note_limit(&self, entry: &mut Option<usize>, limited: bool, damage: Damage) {
        match (limited, *entry) {
            (true, None) => *entry = Some(self.world.damage(self.node.id, damage)),
            (false, Some(open)) => {
                self.world.close_damage(open);
                *entry = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    pub fn stats(&self) -> DiskStats {
        self.disk().lock().stats
    }

    /// Handles to files that the running process holds.
    pub fn open_files(&self) -> u64 {
        self.disk().lock().image.inodes.values().map(|inode| u64::from(inode.open)).sum()
    }

    /// Bytes of all files.
    pub fn used(&self) -> u64 {
        self.disk().lock().image.used()
    }

    /// The disk does not answer for `ns` from now; `u64::MAX` until it is healed.
    pub fn stall(&self, ns: u64) {
        let until = self.world.now_ns().saturating_add(ns);
        let entry = self.world.damage(self.node.id, Damage::Stall { ns });
        let mut inner = self.disk().lock();
        inner.stalled_until = inner.stalled_until.max(until);
        if ns == u64::MAX {
            inner.stall_entry = Some(entry);
        }
        drop(inner);
        self.world.count("disk.stall");
    }

    /// No faults and no stall any more. What was destroyed stays destroyed.
    pub fn heal(&self) {
        let mut inner = self.disk().lock();
        inner.faults = DiskFaults { capacity: inner.faults.capacity.max(8 << 30), ..DiskFaults::default() };
        inner.stalled_until = 0;
        inner.sync_is_broken = false;
        let entry = inner.stall_entry.take();
        drop(inner);
        if let Some(entry) = entry {
            self.world.close_damage(entry);
        }
        self.note_limits();
        self.disk().changed.notify_waiters();
    }

    /// Flips a bit somewhere; with `platter_only` readers notice after a power loss only. False on an empty disk.
    pub fn rot(&self, platter_only: bool) -> bool {
        self.disk().rot(self.world, platter_only)
    }

    /// Flips a bit of the byte at `offset` of a file, for every reader and durably. The number of its entry in the ledger;
    /// `None` when the file has no such byte.
    pub fn rot_at(&self, path: &str, offset: u64) -> Option<usize> {
        {
            let mut inner = self.disk().lock();
            let id = inner.image.file_at(path)?;
            inner.damage_draws += 1;
            let bit = self.disk().draw.at("damage.bits", 0, inner.damage_draws) % 8;
            let file = inner.image.inodes.get_mut(&id)?;
            if !file.rot(offset, 1 << bit, false) {
                return None;
            }
        }
        let entry = self.world.damage(self.node.id, Damage::Rot { path: path.to_owned(), offset, len: 1 });
        self.world.bite(self.node.id, "disk.rot");
        Some(entry)
    }

    /// Makes a page somewhere unreadable until it is written (a latent sector error). False on an empty disk.
    pub fn make_unreadable(&self) -> bool {
        self.disk()
            .damage_somewhere(self.world, "disk.unreadable", |inode, offset, _| inode.make_unreadable(offset))
    }

    /// Makes the page at `offset` of a file unreadable until it is written. False when the file has no such page.
    pub fn make_unreadable_at(&self, path: &str, offset: u64) -> bool {
        {
            let mut inner = self.disk().lock();
            let Some(id) = inner.image.file_at(path) else { return false };
            if !inner.image.inodes.get_mut(&id).is_some_and(|file| file.make_unreadable(offset)) {
                return false;
            }
        }
        let offset = offset - offset % PAGE as u64;
        self.world.damage(self.node.id, Damage::Rot { path: path.to_owned(), offset, len: PAGE as u64 });
        self.world.bite(self.node.id, "disk.unreadable");
        true
    }

    /// The disk as it is: cache, platter, and the difference.
    pub fn image(&self) -> DiskImage {
        self.disk().lock().image.clone()
    }

    /// Puts an image in the place of the disk. Only while no process runs here, or before it opened anything.
    pub fn restore(&self, image: DiskImage) {
        self.disk().lock().image = image;
        self.disk().process_ended();
        self.world.event(self.node.id, Kind::Rollback, 0, 0);
        self.world.damage(self.node.id, Damage::Rollback);
    }

    /// From now on keeps an image from just before each sync takes effect.
    pub fn record_images(&self) {
        self.disk().lock().recorded.get_or_insert_default();
    }

    /// The images recorded so far, oldest first.
    pub fn take_images(&self) -> Vec<DiskImage> {
        self.disk().lock().recorded.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

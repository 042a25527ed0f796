//! A process's view of its disk: files, segments and locks of one life.

use std::io;
use std::path::Component;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::image::Name;
use super::image::parent;
use super::inode::Inode;
use super::node_disk::Inner;
use super::node_disk::NodeDisk;
use crate::base::fnv64;
use crate::env::Access;
use crate::env::BoxFuture;
use crate::env::DirEntry;
use crate::env::DirLock;
use crate::env::Disk;
use crate::env::File;
use crate::env::Segment;
use crate::env::Space;
use crate::env::Tree;
use crate::sim::World;
use crate::sim::clock::TrueSleep;
use crate::sim::ledger::Damage;
use crate::sim::node::Life;
use crate::sim::trace::Kind;

const EIO: i32 = 5;
const EMFILE: i32 = 24;
/// What `fill` finds in its buffer: a fill that leaves bytes untouched writes these.
const POISON: u8 = 0xdb;

#[derive(Clone)]
pub(in crate::sim) struct SimDisk {
    pub(super) world: World,
    pub(super) disk: Arc<NodeDisk>,
    pub(super) life: Arc<Life>,
}

pub(super) fn eio() -> io::Error {
    io::Error::from_raw_os_error(EIO)
}

/// "a/b/c" without a root, without dots.
pub(super) fn normal(path: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.extend(part.to_str()),
            Component::ParentDir => {
                parts.pop();
            }
            _ => {}
        }
    }
    parts.join("/")
}

impl SimDisk {
    pub(in crate::sim) fn new(world: World, disk: Arc<NodeDisk>, life: Arc<Life>) -> SimDisk {
        SimDisk { world, disk, life }
    }

    fn alive(&self) -> io::Result<()> {
        if self.life.is_alive() { Ok(()) } else { Err(io::Error::other("this process is dead")) }
    }

    /// Takes the time of a call that moves `bytes`.
    pub(super) async fn take_time(&self, purpose: &str, n: u64, bytes: u64) -> io::Result<()> {
        self.alive()?;
        let faults = self.disk.lock().faults;
        let (low, high) = if purpose == "sync.time" { faults.sync_latency_ns } else { faults.latency_ns };
        let slow = faults.ns_per_kib.saturating_mul(bytes / 1024);
        if slow > 0 {
            self.world.bite(self.life.node, "disk.throughput_collapsed");
        }
        let ns = self.disk.draw.range(purpose, 0, n, low, high) + slow;
        if ns > 0 {
            self.world.sleep_ns(self.life.node, ns).await;
        }
        let mut stalled = false;
        loop {
            let changed = self.disk.changed.notified();
            let until = self.disk.lock().stalled_until;
            if until <= self.world.now_ns() {
                return self.alive();
            }
            if !stalled {
                stalled = true;
                let hangs = until == u64::MAX;
                self.world.bite(self.life.node, if hangs { "disk.call_hangs" } else { "disk.call_stalled" });
            }
            let sleep = TrueSleep { world: self.world.clone(), node: self.life.node, at: until, armed: None };
            tokio::select! {
                biased;
                () = changed => {}
                () = sleep => {}
            }
        }
    }

    /// A call about names: counted as an open, and refused when the disk takes no changes.
    pub(super) async fn name_call(&self, changes: bool) -> io::Result<()> {
        let n = {
            let mut inner = self.disk.lock();
            inner.stats.opens += 1;
            inner.stats.opens
        };
        self.take_time("open.time", n, 0).await?;
        let inner = self.disk.lock();
        if changes && inner.faults.read_only {
            drop(inner);
            return Err(self.read_only());
        }
        if self.disk.draw.chance("open.error", 0, n, inner.faults.open_error) {
            drop(inner);
            self.world.bite(self.life.node, "disk.open_error");
            self.world.damage(self.life.node, Damage::IoError { what: "open" });
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        Ok(())
    }

    fn read_only(&self) -> io::Error {
        self.world.bite(self.life.node, "disk.read_only");
        io::ErrorKind::ReadOnlyFilesystem.into()
    }

    fn named(&self, path: &str) {
        self.world.event(self.life.node, Kind::Name, fnv64(path.as_bytes()), 0);
    }

    /// Finds or creates a file.
    async fn open_inode(&self, path: &str, access: Access) -> io::Result<u64> {
        self.name_call(false).await?;
        let mut inner = self.disk.lock();
        let inode = match inner.image.names.get(path) {
            Some(Name::File(inode)) => *inode,
            Some(Name::Dir) => return Err(io::ErrorKind::IsADirectory.into()),
            None if access != Access::Create => return Err(io::ErrorKind::NotFound.into()),
            None => {
                parent_exists(&inner, path)?;
                if inner.faults.read_only {
                    drop(inner);
                    return Err(self.read_only());
                }
                self.named(path);
                inner.image.create_file(path)
            }
        };
        if let Some(file) = inner.image.inodes.get_mut(&inode) {
            file.open += 1;
        }
        Ok(inode)
    }

    fn file(&self, inode: u64, access: Access) -> SimFile {
        SimFile { disk: self.clone(), inode, writable: access != Access::Read }
    }
}

pub(super) fn parent_exists(inner: &Inner, path: &str) -> io::Result<()> {
    let dir = parent(path);
    if inner.image.is_dir(dir) {
        Ok(())
    } else if inner.image.names.contains_key(dir) {
        Err(io::ErrorKind::NotADirectory.into())
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

impl Disk for SimDisk {
    fn open<'a>(&'a self, path: &'a Path, access: Access) -> BoxFuture<'a, io::Result<Arc<dyn File>>> {
        Box::pin(async move {
            let inode = self.open_inode(&normal(path), access).await?;
            Ok(Arc::new(self.file(inode, access)) as Arc<dyn File>)
        })
    }

    fn map<'a>(
        &'a self,
        path: &'a Path,
        len: u64,
        access: Access,
    ) -> BoxFuture<'a, io::Result<Arc<dyn Segment>>> {
        Box::pin(async move {
            let inode = self.open_inode(&normal(path), access).await?;
            let file = self.file(inode, access);
            let mut inner = self.disk.lock();
            let (room, read_only) = (inner.room(), inner.faults.read_only);
            let image = inner.image.inodes.get_mut(&inode).ok_or(io::ErrorKind::NotFound)?;
            let grows = len.saturating_sub(image.len());
            if image.len() > len || (grows > 0 && access == Access::Read) {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if grows > 0 && read_only {
                drop(inner);
                return Err(self.read_only());
            }
            if grows > room {
                drop(inner);
                self.world.bite(self.life.node, "disk.full");
                return Err(io::ErrorKind::StorageFull.into());
            }
            image.set_len(len);
            drop(inner);
            Ok(Arc::new(SimSegment { file, len }) as Arc<dyn Segment>)
        })
    }

    fn rename<'a>(&'a self, from: &'a Path, to: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let (from, to) = (normal(from), normal(to));
            self.name_call(true).await?;
            let mut inner = self.disk.lock();
            let source = *inner.image.names.get(&from).ok_or(io::ErrorKind::NotFound)?;
            parent_exists(&inner, &to)?;
            match (source, inner.image.names.get(&to)) {
                (_, None) | (Name::File(_), Some(Name::File(_))) => {}
                (Name::File(_), Some(Name::Dir)) => return Err(io::ErrorKind::IsADirectory.into()),
                (Name::Dir, Some(Name::File(_))) => return Err(io::ErrorKind::NotADirectory.into()),
                (Name::Dir, Some(Name::Dir)) if inner.image.entries(&to).is_empty() => {}
                (Name::Dir, Some(Name::Dir)) => return Err(io::ErrorKind::DirectoryNotEmpty.into()),
            }
            self.named(&to);
            if from != to {
                inner.image.rename(&from, &to);
            }
            Ok(())
        })
    }

    fn remove<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let path = normal(path);
            self.name_call(true).await?;
            let mut inner = self.disk.lock();
            match inner.image.names.get(&path) {
                Some(Name::File(_)) => {}
                Some(Name::Dir) => return Err(io::ErrorKind::IsADirectory.into()),
                None => return Err(io::ErrorKind::NotFound.into()),
            }
            self.named(&path);
            inner.image.unlink(&path);
            Ok(())
        })
    }

    fn remove_dir<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let path = normal(path);
            self.name_call(true).await?;
            let mut inner = self.disk.lock();
            match inner.image.names.get(&path) {
                Some(Name::Dir) if inner.image.entries(&path).is_empty() => {}
                Some(Name::Dir) => return Err(io::ErrorKind::DirectoryNotEmpty.into()),
                Some(Name::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => return Err(io::ErrorKind::NotFound.into()),
            }
            self.named(&path);
            inner.image.unlink(&path);
            Ok(())
        })
    }

    fn list<'a>(&'a self, dir: &'a Path) -> BoxFuture<'a, io::Result<Vec<DirEntry>>> {
        Box::pin(async move {
            let dir = normal(dir);
            self.name_call(false).await?;
            let inner = self.disk.lock();
            if !inner.image.is_dir(&dir) {
                let exists = inner.image.names.contains_key(&dir);
                let kind = if exists { io::ErrorKind::NotADirectory } else { io::ErrorKind::NotFound };
                return Err(kind.into());
            }
            let entries = inner.image.entries(&dir).into_iter().map(|(name, what)| match what {
                Name::Dir => DirEntry { name: name.to_owned(), len: 0, is_dir: true },
                Name::File(inode) => DirEntry {
                    name: name.to_owned(),
                    len: inner.image.inodes.get(&inode).map_or(0, Inode::len),
                    is_dir: false,
                },
            });
            Ok(entries.collect())
        })
    }

    fn create_dir_all<'a>(&'a self, dir: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let dir = normal(dir);
            self.name_call(true).await?;
            let mut inner = self.disk.lock();
            let ends = dir.match_indices('/').map(|(at, _)| at).chain([dir.len()]);
            for end in ends.filter(|end| *end > 0) {
                let Some(path) = dir.get(..end) else { continue };
                match inner.image.names.get(path) {
                    Some(Name::Dir) => {}
                    Some(Name::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                    None => {
                        self.named(path);
                        inner.image.create_dir(path);
                    }
                }
            }
            Ok(())
        })
    }

    fn sync_dir<'a>(&'a self, dir: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let dir = normal(dir);
            let n = {
                let mut inner = self.disk.lock();
                inner.stats.dir_syncs += 1;
                inner.stats.dir_syncs
            };
            // The same draw domain as a file's sync, another subject.
            self.take_time("sync.time", n | (1 << 63), 0).await?;
            let mut inner = self.disk.lock();
            if !inner.image.is_dir(&dir) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let image = inner.recorded.is_some().then(|| inner.image.clone());
            if let (Some(recorded), Some(image)) = (&mut inner.recorded, image) {
                recorded.push(image);
            }
            let node = self.life.node;
            if self.disk.draw.chance("dir_sync.error", 0, n, inner.faults.dir_sync_error) {
                drop(inner);
                self.world.bite(node, "disk.dir_sync_error");
                self.world.damage(node, Damage::IoError { what: "sync_dir" });
                return Err(eio());
            }
            if self.disk.draw.chance("dir_sync.lie", 0, n, inner.faults.lying_sync) {
                drop(inner);
                self.world.bite(node, "disk.lying_dir_sync");
                self.world.damage(node, Damage::Lie { path: dir });
                return Ok(());
            }
            let durable = inner.image.sync_dir(&dir);
            drop(inner);
            self.world.event(node, Kind::SyncDir, fnv64(dir.as_bytes()), durable);
            Ok(())
        })
    }

    fn tree<'a>(&'a self, dir: &'a Path) -> BoxFuture<'a, io::Result<Arc<dyn Tree>>> {
        Box::pin(async move { Ok(Arc::new(super::tree::open(self, dir).await?) as Arc<dyn Tree>) })
    }

    fn space<'a>(&'a self, dir: &'a Path) -> BoxFuture<'a, io::Result<Space>> {
        Box::pin(async move {
            self.name_call(false).await?;
            let inner = self.disk.lock();
            if !inner.image.is_dir(&normal(dir)) {
                return Err(io::ErrorKind::NotFound.into());
            }
            Ok(Space { total: inner.faults.capacity, available: inner.room() })
        })
    }

    fn lock<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<Box<dyn DirLock>>> {
        Box::pin(async move {
            let path = normal(path);
            let inode = self.open_inode(&path, Access::Create).await?;
            let file = self.file(inode, Access::Write);
            if !self.disk.lock().locks.insert(path.clone()) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(Box::new(SimLock { file, path }) as Box<dyn DirLock>)
        })
    }

    fn lock_if_there<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<Option<Box<dyn DirLock>>>> {
        Box::pin(async move {
            match self.open(path, Access::Read).await {
                Ok(_) => self.lock(path).await.map(Some),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        })
    }
}

struct SimLock {
    file: SimFile,
    path: String,
}

impl DirLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        if self.file.disk.life.is_alive() {
            self.file.disk.disk.lock().locks.remove(&self.path);
        }
    }
}

struct SimFile {
    disk: SimDisk,
    inode: u64,
    writable: bool,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        // The end of a process closes all its files; a late destructor closes nothing.
        if !self.disk.life.is_alive() {
            return;
        }
        let mut inner = self.disk.disk.lock();
        let Some(file) = inner.image.inodes.get_mut(&self.inode) else { return };
        file.open = file.open.saturating_sub(1);
        if file.open == 0 {
            inner.image.forget_unreachable();
        }
    }
}

impl SimFile {
    fn io_error(&self, bite: &'static str, what: &'static str) -> io::Error {
        self.disk.world.bite(self.disk.life.node, bite);
        self.disk.world.damage(self.disk.life.node, Damage::IoError { what });
        eio()
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        self.disk.alive()?;
        let (draw, node) = (self.disk.disk.draw, self.disk.life.node);
        let mut inner = self.disk.disk.lock();
        inner.stats.reads += 1;
        let (n, faults) = (inner.stats.reads, inner.faults);
        let inode = inner.image.inodes.get(&self.inode).ok_or(io::ErrorKind::NotFound)?;
        if draw.chance("read.error", 0, n, faults.read_error) {
            drop(inner);
            return Err(self.io_error("disk.read_error", "read"));
        }
        let stale = draw.chance("read.stale", 0, n, faults.stale_read);
        let fresh = inode.read(offset, len);
        let shown = if stale { inode.read_platter(offset, len) } else { None };
        if let Some(shown) = shown.filter(|shown| Some(shown) != fresh.as_ref()) {
            let path = inner.image.path_of(self.inode);
            drop(inner);
            self.disk.world.bite(node, "disk.stale_read");
            self.disk.world.damage(node, Damage::Rot { path, offset, len: len as u64 });
            return Ok(Bytes::from(shown));
        }
        drop(inner);
        fresh.map(Bytes::from).ok_or_else(|| self.io_error("disk.unreadable_read", "read"))
    }

    /// Writes, within the room that is left; what fits of a write that does not is written all the same.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.alive()?;
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let (draw, node) = (self.disk.disk.draw, self.disk.life.node);
        let mut inner = self.disk.disk.lock();
        inner.stats.writes += 1;
        inner.stats.bytes_written += data.len() as u64;
        let (n, faults) = (inner.stats.writes, inner.faults);
        if faults.read_only {
            drop(inner);
            return Err(self.disk.read_only());
        }
        let image = inner.image.inodes.get(&self.inode).ok_or(io::ErrorKind::NotFound)?;
        let end = offset.checked_add(data.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        let grows = end.saturating_sub(image.len());
        let lacking = if grows == 0 { 0 } else { grows.saturating_sub(inner.room()) };
        let fits = data.len().saturating_sub(usize::try_from(lacking).unwrap_or(usize::MAX));
        let Some(inode) = inner.image.inodes.get_mut(&self.inode) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let lost = draw.chance("write.lost", 0, n, faults.lost_write);
        let misdirected = draw.chance("write.misdirected", 0, n, faults.misdirected_write);
        let astray =
            offset.checked_add(super::inode::PAGE as u64).filter(|at| at + fits as u64 <= inode.len());
        if fits == 0 {
            // Nothing fits: not even a longer file of zeros.
        } else if lost {
            // The file grows as it should; the data never comes.
            inode.set_len(inode.len().max(offset + fits as u64));
        } else if let (true, Some(astray)) = (misdirected, astray) {
            inode.write(astray, &data[..fits]);
        } else {
            inode.write(offset, &data[..fits]);
        }
        let wrote_back = draw.chance("write.back", 0, n, faults.early_write_back)
            && inode.write_back_one(draw.at("write.back.page", 0, n));
        let silent = lost || (misdirected && astray.is_some());
        let path = silent.then(|| inner.image.path_of(self.inode));
        drop(inner);
        if let Some(path) = path {
            self.disk.world.damage(node, Damage::Rot { path, offset, len: data.len() as u64 });
            self.disk.world.bite(node, if lost { "disk.lost_write" } else { "disk.misdirected_write" });
        }
        if wrote_back {
            self.disk.world.bite(node, "disk.early_write_back");
        }
        let figures = ((data.len() as u64) << 32) | u64::from(crc32fast::hash(data));
        self.disk.world.event(node, Kind::Write, self.inode, figures);
        if lacking > 0 {
            self.disk.world.bite(node, "disk.full");
            if fits > 0 {
                self.disk.world.bite(node, "disk.full_mid_record");
            }
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    async fn sync_range(&self, offset: u64, len: u64) -> io::Result<()> {
        self.disk.alive()?;
        let (world, draw, node) = (&self.disk.world, self.disk.disk.draw, self.disk.life.node);
        let (n, capture) = {
            let mut inner = self.disk.disk.lock();
            inner.stats.syncs += 1;
            let inode = inner.image.inodes.get(&self.inode).ok_or(io::ErrorKind::NotFound)?;
            (inner.stats.syncs, inode.capture(offset, len))
        };
        self.disk.take_time("sync.time", n, 0).await?;
        let mut inner = self.disk.disk.lock();
        let image = inner.recorded.is_some().then(|| inner.image.clone());
        if let (Some(recorded), Some(image)) = (&mut inner.recorded, image) {
            recorded.push(image);
        }
        let faults = inner.faults;
        let fails = inner.sync_is_broken || draw.chance("sync.error", 0, n, faults.sync_error);
        inner.sync_is_broken = fails && faults.sync_error_sticks;
        let lies = !fails && draw.chance("sync.lie", 0, n, faults.lying_sync);
        let path = if fails || lies { inner.image.path_of(self.inode) } else { String::new() };
        let inode = inner.image.inodes.get_mut(&self.inode).ok_or(io::ErrorKind::NotFound)?;
        if fails {
            let pages = inode.dropped(&capture);
            drop(inner);
            world.event(node, Kind::SyncFailed, self.inode, pages);
            world.damage(node, Damage::SyncFailed { path, pages });
            world.bite(node, "disk.sync_error");
            return Err(eio());
        }
        if lies {
            let pages = inode.lied(&capture);
            drop(inner);
            if pages > 0 {
                world.damage(node, Damage::Lie { path });
                world.bite(node, "disk.lying_sync");
            }
            return Ok(());
        }
        let pages = inode.synced(capture);
        drop(inner);
        world.event(node, Kind::Sync, self.inode, pages);
        Ok(())
    }

    /// Counts a call and takes its time; says which call of its kind it is.
    async fn call(&self, purpose: &'static str, bytes: usize) -> io::Result<u64> {
        let n = {
            let mut inner = self.disk.disk.lock();
            inner.stats.opens += 1;
            inner.stats.opens
        };
        self.disk.take_time(purpose, n, bytes as u64).await?;
        Ok(n)
    }
}

impl File for SimFile {
    fn len(&self) -> BoxFuture<'_, io::Result<u64>> {
        Box::pin(async move {
            self.disk.alive()?;
            let inner = self.disk.disk.lock();
            let len = inner.image.inodes.get(&self.inode).map(Inode::len);
            len.ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }

    fn read_at(&self, offset: u64, len: usize) -> BoxFuture<'_, io::Result<Bytes>> {
        Box::pin(async move {
            self.call("read.time", len).await?;
            self.read(offset, len)
        })
    }

    fn write_at(&self, offset: u64, data: Bytes) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let n = self.call("write.time", data.len()).await?;
            let rate = self.disk.disk.lock().faults.write_error;
            if self.disk.disk.draw.chance("write.error", 0, n, rate) {
                return Err(self.io_error("disk.write_error", "write"));
            }
            self.write(offset, &data)
        })
    }

    fn set_len(&self, len: u64) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            self.call("write.time", 0).await?;
            if !self.writable {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            let mut inner = self.disk.disk.lock();
            if inner.faults.read_only {
                drop(inner);
                return Err(self.disk.read_only());
            }
            let room = inner.room();
            let inode = inner.image.inodes.get_mut(&self.inode).ok_or(io::ErrorKind::NotFound)?;
            if len.saturating_sub(inode.len()) > room {
                drop(inner);
                self.disk.world.bite(self.disk.life.node, "disk.full");
                return Err(io::ErrorKind::StorageFull.into());
            }
            inode.set_len(len);
            Ok(())
        })
    }

    fn sync(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.sync_range(0, u64::MAX))
    }
}

struct SimSegment {
    file: SimFile,
    len: u64,
}

impl SimSegment {
    fn check(&self, offset: u64, len: u64) -> io::Result<()> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => Ok(()),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

impl Segment for SimSegment {
    fn len(&self) -> u64 {
        self.len
    }

    fn fill(&self, offset: u64, len: usize, fill: &mut dyn FnMut(&mut [u8])) -> io::Result<()> {
        self.check(offset, len as u64)?;
        if !self.file.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut scratch = vec![POISON; len];
        fill(&mut scratch);
        self.file.write(offset, &scratch)
    }

    fn slice(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        self.check(offset, len as u64)?;
        self.file.read(offset, len)
    }

    fn sync(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            self.check(offset, len)?;
            self.file.sync_range(offset, len).await
        })
    }
}

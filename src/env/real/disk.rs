//! Directories of the machine's file system. Each error names the operation and the path.

#![expect(clippy::disallowed_methods, reason = "the one place that touches the file system")]

use std::fs;
use std::io;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FlockOperation;

use super::file::RealFile;
use super::segment::RealSegment;
use super::tree::RealTree;
use super::{blocking, named};
use crate::env::{Access, BoxFuture, DirEntry, DirLock, Disk, File, Segment, Space, Tree};

pub(super) struct RealDisk;

/// Holds the lock for as long as the file is open.
struct RealLock {
    _file: fs::File,
}

impl DirLock for RealLock {}

impl Disk for RealDisk {
    fn open<'a>(&'a self, path: &'a Path, access: Access) -> BoxFuture<'a, io::Result<Arc<dyn File>>> {
        on(path, "open", move |path| Ok(Arc::new(RealFile::open(path, access)?) as Arc<dyn File>))
    }

    fn map<'a>(
        &'a self,
        path: &'a Path,
        len: u64,
        access: Access,
    ) -> BoxFuture<'a, io::Result<Arc<dyn Segment>>> {
        on(path, "map", move |path| Ok(Arc::new(RealSegment::open(path, len, access)?) as Arc<dyn Segment>))
    }

    fn rename<'a>(&'a self, from: &'a Path, to: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        let target = to.to_owned();
        on(from, "rename", move |from| fs::rename(from, &target).map_err(named("to", target.display())))
    }

    fn remove<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        on(path, "remove", |path| fs::remove_file(path))
    }

    fn remove_dir<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        on(path, "remove directory", |path| fs::remove_dir(path))
    }

    fn list<'a>(&'a self, dir: &'a Path) -> BoxFuture<'a, io::Result<Vec<DirEntry>>> {
        on(dir, "list", list)
    }

    fn create_dir_all<'a>(&'a self, dir: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        on(dir, "create directory", |dir| fs::create_dir_all(dir))
    }

    fn sync_dir<'a>(&'a self, dir: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        on(dir, "sync directory", |dir| fs::File::open(dir)?.sync_all())
    }

    fn tree<'a>(&'a self, dir: &'a Path) -> BoxFuture<'a, io::Result<Arc<dyn Tree>>> {
        on(dir, "open directory", |dir| Ok(Arc::new(RealTree::open(dir)?) as Arc<dyn Tree>))
    }

    fn space<'a>(&'a self, dir: &'a Path) -> BoxFuture<'a, io::Result<Space>> {
        on(dir, "ask for the space of", |dir| {
            let stat = rustix::fs::statvfs(dir)?;
            Ok(space(stat.f_frsize, stat.f_blocks, stat.f_bfree, stat.f_bavail))
        })
    }

    fn lock<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<Box<dyn DirLock>>> {
        on(path, "lock", lock)
    }

    fn lock_if_there<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<Option<Box<dyn DirLock>>>> {
        on(path, "lock", |path| {
            let file = match fs::File::open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            // A file that cannot be written can be locked in this way only.
            hold(&file, FlockOperation::NonBlockingLockShared)?;
            Ok(Some(Box::new(RealLock { _file: file }) as Box<dyn DirLock>))
        })
    }
}

/// Runs `call` on the blocking pool and names `path` in its error.
fn on<'a, T: Send + 'static>(
    path: &'a Path,
    operation: &'static str,
    call: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> BoxFuture<'a, io::Result<T>> {
    let owned: PathBuf = path.to_owned();
    Box::pin(async move {
        blocking(move || call(&owned)).await.map_err(|error| named(operation, path.display())(error))
    })
}

fn list(dir: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let stat = match fs::metadata(entry.path()) {
            Ok(stat) => stat,
            // Removed between the listing and the question, or a link to nowhere: not there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let len = if stat.is_dir() { 0 } else { stat.len() };
        let name = entry.file_name().to_string_lossy().into_owned();
        entries.push(DirEntry { name, len, is_dir: stat.is_dir() });
    }
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// The holder's process id stands in the file, so that the one who comes too late can say who was first.
fn lock(path: &Path) -> io::Result<Box<dyn DirLock>> {
    let mut file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    hold(&file, FlockOperation::NonBlockingLockExclusive)?;
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())?;
    Ok(Box::new(RealLock { _file: file }))
}

/// Locks an open file, or says which process has.
fn hold(file: &fs::File, javas: FlockOperation) -> io::Result<()> {
    match lock_both(file, javas) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::ACCESS) => {
            let mut holder = String::new();
            let read = file.take(20).read_to_string(&mut holder);
            let cause = match holder.trim() {
                pid if read.is_ok() && pid.parse::<u32>().is_ok() => format!("held by process {pid}"),
                _ => "held by another process".to_owned(),
            };
            Err(io::Error::new(io::ErrorKind::WouldBlock, cause))
        }
        Err(error) => Err(error.into()),
    }
}

/// The second lock is Java's kind: a broker of Apache RocketMQ on the same directory holds it, and does not see the first.
fn lock_both(file: &fs::File, javas: FlockOperation) -> rustix::io::Result<()> {
    rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)?;
    rustix::fs::fcntl_lock(file, javas)
}

/// As `df` reckons: blocks that are free but not for us are no part of the whole. A file system in a container's quota may
/// have most of its blocks in neither.
fn space(block: u64, blocks: u64, free: u64, available: u64) -> Space {
    let used = blocks.saturating_sub(free);
    Space {
        total: used.saturating_add(available).saturating_mul(block),
        available: available.saturating_mul(block),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_that_we_may_never_use_are_not_in_use() {
        let quota = space(4_096, 1_000, 900, 300);
        assert_eq!(quota, Space { total: 400 * 4_096, available: 300 * 4_096 });
    }
}

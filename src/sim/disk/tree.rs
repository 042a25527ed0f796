//! Many small writes below one directory, and one sync for all of them.
//!
//! The sync makes durable what is below the directory and nothing else, although a real one may do more.

use std::io;
use std::path::Path;

use bytes::Bytes;

use super::handle::SimDisk;
use super::handle::eio;
use super::handle::normal;
use super::handle::parent_exists;
use super::image::DiskImage;
use super::image::Name;
use super::inode::Capture;
use crate::base::fnv64;
use crate::env::Access;
use crate::env::BoxFuture;
use crate::env::Disk as _;
use crate::env::Piece;
use crate::env::Tree;
use crate::sim::ledger::Damage;
use crate::sim::trace::Kind;

pub(super) struct SimTree {
    disk: SimDisk,
    dir: String,
}

impl SimTree {
    pub(super) fn new(disk: SimDisk, dir: String) -> SimTree {
        SimTree { disk, dir }
    }

    async fn write_piece(&self, piece: &Piece) -> io::Result<()> {
        let file = match self.disk.open(&piece.path, Access::Write).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.disk.create_dir_all(piece.path.parent().unwrap_or(Path::new(""))).await?;
                self.disk.open(&piece.path, Access::Create).await?
            }
            opened => opened?,
        };
        if file.len().await? < piece.len {
            file.set_len(piece.len).await?;
        }
        file.write_at(piece.offset, Bytes::clone(&piece.data)).await
    }

    fn capture(&self, image: &DiskImage) -> Vec<(u64, Capture)> {
        let files = image.names.iter().filter_map(|(path, name)| match name {
            Name::File(inode) if is_below(path, &self.dir) => Some(*inode),
            _ => None,
        });
        files.filter_map(|id| Some((id, image.inodes.get(&id)?.capture(0, u64::MAX)))).collect()
    }

    async fn sync_all(&self) -> io::Result<()> {
        let disk = &self.disk;
        let (n, captured) = {
            let mut inner = disk.disk.lock();
            inner.stats.syncs += 1;
            (inner.stats.syncs, self.capture(&inner.image))
        };
        disk.take_time("sync.time", n, 0).await?;
        let mut inner = disk.disk.lock();
        let image = inner.recorded.is_some().then(|| inner.image.clone());
        if let (Some(recorded), Some(image)) = (&mut inner.recorded, image) {
            recorded.push(image);
        }
        let (draw, node, faults) = (disk.disk.draw, disk.life.node, inner.faults);
        let fails = inner.sync_is_broken || draw.chance("sync.error", 0, n, faults.sync_error);
        inner.sync_is_broken = fails && faults.sync_error_sticks;
        let lies = !fails && draw.chance("sync.lie", 0, n, faults.lying_sync);
        let mut pages = 0;
        for (id, capture) in captured {
            let Some(inode) = inner.image.inodes.get_mut(&id) else { continue };
            pages += match (fails, lies) {
                (true, _) => inode.dropped(&capture),
                (_, true) => inode.lied(&capture),
                _ => inode.synced(capture),
            };
        }
        let path = self.dir.clone();
        if fails {
            drop(inner);
            disk.world.event(node, Kind::SyncFailed, fnv64(path.as_bytes()), pages);
            disk.world.damage(node, Damage::SyncFailed { path, pages });
            disk.world.bite(node, "disk.sync_error");
            return Err(eio());
        }
        if lies {
            drop(inner);
            disk.world.damage(node, Damage::Lie { path });
            disk.world.bite(node, "disk.lying_sync");
            return Ok(());
        }
        let below = inner.image.names.iter();
        let below = below.filter(|(path, name)| **name == Name::Dir && is_below(path, &self.dir));
        let dirs: Vec<String> = below.map(|(path, _)| path.clone()).collect();
        for dir in dirs.iter().chain([&self.dir]) {
            inner.image.sync_dir(dir);
        }
        drop(inner);
        disk.world.event(node, Kind::Sync, fnv64(path.as_bytes()), pages);
        Ok(())
    }
}

fn is_below(path: &str, dir: &str) -> bool {
    dir.is_empty() || path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'))
}

impl Tree for SimTree {
    fn write(&self, pieces: Vec<Piece>) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            for piece in &pieces {
                self.write_piece(piece).await?;
            }
            Ok(())
        })
    }

    fn sync(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.sync_all())
    }
}

/// The handle on a directory that must exist.
pub(super) async fn open(disk: &SimDisk, dir: &Path) -> io::Result<SimTree> {
    let dir = normal(dir);
    disk.name_call(false).await?;
    {
        let inner = disk.disk.lock();
        parent_exists(&inner, &format!("{dir}/x"))?;
    }
    Ok(SimTree::new(disk.clone(), dir))
}

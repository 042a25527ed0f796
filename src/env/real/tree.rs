//! Many small writes below one directory, and one sync for all of them.
//!
//! `syncfs`, not an `fsync` for each file: 40,000 new files cost minutes one by one. It answers an error that write-back
//! met since the directory was opened here (Linux 5.8), which is why the directory stays open.

#![expect(clippy::disallowed_methods, reason = "the one place that touches the file system")]

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::open;
use super::{blocking, named};
use crate::env::{Access, BoxFuture, Piece, Tree};

pub(super) struct RealTree {
    dir: Arc<fs::File>,
    path: Arc<PathBuf>,
}

impl RealTree {
    pub(super) fn open(path: &Path) -> io::Result<RealTree> {
        Ok(RealTree { dir: Arc::new(fs::File::open(path)?), path: Arc::new(path.to_owned()) })
    }
}

impl Tree for RealTree {
    fn write(&self, pieces: Vec<Piece>) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(blocking(move || {
            pieces.iter().try_for_each(|piece| write(piece).map_err(named("write", piece.path.display())))
        }))
    }

    fn sync(&self) -> BoxFuture<'_, io::Result<()>> {
        let (dir, path) = (Arc::clone(&self.dir), Arc::clone(&self.path));
        Box::pin(blocking(move || {
            rustix::fs::syncfs(&*dir).map_err(io::Error::from).map_err(named("sync", path.display()))
        }))
    }
}

fn write(piece: &Piece) -> io::Result<()> {
    let file = match open(&piece.path, Access::Write) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(piece)?,
        opened => opened?,
    };
    if file.metadata()?.len() < piece.len {
        file.set_len(piece.len)?;
    }
    file.write_all_at(&piece.data, piece.offset)
}

fn create(piece: &Piece) -> io::Result<fs::File> {
    if let Some(dir) = piece.path.parent() {
        fs::create_dir_all(dir)?;
    }
    open(&piece.path, Access::Create)
}

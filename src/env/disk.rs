//! Files and mapped segments of one node.
//!
//! What survives: a process that dies loses nothing that a call had returned from. A machine that loses power may lose
//! everything that was not synced, page by page in any order, and may also have kept it. A created, renamed or removed
//! name survives only once its directory was synced.
//!
//! Every call answers an error; nothing ends in SIGBUS: [`Disk::map`] reserves its blocks before it maps them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::BoxFuture;

pub trait Disk: Send + Sync {
    fn open<'a>(&'a self, path: &'a Path, access: Access) -> BoxFuture<'a, io::Result<Arc<dyn File>>>;

    /// Opens or creates (zero-filled) a segment of exactly `len` bytes. A full disk is refused here, with
    /// `StorageFull`. A file that is shorter is extended with zeros; one that is longer is refused with `InvalidData`.
    fn map<'a>(
        &'a self,
        path: &'a Path,
        len: u64,
        access: Access,
    ) -> BoxFuture<'a, io::Result<Arc<dyn Segment>>>;

    /// Replaces `to` if it exists.
    fn rename<'a>(&'a self, from: &'a Path, to: &'a Path) -> BoxFuture<'a, io::Result<()>>;

    fn remove<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<()>>;

    /// Removes an empty directory.
    fn remove_dir<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<()>>;

    /// Entries sorted by name. `NotFound` when there is no such directory.
    fn list<'a>(&'a self, dir: &'a Path) -> BoxFuture<'a, io::Result<Vec<DirEntry>>>;

    fn create_dir_all<'a>(&'a self, dir: &'a Path) -> BoxFuture<'a, io::Result<()>>;

    /// Makes the names created, renamed and removed in `dir` durable.
    fn sync_dir<'a>(&'a self, dir: &'a Path) -> BoxFuture<'a, io::Result<()>>;

    /// Opens `dir` for many small writes below it. Errors of the disk are counted from here on, so it is opened before
    /// what it shall sync is written.
    fn tree<'a>(&'a self, dir: &'a Path) -> BoxFuture<'a, io::Result<Arc<dyn Tree>>>;

    fn space<'a>(&'a self, dir: &'a Path) -> BoxFuture<'a, io::Result<Space>>;

    /// Takes the exclusive lock file at `path`, created if missing. `WouldBlock` when another process holds it. Released
    /// when dropped and when the process ends, however it ends.
    fn lock<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<Box<dyn DirLock>>>;

    /// As [`Disk::lock`], for one who must not write: `None` when there is no such file, so that nobody can hold it.
    fn lock_if_there<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<Option<Box<dyn DirLock>>>>;
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `NotFound` if missing; every write is refused.
    Read,
    /// `NotFound` if missing.
    Write,
    /// Created empty if missing.
    Create,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    pub name: String,
    /// Bytes; 0 for a directory.
    pub len: u64,
    pub is_dir: bool,
}

/// Bytes of the file system that holds a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What is in use and what is available.
    pub total: u64,
    /// What an unprivileged process may still write.
    pub available: u64,
}

pub trait DirLock: Send + Sync {}

/// A directory with very many files, of each of which little is written: one call for many writes, one for all syncs.
pub trait Tree: Send + Sync {
    /// Writes every piece, in order; nothing of it is durable. After an error some of them are written.
    fn write(&self, pieces: Vec<Piece>) -> BoxFuture<'_, io::Result<()>>;

    /// Everything in the directory, names and all, that was written before the call is durable when it returns `Ok`.
    /// Other files of the same file system may become so too. Errors as [`File::sync`].
    fn sync(&self) -> BoxFuture<'_, io::Result<()>>;
}

/// A write to one file of a [`Tree`].
#[derive(Clone, Debug)]
pub struct Piece {
    /// The file; created with its directories if missing.
    pub path: PathBuf,
    /// The length that a missing or shorter file gets: a hole as far as nothing is written.
    pub len: u64,
    pub offset: u64,
    pub data: Bytes,
}

/// A plain file, read and written by position. Several operations may be under way at once.
#[expect(clippy::len_without_is_empty, reason = "asking for a length is an operation that can fail")]
pub trait File: Send + Sync {
    fn len(&self) -> BoxFuture<'_, io::Result<u64>>;
    /// Fewer than `len` bytes only at the end of the file.
    fn read_at(&self, offset: u64, len: usize) -> BoxFuture<'_, io::Result<Bytes>>;
    /// All of `data`, or an error. Extends the file with zeros as needed.
    fn write_at(&self, offset: u64, data: Bytes) -> BoxFuture<'_, io::Result<()>>;
    fn set_len(&self, len: u64) -> BoxFuture<'_, io::Result<()>>;
    /// Data and length are durable when it returns `Ok`. After an error nothing is known about what was written since
    /// the last success, not even if a later call returns `Ok`.
    fn sync(&self) -> BoxFuture<'_, io::Result<()>>;
}

/// A file of fixed length, written by one appender and read by everybody through a mapping.
///
/// Contract, which makes zero-copy reads sound: a byte range that [`Segment::slice`] handed out is never written again.
/// The store reads only below its published end and writes only above it.
pub trait Segment: Send + Sync {
    fn len(&self) -> u64;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets `fill` make all of `offset..offset + len` ready and writes it: one system call for all of a unit. Readable at
    /// once, durable after [`Segment::sync`] or whenever the kernel likes, page by page in any order. `fill` must write
    /// every byte of its room, which holds anything before. An error leaves any part of it written.
    fn fill(&self, offset: u64, len: usize, fill: &mut dyn FnMut(&mut [u8])) -> io::Result<()>;

    /// A view of the mapping in production, a copy in simulation. It keeps the mapping alive.
    fn slice(&self, offset: u64, len: usize) -> io::Result<Bytes>;

    /// Makes `offset..offset + len` durable. Errors as [`File::sync`].
    fn sync(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<()>>;
}

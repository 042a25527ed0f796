//! One error per operation of the store.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use crate::base::PhysicalOffset;
use crate::base::QueueOffset;
use crate::protocol::record::EncodeError;

/// The first failed write or sync. Nothing is known about the disk from then on, so nothing is stored from then on.
#[derive(Debug, Error)]
#[error("the store stopped taking messages: {action} {} failed: {error}", .path.display())]
pub struct LatchCause {
    /// What was being done: `"write"`, `"sync"` …
    pub action: &'static str,
    pub path: PathBuf,
    pub error: io::Error,
}

/// The file system is fuller than its operator lets it become.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "the disk is full: {used_percent} % of the file system of {} is used and messages are taken up to {limit_percent} % \
     (diskSpaceWarningLevelRatio); free space there, or keep less (fileReservedTime)",
    .dir.display()
)]
pub struct OverMark {
    pub dir: PathBuf,
    /// Rounded down.
    pub used_percent: u8,
    pub limit_percent: u8,
}

/// Why a store does not open. Nothing on disk was changed, except where recovery had begun; it starts over next time.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The lock's error names the process that holds it.
    #[error("the store in {} is in use: {error}", .root.display())]
    Locked { root: PathBuf, error: io::Error },
    #[error("cannot {action} {}: {error}", .path.display())]
    Io { action: &'static str, path: PathBuf, error: io::Error },
    #[error("no space left for {}", .path.display())]
    DiskFull { path: PathBuf },
    #[error("{} has {is} bytes; the store was asked for segments of {asked}", .path.display())]
    SegmentSize { path: PathBuf, is: u64, asked: u64 },
    #[error("{} has {is} bytes; the store was asked for queue files of {asked} (mappedFileSizeConsumeQueue)", .path.display())]
    QueueFileSize { path: PathBuf, is: u64, asked: u64 },
    #[error("the commit log in {} has a hole: there is no segment at {at}", .dir.display())]
    Hole { dir: PathBuf, at: PhysicalOffset },
    #[error("the checkpoint in {} is at {checkpoint}, the commit log ends at {end}", .root.display())]
    LogMissing { root: PathBuf, checkpoint: PhysicalOffset, end: PhysicalOffset },
    #[error("bad setting: {0}")]
    Config(&'static str),
}

/// Why nothing of a unit was stored.
#[derive(Clone, Debug, Error)]
pub enum AppendError {
    /// The log cannot take it right now: a segment or a checkpoint is under way. Await
    /// [`super::Store::writable`] and try again.
    #[error("the log is making room")]
    NotReady,
    /// Messages are taken again once there is space; reads go on.
    #[error("the disk is full: no space left for {}", .0.display())]
    DiskFull(Arc<PathBuf>),
    /// As [`AppendError::DiskFull`], before it is.
    #[error(transparent)]
    OverMark(Arc<OverMark>),
    #[error(transparent)]
    Latched(Arc<LatchCause>),
    #[error("the store is closed")]
    Closed,
    #[error("record {index} of the unit cannot be stored: {error}")]
    Record { index: usize, error: EncodeError },
    #[error("record {index} of the unit takes {bytes} bytes; a segment holds {max}")]
    RecordTooLarge { index: usize, bytes: u64, max: u64 },
    /// Split it: see [`super::Config::unit_bytes_max`].
    #[error("the unit takes {bytes} bytes; at most {max} go in one")]
    UnitTooLarge { bytes: u64, max: u64 },
}

/// Why durability was not reached, or not yet.
#[derive(Clone, Debug, Error)]
pub enum FlushError {
    /// Stored, and perhaps durable later (FLUSH_DISK_TIMEOUT).
    #[error("not on stable storage after {0} ms")]
    Timeout(u64),
    #[error(transparent)]
    Latched(Arc<LatchCause>),
    #[error("the store is closed")]
    Closed,
}

/// Why a read has no answer.
#[derive(Debug, Error)]
pub enum ReadError {
    #[error("cannot read {}: {error}", .path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("the queue file {} is damaged at offset {at}", .path.display())]
    QueueDamaged { path: PathBuf, at: QueueOffset },
}

impl OpenError {
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> OpenError {
        let path = path.into();
        move |error| {
            if error.kind() == io::ErrorKind::StorageFull {
                OpenError::DiskFull { path }
            } else {
                OpenError::Io { action, path, error }
            }
        }
    }
}

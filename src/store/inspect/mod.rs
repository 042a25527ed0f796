//! A store that no process runs, looked at without changing a byte, and mended where asked: what `staticfire store` is
//! made of.
//!
//! ```text
//! ClosedStore ── check ──▶ Report: what is there, what is damaged, what a start would do
//!     ├───────── records ▶ each record of the log, damage between them named
//!     ├───────── units ──▶ each unit of a queue's files
//!     └───────── repair ─▶ the only one that writes
//! ```
//!
//! The files are a stranger's: every number is checked before it is used, nothing is believed for its name, and what is
//! held in memory is bounded by [`RECORD_BYTES_MAX`] and by the number of queues. The sizes of segments and queue files
//! stand nowhere in a store, so they are found by the files, or told.
//!
//! Not here: opening a store (`recover`), words on a terminal.

mod check;
mod journal_check;
mod log_check;
mod queue_check;
mod records;
mod repair;
#[cfg(test)]
mod repair_tests;
mod report;
#[cfg(test)]
mod tests;
mod unit_blocks;
mod units;

use std::io;
use std::path::Path;
use std::path::PathBuf;

pub use records::Records;
pub use records::Seen;
pub use repair::Repair;
pub use repair::RepairError;
pub use report::Damage;
pub use report::Finding;
pub use report::Report;
use thiserror::Error;
pub use units::UnitSeen;

use super::OpenError;
use super::checkpoint::Checkpoint;
use super::checkpoint::Found;
use super::config::Config;
use super::layout::Layout;
use super::layout::is_plain_name;
use super::layout::number_of;
use super::scan::LogFiles;
use super::unit::UNIT_BYTES;
use crate::env::Access;
use crate::env::DirEntry;
use crate::env::DirLock;
use crate::env::Env;

/// A record of more bytes is taken for a damaged one. RocketMQ's default is 4 MiB of body, ours at most 8.
pub const RECORD_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Sizes of a store's files; `None` lets them be found by the files themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of a segment (`mappedFileSizeCommitLog`).
    pub segment_bytes: Option<u64>,
    /// Bytes of a queue file (`mappedFileSizeConsumeQueue`).
    pub queue_file_bytes: Option<u64>,
}

/// How far a long work has come, in bytes of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub doing: &'static str,
    pub done: u64,
    pub all: u64,
}

/// Why a store cannot be looked at.
#[derive(Debug, Error)]
pub enum InspectError {
    #[error("there is no store in {}: it has no directory `commitlog`", .root.display())]
    NoStore { root: PathBuf },
    #[error("{name} cannot be {is} bytes: {why}")]
    Size { name: &'static str, is: u64, why: &'static str },
    #[error("the position {at} is not in the log, which has {first} to {end}")]
    NoSuchPosition { at: u64, first: u64, end: u64 },
    #[error("{why}")]
    NotMendable { why: String },
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// A store that no process runs, and that none can start to run while this value lives.
pub struct ClosedStore {
    env: Env,
    config: Config,
    layout: Layout,
    /// The log's files, ascending by start.
    segments: Vec<SegmentFile>,
    starts: Vec<u64>,
    /// Files of `commitlog` that are no segments.
    strange: Vec<DirEntry>,
    found: Found,
    /// The last process shut it down.
    clean: bool,
    _lock: Option<Box<dyn DirLock>>,
}

#[derive(Clone, Copy, Debug)]
struct SegmentFile {
    start: u64,
    len: u64,
}

/// A queue that has a directory.
#[derive(Clone, Debug)]
struct QueueDir {
    topic: String,
    id: u32,
    /// First offsets of its files, ascending.
    files: Vec<u64>,
    /// Of all its files.
    bytes: u64,
}

impl ClosedStore {
    /// Takes the directory's lock if there is one to take, and finds the files.
    ///
    /// # Errors
    /// `OpenError::Locked` while a process runs the store; no store, a size that cannot be, a file that cannot be read.
    pub async fn open(env: &Env, root: &Path, sizes: Sizes) -> Result<ClosedStore, InspectError> {
        let mut config = Config::new(root);
        let lock_path = Layout::new(&config).lock();
        let lock = match env.disk.lock_if_there(&lock_path).await {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(OpenError::Locked { root: root.to_path_buf(), error }.into());
            }
            Err(error) => return Err(OpenError::io("lock", &lock_path)(error).into()),
        };
        let commit_log = Layout::new(&config).commit_log;
        let entries = match env.disk.list(&commit_log).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(InspectError::NoStore { root: root.to_path_buf() });
            }
            Err(error) => return Err(OpenError::io("list", &commit_log)(error).into()),
        };
        let (segments, strange) = segment_files(entries);
        config.segment_bytes = segment_bytes(sizes, &segments)?;
        config.queue_file_units = queue_file_units(env, sizes, &Layout::new(&config)).await?;
        let layout = Layout::new(&config);
        let path = layout.checkpoint();
        let found = Checkpoint::load(env, &layout).await.map_err(OpenError::io("read", &path))?;
        let abort = layout.abort();
        let clean = match env.disk.open(&abort, Access::Read).await {
            Ok(_) => false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(OpenError::io("open", &abort)(error).into()),
        };
        let starts = segments.iter().map(|file| file.start).collect();
        Ok(ClosedStore {
            env: env.clone(),
            config,
            layout,
            segments,
            starts,
            strange,
            found,
            clean,
            _lock: lock,
        })
    }

    /// Reads everything and says what is there. `watch` is told how far it is.
    ///
    /// # Errors
    /// A file that the system does not let be read.
    pub async fn check(&self, watch: &mut dyn FnMut(Progress)) -> Result<Report, InspectError> {
        check::Check::new(self, watch).run().await
    }

    /// The settings that the sizes found stand for.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where the oldest segment starts.
    pub fn first(&self) -> u64 {
        self.starts.first().copied().unwrap_or(0)
    }

    fn log_files(&self) -> LogFiles<'_> {
        LogFiles {
            env: &self.env,
            layout: &self.layout,
            segment_bytes: self.config.segment_bytes,
            segments: &self.starts,
            record_bytes_max: RECORD_BYTES_MAX,
        }
    }

    /// The start of the first segment behind `at`.
    fn segment_behind(&self, at: u64) -> Option<u64> {
        self.starts.get(self.starts.partition_point(|start| *start <= at)).copied()
    }

    /// All queues with a directory, by topic and id. Names that name no queue are left out.
    async fn queue_dirs(&self) -> Result<Vec<QueueDir>, OpenError> {
        queue_dirs(&self.env, &self.layout, u64::from(self.config.queue_file_units)).await
    }
}

fn segment_files(entries: Vec<DirEntry>) -> (Vec<SegmentFile>, Vec<DirEntry>) {
    let mut segments = Vec::new();
    let mut strange = Vec::new();
    for entry in entries {
        match number_of(&entry.name) {
            Some(start) if !entry.is_dir => segments.push(SegmentFile { start, len: entry.len }),
            _ => strange.push(entry),
        }
    }
    segments.sort_unstable_by_key(|file| file.start);
    (segments, strange)
}

/// What was told; else the least distance between two segments, or the length of the only one.
fn segment_bytes(sizes: Sizes, segments: &[SegmentFile]) -> Result<u64, InspectError> {
    let possible = |bytes: &u64| (4096..=1 << 31).contains(bytes);
    if let Some(is) = sizes.segment_bytes {
        let why = "4 KiB to 2 GiB is possible";
        return possible(&is).then_some(is).ok_or(InspectError::Size { name: "a segment", is, why });
    }
    let apart = segments.windows(2).filter_map(|pair| match pair {
        [a, b] => Some(b.start - a.start),
        _ => None,
    });
    let longest = segments.iter().map(|file| file.len).max();
    let found = apart.clone().chain(longest).min().filter(possible);
    // A file that is too short to be a segment was cut. Any length lets what is left be read.
    Ok(found.or_else(|| apart.filter(possible).min()).unwrap_or(1 << 30))
}

/// What was told; else the length of the longest queue file.
async fn queue_file_units(env: &Env, sizes: Sizes, layout: &Layout) -> Result<u32, InspectError> {
    const NAME: &str = "a queue file";
    let unit = UNIT_BYTES as u64;
    let fits = |bytes: u64| bytes >= unit && bytes.is_multiple_of(unit) && bytes <= i32::MAX as u64;
    if let Some(is) = sizes.queue_file_bytes {
        let why = "a multiple of 20, to 2 GiB, is possible";
        let units = fits(is).then(|| u32::try_from(is / unit).ok()).flatten();
        return units.ok_or(InspectError::Size { name: NAME, is, why });
    }
    let mut longest = None;
    for topic in dirs_in(env, &layout.consume_queue).await? {
        for queue in dirs_in(env, &layout.topic_dir(&topic)).await? {
            let dir = layout.topic_dir(&topic).join(&queue);
            let entries = list_or_nothing(env, &dir).await?;
            let named = entries.iter().filter(|entry| !entry.is_dir && number_of(&entry.name).is_some());
            longest = longest.max(named.map(|entry| entry.len).filter(|len| fits(*len)).max());
        }
    }
    let units = longest.and_then(|bytes| u32::try_from(bytes / unit).ok());
    Ok(units.unwrap_or(300_000))
}

async fn queue_dirs(env: &Env, layout: &Layout, file_units: u64) -> Result<Vec<QueueDir>, OpenError> {
    let mut queues = Vec::new();
    for topic in dirs_in(env, &layout.consume_queue).await? {
        for name in dirs_in(env, &layout.topic_dir(&topic)).await? {
            let Some(id) = name.parse::<u32>().ok().filter(|id| id.to_string() == name) else { continue };
            let entries = list_or_nothing(env, &layout.queue_dir(&topic, id)).await?;
            let files = entries.iter().filter(|entry| !entry.is_dir);
            let starts = files.clone().filter_map(|entry| number_of(&entry.name));
            let mut starts: Vec<u64> = starts
                .filter(|start| start.is_multiple_of(file_units * UNIT_BYTES as u64))
                .map(|start| start / UNIT_BYTES as u64)
                .collect();
            starts.sort_unstable();
            let bytes = files.map(|entry| entry.len).sum();
            queues.push(QueueDir { topic: topic.clone(), id, files: starts, bytes });
        }
    }
    queues.sort_by(|a, b| (&a.topic, a.id).cmp(&(&b.topic, b.id)));
    Ok(queues)
}

async fn dirs_in(env: &Env, dir: &Path) -> Result<Vec<String>, OpenError> {
    let entries = list_or_nothing(env, dir).await?;
    let dirs = entries.into_iter().filter(|entry| entry.is_dir && is_plain_name(&entry.name));
    Ok(dirs.map(|entry| entry.name).collect())
}

async fn list_or_nothing(env: &Env, dir: &Path) -> Result<Vec<DirEntry>, OpenError> {
    match env.disk.list(dir).await {
        Ok(entries) => Ok(entries),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(OpenError::io("list", dir)(error)),
    }
}

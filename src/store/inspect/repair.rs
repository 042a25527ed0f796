//! Mending a store: what recovery would cut or rewrite is kept aside, then recovery does it.
//!
//! ```text
//! check ─▶ Repair: its steps, or why there is none ─▶ copies in repair-<ms>/ ─▶ marks for recovery ─▶ open, shut down, check
//! ```
//!
//! Recovery is the only code that decides where a log ends and what a queue holds. Two marks ask it for more than a start
//! would do: a checkpoint that counts a queue too many lets it build all queue files again from the log, without giving up
//! that what lies below was acknowledged; the abort mark lets it clear what stands behind the log's end. A crash in between
//! leaves a store whose next start finishes the work.
//!
//! Not mended: records that are damaged below the checkpoint (reads pass over them) and segments that are gone.

use std::io;
use std::path::Path;
use std::path::PathBuf;

use bytes::Bytes;
use thiserror::Error;

use super::ClosedStore;
use super::Damage;
use super::InspectError;
use super::Report;
use super::list_or_nothing;
use crate::base::Timestamp;
use crate::env::Access;
use crate::env::Env;
use crate::store::Config;
use crate::store::OpenError;
use crate::store::Recovery;
use crate::store::Store;
use crate::store::UpkeepError;
use crate::store::checkpoint::Found;

/// Bytes copied at a time.
const CHUNK: usize = 1024 * 1024;

/// Why a store is not mended. What was kept aside by then stays there.
#[derive(Debug, Error)]
pub enum RepairError {
    #[error(transparent)]
    Inspect(#[from] InspectError),
    #[error("recovery refused: {0}")]
    Open(#[from] OpenError),
    #[error("the mended store did not close: {0}")]
    Close(#[from] UpkeepError),
}

/// What is to be done about a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// In the order in which they are done; empty when there is nothing to do.
    pub steps: Vec<String>,
    /// Damage that stays, and why.
    pub stays: Vec<String>,
    /// Segments to be filled up with zeros, by start.
    short: Vec<u64>,
    queues: bool,
    tail: bool,
    refused: bool,
}

impl Repair {
    /// The steps that `report` calls for.
    pub fn of(report: &Report, closed: &ClosedStore) -> Repair {
        let mut repair = Repair::default();
        if report.has(Damage::Hole) || report.has(Damage::LogMissing) {
            repair.refused = true;
            repair.stays.push(
                "segments of the log are gone: put them back from a copy of the store; nothing here can write them again"
                    .to_owned(),
            );
            return repair;
        }
        for file in closed.segments.iter().filter(|file| file.len < report.segment_bytes) {
            repair.short.push(file.start);
            let (start, len, all) = (file.start, file.len, report.segment_bytes);
            repair.steps.push(format!("fill segment {start:020} up from {len} to {all} bytes with zeros"));
        }
        let trusted = matches!(closed.found, Found::Ours(_));
        if report.has(Damage::Unit) || report.has(Damage::QueueFile) {
            if trusted {
                repair.queues = true;
                repair
                    .steps
                    .push("build all queue files again from the log; keep the present ones aside".to_owned());
            } else {
                repair.stays.push(
                    "queue files: without a checkpoint of this store's own they are left to a start"
                        .to_owned(),
                );
            }
        }
        if report.torn_bytes > 0 {
            repair.tail = true;
            let (end, torn) = (report.end, report.torn_bytes);
            repair
                .steps
                .push(format!("end the log at {end}; keep the {torn} bytes behind it aside and clear them"));
        }
        if report.has(Damage::Record) {
            repair.stays.push(
                "records damaged below the checkpoint: their messages are lost, reads pass over them"
                    .to_owned(),
            );
        }
        if report.has(Damage::Table) {
            repair.stays.push("tables in config: a start takes the .bak, or is refused".to_owned());
        }
        repair
    }
}

impl ClosedStore {
    /// Does what [`Repair::of`] found, and says where everything that was cut or rewritten is kept. The directory's lock
    /// is let go only for recovery to take it.
    ///
    /// # Errors
    /// No space for what is kept aside, a file that cannot be read or written, a store that does not open.
    pub async fn repair(self, report: &Report, repair: &Repair) -> Result<(PathBuf, Recovery), RepairError> {
        let Timestamp(now) = self.env.wall();
        let aside = self.config.root.join(format!("repair-{now}"));
        if repair.refused {
            return Err(InspectError::NotMendable { why: repair.stays.join("; ") }.into());
        }
        self.keep_aside(report, repair, &aside).await?;
        for start in &repair.short {
            let path = self.layout.segment(*start);
            let file =
                self.env.disk.open(&path, Access::Write).await.map_err(OpenError::io("open", &path))?;
            file.set_len(report.segment_bytes).await.map_err(OpenError::io("extend", &path))?;
            file.sync().await.map_err(OpenError::io("sync", &path))?;
        }
        if repair.tail {
            let abort = self.layout.abort();
            let file =
                self.env.disk.open(&abort, Access::Create).await.map_err(OpenError::io("create", &abort))?;
            file.sync().await.map_err(OpenError::io("sync", &abort))?;
        }
        if let (true, Found::Ours(mut checkpoint)) = (repair.queues, self.found) {
            checkpoint.queues = u64::MAX;
            let saved = checkpoint.save(&self.env, &self.layout).await;
            saved.map_err(|trouble| OpenError::io(trouble.action, trouble.path)(trouble.error))?;
        }
        let (env, config): (Env, Config) = (self.env.clone(), self.config.clone());
        drop(self);
        let (store, recovery) = Store::open(&env, config).await?;
        store.shutdown().await?;
        Ok((aside, recovery))
    }

    async fn keep_aside(&self, report: &Report, repair: &Repair, aside: &Path) -> Result<(), OpenError> {
        let disk = &self.env.disk;
        disk.create_dir_all(aside).await.map_err(OpenError::io("create", aside))?;
        let checkpoint = self.layout.checkpoint();
        if !matches!(self.found, Found::Nothing) {
            self.copy(&checkpoint, 0, u64::MAX, &aside.join("checkpoint")).await?;
        }
        if repair.tail {
            let (from, to) = (report.end, report.end + report.torn_bytes);
            for file in self.segments.iter().filter(|file| file.start < to && file.start + file.len > from) {
                let within = from.saturating_sub(file.start);
                let name = format!("commitlog-{:020}", file.start + within);
                let path = self.layout.segment(file.start);
                self.copy(&path, within, to - file.start, &aside.join(name)).await?;
            }
        }
        if repair.queues {
            self.keep_journal(aside).await?;
            for queue in self.queue_dirs().await? {
                let dir = aside.join("consumequeue").join(&queue.topic).join(queue.id.to_string());
                disk.create_dir_all(&dir).await.map_err(OpenError::io("create", &dir))?;
                for first in queue.files {
                    let path = self.layout.queue_file(&queue.topic, queue.id, first);
                    let name = path.file_name().unwrap_or_default();
                    self.copy(&path, 0, u64::MAX, &dir.join(name)).await?;
                }
            }
        }
        disk.sync_dir(aside).await.map_err(OpenError::io("sync", aside))?;
        disk.sync_dir(&self.config.root).await.map_err(OpenError::io("sync", &self.config.root))
    }

    /// Building the queues anew removes it.
    async fn keep_journal(&self, aside: &Path) -> Result<(), OpenError> {
        let entries = list_or_nothing(&self.env, &self.layout.journal).await?;
        let dir = aside.join("queuejournal");
        self.env.disk.create_dir_all(&dir).await.map_err(OpenError::io("create", &dir))?;
        for entry in entries.iter().filter(|entry| !entry.is_dir) {
            self.copy(&self.layout.journal.join(&entry.name), 0, u64::MAX, &dir.join(&entry.name)).await?;
        }
        self.env.disk.sync_dir(&dir).await.map_err(OpenError::io("sync", &dir))
    }

    /// Bytes `from..to` of a file, or to its end, as a file of their own, durably. What is zero stays a hole.
    async fn copy(&self, path: &Path, from: u64, to: u64, target: &Path) -> Result<(), OpenError> {
        let read = |error: io::Error| OpenError::io("read", path)(error);
        let write = |error: io::Error| OpenError::io("write", target)(error);
        let file = self.env.disk.open(path, Access::Read).await.map_err(read)?;
        let end = file.len().await.map_err(read)?.min(to);
        let copy = self.env.disk.open(target, Access::Create).await.map_err(write)?;
        copy.set_len(end.saturating_sub(from)).await.map_err(write)?;
        let mut at = from;
        while at < end {
            let len = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
            let chunk: Bytes = file.read_at(at, len).await.map_err(read)?;
            if chunk.is_empty() {
                break;
            }
            let next = at + chunk.len() as u64;
            if chunk.iter().any(|byte| *byte != 0) {
                copy.write_at(at - from, chunk).await.map_err(write)?;
            }
            at = next;
        }
        copy.sync().await.map_err(write)
    }
}

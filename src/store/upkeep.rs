//! Work on the journal and on queue files, one at a time: checkpoints, topic deletion, retention.
//!
//! A checkpoint, in this order: let the log be durable up to C; add the units of everything below C to the journal,
//! durably. A crash in between leaves the older checkpoint.
//!
//! Deletion of a topic takes its queues out of memory, checkpoints (so that no replay brings them back), then removes
//! the files.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use super::core::Core;
use super::core::State;
use super::error::FlushError;
use super::error::LatchCause;
use super::error::ReadError;
use super::journal::Journal;
use super::journal::Span;
use super::open_files::FileTrouble;
use super::planted;
use super::prepare::FULL_RETRY_MS;
use super::queues::QueueName;
use super::settle::InFiles;
use super::types::Removed;
use super::unit::UNIT_BYTES;
use crate::base::Timestamp;

/// Why a checkpoint, a deletion or retention did not finish.
#[derive(Debug, Error)]
pub enum UpkeepError {
    #[error("the disk is full: no space left for {}", .0.display())]
    DiskFull(PathBuf),
    #[error(transparent)]
    Latched(Arc<LatchCause>),
    #[error("the store is closed")]
    Closed,
    #[error("cannot {action} {}: {error}", .path.display())]
    Io { action: &'static str, path: PathBuf, error: io::Error },
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<FlushError> for UpkeepError {
    fn from(error: FlushError) -> UpkeepError {
        match error {
            FlushError::Latched(cause) => UpkeepError::Latched(cause),
            FlushError::Closed | FlushError::Timeout(_) => UpkeepError::Closed,
        }
    }
}

impl Core {
    pub(super) async fn run_upkeep(self: Arc<Core>) {
        loop {
            self.checkpoint_wanted.notified().await;
            if !self.is_behind() {
                continue;
            }
            tokio::select! {
                biased;
                () = self.checkpoint_now.notified() => {}
                () = self.env.sleep_ms(self.config.checkpoint_interval_ms) => {}
            }
            self.journal_has_room().await;
            let outcome = {
                let mut journal = self.upkeep.lock().await;
                let reach = self.next_checkpoint();
                self.checkpoint(&mut journal, reach).await
            };
            match outcome {
                Ok(()) => {
                    let position = self.state.lock().checkpoint;
                    self.checkpoint_index(position).await;
                }
                Err(UpkeepError::DiskFull(_)) => self.env.sleep_ms(FULL_RETRY_MS).await,
                Err(_) => return,
            }
        }
    }

    fn is_behind(&self) -> bool {
        let state = self.state.lock();
        state.log.end > state.checkpoint || state.full.is_some()
    }

    /// What is durable by now, and more only if that is nothing: no checkpoint waits for the flush of a burst.
    fn next_checkpoint(&self) -> u64 {
        let state = self.state.lock();
        match state.durable {
            durable if durable > state.checkpoint => durable,
            durable => state.log.end.min(durable + self.config.flush_bytes),
        }
    }

    /// Takes a checkpoint at `reach` or behind.
    pub(super) async fn checkpoint(&self, journal: &mut Journal, reach: u64) -> Result<(), UpkeepError> {
        self.flushed(reach).await?;
        let (span, count, block) = {
            let state = self.state.lock();
            let (from, to) = (state.checkpoint, state.durable);
            if from == to && state.full.is_none() {
                return Ok(());
            }
            let limit = state.limit.max(to + self.config.window_bytes);
            let span = Span { from, to, limit, store_at: state.durable_store_at.0 };
            let count = state.pending.partition_point(|pending| pending.entry.unit.physical < to);
            let entries = state.pending.iter().take(count).map(|pending| &pending.entry);
            (span, count, journal.block(span, entries, &state.queues))
        };
        let added = journal.append(span, block).await;
        added.map_err(|trouble| self.trouble(trouble, InFiles(false)))?;
        let mut state = self.state.lock();
        assert!(count <= state.shown, "readers see what is durable");
        state.pending.drain(..count);
        state.shown -= count;
        state.checkpoint = span.to;
        state.checkpoint_store_at = Timestamp(span.store_at);
        state.limit = span.limit;
        state.counters.checkpoints += 1;
        self.note_journal(&mut state, journal);
        if state.full.take().is_some() {
            tracing::info!("there is space again in {}", self.layout.root.display());
        }
        state.unblock();
        self.settle_wanted.notify_one();
        if state.journal_bytes >= self.config.journal_bytes {
            self.settle_now.notify_one();
        }
        Ok(())
    }

    /// Takes a checkpoint and brings everything below it into queue files. The caller holds `settling`.
    pub(super) async fn settle_everything(&self) -> Result<(), UpkeepError> {
        let mut journal = self.upkeep.lock().await;
        let end = self.state.lock().log.end;
        self.checkpoint(&mut journal, end).await?;
        drop(journal);
        let position = self.state.lock().checkpoint;
        self.checkpoint_index(position).await;
        self.settle().await
    }

    /// A full disk refuses messages until there is space again; anything else latches the store. Whoever met it, retention
    /// say, the task that else writes such a file tries again: nothing but its success ends the refusal.
    pub(super) fn trouble(&self, trouble: FileTrouble, InFiles(in_files): InFiles) -> UpkeepError {
        if trouble.error.kind() != io::ErrorKind::StorageFull || trouble.action == "sync" {
            return UpkeepError::Latched(self.latch(trouble.action, &trouble.path, trouble.error));
        }
        let mut state = self.state.lock();
        let full = if in_files { &mut state.files_full } else { &mut state.full };
        if full.replace(Arc::new(trouble.path.clone())).is_none() {
            tracing::warn!("the disk is full: no space left for {}", trouble.path.display());
            self.env.probe("store.full");
        }
        state.unblock();
        drop(state);
        match in_files {
            _ if self.env.planted(planted::FULL_FOR_EVER) => {}
            true => self.ask_for_settling(),
            false => self.ask_for_checkpoint(),
        }
        UpkeepError::DiskFull(trouble.path)
    }

    pub(super) async fn delete_topic(&self, topic: &str) -> Result<Removed, UpkeepError> {
        let _alone = self.settling.lock().await;
        let queues = {
            let mut state = self.state.lock();
            let queues = state.queues.remove_topic(topic);
            if !queues.is_empty() {
                state.deleting.push(Arc::from(topic));
            }
            queues
        };
        if queues.is_empty() {
            return Ok(Removed::default());
        }
        let outcome = self.remove_queues(topic, &queues).await;
        let mut state = self.state.lock();
        state.deleting.retain(|deleting| **deleting != *topic);
        state.unblock();
        outcome
    }

    async fn remove_queues(&self, topic: &str, queues: &[QueueName]) -> Result<Removed, UpkeepError> {
        self.settle_everything().await?;
        let mut removed = Removed::default();
        let topic_dir = self.layout.topic_dir(topic);
        self.files.forget(&topic_dir);
        for queue in queues {
            let dir = self.layout.queue_dir(topic, queue.id);
            let entries = match self.env.disk.list(&dir).await {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed("list", &dir)(error)),
            };
            for entry in entries.iter().filter(|entry| !entry.is_dir) {
                let path = dir.join(&entry.name);
                self.env.disk.remove(&path).await.map_err(failed("remove", &path))?;
                removed.queue_files += 1;
                removed.bytes += entry.len;
            }
            self.env.disk.remove_dir(&dir).await.map_err(failed("remove", &dir))?;
        }
        match self.env.disk.remove_dir(&topic_dir).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &topic_dir)(error)),
            _ => {
                let dir = &self.layout.consume_queue;
                match self.env.disk.sync_dir(dir).await {
                    // Never created: the topic's units had not reached a file.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(removed),
                    outcome => outcome.map(|()| removed).map_err(failed("sync", dir)),
                }
            }
        }
    }

    /// By age as it is `now`, and by bytes; by bytes alone without a time.
    pub(super) async fn run_retention(&self, now: Option<Timestamp>) -> Result<Removed, UpkeepError> {
        if now.is_none() && !self.exceeds_its_bytes(&self.state.lock()) {
            return Ok(Removed::default());
        }
        let _alone = self.settling.lock().await;
        let mut removed = Removed::default();
        if self.awaits_settling() {
            self.settle().await?;
        }
        while let Some(first) = self.oldest_to_remove(now) {
            self.remove_segment(first, &mut removed).await?;
        }
        self.follow_the_log(&mut removed).await?;
        Ok(removed)
    }

    /// Index files of what is no longer in the log go; the table of queues says their new minima.
    async fn follow_the_log(&self, removed: &mut Removed) -> Result<(), UpkeepError> {
        let first = self.state.lock().log.first;
        removed.index_files = self.drop_index_below(first).await.map_err(|trouble| {
            let FileTrouble { action, path, error } = trouble;
            UpkeepError::Io { action, path, error }
        })?;
        if removed.segments > 0 {
            let settled = self.state.lock().settled;
            self.save_table(settled).await?;
        }
        Ok(())
    }

    pub(super) async fn remove_oldest(&self) -> Result<Removed, UpkeepError> {
        let _alone = self.settling.lock().await;
        let mut removed = Removed::default();
        if self.awaits_settling() {
            self.settle().await?;
        }
        let first = {
            let state = self.state.lock();
            is_removable(&state).then_some(state.log.first)
        };
        if let Some(first) = first {
            self.remove_segment(first, &mut removed).await?;
            self.follow_the_log(&mut removed).await?;
        }
        Ok(removed)
    }

    async fn remove_segment(&self, first: u64, removed: &mut Removed) -> Result<(), UpkeepError> {
        let keep_from = first + self.config.segment_bytes;
        self.raise_minima(keep_from, removed).await?;
        self.state.lock().log.drop_oldest();
        let path = self.layout.segment(first);
        self.files.forget(&path);
        self.env.disk.remove(&path).await.map_err(failed("remove", &path))?;
        let dir = &self.layout.commit_log;
        self.env.disk.sync_dir(dir).await.map_err(failed("sync", dir))?;
        removed.segments += 1;
        removed.bytes += self.config.segment_bytes;
        tracing::info!("retention removed {}", path.display());
        Ok(())
    }

    /// The oldest segment could go, but for queue files that lack units of it.
    fn awaits_settling(&self) -> bool {
        let state = self.state.lock();
        let next = state.log.first + state.log.segment_bytes();
        state.settled < next && next <= state.checkpoint
    }

    /// The start of the oldest segment, if retention does not keep it. Its messages are older than the first one of the
    /// next segment. Nothing is removed whose units are not in queue files.
    fn oldest_to_remove(&self, now: Option<Timestamp>) -> Option<u64> {
        let state = self.state.lock();
        if !is_removable(&state) {
            return None;
        }
        let next = state.log.first + state.log.segment_bytes();
        let too_old = now.zip(self.config.retention.keep_ms).is_some_and(|(now, keep)| {
            self.store_time_at(&state, next).is_some_and(|stored| now.ms_since(stored) > keep)
        });
        (too_old || self.exceeds_its_bytes(&state)).then_some(state.log.first)
    }

    fn exceeds_its_bytes(&self, state: &State) -> bool {
        self.config.retention.keep_bytes.is_some_and(|bytes| state.log.end - state.log.first > bytes)
    }

    /// Raises the minimum of every queue to its first message at or above `position`, and removes its files below.
    async fn raise_minima(&self, position: u64, removed: &mut Removed) -> Result<(), UpkeepError> {
        let names = self.state.lock().queues.names();
        for name in names {
            let (min, next) = {
                let state = self.state.lock();
                let queue = state.queues.get(name.slot);
                (queue.min, queue.next)
            };
            let min = self.first_at_or_above(&name, position, min, next).await?;
            let files = {
                let mut state = self.state.lock();
                let queue = state.queues.get_mut(name.slot);
                queue.min = queue.min.max(min);
                queue.visible = queue.visible.max(queue.min);
                let file_units = u64::from(self.config.queue_file_units);
                let mut files = Vec::new();
                // The last file stays: it is what keeps the queue's maximum.
                while let Some(first) = queue.first_file {
                    if first + file_units > queue.min || first + file_units >= queue.written {
                        break;
                    }
                    files.push(self.layout.queue_file(&name.topic, name.id, first));
                    queue.first_file = Some(first + file_units);
                }
                files
            };
            for path in files {
                self.files.forget(&path);
                self.env.disk.remove(&path).await.map_err(failed("remove", &path))?;
                removed.queue_files += 1;
                removed.bytes += u64::from(self.config.queue_file_units) * UNIT_BYTES as u64;
            }
        }
        Ok(())
    }

    /// By bisection: units are in log order.
    async fn first_at_or_above(
        &self,
        name: &QueueName,
        position: u64,
        min: u64,
        next: u64,
    ) -> Result<u64, ReadError> {
        let (mut low, mut high) = (min, next);
        while low < high {
            let middle = low + (high - low) / 2;
            let unit = self.unit_at(name, middle).await?;
            if unit.physical < position {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

/// Not the active segment, and nothing whose units are not in queue files.
fn is_removable(state: &State) -> bool {
    let next = state.log.first + state.log.segment_bytes();
    state.log.segments_len() >= 2 && state.settled >= next
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> UpkeepError + use<> {
    let path = path.to_path_buf();
    move |error| UpkeepError::Io { action, path, error }
}

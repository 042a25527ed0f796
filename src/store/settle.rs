//! Settling: units that only the journal has reach the queue files, for many checkpoints at once.
//!
//! In this order: write the units of everything below S, a checkpoint, into queue files; sync all of them by one call;
//! save the table of queues at S; replace the checkpoint file by one that says S; drop what the journal has below S. A
//! crash in between leaves the older S, a journal that goes on from there, and queue files that hold a part of what will
//! be written into them again.
//!
//! Checkpoints go on meanwhile, in another file of the journal.

use std::io;
use std::sync::Arc;

use super::UpkeepError;
use super::checkpoint::Checkpoint;
use super::core::Core;
use super::core::State;
use super::journal::Journal;
use super::open_files::FileTrouble;
use super::planted;
use super::prepare::FULL_RETRY_MS;
use super::queue_table::Made;
use super::queue_table::QueueTable;
use super::queues::Due;
use super::unit::UNIT_BYTES;
use crate::base::Timestamp;

/// Ends of queues that are noted while the state is locked.
const ENDS_AT_ONCE: usize = 256;
/// Rows of the table of queues that the state is locked for.
const ROWS_AT_ONCE: usize = 4096;

impl Core {
    pub(super) async fn run_settle(self: Arc<Core>) {
        loop {
            self.settle_wanted.notified().await;
            if !self.is_unsettled() {
                continue;
            }
            tokio::select! {
                biased;
                () = self.settle_now.notified() => {}
                () = self.env.sleep_ms(self.config.settle_interval_ms) => {}
            }
            let outcome = {
                let _alone = self.settling.lock().await;
                self.settle().await
            };
            match outcome {
                Ok(()) => {}
                Err(UpkeepError::DiskFull(_)) => self.env.sleep_ms(FULL_RETRY_MS).await,
                Err(_) => {
                    self.journal_shorter.notify_one();
                    return;
                }
            }
        }
    }

    pub(super) fn ask_for_settling(&self) {
        self.settle_wanted.notify_one();
        self.settle_now.notify_one();
    }

    fn is_unsettled(&self) -> bool {
        let state = self.state.lock();
        state.checkpoint > state.settled || state.files_full.is_some()
    }

    /// Ends once the journal has room for another checkpoint, or the store takes nothing any more.
    pub(super) async fn journal_has_room(&self) {
        loop {
            let has_room = {
                let state = self.state.lock();
                state.journal_bytes < 2 * self.config.journal_bytes || state.latched.is_some()
            };
            if has_room {
                return;
            }
            self.env.probe("store.journal_full");
            self.ask_for_settling();
            self.journal_shorter.notified().await;
        }
    }

    /// Brings the units of everything below the present checkpoint into queue files. The caller holds `settling`.
    pub(super) async fn settle(&self) -> Result<(), UpkeepError> {
        let (position, store_at) = {
            let mut journal = self.upkeep.lock().await;
            journal.rotate();
            let state = self.state.lock();
            (state.checkpoint, state.checkpoint_store_at)
        };
        if self.env.planted(planted::CHECKPOINT_AHEAD) {
            self.save_settled(position, store_at).await?;
        }
        let slots = self.state.lock().queues.take_dirty();
        let written = self.write_units(&slots, position).await;
        self.state.lock().queues.still_dirty(slots);
        written?;
        self.save_settled(position, store_at).await?;
        let mut journal = self.upkeep.lock().await;
        let dropped = journal.drop_below(position).await;
        self.note_journal(&mut self.state.lock(), &journal);
        self.env.probe("store.settled");
        self.journal_shorter.notify_one();
        dropped.map_err(|trouble| self.trouble(trouble, InFiles(true)))
    }

    pub(super) fn note_journal(&self, state: &mut State, journal: &Journal) {
        state.journal_bytes = journal.bytes();
    }

    async fn write_units(&self, slots: &[u32], position: u64) -> Result<(), UpkeepError> {
        let troubled = |action| {
            let failed = FileTrouble::new(action, &self.layout.consume_queue);
            move |error| self.trouble(failed(error), InFiles(true))
        };
        let mut due = Due::new(slots, position);
        loop {
            let Some(batches) = due.next(&self.state.lock().queues) else { break };
            self.tree.write(self.files.pieces(&batches)).await.map_err(troubled("write"))?;
        }
        let ends = due.ends();
        if ends.is_empty() {
            return Ok(());
        }
        self.env.probe("store.queue_files_written");
        self.tree.sync().await.map_err(troubled("sync"))?;
        let file_units = u64::from(self.config.queue_file_units);
        for ends in ends.chunks(ENDS_AT_ONCE) {
            let mut state = self.state.lock();
            let keep = (self.config.tail_units / state.queues.len().max(1)).clamp(16, 64 * 1024);
            for (slot, end) in ends {
                state.queues.written(*slot, *end, file_units, keep);
            }
        }
        Ok(())
    }

    async fn save_settled(&self, position: u64, store_at: Timestamp) -> Result<(), UpkeepError> {
        let troubled = |trouble| self.trouble(trouble, InFiles(true));
        let queues = self.save_table(position).await?;
        let (before, limit) = {
            let state = self.state.lock();
            (state.settled, state.limit)
        };
        let index = self.index.mark();
        let checkpoint = Checkpoint { store_at: store_at.0, position, limit, queues, index };
        checkpoint.save(&self.env, &self.layout).await.map_err(troubled)?;
        {
            let mut state = self.state.lock();
            state.settled = position;
            if state.files_full.take().is_some() {
                tracing::info!("there is space again in {}", self.layout.root.display());
            }
            state.unblock();
        }
        if before == position {
            return Ok(());
        }
        let old = self.layout.queue_table(before);
        match self.env.disk.remove(&old).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(troubled(FileTrouble::new("remove", &old)(error)))
            }
            _ => Ok(()),
        }
    }

    /// Saves the table of queues as they are at `position`, which is settled. Says how many queues there are.
    pub(super) async fn save_table(&self, position: u64) -> Result<u64, UpkeepError> {
        let mut table = QueueTable::new();
        let (slots, log_first) = {
            let state = self.state.lock();
            (state.queues.slots(), state.log.first)
        };
        for from in (0..slots).step_by(ROWS_AT_ONCE) {
            let state = self.state.lock();
            for slot in (from..slots).take(ROWS_AT_ONCE).filter(|slot| !state.queues.is_dead(*slot)) {
                table.add(state.queues.get(slot));
            }
        }
        let queues = u64::from(table.count());
        let file_bytes = u64::from(self.config.queue_file_units) * UNIT_BYTES as u64;
        let made = Made { position, log_first, file_bytes };
        let saved = table.save(&self.env, &self.layout, made).await;
        saved.map_err(|trouble| self.trouble(trouble, InFiles(true)))?;
        Ok(queues)
    }
}

/// Whether space is missing for queue files; if not, it is for the journal.
pub(super) struct InFiles(pub(super) bool);

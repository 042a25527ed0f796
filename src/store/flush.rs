//! The flush task: makes the log durable, in order, one sync at a time.
//!
//! Under [`Flush::Sync`] it syncs whatever was appended when it begins; what is appended meanwhile waits for the next
//! turn: that is the group commit. Under [`Flush::Async`] it waits for enough pages or enough time, unless asked, or unless
//! [`Config::flush_bytes`](super::Config::flush_bytes) are not durable: then it syncs one piece after the other, without a
//! pause, so that checkpoints follow closely behind a burst of appends, and the log's window opens again in small steps.
//!
//! `durable` moves only after the sync of everything below it has returned without an error, and never after one has
//! failed.
//!
//! A store that was latched by anything else, a failed write say, takes nothing more; what it took before lies in the page
//! cache as it did, and is still made durable.

use std::sync::Arc;

use super::config::Flush;
use super::core::Core;
use super::core::State;
use super::planted;
use crate::base::Timestamp;

const PAGE_BYTES: u64 = 4096;
/// One sync under [`Flush::Async`] takes at most so many times [`super::Config::flush_bytes`].
const PIECE_FACTOR: u64 = 3;

impl Core {
    pub(super) async fn run_flush(self: Arc<Core>) {
        loop {
            self.flush_wanted.notified().await;
            let outcome = match self.config.flush {
                Flush::Sync => self.flush_all().await,
                Flush::Async { interval_ms, least_pages, thorough_ms } => {
                    self.flush_lazily(interval_ms, least_pages, thorough_ms).await
                }
            };
            if let Err(SyncFailed) = outcome {
                return;
            }
        }
    }

    async fn flush_all(&self) -> Result<(), SyncFailed> {
        while self.dirty_bytes().is_some() {
            self.flush_once().await?;
        }
        Ok(())
    }

    async fn flush_lazily(
        &self,
        interval_ms: u64,
        least_pages: u64,
        thorough_ms: u64,
    ) -> Result<(), SyncFailed> {
        let mut since = self.env.now();
        while let Some(dirty) = self.dirty_bytes() {
            let asked = dirty >= self.config.flush_bytes
                || tokio::select! {
                    biased;
                    () = self.flush_now.notified() => true,
                    () = self.env.sleep_ms(interval_ms) => false,
                };
            let enough = dirty >= least_pages * PAGE_BYTES;
            let late = self.env.now().since(since).as_millis() >= u128::from(thorough_ms);
            if asked || enough || late {
                self.flush_once().await?;
                since = self.env.now();
            }
        }
        Ok(())
    }

    /// Bytes that are not durable. `None` without any; the next append signals again then.
    fn dirty_bytes(&self) -> Option<u64> {
        let mut state = self.state.lock();
        let dirty = state.log.end - state.durable;
        state.flush_signalled = dirty > 0;
        (dirty > 0).then_some(dirty)
    }

    async fn flush_once(&self) -> Result<(), SyncFailed> {
        let (to, store_at, pieces) = {
            let mut state = self.state.lock();
            let from = state.durable;
            let (to, store_at) = self.next_piece(&state);
            if self.env.planted(planted::ACK_BEFORE_SYNC) {
                self.advance_durable(&mut state, to);
            }
            (to, store_at, state.log.pieces(from, to))
        };
        self.env.probe("store.sync");
        if self.env.buggify("store.slow_sync") {
            self.env.sleep_ms(20).await;
        }
        let began = self.env.now();
        let mut syncs = 0;
        for (start, segment, offset, len) in pieces {
            if self.env.planted(planted::SKIP_SYNC) {
                break;
            }
            syncs += 1;
            if let Err(error) = segment.sync(offset, len).await {
                if self.env.planted(planted::IGNORE_SYNC_ERROR) {
                    continue;
                }
                self.latch("sync", &self.layout.segment(start), error);
                return Err(SyncFailed);
            }
        }
        self.env.probe("store.synced");
        let mut state = self.state.lock();
        state.counters.syncs += syncs;
        state.counters.last_sync_us =
            u64::try_from(self.env.now().since(began).as_micros()).unwrap_or(u64::MAX);
        state.durable_store_at = store_at;
        self.advance_durable(&mut state, to);
        Ok(())
    }

    /// Up to where the next sync reaches, and the store time of the last message below.
    fn next_piece(&self, state: &State) -> (u64, Timestamp) {
        let most = match self.config.flush {
            Flush::Sync => u64::MAX,
            Flush::Async { .. } => PIECE_FACTOR.saturating_mul(self.config.flush_bytes),
        };
        let reach = state.durable.saturating_add(most);
        if reach < state.log.end {
            let within = state.pending.partition_point(|pending| pending.entry.unit.end() <= reach);
            let last = within.checked_sub(1).and_then(|last| state.pending.get(last));
            // What is not queued is not pending; if there is nothing else, all of it is taken.
            if let Some(last) = last.filter(|last| last.entry.unit.end() > state.durable) {
                return (last.entry.unit.end(), last.store_at);
            }
        }
        (state.log.end, state.last_store_at)
    }

    fn advance_durable(&self, state: &mut State, to: u64) {
        state.durable = state.durable.max(to);
        let visible = self.visible_end(state);
        state.publish(visible);
        state.durable_waiters.wake_all();
        self.checkpoint_wanted.notify_one();
        if state.durable - state.checkpoint >= self.config.checkpoint_bytes {
            self.checkpoint_now.notify_one();
        }
        self.index.wanted.notify_one();
    }
}

/// A sync of the log failed: what the page cache holds may be what never reaches the disk. Nothing is flushed any more.
pub(super) struct SyncFailed;

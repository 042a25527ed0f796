//! The task that prepares segments ahead of the log, so that no append waits for one.
//!
//! A segment is used only once its name is durable: nothing in it could be found otherwise. A full disk is asked again
//! every second; meanwhile appends that do not fit are refused by name.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use super::core::Core;
use super::planted;
use crate::env::Access;
use crate::env::Segment;

/// Between two attempts on a full disk.
pub(super) const FULL_RETRY_MS: u64 = 1_000;

impl Core {
    pub(super) async fn run_prepare(self: Arc<Core>) {
        loop {
            self.segment_wanted.notified().await;
            while let Some(start) = self.next_segment() {
                let path = self.layout.segment(start);
                match self.prepare(&path).await {
                    Ok(segment) => {
                        let mut state = self.state.lock();
                        state.log.push_ahead(segment);
                        state.segment_full = None;
                        state.unblock();
                    }
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                        self.note_segment_full(path);
                        self.env.sleep_ms(FULL_RETRY_MS).await;
                    }
                    Err(error) => {
                        self.latch("create", &path, error);
                        return;
                    }
                }
            }
        }
    }

    fn next_segment(&self) -> Option<u64> {
        let mut state = self.state.lock();
        let wanted = state.segments_wanted;
        let next = state.log.next_wanted(wanted);
        if next.is_none() {
            state.segments_wanted = 0;
            state.segment_signalled = false;
        }
        next
    }

    async fn prepare(&self, path: &Path) -> io::Result<Arc<dyn Segment>> {
        if self.env.buggify("store.late_segment") {
            self.env.sleep_ms(200).await;
        }
        let segment = self.env.disk.map(path, self.config.segment_bytes, Access::Create).await?;
        if !self.env.planted(planted::NO_DIR_SYNC) {
            self.env.disk.sync_dir(&self.layout.commit_log).await?;
        }
        Ok(segment)
    }

    fn note_segment_full(&self, path: PathBuf) {
        let mut state = self.state.lock();
        if state.segment_full.is_none() {
            tracing::warn!("the disk is full: no space left for {}", path.display());
            self.env.probe("store.segment_full");
        }
        state.segment_full = Some(Arc::new(path));
        state.unblock();
    }
}

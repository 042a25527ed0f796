//! The task that asks for the pages of the log's next bytes before an append touches them.
//!
//! A page that nobody has touched costs its first write a fault in which the kernel finds and zeroes memory. That was a third
//! of the serving thread's time with sync flush; here another thread pays, and the fault of an append only maps the page.

use std::sync::Arc;

use super::core::Core;
use super::core::State;

/// So many bytes beyond the log's end are warm; asked for again once half of them are used.
pub(super) const WARM_BYTES: u64 = 8 * 1024 * 1024;

impl Core {
    pub(super) async fn run_warm(self: Arc<Core>) {
        loop {
            self.warm_wanted.notified().await;
            let piece = self.state.lock().next_to_warm();
            let Some((segment, offset, len)) = piece else { continue };
            if let Err(error) = segment.warm(offset, len).await {
                tracing::debug!(%error, "appends meet cold pages");
            }
        }
    }
}

impl State {
    pub(super) fn wants_warmth(&self) -> bool {
        self.log.end + WARM_BYTES / 2 > self.warmed
    }

    /// What is cold of the active segment. The next one is warmed where it begins when it is prepared.
    fn next_to_warm(&mut self) -> Option<(Arc<dyn crate::env::Segment>, u64, u64)> {
        let from = self.warmed.max(self.log.end);
        self.warmed = self.log.end + WARM_BYTES;
        let segment = Arc::clone(self.log.segment(from)?);
        let offset = from % self.log.segment_bytes();
        let len = self.warmed.saturating_sub(from).min(self.log.segment_bytes() - offset);
        (len > 0).then_some((segment, offset, len))
    }
}

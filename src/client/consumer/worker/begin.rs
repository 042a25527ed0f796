//! The beginning of work on a queue: the lock first, the offset after it.
//!
//! In this order the offset is that of the last owner (apache/rocketmq#10955). An offset that was chosen because the group
//! had none is committed before the first pull, so that the next owner starts there too and not behind what was stored in
//! between.

use super::Wish;
use super::Worker;
use crate::base::QueueOffset;
use crate::client::MessageQueue;
use crate::client::RequestError;
use crate::client::consumer::ConsumeFrom;
use crate::client::instance::Shared;
use crate::machine::route::MASTER_ID;
use crate::protocol::names;

/// Pause after a lock was refused or a request failed, in milliseconds.
const PAUSE_MS: u64 = 1_000;

enum NotYet {
    /// Another member has the lock.
    Locked,
    Failed(RequestError),
}

impl Worker {
    /// Where to start, once that is known; `None` when the queue was given up before.
    pub(super) async fn begin(&mut self) -> Option<QueueOffset> {
        loop {
            if self.assigned.state.lock().wish != Wish::Work {
                if self.locked_at.is_some() {
                    self.unlock(super::End::Revoked).await;
                }
                return None;
            }
            match self.try_begin().await {
                Ok(start) => return Some(start),
                Err(NotYet::Locked) => {
                    tracing::debug!(queue = %self.assigned.queue, "locked by another member")
                }
                Err(NotYet::Failed(error)) => {
                    tracing::info!(queue = %self.assigned.queue, %error, "cannot begin yet");
                    self.inner.client.shared.refresh_soon();
                }
            }
            let env = &self.inner.client.shared.env;
            let pause = env.clock.sleep_until(env.now().plus_ms(PAUSE_MS));
            tokio::select! {
                biased;
                () = self.assigned.wake.notified() => {}
                () = pause => {}
            }
        }
    }

    async fn try_begin(&mut self) -> Result<QueueOffset, NotYet> {
        let shared = self.inner.client.shared.clone();
        let group = self.inner.config.group.clone();
        let queue = self.assigned.queue.clone();
        let addr = shared.master_of(&queue)?;
        if self.inner.locks() {
            let asked = shared.env.now();
            if !shared.lock(&addr, &group, &queue).await? {
                self.locked_at = None;
                return Err(NotYet::Locked);
            }
            self.locked_at = Some(asked);
        }
        self.pull_from = MASTER_ID.cast_signed();
        if let Some(reset) = self.assigned.state.lock().reset.take() {
            self.start_at = Some(reset);
        }
        let start = match self.start_at {
            Some(start) => start,
            None => {
                let known = self.inner.offsets.committed(&shared, &addr, &group, &queue).await?;
                if let Some(known) = known {
                    self.persisted = Some(known);
                    return Ok(known);
                }
                first_offset(&shared, &addr, &queue, self.inner.config.from).await?
            }
        };
        self.inner.offsets.commit(&shared, &group, &queue, start).await?;
        self.start_at = None;
        self.persisted = Some(start);
        Ok(start)
    }
}

/// Where a group without an offset starts. Retry topics are read from their beginning: whatever is in them was sent back by
/// this very group.
async fn first_offset(
    shared: &Shared,
    addr: &str,
    queue: &MessageQueue,
    from: ConsumeFrom,
) -> Result<QueueOffset, RequestError> {
    match from {
        _ if names::is_retry(&queue.topic) => shared.min_offset(addr, queue).await,
        ConsumeFrom::Last => shared.max_offset(addr, queue).await,
        ConsumeFrom::First => shared.min_offset(addr, queue).await,
        ConsumeFrom::At(time) => shared.offset_at(addr, queue, time).await,
    }
}

impl From<RequestError> for NotYet {
    fn from(error: RequestError) -> NotYet {
        NotYet::Failed(error)
    }
}

//! Releases what waits for the disk: answers, and messages that readers may see from now on.

use std::sync::Arc;
use std::task::Poll;

use crate::base::Mono;
use crate::broker::core::Core;
use crate::env::BoxFuture;
use crate::store::FlushError;

/// Follows the durable end of the log until the store closes.
pub(crate) async fn run(core: Arc<Core>) {
    let mut seen = core.store.durable();
    let mut watch = Watch { core: Arc::clone(&core), timer: None };
    loop {
        let changed = std::future::poll_fn(|cx| {
            if let Poll::Ready(changed) = core.store.poll_durable_changed(seen, cx) {
                return Poll::Ready(Some(changed));
            }
            watch.poll(cx).map(|()| None)
        });
        match changed.await {
            Some(Ok(durable)) => {
                seen = durable;
                core.waiting.release(durable);
                core.publish();
            }
            Some(Err(FlushError::Timeout(_))) | None => {}
            Some(Err(error)) => return on_failed(&core, &error),
        }
    }
}

/// The disk failed or the store closed: what waits will not be confirmed.
fn on_failed(core: &Core, error: &FlushError) {
    let late = core.waiting.expire(Mono::NEVER, &error.to_string());
    match error {
        FlushError::Closed => tracing::info!(answers = late, "the store closed"),
        FlushError::Latched(_) | FlushError::Timeout(_) => {
            tracing::warn!(answers = late, %error, "messages are stored but not confirmed by the disk");
        }
    }
}

/// Answers what has waited for `syncFlushTimeout`. Its timer is armed for the oldest answer and looked at when it
/// rings, so that an answer that is released in time costs none.
struct Watch {
    core: Arc<Core>,
    timer: Option<BoxFuture<'static, ()>>,
}

impl Watch {
    fn poll(&mut self, cx: &mut std::task::Context<'_>) -> Poll<()> {
        loop {
            if let Some(timer) = &mut self.timer {
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.timer = None;
            }
            let span = self.core.config.sync_flush_timeout_ms;
            let now = self.core.env.now();
            if let Some(oldest) = self.core.waiting.oldest().filter(|oldest| oldest.plus_ms(span) <= now) {
                let late =
                    self.core.waiting.expire(oldest, &format!("not on stable storage after {span} ms"));
                tracing::warn!(answers = late, limit_ms = span, "the disk did not confirm messages in time");
                continue;
            }
            let next: Mono = self.core.waiting.oldest().unwrap_or(now).plus_ms(span);
            self.timer = Some(self.core.env.clock.sleep_until(next));
        }
    }
}

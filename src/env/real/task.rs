//! Tasks of the tokio runtime that the caller runs in.

use tokio_real::task::AbortHandle;

use crate::env::{BoxFuture, Spawn, TaskHandle};

pub(super) struct RealTasks;

struct RealTask {
    abort: AbortHandle,
}

impl Spawn for RealTasks {
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) -> Box<dyn TaskHandle> {
        #[expect(clippy::disallowed_methods, reason = "this is what env.spawn stands for")]
        let abort = tokio_real::spawn(future).abort_handle();
        tracing::trace!(task = name, id = %abort.id(), "task started");
        Box::new(RealTask { abort })
    }

    fn aside(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        let work = tokio_real::task::spawn_blocking(work);
        Box::pin(async move {
            match work.await {
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // The runtime ends, and with it whoever waits here.
                _ => {}
            }
        })
    }
}

impl TaskHandle for RealTask {
    fn abort(&self) {
        self.abort.abort();
    }
}

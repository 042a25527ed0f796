//! Tasks that end with their owner.

use super::BoxFuture;

pub trait Spawn: Send + Sync {
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) -> Box<dyn TaskHandle>;

    /// Runs work that only computes where it holds up no task: on a thread of its own in production, at once in
    /// simulation. It runs to its end also when the future is dropped.
    fn aside(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()>;
}

pub trait TaskHandle: Send + Sync {
    /// Drops the task's future at its next turn. Harmless when it has ended.
    fn abort(&self);
}

/// A running task. Dropping it aborts the task; [`Task::detach`] lets it run on.
#[must_use = "dropping a Task aborts it"]
pub struct Task {
    handle: Option<Box<dyn TaskHandle>>,
}

impl Task {
    pub(super) fn new(handle: Box<dyn TaskHandle>) -> Task {
        Task { handle: Some(handle) }
    }

    pub fn detach(mut self) {
        self.handle = None;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(handle) = &self.handle {
            handle.abort();
        }
    }
}

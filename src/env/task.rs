//! Tasks that end with their owner.

use super::BoxFuture;

pub trait Spawn: Send + Sync {
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) -> Box<dyn TaskHandle>;
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

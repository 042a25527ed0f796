//! Two clocks of one node: monotonic for deadlines, wall for what is written down.

use crate::base::{Mono, Timestamp};

use super::BoxFuture;

pub trait Clock: Send + Sync {
    /// Never goes back.
    fn now(&self) -> Mono;

    /// May jump in either direction.
    fn wall(&self) -> Timestamp;

    /// Ends once [`Clock::now`] is at or past `deadline`. Arms one timer, at its first poll. Never ends for
    /// [`Mono::NEVER`].
    fn sleep_until(&self, deadline: Mono) -> BoxFuture<'static, ()>;
}

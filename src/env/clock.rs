//! Two clocks of one node: monotonic for deadlines, wall for what is written down.

use crate::base::{Mono, Timestamp};

use super::BoxFuture;

pub trait Clock: Send + Sync {
    /// Never goes back.
    fn now(&self) -> Mono;

    /// May jump in either direction.
    fn wall(&self) -> Timestamp;

    /// Milliseconds by which the node's local time is ahead of UTC at `at`, daylight saving counted.
    fn zone_ms(&self, at: Timestamp) -> i64;

    /// Ends once [`Clock::now`] is at or past `deadline`. Arms one timer, at its first poll. Never ends for
    /// [`Mono::NEVER`].
    fn sleep_until(&self, deadline: Mono) -> BoxFuture<'static, ()>;
}

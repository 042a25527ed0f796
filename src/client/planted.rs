//! Bugs on request: the simulator switches one on to prove that its checkers see it. Never on in production, where
//! [`Env::planted`](crate::env::Env::planted) is constant false.

/// The offset of a queue is committed up to what was pulled, before the handler has finished.
pub(super) const COMMIT_BEFORE_PROCESSED: &str = "client.commit_before_processed";
/// On rebalance the lock of an ordered queue is given back while its handler is still running.
pub(super) const UNLOCK_BEFORE_HANDLER_DONE: &str = "client.unlock_before_handler_done";
/// An offset is told once: a broker that forgets it never learns it again.
pub(super) const COMMIT_ONCE: &str = "client.commit_once";

/// Every planted bug of the client.
pub const PLANTED: &[&str] = &[COMMIT_BEFORE_PROCESSED, UNLOCK_BEFORE_HANDLER_DONE, COMMIT_ONCE];

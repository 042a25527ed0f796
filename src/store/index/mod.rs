//! Finding messages by key: RocketMQ's index files.
//!
//! ```text
//! commit log ── what is durable ──▶ scan ──▶ book ──▶ disk: index/<17 digits>
//!                                            └──▶ query ◀── records of the log
//! ```
//!
//! The index is a function of the log: it is built behind the messages' backs by one task and can be removed at any time
//! to be built again. Nothing that appends, or reads a queue, knows of it.
//!
//! Not here: the codes of requests that ask for it.

mod book;
mod build;
mod disk;
mod format;
mod keys;
mod mark;
mod name;
mod query;
mod scan;
#[cfg(test)]
mod tests;

pub(super) use build::Index;
pub use format::IndexShape;
pub use keys::KeyKind;
pub(super) use mark::MARK_AT;
pub(super) use mark::MARK_BYTES;
pub(super) use mark::Mark;
pub use query::KeyFound;
pub use query::KeyQuery;

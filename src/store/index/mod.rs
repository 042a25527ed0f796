//! Finding messages by key: RocketMQ's index files.
//!
//! The index is a function of the log. It is built behind the messages' backs by one task, from what is durable, and
//! nothing that appends or reads a queue knows of it.
//!
//! Not here: the names of request codes.

mod book;
mod format;
mod keys;
mod name;
#[cfg(test)]
mod tests;

pub(super) use book::Mark;
pub use format::IndexShape;
pub use keys::KeyKind;

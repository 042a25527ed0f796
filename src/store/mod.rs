//! The message store of one broker: commit log, consume queues, flush, checkpoint, recovery.
//!
//! ```text
//!              append (one lock, one copy)             flush             checkpoint               settle
//! records ───▶ commitlog/<20 digits> (mapped) ───▶ durable ───▶ queuejournal/<20 digits> ───▶ consumequeue/…
//!                  └─▶ queue tails (memory) ─▶ readers                                            └─▶ checkpoint file
//! ```
//!
//! Invariants:
//!
//! * the log below [`Store::durable`] is on stable storage; under [`Flush::Sync`] readers see nothing above it;
//! * a queue file never names a record that is not durable, so no crash leaves a queue ahead of its log;
//! * everything below the checkpoint is durable in the log, and in the journal or the queue files; the log never runs
//!   further ahead of it than [`Config::window_bytes`], the journal never grows over twice [`Config::journal_bytes`]:
//!   that bounds what recovery reads;
//! * queue files are a function of the log: recovery replays what lies behind the checkpoint;
//! * so are index files, which a task of their own builds behind everybody's back (`index`);
//! * the first failed write or sync latches the store: it refuses from then on, by name, and is not retried; what it took
//!   before is still made durable, unless it was a sync of the log that failed.
//!
//! The layout is RocketMQ's. The store knows records, offsets and durability; it knows no topic's meaning (but that the
//! schedule topic's units carry a delivery time), no group and no reader.

mod append;
mod checkpoint;
mod cold;
mod config;
pub mod config_file;
mod core;
mod error;
mod flush;
mod front;
mod index;
pub mod inspect;
mod journal;
mod layout;
mod log;
mod open_files;
pub mod planted;
mod prepare;
mod queue_table;
mod queues;
mod read;
mod recover;
mod reserve;
mod scan;
mod settle;
#[cfg(test)]
mod tests;
mod types;
mod unit;
mod unreadable;
mod upkeep;

pub use config::Config;
pub use config::Flush;
pub use config::Retention;
pub use error::AppendError;
pub use error::FlushError;
pub use error::LatchCause;
pub use error::OpenError;
pub use error::OverMark;
pub use error::ReadError;
pub use front::Store;
pub use index::IndexShape;
pub use index::KeyFound;
pub use index::KeyKind;
pub use index::KeyQuery;
pub use types::Appended;
pub use types::Boundary;
pub use types::Bounds;
pub use types::Published;
pub use types::Read;
pub use types::ReadLimits;
pub use types::ReadStatus;
pub use types::Recovery;
pub use types::Removed;
pub use types::Stats;
pub use upkeep::UpkeepError;

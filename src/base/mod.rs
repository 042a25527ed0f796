//! Words that every layer shares: positions, instants, limits, fixed hashing, keyed draws.
//!
//! Nothing here knows about RocketMQ's wire, files or tasks.

mod draw;
mod hash;
mod instant;
pub mod limits;
mod position;

pub use draw::Draw;
pub use hash::{FastMap, FastSet, fnv64, fnv64_extend, java_string_hash};
pub use instant::{Mono, Timestamp};
pub use position::{PhysicalOffset, QueueId, QueueOffset};

//! What a scenario's file imports.

pub use staticfire::broker::config::Config as BrokerConfig;
pub use staticfire::broker::config::FlushDiskType::Async as AsyncFlush;
pub use staticfire::broker::config::FlushDiskType::Sync as SyncFlush;

pub use std::time::Duration;

pub use crate::actors::Deals;
pub use crate::actors::Executes;
pub use crate::actors::Load;
pub use crate::actors::Work;
pub use crate::cluster::Cluster;
pub use crate::history::Verdict;
pub use crate::history::What;
pub use crate::promises;
pub use crate::promises::read_everything;
pub use crate::scenario::Broken;
pub use crate::scenario::Story;
pub use crate::scenario::Told;
pub use crate::scenario::scenario;

/// So many seconds.
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

//! What a store is told at its start. Defaults are RocketMQ's unless a comment says why not.

use std::path::PathBuf;

use super::index::IndexShape;

/// Settings of one store.
#[derive(Clone, Debug)]
pub struct Config {
    /// `storePathRootDir`.
    pub root: PathBuf,
    /// Bytes of a commit-log segment (`mappedFileSizeCommitLog`). A store keeps the size it was created with.
    pub segment_bytes: u64,
    /// Units of 20 bytes in one queue file (`mappedFileSizeConsumeQueue` / 20).
    pub queue_file_units: u32,
    pub flush: Flush,
    /// How long [`super::Store::wait_durable`] waits before it says so (`syncFlushTimeout`), in ms.
    pub sync_timeout_ms: u64,
    /// Under [`Flush::Async`], a flush begins at once when so many bytes are not durable.
    pub flush_bytes: u64,
    /// A checkpoint is taken once so many durable bytes of log lie behind the last one.
    pub checkpoint_bytes: u64,
    /// A checkpoint is taken at latest so long after the first append behind the last one, in ms.
    pub checkpoint_interval_ms: u64,
    /// The log never runs further ahead of its checkpoint: appends wait. What recovery reads, at most.
    pub window_bytes: u64,
    /// Units in the journal reach the queue files once they make up so many bytes of it; checkpoints wait while they make
    /// up twice as many. Recovery reads what is there.
    pub journal_bytes: u64,
    /// … and at latest so long after the first checkpoint behind the last time, in ms.
    pub settle_interval_ms: u64,
    /// Log bytes behind the end that are read through the mapping, without asking whether they are in memory, if this
    /// process wrote them. What is older is read by position, away from the caller's thread, and its CRC is verified.
    pub hot_bytes: u64,
    /// Queue units kept in memory for readers over all queues.
    pub tail_units: usize,
    /// Queue files open at a time.
    pub open_files: usize,
    /// `messageDelayLevel`, in ms, level 1 first: units of the schedule topic carry their delivery time.
    pub delay_levels_ms: Vec<i64>,
    pub retention: Retention,
    /// What an index file holds; `None` for no index (`messageIndexEnable=false`). Files of another shape are built
    /// again.
    pub index: Option<IndexShape>,
}

/// When the log goes to stable storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Now and then; an acknowledgement promises memory only.
    Async {
        /// `flushIntervalCommitLog`.
        interval_ms: u64,
        /// `flushCommitLogLeastPages`: fewer dirty 4 KiB pages wait for the next turn …
        least_pages: u64,
        /// … but no longer than this (`flushCommitLogThoroughInterval`).
        thorough_ms: u64,
    },
    /// By group commit: readers and acknowledgements wait for it.
    Sync,
}

impl Flush {
    /// RocketMQ's ASYNC_FLUSH.
    pub const ASYNC: Flush = Flush::Async { interval_ms: 500, least_pages: 4, thorough_ms: 10_000 };
}

/// What may be removed. Whole segments go, oldest first, never the active one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Segments whose last message is older are removed (`fileReservedTime`); `None` keeps them.
    pub keep_ms: Option<i64>,
    /// The log's oldest segments are removed while it has more bytes; `None` sets no limit.
    pub keep_bytes: Option<u64>,
}

impl Config {
    pub fn new(root: impl Into<PathBuf>) -> Config {
        Config {
            root: root.into(),
            segment_bytes: 1024 * 1024 * 1024,
            queue_file_units: 300_000,
            flush: Flush::ASYNC,
            sync_timeout_ms: 5_000,
            flush_bytes: 4 * 1024 * 1024,
            checkpoint_bytes: 24 * 1024 * 1024,
            checkpoint_interval_ms: 5_000,
            window_bytes: 80 * 1024 * 1024,
            journal_bytes: 4 * 1024 * 1024,
            settle_interval_ms: 60_000,
            hot_bytes: 1024 * 1024 * 1024,
            tail_units: 2 * 1024 * 1024,
            open_files: 1024,
            delay_levels_ms: DELAY_LEVELS_MS.to_vec(),
            retention: Retention { keep_ms: Some(72 * 3_600_000), keep_bytes: None },
            index: Some(IndexShape::DEFAULT),
        }
    }

    /// Small files and a short window, so that a minute of simulation rolls, checkpoints and recovers many times.
    pub fn small(root: impl Into<PathBuf>) -> Config {
        Config {
            segment_bytes: 64 * 1024,
            queue_file_units: 200,
            flush_bytes: 16 * 1024,
            checkpoint_bytes: 64 * 1024,
            checkpoint_interval_ms: 1_000,
            window_bytes: 256 * 1024,
            journal_bytes: 4 * 1024,
            settle_interval_ms: 1_000,
            hot_bytes: 128 * 1024,
            tail_units: 4_096,
            open_files: 16,
            index: Some(IndexShape { slots: 100, entries: 400 }),
            ..Config::new(root)
        }
    }

    /// What is wrong with the settings, if anything is.
    pub fn check(&self) -> Result<(), &'static str> {
        if !(4096..=1 << 31).contains(&self.segment_bytes) {
            return Err("a commit-log segment has 4 KiB to 2 GiB");
        }
        if self.queue_file_units == 0 {
            return Err("a queue file has at least one unit");
        }
        if self.index.is_some_and(|shape| !shape.is_possible()) {
            return Err("an index file has 1 to 100,000,000 slots and 2 to 100,000,000 entries");
        }
        if self.window_bytes < self.checkpoint_bytes.saturating_mul(2) || self.window_bytes < 16 * 1024 {
            return Err("the window has at least 16 KiB and twice the bytes between two checkpoints");
        }
        Ok(())
    }

    /// The most bytes that one [`super::Store::append`] may store.
    pub fn unit_bytes_max(&self) -> u64 {
        self.window_bytes / 2
    }
}

/// `1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h`.
const DELAY_LEVELS_MS: [i64; 18] = {
    const S: i64 = 1_000;
    const M: i64 = 60 * S;
    [
        S,
        5 * S,
        10 * S,
        30 * S,
        M,
        2 * M,
        3 * M,
        4 * M,
        5 * M,
        6 * M,
        7 * M,
        8 * M,
        9 * M,
        10 * M,
        20 * M,
        30 * M,
        60 * M,
        120 * M,
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the log's window, and a journal that is as long as it gets.
    const RECOVERY_READS_MAX: u64 = 128_000_000;

    #[test]
    fn the_defaults_bound_what_recovery_reads() {
        let config = Config::new("store");
        assert!(config.window_bytes + 2 * config.journal_bytes <= RECOVERY_READS_MAX);
    }
}

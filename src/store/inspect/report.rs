//! What a check found.

use std::path::PathBuf;

use serde::Serialize;

/// Findings kept in words; more are counted.
pub(super) const FINDINGS_MAX: usize = 200;

/// What is wrong with one place of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Damage {
    /// A segment has not the size, or not the name, of one.
    SegmentFile,
    /// There is no segment where the log goes on.
    Hole,
    /// The checkpoint counts on more log, or more queues, than there are.
    LogMissing,
    /// The checkpoint file is not as this store writes it.
    Checkpoint,
    /// No valid record stands where one was acknowledged.
    Record,
    /// Bytes behind the log's last valid record.
    Tail,
    /// Offsets of a queue without a record.
    Gap,
    /// A unit that is missing, or names something else than its record.
    Unit,
    /// A queue file that is missing, too short, or no queue file.
    QueueFile,
    /// A file of `config` that cannot be read.
    Table,
}

/// One place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    pub damage: Damage,
    pub path: PathBuf,
    /// A position of the log, or of a queue (an offset), by what `path` is.
    pub at: Option<u64>,
    pub what: String,
}

/// What a check read and found. Positions and sizes in bytes, times in milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub root: PathBuf,
    pub segment_bytes: u64,
    pub queue_file_bytes: u64,
    pub segments: u64,
    /// Where the log begins, and where its last valid record ends.
    pub first: u64,
    pub end: u64,
    pub records: u64,
    pub record_bytes: u64,
    /// Of the records: half messages and rolled-back ones, which have no place in a queue.
    pub unqueued: u64,
    /// Of the records: those of topics or queues that were removed.
    pub orphans: u64,
    pub oldest_stored_at: Option<i64>,
    pub newest_stored_at: Option<i64>,
    pub topics: u64,
    pub queues: u64,
    /// Units that were compared with their record.
    pub units: u64,
    /// Records behind the checkpoint whose unit is not in a file yet.
    pub units_to_come: u64,
    /// Offsets that a rebuild marked as having no message.
    pub known_gaps: u64,
    /// Where the checkpoint stands; `None` when there is none of this store's own.
    pub checkpoint: Option<u64>,
    /// The last process shut the store down.
    pub clean: bool,
    /// Tables of `config` that can be read.
    pub tables: u64,
    /// The first position of the log that is no valid record and should be one.
    pub first_invalid: Option<u64>,
    /// Bytes from the end of the log to the last one behind it that is not zero.
    pub torn_bytes: u64,
    /// What the next start does, step by step.
    pub recovery: Vec<String>,
    /// The next start is refused.
    pub refused: bool,
    pub findings: Vec<Finding>,
    /// Findings beyond those kept in words.
    pub more_findings: u64,
}

impl Report {
    /// Nothing is damaged. Work that a crash left to recovery is no damage.
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }

    /// True when a finding of this kind was made.
    pub fn has(&self, damage: Damage) -> bool {
        self.findings.iter().any(|finding| finding.damage == damage)
    }

    pub(super) fn add(&mut self, damage: Damage, path: PathBuf, at: Option<u64>, what: impl Into<String>) {
        if self.findings.len() < FINDINGS_MAX || !self.has(damage) {
            self.findings.push(Finding { damage, path, at, what: what.into() });
        } else {
            self.more_findings += 1;
        }
    }
}

//! Where each file of a store is, by RocketMQ's names.
//!
//! ```text
//! abort                                             exists while a process runs the store
//! lock                                              held by that process
//! checkpoint
//! commitlog/<20 digits: position of the first byte>
//! consumequeue/<topic>/<queue>/<20 digits: byte position of the first unit>
//! index/<17 digits: when the file was made>
//! queuejournal/<20 digits: log position>            ours alone: units that are in no queue file yet
//! queuejournal/<20 digits: log position>.queues     ours alone: where each queue ends in its files
//! ```

use std::path::Path;
use std::path::PathBuf;

use super::config::Config;
use super::unit::UNIT_BYTES;

#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) root: PathBuf,
    pub(super) commit_log: PathBuf,
    pub(super) consume_queue: PathBuf,
    pub(super) index: PathBuf,
    pub(super) journal: PathBuf,
    segment_bytes: u64,
    file_units: u64,
}

impl Layout {
    pub(super) fn new(config: &Config) -> Layout {
        Layout {
            root: config.root.clone(),
            commit_log: config.root.join("commitlog"),
            consume_queue: config.root.join("consumequeue"),
            index: config.root.join("index"),
            journal: config.root.join("queuejournal"),
            segment_bytes: config.segment_bytes,
            file_units: u64::from(config.queue_file_units),
        }
    }

    pub(super) fn abort(&self) -> PathBuf {
        self.root.join("abort")
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(super) fn checkpoint(&self) -> PathBuf {
        self.root.join("checkpoint")
    }

    /// The segment that holds position `at`.
    pub(super) fn segment(&self, at: u64) -> PathBuf {
        self.commit_log.join(twenty_digits(at - at % self.segment_bytes))
    }

    /// The journal file that begins at log position `at`.
    pub(super) fn journal_file(&self, at: u64) -> PathBuf {
        self.journal.join(twenty_digits(at))
    }

    pub(super) fn queue_table(&self, position: u64) -> PathBuf {
        self.journal.join(format!("{}.queues", twenty_digits(position)))
    }

    pub(super) fn topic_dir(&self, topic: &str) -> PathBuf {
        self.consume_queue.join(topic)
    }

    pub(super) fn queue_dir(&self, topic: &str, queue: u32) -> PathBuf {
        self.topic_dir(topic).join(queue.to_string())
    }

    /// The queue file that holds the unit of `offset`.
    pub(super) fn queue_file(&self, topic: &str, queue: u32, offset: u64) -> PathBuf {
        let first = offset - offset % self.file_units;
        self.queue_dir(topic, queue).join(twenty_digits(first * UNIT_BYTES as u64))
    }

    pub(super) fn index_file(&self, name: u64) -> PathBuf {
        self.index.join(format!("{name:017}"))
    }
}

fn twenty_digits(number: u64) -> String {
    format!("{number:020}")
}

/// The number that a file of the log or of a queue is named by, at most `i64::MAX` less the largest file; `None` for
/// any other name.
pub(super) fn number_of(name: &str) -> Option<u64> {
    const MAX: u64 = i64::MAX as u64 - (1 << 32);
    let digits = name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit());
    if digits { name.parse().ok().filter(|number| *number <= MAX) } else { None }
}

/// True for a name that cannot lead out of the directory it is in.
pub(super) fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && Path::new(name).components().count() == 1 && name != "." && name != ".."
}

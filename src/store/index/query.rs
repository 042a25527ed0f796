//! Looking messages up by key: chains of the index, youngest file first, then the records they name.
//!
//! An entry is a hint: two texts may have one number, and times are kept in seconds, from a beginning that may be off.
//! So each candidate's record is read and compared: topic, key, store time.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::book::Look;
use super::format::ENTRY_BYTES;
use super::format::Entry;
use super::format::Header;
use super::keys;
use super::keys::KeyKind;
use super::keys::TopicHash;
use crate::base::PhysicalOffset;
use crate::base::Timestamp;
use crate::base::limits::QUERY_BYTES_MAX;
use crate::base::limits::QUERY_MESSAGES_MAX;
use crate::protocol::record::RecordView;
use crate::store::ReadError;
use crate::store::core::Core;
use crate::store::open_files::FileTrouble;

/// How long a query waits for the index to catch up, in milliseconds.
pub(super) const WAIT_MS: u64 = 3_000;
/// Entries that one query looks at, at most: with so many of one number, what is older is not found.
const ENTRIES_MAX: u64 = 1_000_000;
/// After so many entries the thread is left to others.
const ENTRIES_A_TURN: u64 = 1_000;
/// Entries read at a time.
const BLOCK_ENTRIES: u32 = 200;
/// How far a clock may have gone back, in milliseconds, before an entry that seems too old ends a chain.
const CLOCK_SLACK_MS: i64 = 60_000;

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub struct KeyQuery<'a> {
    pub topic: &'a str,
    pub kind: KeyKind,
    pub key: &'a str,
    /// The youngest so many; [`QUERY_MESSAGES_MAX`] at most.
    pub max: usize,
    /// Stored at this time or later …
    pub begin: Timestamp,
    /// … and at this time or before.
    pub end: Timestamp,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFound {
    /// Whole stored records, in log order; no more than [`QUERY_BYTES_MAX`] bytes but for the first.
    pub records: Vec<Bytes>,
    /// The last message in the index, whatever its key.
    pub indexed: PhysicalOffset,
    pub indexed_at: Timestamp,
}

/// A walk along the chains.
#[derive(Default)]
struct Walk {
    found: BTreeMap<u64, Bytes>,
    bytes: usize,
    entries: u64,
    /// The block that was read last: file, number of its first entry, entries.
    block: Option<(u64, u32, Bytes)>,
}

impl Core {
    pub(in crate::store) async fn query(&self, query: KeyQuery<'_>) -> Result<KeyFound, ReadError> {
        let visible = {
            let state = self.state.lock();
            self.visible_end(&state)
        };
        if self.env.timeout_ms(WAIT_MS, self.index.reached(visible)).await.is_none() {
            self.env.probe("store.index_behind");
            tracing::warn!("the index is behind the log: messages may be missing from an answer");
        }
        let Some(files) = self.index.with_book(|book| book.files()) else { return Ok(KeyFound::default()) };
        let number = TopicHash::of(query.topic).number(query.kind, query.key);
        let max = query.max.min(QUERY_MESSAGES_MAX);
        let mut walk = Walk::default();
        for (name, header) in &files {
            let goes_on = max > 0 && self.walk(&mut walk, &query, *name, header, number, max).await?;
            if !goes_on || header.begin_at < query.begin.0.saturating_sub(CLOCK_SLACK_MS) {
                break;
            }
        }
        let newest = files.first().map(|(_, header)| *header).unwrap_or_default();
        Ok(KeyFound {
            records: walk.found.into_values().collect(),
            indexed: PhysicalOffset(newest.end),
            indexed_at: Timestamp(newest.end_at),
        })
    }

    /// Follows the chain of one file; false when nothing more is wanted.
    async fn walk(
        &self,
        walk: &mut Walk,
        query: &KeyQuery<'_>,
        name: u64,
        header: &Header,
        number: u32,
        max: usize,
    ) -> Result<bool, ReadError> {
        let mut next = self.youngest(name, number).await.map_err(read_error)?;
        while next != 0 {
            let Some(entry) = self.entry(walk, name, next).await.map_err(read_error)? else { break };
            walk.entries += 1;
            if walk.entries >= ENTRIES_MAX || entry.physical < self.state.lock().log.first {
                return Ok(false);
            }
            if walk.entries.is_multiple_of(ENTRIES_A_TURN) {
                self.env.aside(|| ()).await;
            }
            let stored_at = header.begin_at.saturating_add(i64::from(entry.seconds) * 1_000);
            // A file's first entry counts from another beginning, and a clock that went back counts as no time at all.
            let too_young = next > 1 && entry.seconds > 0 && stored_at > query.end.0;
            if entry.hash == number && !too_young && !walk.found.contains_key(&entry.physical) {
                self.consider(walk, query, entry.physical).await?;
            }
            if walk.found.len() >= max || walk.bytes >= QUERY_BYTES_MAX {
                return Ok(false);
            }
            if stored_at < query.begin.0.saturating_sub(CLOCK_SLACK_MS) || entry.previous >= next {
                break;
            }
            next = entry.previous;
        }
        Ok(true)
    }

    async fn consider(&self, walk: &mut Walk, query: &KeyQuery<'_>, physical: u64) -> Result<(), ReadError> {
        let Some(record) = self.view(PhysicalOffset(physical)).await? else { return Ok(()) };
        let wanted = RecordView::decode(&record).is_ok_and(|view| {
            view.topic == query.topic
                && (query.begin..=query.end).contains(&view.store_at)
                && keys::is_found_by(&view, query.kind, query.key)
        });
        if wanted && (walk.found.is_empty() || walk.bytes + record.len() <= QUERY_BYTES_MAX) {
            walk.bytes += record.len();
            walk.found.insert(physical, record);
        } else if wanted {
            walk.bytes = QUERY_BYTES_MAX;
        }
        Ok(())
    }

    /// The youngest entry under `number`; 0 for none.
    async fn youngest(&self, name: u64, number: u32) -> Result<u32, FileTrouble> {
        match self.index.with_book(|book| (book.youngest(name, number), book.shape())) {
            Some((Look::Here(entry), _)) => Ok(entry),
            Some((Look::InFile, shape)) => {
                let bytes = self.read_index(name, shape.slot_at(shape.slot_of(number)), 4).await?;
                Ok(bytes.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes)))
            }
            Some((Look::Gone, _)) | None => Ok(0),
        }
    }

    async fn entry(&self, walk: &mut Walk, name: u64, number: u32) -> Result<Option<Entry>, FileTrouble> {
        let shape = match self.index.with_book(|book| (book.entry(name, number), book.shape())) {
            Some((Look::Here(entry), _)) => return Ok(Some(entry)),
            Some((Look::InFile, shape)) => shape,
            Some((Look::Gone, _)) | None => return Ok(None),
        };
        // A chain goes back, and what stands before an entry that was written was written too.
        let held = walk.block.as_ref().filter(|(file, first, _)| *file == name && *first <= number);
        if held.is_none() {
            let first = (number + 1).saturating_sub(BLOCK_ENTRIES).max(1);
            let count = (number + 1 - first) as usize;
            let bytes = self.read_index(name, shape.entry_at(first), count * ENTRY_BYTES).await?;
            walk.block = Some((name, first, bytes));
        }
        let entry = walk.block.as_ref().and_then(|(_, first, bytes)| {
            let at = (number - first) as usize * ENTRY_BYTES;
            bytes.get(at..at + ENTRY_BYTES).map(Entry::decode)
        });
        Ok(entry)
    }
}

fn read_error(trouble: FileTrouble) -> ReadError {
    ReadError::Io { path: trouble.path, error: trouble.error }
}

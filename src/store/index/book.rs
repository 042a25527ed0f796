//! The index in memory: which files there are, the slots of those that still grow, the entries not written yet.
//!
//! ```text
//!  sealed file      sealed file      growing file
//! |slots|entries|  |slots|entries|  |.....|entries| tail      slots of a growing file and its tail: here
//!                                         written ^     ^ header
//! ```
//!
//! Entries go in log order; a full file is followed by a new one, in the middle of a message's keys if need be. A file
//! is sealed once it is full and written: its slots are then read from it. Not here: any input or output.

use std::collections::VecDeque;

use bytes::Bytes;
use bytes::BytesMut;

use super::format::ENTRY_BYTES;
use super::format::Entry;
use super::format::Header;
use super::format::IndexShape;
use super::format::Slots;
use super::mark::Mark;
use super::name;
use crate::base::Timestamp;

/// A message and the hashes of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keyed<'a> {
    pub(super) physical: u64,
    pub(super) store_at: i64,
    pub(super) hashes: &'a [u32],
}

pub(super) struct Book {
    shape: IndexShape,
    files: VecDeque<Growing>,
    /// Names of new files are above.
    last_name: u64,
    /// Every message below has its entries here.
    position: u64,
    /// So many keys of the message at this position have their entries already.
    done: Option<(u64, usize)>,
}

/// One file, growing or sealed.
pub(super) struct Growing {
    pub(super) name: u64,
    /// As of the last entry.
    pub(super) header: Header,
    /// As of the last entry in the file.
    pub(super) written: Header,
    /// `None` once sealed.
    slots: Option<Slots>,
    tail: VecDeque<Tail>,
}

struct Tail {
    entry: Entry,
    store_at: i64,
    opens_slot: bool,
}

/// Entries to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) name: u64,
    /// The file does not exist yet.
    pub(super) is_first: bool,
    pub(super) at: u64,
    pub(super) bytes: Bytes,
    pub(super) entries: usize,
}

/// Where a slot or an entry is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look<T> {
    Here(T),
    InFile,
    /// There is no such thing (any more).
    Gone,
}

impl Book {
    /// New files get names above `last_name`.
    pub(super) fn new(shape: IndexShape, last_name: u64) -> Book {
        Book { shape, files: VecDeque::new(), last_name, position: 0, done: None }
    }

    pub(super) fn shape(&self) -> IndexShape {
        self.shape
    }

    /// Takes a file that was found on disk; the last one comes with its slots.
    pub(super) fn load(&mut self, name: u64, header: Header, slots: Option<Slots>) {
        assert!(self.files.back().is_none_or(|last| last.name < name), "files are loaded in order");
        self.files.push_back(Growing { name, header, written: header, slots, tail: VecDeque::new() });
    }

    /// Goes on at `position`, where `done` keys of the message have their entries.
    pub(super) fn resume(&mut self, position: u64, done: usize) {
        self.position = position;
        self.done = (done > 0).then_some((position, done));
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn move_to(&mut self, position: u64) {
        assert!(position >= self.position, "an index goes forward");
        self.position = position;
    }

    /// `now` names a new file, should one be needed.
    pub(super) fn take(&mut self, message: Keyed<'_>, now: Timestamp) {
        assert!(message.physical >= self.position, "no message is indexed twice");
        let done = self.done.take().filter(|(position, _)| *position == message.physical);
        for hash in message.hashes.iter().skip(done.map_or(0, |(_, keys)| keys)) {
            self.push(*hash, message, now);
        }
    }

    fn push(&mut self, hash: u32, message: Keyed<'_>, now: Timestamp) {
        let shape = self.shape;
        if self.files.back().is_none_or(|last| last.is_full(shape)) {
            let last = self.files.back();
            let name = name::next(last.map_or(self.last_name, |last| last.name), now);
            let header = Header::behind(last.map(|last| &last.header));
            let slots = Some(Slots::new(shape));
            self.files.push_back(Growing { name, header, written: header, slots, tail: VecDeque::new() });
        }
        let file = self.files.back_mut().expect("there is a file with room");
        let slots = file.slots.as_mut().expect("a file with room is not sealed");
        let previous = slots.push(shape.slot_of(hash), file.header.count);
        let seconds = file.header.seconds_of(message.store_at);
        let entry = Entry { hash, physical: message.physical, seconds, previous };
        let opens_slot = previous == 0;
        file.header.take(message.physical, message.store_at, opens_slot);
        file.tail.push_back(Tail { entry, store_at: message.store_at, opens_slot });
        assert!(file.header.count <= shape.entries, "a full file takes no entry");
    }

    /// Entries in memory of messages below `durable`, at most `at_most` of one file; oldest first.
    pub(super) fn next_batch(&self, durable: u64, at_most: usize) -> Option<Batch> {
        let file = self.files.iter().find(|file| !file.tail.is_empty())?;
        let mut bytes = BytesMut::new();
        for tail in file.tail.iter().take(at_most).take_while(|tail| tail.entry.physical < durable) {
            tail.entry.put(&mut bytes);
        }
        let entries = bytes.len() / ENTRY_BYTES;
        (entries > 0).then(|| Batch {
            name: file.name,
            is_first: file.written.count == 1,
            at: self.shape.entry_at(file.written.count),
            bytes: bytes.freeze(),
            entries,
        })
    }

    /// The batch is in its file.
    pub(super) fn written(&mut self, batch: &Batch) {
        let Some(file) = self.files.iter_mut().find(|file| file.name == batch.name) else { return };
        for _ in 0..batch.entries {
            let tail = file.tail.pop_front().expect("a batch was in the tail");
            file.written.take(tail.entry.physical, tail.store_at, tail.opens_slot);
        }
    }

    /// Entries in memory only.
    pub(super) fn tail_entries(&self) -> usize {
        self.files.iter().map(|file| file.tail.len()).sum()
    }

    /// The file's slots as bytes, if it has all its entries and is not sealed; or whatever it has, to be closed.
    pub(super) fn slot_image(&self, name: u64, closing: bool) -> Option<Vec<(u64, Bytes)>> {
        let file = self.file(name)?;
        let complete = file.tail.is_empty() && (closing || file.is_full(self.shape));
        file.slots.as_ref().filter(|_| complete).map(|slots| slots.image(self.shape))
    }

    /// A file to be sealed, with the header it gets.
    pub(super) fn next_to_seal(&self) -> Option<(u64, Header)> {
        let complete =
            |file: &&Growing| file.slots.is_some() && file.tail.is_empty() && file.is_full(self.shape);
        self.files.iter().find(complete).map(|file| (file.name, file.written))
    }

    pub(super) fn sealed(&mut self, name: u64) {
        let shape = self.shape;
        if let Some(file) = self.files.iter_mut().find(|file| file.name == name) {
            assert!(file.is_full(shape) && file.tail.is_empty(), "only a full and written file is sealed");
            file.slots = None;
        }
    }

    /// The last file that exists on disk, with the header it should have.
    pub(super) fn last_on_disk(&self) -> Option<(u64, Header)> {
        let file = self.files.iter().rfind(|file| file.written.count > 1)?;
        Some((file.name, file.written))
    }

    /// What a checkpoint at `durable` may say.
    pub(super) fn mark(&self, durable: u64) -> Mark {
        let unwritten = self.files.iter().find_map(|file| file.tail.front());
        let position = self.position.min(durable);
        let position = unwritten.map_or(position, |tail| position.min(tail.entry.physical));
        let (name, last) = self.last_on_disk().unzip();
        let (count, store_at) = last.map_or((0, 0), |header| (header.count, header.end_at));
        Mark { position, name: name.unwrap_or(0), count, store_at }
    }

    /// Forgets the oldest file if the log no longer has what it names. The last file stays.
    pub(super) fn drop_below(&mut self, first: u64) -> Option<u64> {
        let oldest = self.files.front()?;
        if self.files.len() < 2 || oldest.slots.is_some() || oldest.header.end >= first {
            return None;
        }
        self.files.pop_front().map(|file| file.name)
    }

    /// Name and header of each file, youngest first.
    pub(super) fn files(&self) -> Vec<(u64, Header)> {
        self.files.iter().rev().map(|file| (file.name, file.header)).collect()
    }

    /// The youngest entry of the slot of `hash`.
    pub(super) fn youngest(&self, name: u64, hash: u32) -> Look<u32> {
        match self.file(name).map(|file| &file.slots) {
            None => Look::Gone,
            Some(None) => Look::InFile,
            Some(Some(slots)) => Look::Here(slots.youngest(self.shape.slot_of(hash))),
        }
    }

    pub(super) fn entry(&self, name: u64, number: u32) -> Look<Entry> {
        let Some(file) = self.file(name) else { return Look::Gone };
        if number == 0 || number >= file.header.count {
            return Look::Gone;
        }
        let Some(index) = number.checked_sub(file.written.count) else { return Look::InFile };
        file.tail.get(index as usize).map_or(Look::Gone, |tail| Look::Here(tail.entry))
    }

    fn file(&self, name: u64) -> Option<&Growing> {
        self.files.iter().find(|file| file.name == name)
    }
}

impl Growing {
    fn is_full(&self, shape: IndexShape) -> bool {
        self.header.count >= shape.entries
    }
}

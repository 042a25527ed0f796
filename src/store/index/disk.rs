//! Index files on disk: opening, writing, sealing, removing.
//!
//! A header is written only after everything it counts was synced, and each header after a sync of the file that began
//! behind the last one: so a header that is found after a crash tells the truth about the entries, whichever pages were
//! lost. It tells nothing about slots: those of the last file are computed from its entries, whatever stands there.
//! Files before the last were sealed (entries and slots synced, then the header) before the next one was created.
//!
//! What contradicts this, or the log, is removed together with everything behind it, and built again from the log:
//! a file of another size, a header that no broker writes or that its first and last entry contradict, an end beyond the
//! log, a file before the last that is not full, in the last one positions or chains out of order. So is everything, if
//! another program left the store in disorder.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::book::Book;
use super::format::ENTRY_BYTES;
use super::format::Entry;
use super::format::HEADER_BYTES;
use super::format::Header;
use super::format::IndexShape;
use super::format::Slots;
use super::name;
use crate::env::Access;
use crate::store::core::Core;
use crate::store::open_files::FileTrouble;
use crate::store::planted;

/// Entries written or read at a time.
const BATCH_ENTRIES: usize = 32 * 1024;
/// More keys than a message can have.
const KEYS_MAX: u32 = 32 * 1024;

/// The entries of a file, checked one after the other.
struct Check {
    slots: Slots,
    /// The number of the next entry.
    next: u32,
    first: Option<u64>,
    last: u64,
    damaged: bool,
}

impl Check {
    fn new(shape: IndexShape) -> Check {
        Check { slots: Slots::new(shape), next: 1, first: None, last: 0, damaged: false }
    }

    fn take(&mut self, shape: IndexShape, bytes: &[u8]) {
        for entry in Entry::decode_all(bytes) {
            let previous = self.slots.push(shape.slot_of(entry.hash), self.next);
            self.damaged |= entry.previous != previous || entry.physical < self.last || entry.seconds < 0;
            self.first.get_or_insert(entry.physical);
            (self.last, self.next) = (entry.physical, self.next + 1);
        }
    }

    /// The slots, if the entries are those that `header` speaks of.
    fn slots_of(self, header: &Header) -> Option<Slots> {
        let fits = self.next == header.count && self.first == Some(header.begin) && self.last == header.end;
        (fits && !self.damaged).then_some(self.slots)
    }
}

impl Core {
    /// Takes what is on disk, removes what cannot be believed, and says where building goes on.
    pub(super) async fn open_index(&self, shape: IndexShape) -> Result<Book, FileTrouble> {
        let dir = &self.layout.index;
        let trouble = |action, path: &Path| FileTrouble::new(action, path);
        self.env.disk.create_dir_all(dir).await.map_err(trouble("create", dir))?;
        self.env.disk.sync_dir(&self.layout.root).await.map_err(trouble("sync", &self.layout.root))?;
        let (first, end) = {
            let state = self.state.lock();
            (state.log.first, state.durable)
        };
        let entries = self.env.disk.list(dir).await.map_err(trouble("list", dir))?;
        let mut names: Vec<(u64, u64)> =
            entries.iter().filter_map(|entry| Some((name::parse(&entry.name)?, entry.len))).collect();
        names.sort_unstable();
        let mut files =
            if self.index.trusts_files() { self.believable(shape, &names, end).await? } else { Vec::new() };
        let mut slots = None;
        while let Some((name, header)) = files.last() {
            slots = self.check_entries(shape, *name, header).await?;
            if slots.is_some() {
                break;
            }
            files.pop();
        }
        self.remove_files(names.iter().skip(files.len()).map(|(name, _)| *name)).await?;
        // Also above the name that the mark speaks of: it must not be taken for what it was.
        let mut book = Book::new(shape, self.index.mark().name);
        let last = files.last().copied();
        for (name, header) in &files {
            book.load(*name, *header, slots.take_if(|_| last.is_some_and(|(last, _)| last == *name)));
        }
        let (position, done) = self.resume_at(shape, &files).await?;
        book.resume(position.clamp(first, end), if position >= first { done } else { 0 });
        if position < end {
            tracing::info!("indexing the commit log from {position:#x} to {end:#x}");
        }
        Ok(book)
    }

    /// The files up to the first that cannot be what its place says, by size, header, first and last entry.
    async fn believable(
        &self,
        shape: IndexShape,
        names: &[(u64, u64)],
        end: u64,
    ) -> Result<Vec<(u64, Header)>, FileTrouble> {
        let mut files: Vec<(u64, Header)> = Vec::new();
        for (at, (name, len)) in names.iter().enumerate() {
            if *len != shape.file_bytes() {
                break;
            }
            let head = self.read_index(*name, 0, HEADER_BYTES).await?;
            let last = at + 1 == names.len();
            let after = files.last().map_or(0, |(_, before)| before.end);
            let believable = Header::decode(&head).filter(|header| {
                let full = header.count == shape.entries;
                header.count <= shape.entries && (last || full) && header.begin >= after && header.end < end
            });
            let Some(header) = believable else { break };
            let mut ends = [0; 2];
            for (end, number) in ends.iter_mut().zip([1, header.count - 1]) {
                let bytes = self.read_index(*name, shape.entry_at(number), ENTRY_BYTES).await?;
                *end = Entry::decode(&bytes).physical;
            }
            if ends != [header.begin, header.end] {
                break;
            }
            files.push((*name, header));
        }
        Ok(files)
    }

    async fn check_entries(
        &self,
        shape: IndexShape,
        name: u64,
        header: &Header,
    ) -> Result<Option<Slots>, FileTrouble> {
        let mut check = Check::new(shape);
        while check.next < header.count && !check.damaged {
            let count = ((header.count - check.next) as usize).min(BATCH_ENTRIES);
            let bytes = self.read_index(name, shape.entry_at(check.next), count * ENTRY_BYTES).await?;
            if bytes.len() < count * ENTRY_BYTES {
                return Ok(None);
            }
            let checked = self.env.aside(move || {
                check.take(shape, &bytes);
                check
            });
            let Some(checked) = checked.await else { return Ok(None) };
            check = checked;
        }
        let slots = check.slots_of(header);
        if slots.is_none() {
            let path = self.layout.index_file(name);
            tracing::warn!("{} is damaged: its messages are indexed again", path.display());
            self.env.probe("store.index_damaged");
        }
        Ok(slots)
    }

    /// Where the first message is that the files lack, and how many of its keys they have.
    async fn resume_at(
        &self,
        shape: IndexShape,
        files: &[(u64, Header)],
    ) -> Result<(u64, usize), FileTrouble> {
        let mark = self.index.mark();
        let last = files.last().map_or((0, 0), |(name, header)| (*name, header.count));
        if last == (mark.name, mark.count) {
            return Ok((mark.position, 0));
        }
        let Some((_, Header { end, .. })) = files.last() else { return Ok((0, 0)) };
        let mut done = 0;
        for (name, header) in files.iter().rev() {
            let from = header.count.saturating_sub(KEYS_MAX).max(1);
            let count = (header.count - from) as usize;
            let bytes = self.read_index(*name, shape.entry_at(from), count * ENTRY_BYTES).await?;
            let entries: Vec<Entry> = Entry::decode_all(&bytes).collect();
            let same = entries.iter().rev().take_while(|entry| entry.physical == *end).count();
            done += same;
            if same < entries.len() {
                break;
            }
        }
        Ok((*end, done))
    }

    /// Brings the entries of messages below `durable` into their files and seals those that are full. The caller holds
    /// `writing`.
    pub(super) async fn write_index(&self, durable: u64) -> Result<(), FileTrouble> {
        loop {
            while let Some((name, header)) = self.index.with_book(|book| book.next_to_seal()).flatten() {
                self.write_slots(name, header, false).await?;
                self.index.with_book(|book| book.sealed(name));
                self.env.probe("store.index_sealed");
            }
            let batch = self.index.with_book(|book| book.next_batch(durable, BATCH_ENTRIES)).flatten();
            let Some(batch) = batch else { return Ok(()) };
            let path = self.layout.index_file(batch.name);
            let trouble = |action| FileTrouble::new(action, &path);
            let access = if batch.is_first { Access::Create } else { Access::Write };
            let file = self.files.open(&path, access).await.map_err(trouble("open"))?;
            if batch.is_first {
                let len = self.index.with_book(|book| book.shape().file_bytes()).unwrap_or_default();
                file.set_len(len).await.map_err(trouble("extend"))?;
                let dir = &self.layout.index;
                self.env.disk.sync_dir(dir).await.map_err(FileTrouble::new("sync", dir))?;
            }
            file.write_at(batch.at, batch.bytes.clone()).await.map_err(trouble("write"))?;
            self.index.with_book(|book| book.written(&batch));
        }
    }

    /// Writes slots and header of a file that has all its entries for now.
    async fn write_slots(&self, name: u64, header: Header, closing: bool) -> Result<(), FileTrouble> {
        let path = self.layout.index_file(name);
        let trouble = |action| FileTrouble::new(action, &path);
        let index = Arc::clone(&self.index.shared);
        let image = self.env.aside(move || index.lock().slot_image(name, closing)).await.flatten();
        let file = self.files.open(&path, Access::Write).await.map_err(trouble("open"))?;
        for (at, bytes) in image.unwrap_or_default() {
            file.write_at(at, bytes).await.map_err(trouble("write"))?;
        }
        self.write_header(name, header).await?;
        file.sync().await.map_err(trouble("sync"))
    }

    /// Makes durable what `header` counts, then writes it.
    async fn write_header(&self, name: u64, header: Header) -> Result<(), FileTrouble> {
        let path = self.layout.index_file(name);
        let trouble = |action| FileTrouble::new(action, &path);
        let file = self.files.open(&path, Access::Write).await.map_err(trouble("open"))?;
        file.sync().await.map_err(trouble("sync"))?;
        let bytes = Bytes::copy_from_slice(&header.encode());
        file.write_at(0, bytes).await.map_err(trouble("write"))?;
        self.index.note_header(name, header);
        Ok(())
    }

    /// Brings what is indexed of the log below `position` into the files, as far as the next checkpoint may say. What
    /// fails here is told and tried again later: messages do not depend on it.
    pub(in crate::store) async fn checkpoint_index(&self, position: u64) {
        let _alone = self.index.writing.lock().await;
        let outcome = async {
            if self.env.planted(planted::INDEX_MARK_AHEAD) {
                return Ok(());
            }
            self.write_index(position).await?;
            let last = self.index.with_book(|book| book.last_on_disk()).flatten();
            match last.filter(|(name, header)| self.index.lacks_header(*name, *header)) {
                Some((name, header)) => self.write_header(name, header).await,
                None => Ok(()),
            }
        };
        match outcome.await {
            Ok(()) if self.env.planted(planted::INDEX_MARK_AHEAD) => self.index.set_mark_ahead(position),
            Ok(()) => self.index.set_mark(position),
            Err(trouble) => self.index_failed(&trouble),
        }
    }

    /// Leaves the last file as another program expects it, with its slots.
    pub(in crate::store) async fn close_index(&self) {
        let _alone = self.index.writing.lock().await;
        let last = self.index.with_book(|book| book.last_on_disk()).flatten();
        let Some((name, header)) = last else { return };
        if let Err(trouble) = self.write_slots(name, header, true).await {
            self.index_failed(&trouble);
        }
    }

    /// Removes the files of messages that the log, which begins at `first` now, no longer has.
    pub(in crate::store) async fn drop_index_below(&self, first: u64) -> Result<u64, FileTrouble> {
        let _alone = self.index.writing.lock().await;
        let mut dropped = Vec::new();
        while let Some(name) = self.index.with_book(|book| book.drop_below(first)).flatten() {
            dropped.push(name);
        }
        let count = dropped.len() as u64;
        self.remove_files(dropped.into_iter()).await?;
        Ok(count)
    }

    async fn remove_files(&self, names: impl DoubleEndedIterator<Item = u64>) -> Result<(), FileTrouble> {
        let mut removed = false;
        // The last one first: a crash leaves no gap.
        for name in names.rev() {
            let path = self.layout.index_file(name);
            self.files.forget(&path);
            self.env.disk.remove(&path).await.map_err(FileTrouble::new("remove", &path))?;
            removed = true;
        }
        if removed {
            let dir = &self.layout.index;
            self.env.disk.sync_dir(dir).await.map_err(FileTrouble::new("sync", dir))?;
        }
        Ok(())
    }

    pub(super) async fn read_index(&self, name: u64, at: u64, len: usize) -> Result<Bytes, FileTrouble> {
        let path: PathBuf = self.layout.index_file(name);
        let file = match self.files.open(&path, Access::Write).await {
            // Retention was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Bytes::new()),
            opened => opened.map_err(FileTrouble::new("open", &path))?,
        };
        file.read_at(at, len).await.map_err(FileTrouble::new("read", &path))
    }
}

//! The journal of queue units: what checkpoints write instead of every queue's file.
//!
//! ```text
//! queuejournal/<20 digits: log position where the file begins>     one block for each checkpoint
//!
//!  0 u8 "SFJRNL02"    8 u4 bytes of the block     12 u4 CRC-32 of what follows
//! 16 u8 from         24 u8 to                     32 u8 limit: nothing was ever written at or above it
//! 40 i8 store time of the last message below `to`, in ms
//! 48 u4 names        52 u4 units
//! 56 each name: u4 number, u4 queue, u2 bytes of the topic, the topic
//!    each unit, numbers in LEB128 (DWARF 5, 7.6), signed ones in zigzag: number of a name of this file; queue offset, as
//!    distance from what follows the block's last unit of this name, or from 0; position, as distance from the end of the
//!    block's last unit, or from `from`; size; tags code
//! ```
//!
//! Where one message follows the other, a unit takes six bytes, twelve with a tag: recovery reads the journal.
//!
//! Blocks are a chain: each begins where the one before it ends, over all files. What is behind the last one that is
//! whole is the log's to tell. A file is dropped when the units of all its blocks are durable in queue files.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use fixedbitset::FixedBitSet;

use super::layout::Layout;
use super::open_files::FileTrouble;
use super::planted;
use super::queues::Queue;
use super::queues::Queues;
use super::unit::Unit;
use crate::base::FastMap;
use crate::env::Access;
use crate::env::Env;
use crate::env::File;

const MAGIC: &[u8; 8] = b"SFJRNL02";
const HEAD_BYTES: usize = 56;
/// A unit has five numbers.
const UNIT_BYTES_LEAST: usize = 5;

/// A message's place in its queue, from the append until a checkpoint has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) slot: u32,
    pub(super) offset: u64,
    pub(super) unit: Unit,
}

/// What a block vouches for: everything below `to` is durable, in the log, and here or in queue files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) limit: u64,
    pub(super) store_at: i64,
}

/// A file of the journal: the log that its blocks are about, and its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JournalFile {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) bytes: u64,
}

/// The files, and where the next block goes.
pub(super) struct Journal {
    env: Env,
    layout: Layout,
    /// The last one of `files`, if blocks are added to it; otherwise the next block begins one.
    open: Option<Arc<dyn File>>,
    files: Vec<JournalFile>,
    /// Slots whose names the file has.
    named: FixedBitSet,
    /// Slots that have a unit in the block; kept, as every block needs as much.
    met: FixedBitSet,
}

impl Journal {
    pub(super) fn new(env: &Env, layout: &Layout, files: Vec<JournalFile>) -> Journal {
        let (named, met) = (FixedBitSet::new(), FixedBitSet::new());
        Journal { env: env.clone(), layout: layout.clone(), open: None, files, named, met }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// The next block begins a file.
    pub(super) fn rotate(&mut self) {
        self.open = None;
        self.named.clear();
    }

    /// Adds a block, durably. After an error the next block begins a file.
    pub(super) async fn append(&mut self, span: Span, block: Bytes) -> Result<(), FileTrouble> {
        let bytes = block.len() as u64;
        let outcome = self.add(span, block).await;
        match (&outcome, self.files.last_mut()) {
            (Ok(()), Some(file)) => {
                file.end = span.to;
                file.bytes += bytes;
            }
            _ => self.rotate(),
        }
        outcome
    }

    async fn add(&mut self, span: Span, block: Bytes) -> Result<(), FileTrouble> {
        let (file, at, is_new) = match (&self.open, self.files.last()) {
            (Some(file), Some(last)) => (Arc::clone(file), last.bytes, false),
            _ => (self.create(span.from).await?, 0, true),
        };
        let path = self.path();
        file.write_at(at, block).await.map_err(FileTrouble::new("write", &path))?;
        self.env.probe("store.journal_written");
        file.sync().await.map_err(FileTrouble::new("sync", &path))?;
        if is_new && !self.env.planted(planted::NO_DIR_SYNC) {
            let dir = &self.layout.journal;
            self.env.disk.sync_dir(dir).await.map_err(FileTrouble::new("sync", dir))?;
        }
        self.open = Some(file);
        Ok(())
    }

    /// A file of this name can only be one whose first block was not written to its end.
    async fn create(&mut self, start: u64) -> Result<Arc<dyn File>, FileTrouble> {
        self.files.retain(|file| file.start < start);
        self.files.push(JournalFile { start, end: start, bytes: 0 });
        let path = self.path();
        let file = self.env.disk.open(&path, Access::Create).await;
        let file = file.map_err(FileTrouble::new("create", &path))?;
        file.set_len(0).await.map_err(FileTrouble::new("cut", &path))?;
        Ok(file)
    }

    fn path(&self) -> PathBuf {
        self.layout.journal_file(self.files.last().map_or(0, |file| file.start))
    }

    /// Removes the files that end at or below `position`: their units are durable in queue files. A crash may bring a
    /// file back; its blocks are passed over then.
    pub(super) async fn drop_below(&mut self, position: u64) -> Result<(), FileTrouble> {
        while let Some(file) = self.files.first().copied().filter(|file| file.end <= position) {
            if self.files.len() == 1 {
                self.rotate();
            }
            let path = self.layout.journal_file(file.start);
            match self.env.disk.remove(&path).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(FileTrouble::new("remove", &path)(error));
                }
                _ => self.files.remove(0),
            };
        }
        Ok(())
    }

    /// A block of `entries`, in log order, those of a queue one after the other. It goes into the present file, which has
    /// the names of all blocks before.
    pub(super) fn block<'a>(
        &mut self,
        span: Span,
        entries: impl Iterator<Item = &'a Entry>,
        queues: &Queues,
    ) -> Bytes {
        let slots = queues.slots() as usize;
        self.named.grow(slots);
        self.met.clear();
        self.met.grow(slots);
        let mut names = Vec::new();
        let mut units = Vec::new();
        let mut position = span.from;
        let (mut name_count, mut unit_count) = (0u32, 0u32);
        for entry in entries {
            let Entry { slot, offset, unit } = *entry;
            if queues.is_dead(slot) {
                continue;
            }
            if !self.named.put(slot as usize) {
                name_count += 1;
                put_name(slot, queues.get(slot), &mut names);
            }
            unit_count += 1;
            let distance = if self.met.put(slot as usize) { 0 } else { offset as i64 };
            for number in [
                u64::from(slot),
                zigzag(distance),
                unit.physical.wrapping_sub(position),
                u64::from(unit.size),
                zigzag(unit.tags_code),
            ] {
                put_number(number, &mut units);
            }
            position = end_of(unit);
        }
        finish(span, [(name_count, names), (unit_count, units)])
    }
}

fn put_name(slot: u32, queue: &Queue, out: &mut Vec<u8>) {
    out.extend_from_slice(&slot.to_be_bytes());
    out.extend_from_slice(&queue.id.to_be_bytes());
    let topic = queue.topic.as_bytes();
    out.extend_from_slice(&(topic.len() as u16).to_be_bytes());
    out.extend_from_slice(topic);
}

/// Head and parts: names and units, each with how many there are.
fn finish(span: Span, parts: [(u32, Vec<u8>); 2]) -> Bytes {
    let len = HEAD_BYTES + parts.iter().map(|(_, part)| part.len()).sum::<usize>();
    let mut block = Vec::with_capacity(len);
    block.extend_from_slice(MAGIC);
    block
        .extend_from_slice(&u32::try_from(len).expect("a window has less than 4 GiB of units").to_be_bytes());
    block.extend_from_slice(&[0; 4]);
    for word in [span.from, span.to, span.limit, span.store_at as u64] {
        block.extend_from_slice(&word.to_be_bytes());
    }
    for (count, _) in &parts {
        block.extend_from_slice(&count.to_be_bytes());
    }
    for (_, part) in &parts {
        block.extend_from_slice(part);
    }
    let crc = crc32fast::hash(block.get(16..).unwrap_or_default()).to_be_bytes();
    for (to, from) in block.iter_mut().skip(12).zip(crc) {
        *to = from;
    }
    Bytes::from(block)
}

/// A block as read back: names and units of this file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block<'a> {
    pub(super) span: Span,
    pub(super) bytes: usize,
    /// Number, topic, queue.
    pub(super) names: Vec<(u32, &'a str, u32)>,
    /// With the name's number as slot.
    pub(super) units: Vec<Entry>,
}

impl<'a> Block<'a> {
    /// The block that `bytes` begin with; `None` when that is no whole block.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Block<'a>> {
        let mut head = Reader(bytes);
        if head.take(8)? != MAGIC {
            return None;
        }
        let len = head.u32()? as usize;
        let crc = head.u32()?;
        let block = bytes.get(..len)?;
        if crc32fast::hash(block.get(16..)?) != crc {
            return None;
        }
        let mut rest = Reader(block.get(16..)?);
        let span =
            Span { from: rest.u64()?, to: rest.u64()?, limit: rest.u64()?, store_at: rest.u64()? as i64 };
        let (name_count, unit_count) = (rest.u32()?, rest.u32()?);
        let mut names = Vec::new();
        for _ in 0..name_count {
            let (number, queue) = (rest.u32()?, rest.u32()?);
            let len = usize::from(u16::from_be_bytes(*rest.take(2)?.first_chunk()?));
            names.push((number, std::str::from_utf8(rest.take(len)?).ok()?, queue));
        }
        let mut follows = Units { offsets: FastMap::default(), position: span.from };
        // Of a stranger's count, no more than the bytes can hold.
        let mut units = Vec::with_capacity((unit_count as usize).min(rest.0.len() / UNIT_BYTES_LEAST));
        for _ in 0..unit_count {
            units.push(follows.take(&mut rest)?);
        }
        rest.0.is_empty().then_some(Block { span, bytes: len, names, units })
    }
}

/// The inverse of what [`Journal::block`] makes of units.
struct Units {
    /// What follows the last unit of each slot.
    offsets: FastMap<u32, u64>,
    position: u64,
}

impl Units {
    fn take(&mut self, from: &mut Reader<'_>) -> Option<Entry> {
        let slot = u32::try_from(from.number()?).ok()?;
        let distance = unzigzag(from.number()?) as u64;
        let physical = self.position.wrapping_add(from.number()?);
        let size = u32::try_from(from.number()?).ok()?;
        let unit = Unit { physical, size, tags_code: unzigzag(from.number()?) };
        self.position = end_of(unit);
        let follows = self.offsets.entry(slot).or_default();
        let offset = follows.wrapping_add(distance);
        *follows = offset.wrapping_add(1);
        Some(Entry { slot, offset, unit })
    }
}

/// As [`Unit::end`], of any numbers.
fn end_of(unit: Unit) -> u64 {
    unit.physical.wrapping_add(u64::from(unit.size))
}

/// A number in seven bits a byte, lowest first; all bytes but the last have the highest bit.
fn put_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// As [`put_number`] wrote it.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = u64::from(*self.take(1)?.first()?);
            number |= (byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(*self.take(4)?.first_chunk()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(*self.take(8)?.first_chunk()?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::Config;

    fn journal() -> Journal {
        Journal::new(&crate::env::real::env(), &Layout::new(&Config::new("store")), Vec::new())
    }

    proptest! {
        #[test]
        fn a_block_is_read_back_or_not_at_all(
            places in prop::collection::vec((0u32..5, any::<u64>(), any::<u32>(), any::<i64>()), 0..40),
            firsts in prop::array::uniform5(0u64..1 << 62),
            cut in any::<prop::sample::Index>(),
            flip in 0u8..8,
        ) {
            let mut queues = Queues::default();
            let mut offsets = firsts;
            let entries: Vec<Entry> = places
                .into_iter()
                .map(|(id, physical, size, tags_code)| {
                    let slot = queues.slot_or_create(&Arc::from(format!("t{}", id % 2).as_str()), id);
                    let next = &mut offsets[id as usize];
                    *next += 1;
                    Entry { slot, offset: *next - 1, unit: Unit { physical, size, tags_code } }
                })
                .collect();
            let span = Span { from: 7, to: 9, limit: 11, store_at: -3 };
            let mut journal = journal();
            let bytes = journal.block(span, entries.iter(), &queues);
            let block = Block::decode(&bytes).unwrap();
            prop_assert_eq!(block.span, span);
            prop_assert_eq!(&block.units, &entries);
            for (number, topic, id) in &block.names {
                prop_assert_eq!(queues.find_slot(topic, *id), Some(*number));
            }
            // Names stand in the first block of a file only.
            let again = journal.block(span, entries.iter(), &queues);
            let again = Block::decode(&again).unwrap();
            prop_assert!(again.names.is_empty());
            prop_assert_eq!(&again.units, &entries);
            journal.rotate();
            prop_assert_eq!(journal.block(span, entries.iter(), &queues), bytes.clone());

            let at = cut.index(bytes.len());
            prop_assert_eq!(Block::decode(&bytes[..at]), None);
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1 << flip;
            prop_assert_eq!(Block::decode(&damaged), None);
        }
    }

    #[test]
    fn a_unit_of_a_row_takes_six_bytes() {
        let mut queues = Queues::default();
        let slot = queues.slot_or_create(&Arc::from("t"), 0);
        let entry = |at: u64| Entry {
            slot,
            offset: 1_000_000 + at,
            unit: Unit { physical: 5_000_000 + 1_126 * at, size: 1_126, tags_code: 0 },
        };
        let span = Span { from: 5_000_000, to: 6_126_000, limit: 7_000_000, store_at: 1 };
        let entries: Vec<Entry> = (0..1_000).map(entry).collect();
        let bytes = journal().block(span, entries.iter(), &queues);
        let name = 11;
        let first_offset = 2;
        assert_eq!(bytes.len(), HEAD_BYTES + name + 6 * entries.len() + first_offset);
    }

    #[test]
    fn numbers_have_at_most_ten_bytes() {
        for number in [0, 1, 127, 128, 16_383, 16_384, u64::MAX >> 1, u64::MAX] {
            let mut bytes = Vec::new();
            put_number(number, &mut bytes);
            assert_eq!(Reader(&bytes).number(), Some(number));
            assert_eq!(unzigzag(zigzag(number as i64)), number as i64);
        }
        assert_eq!(Reader(&[0x80; 10]).number(), None);
    }
}

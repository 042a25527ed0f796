//! The bytes of one index file (`IndexFile` and `IndexHeader` of RocketMQ).
//!
//! ```text
//!  0 i8 begin time   8 i8 end time   16 i8 begin position   24 i8 end position        of the messages in it
//! 32 i4 slots in use
//! 36 i4 number of the next entry: entries count from 1
//! 40 i4 per slot: number of its youngest entry, 0 for none
//! 40 + 4 × slots + 20 × n: entry n
//!      0 i4 hash of `topic#key`   4 i8 position   12 i4 seconds since begin time   16 i4 the slot's entry before it
//! ```
//!
//! Room for entry 0 is there and stays empty, so a file of `maxIndexNum` entries holds one less. A slot's entries form a
//! chain from the youngest to the oldest. Not here: when anything is written, and how it survives a crash.

use bytes::BufMut;
use bytes::Bytes;
use bytes::BytesMut;

pub(super) const HEADER_BYTES: usize = 40;
const SLOT_BYTES: u64 = 4;
pub(super) const ENTRY_BYTES: usize = 20;

/// How many slots and entries a file has: `maxHashSlotNum` and `maxIndexNum`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexShape {
    pub slots: u32,
    /// One more than the entries a file holds.
    pub entries: u32,
}

impl IndexShape {
    /// RocketMQ's: 420,000,040 bytes a file, of which only what is written takes space.
    pub const DEFAULT: IndexShape = IndexShape { slots: 5_000_000, entries: 20_000_000 };

    pub(in crate::store) fn is_possible(self) -> bool {
        (1..=100_000_000).contains(&self.slots) && (2..=100_000_000).contains(&self.entries)
    }

    pub(super) fn file_bytes(self) -> u64 {
        self.entry_at(self.entries)
    }

    /// Where the slot's number is in the file, in bytes.
    pub(super) fn slot_at(self, slot: u32) -> u64 {
        HEADER_BYTES as u64 + u64::from(slot) * SLOT_BYTES
    }

    /// Where entry `number` is in the file, in bytes.
    pub(super) fn entry_at(self, number: u32) -> u64 {
        self.slot_at(self.slots) + u64::from(number) * ENTRY_BYTES as u64
    }

    pub(super) fn slot_of(self, hash: u32) -> u32 {
        hash % self.slots
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// Store times of the first and the last message, in ms.
    pub(super) begin_at: i64,
    pub(super) end_at: i64,
    /// Positions of the first and the last message.
    pub(super) begin: u64,
    pub(super) end: u64,
    pub(super) slots_used: u32,
    /// The number of the next entry.
    pub(super) count: u32,
}

impl Header {
    /// The header of a new file behind one that `before` describes.
    pub(super) fn behind(before: Option<&Header>) -> Header {
        let (at, position) = before.map_or((0, 0), |before| (before.end_at, before.end));
        Header { begin_at: at, end_at: at, begin: position, end: position, slots_used: 0, count: 1 }
    }

    /// Notes an entry, which [`Header::seconds_of`] was asked about before.
    pub(super) fn take(&mut self, physical: u64, store_at: i64, opens_slot: bool) {
        if self.count == 1 {
            (self.begin, self.begin_at) = (physical, store_at);
        }
        self.count += 1;
        self.slots_used += u32::from(opens_slot);
        (self.end, self.end_at) = (physical, store_at);
    }

    /// What an entry says of its message's store time. A file's first entry is measured from the end of the file before
    /// it, whose times a new header carries until then.
    pub(super) fn seconds_of(&self, store_at: i64) -> i32 {
        if self.begin_at <= 0 {
            return 0;
        }
        let seconds = store_at.saturating_sub(self.begin_at) / 1_000;
        i32::try_from(seconds.max(0)).unwrap_or(i32::MAX)
    }

    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        let mut to = &mut out[..];
        for word in [self.begin_at as u64, self.end_at as u64, self.begin, self.end] {
            to.put_u64(word);
        }
        to.put_u32(self.slots_used);
        to.put_u32(self.count);
        out
    }

    /// `None` for fewer bytes than a header has, and for what no broker writes: negative positions, no entry.
    pub(super) fn decode(bytes: &[u8]) -> Option<Header> {
        let word = |at: usize| Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
        let half = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
        let header = Header {
            begin_at: word(0)? as i64,
            end_at: word(8)? as i64,
            begin: word(16)?,
            end: word(24)?,
            slots_used: half(32)?,
            count: half(36)?,
        };
        let sane = header.begin <= header.end
            && i64::try_from(header.end).is_ok()
            && (2..=i32::MAX as u32).contains(&header.count)
            && (1..header.count).contains(&header.slots_used);
        sane.then_some(header)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) hash: u32,
    pub(super) physical: u64,
    /// Since the file's begin time; never negative.
    pub(super) seconds: i32,
    /// The slot's entry before this one; 0 for none.
    pub(super) previous: u32,
}

impl Entry {
    pub(super) fn put(&self, out: &mut BytesMut) {
        out.put_u32(self.hash);
        out.put_u64(self.physical);
        out.put_i32(self.seconds);
        out.put_u32(self.previous);
    }

    /// Zeros where `bytes` are too few.
    pub(super) fn decode(bytes: &[u8]) -> Entry {
        let mut whole = [0; ENTRY_BYTES];
        for (to, from) in whole.iter_mut().zip(bytes) {
            *to = *from;
        }
        let [a, b, c, d, p @ .., e, f, g, h, i, j, k, l] = whole;
        Entry {
            hash: u32::from_be_bytes([a, b, c, d]),
            physical: u64::from_be_bytes(p),
            seconds: i32::from_be_bytes([e, f, g, h]),
            previous: u32::from_be_bytes([i, j, k, l]),
        }
    }

    /// All whole entries of `bytes`.
    pub(super) fn decode_all(bytes: &[u8]) -> impl Iterator<Item = Entry> + '_ {
        bytes.chunks_exact(ENTRY_BYTES).map(Entry::decode)
    }
}

/// Slots of one page of [`Slots`].
const PAGE_SLOTS: usize = 1024;
/// Bytes of slots written at a time.
const RUN_BYTES_MAX: usize = 1024 * 1024;

/// The slots of a file that still grows: 4 bytes each, in pages that come into being as they are used.
pub(super) struct Slots {
    pages: Vec<Option<Box<[u32; PAGE_SLOTS]>>>,
}

impl Slots {
    pub(super) fn new(shape: IndexShape) -> Slots {
        let pages = (shape.slots as usize).div_ceil(PAGE_SLOTS);
        Slots { pages: (0..pages).map(|_| None).collect() }
    }

    /// The slot's youngest entry; 0 for none.
    pub(super) fn youngest(&self, slot: u32) -> u32 {
        let page = self.pages.get(slot as usize / PAGE_SLOTS).and_then(Option::as_deref);
        page.and_then(|page| page.get(slot as usize % PAGE_SLOTS)).copied().unwrap_or(0)
    }

    /// Makes `entry` the slot's youngest and returns the one before.
    pub(super) fn push(&mut self, slot: u32, entry: u32) -> u32 {
        let page = self.pages.get_mut(slot as usize / PAGE_SLOTS).expect("a hash has a slot");
        let page = page.get_or_insert_with(|| Box::new([0; PAGE_SLOTS]));
        let youngest = page.get_mut(slot as usize % PAGE_SLOTS).expect("a page has all its slots");
        std::mem::replace(youngest, entry)
    }

    /// The used pages as they stand in the file, neighbours joined: position, bytes.
    pub(super) fn image(&self, shape: IndexShape) -> Vec<(u64, Bytes)> {
        let mut runs: Vec<(u64, BytesMut)> = Vec::new();
        for (number, page) in self.pages.iter().enumerate() {
            let Some(page) = page else { continue };
            let first = (number * PAGE_SLOTS) as u32;
            let at = shape.slot_at(first);
            let joined = runs
                .last()
                .is_some_and(|(start, run)| start + run.len() as u64 == at && run.len() < RUN_BYTES_MAX);
            if !joined {
                runs.push((at, BytesMut::new()));
            }
            if let Some((_, run)) = runs.last_mut() {
                let count = PAGE_SLOTS.min((shape.slots - first) as usize);
                page.iter().take(count).for_each(|entry| run.put_u32(*entry));
            }
        }
        runs.into_iter().map(|(at, run)| (at, run.freeze())).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_default_file_has_rocketmqs_size() {
        assert_eq!(IndexShape::DEFAULT.file_bytes(), 420_000_040);
        assert_eq!(IndexShape::DEFAULT.slot_at(1), 44);
        assert_eq!(IndexShape::DEFAULT.entry_at(1), 20_000_060);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(begin_at: i64, end_at: i64, a in 0..i64::MAX as u64, b in 0..i64::MAX as u64, used in 1u32..99) {
            let header = Header { begin_at, end_at, begin: a.min(b), end: a.max(b), slots_used: used, count: used + 1 };
            prop_assert_eq!(Header::decode(&header.encode()), Some(header));
            let entry = Entry { hash: used, physical: a, seconds: end_at as i32, previous: begin_at as u32 };
            let mut bytes = BytesMut::new();
            entry.put(&mut bytes);
            prop_assert_eq!(bytes.len(), ENTRY_BYTES);
            prop_assert_eq!(Entry::decode(&bytes), entry);
        }

        #[test]
        fn no_bytes_make_a_header_panic(bytes: Vec<u8>) {
            let _ = Header::decode(&bytes);
            let _ = Entry::decode_all(&bytes).count();
        }

        #[test]
        fn a_slot_gives_back_what_was_pushed_last(pushes in prop::collection::vec((0u32..3_000, 1u32..), 0..50)) {
            let shape = IndexShape { slots: 3_000, entries: 9 };
            let mut slots = Slots::new(shape);
            let mut model = std::collections::BTreeMap::new();
            for (slot, entry) in pushes {
                prop_assert_eq!(slots.push(slot, entry), model.insert(slot, entry).unwrap_or(0));
            }
            let mut image = vec![0; 4 * 3_000];
            for (at, bytes) in slots.image(shape) {
                let at = at as usize - HEADER_BYTES;
                image[at..at + bytes.len()].copy_from_slice(&bytes);
            }
            for slot in 0..3_000 {
                let expected = model.get(&slot).copied().unwrap_or(0);
                prop_assert_eq!(slots.youngest(slot), expected);
                let at = slot as usize * 4;
                prop_assert_eq!(u32::from_be_bytes(image[at..at + 4].try_into().unwrap()), expected);
            }
        }
    }

    #[test]
    fn an_entry_counts_seconds_from_the_files_first_message() {
        let mut header = Header::behind(None);
        assert_eq!(header.seconds_of(9_000), 0, "nothing to count from");
        header.take(100, 5_000, true);
        assert_eq!(
            (header.seconds_of(7_999), header.seconds_of(4_000), header.seconds_of(i64::MAX)),
            (2, 0, i32::MAX)
        );
        header.take(200, 7_999, false);
        let expected =
            Header { begin_at: 5_000, end_at: 7_999, begin: 100, end: 200, slots_used: 1, count: 3 };
        assert_eq!(header, expected);
        assert_eq!(
            Header::behind(Some(&header)).seconds_of(9_000),
            1,
            "a new file counts from the old one's end"
        );
    }
}

//! The index against files that Apache RocketMQ 5.5.0 wrote, and against a map.
//!
//! `fixtures/` was recorded with `maxHashSlotNum=8 maxIndexNum=10`: the used part of a commit log that `mqadmin
//! sendMessage` filled with nine messages with TagA and one or two keys (one of them twice the same, some with equal hashes, one
//! beyond ASCII) and one without, and the four index files beside it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::book::Book;
use super::book::Keyed;
use super::book::Look;
use super::format::Entry;
use super::format::HEADER_BYTES;
use super::format::Header;
use super::format::IndexShape;
use super::keys;
use super::name;
use crate::base::Timestamp;
use crate::protocol::record::RecordView;

const LOG: &[u8] = include_bytes!("fixtures/commitlog");
const FILES: [(&str, &[u8]); 4] = [
    ("20261121131050188", include_bytes!("fixtures/20261121131050188")),
    ("20261121131059666", include_bytes!("fixtures/20261121131059666")),
    ("20261121131119822", include_bytes!("fixtures/20261121131119822")),
    ("20261121131135224", include_bytes!("fixtures/20261121131135224")),
];
const SHAPE: IndexShape = IndexShape { slots: 8, entries: 10 };

/// Where each message is, when it was stored, its numbers.
fn messages(log: &[u8]) -> Vec<(u64, i64, Vec<u32>)> {
    let mut at = 0;
    let mut messages = Vec::new();
    while at < log.len() {
        let record = RecordView::decode(&log[at..]).unwrap();
        let mut hashes = Vec::new();
        keys::numbers_of(&record, &mut hashes);
        messages.push((at as u64, record.store_at.0, hashes));
        at += record.total;
    }
    messages
}

/// Writes everything below `durable` into files in memory, in batches of `at_most` entries.
fn write(book: &mut Book, files: &mut BTreeMap<u64, Vec<u8>>, durable: u64, at_most: usize) {
    let size = book.shape().file_bytes() as usize;
    while let Some(batch) = book.next_batch(durable, at_most) {
        assert_eq!(batch.is_first, !files.contains_key(&batch.name));
        let file = files.entry(batch.name).or_insert_with(|| vec![0; size]);
        let at = batch.at as usize;
        file[at..at + batch.bytes.len()].copy_from_slice(&batch.bytes);
        book.written(&batch);
        let (last, header) = book.last_on_disk().unwrap();
        assert_eq!(last, batch.name);
        files.get_mut(&last).unwrap()[..HEADER_BYTES].copy_from_slice(&header.encode());
        seal(book, files, batch.name, false);
    }
}

fn seal(book: &mut Book, files: &mut BTreeMap<u64, Vec<u8>>, name: u64, closing: bool) {
    for (at, bytes) in book.slot_image(name, closing).into_iter().flatten() {
        files.get_mut(&name).unwrap()[at as usize..at as usize + bytes.len()].copy_from_slice(&bytes);
    }
    if book.slot_image(name, false).is_some() {
        book.sealed(name);
    }
}

#[test]
fn the_files_are_apaches_byte_for_byte() {
    let mut book = Book::new(SHAPE, 0);
    for (physical, store_at, hashes) in messages(LOG) {
        book.take(Keyed { physical, store_at, hashes: &hashes }, Timestamp(store_at));
        book.move_to(physical + 1);
    }
    let mut files = BTreeMap::new();
    write(&mut book, &mut files, LOG.len() as u64, 3);
    let (last, _) = book.last_on_disk().unwrap();
    seal(&mut book, &mut files, last, true);
    let ours: Vec<_> = files.values().map(Vec::as_slice).collect();
    let apaches: Vec<_> = FILES.iter().map(|(_, bytes)| *bytes).collect();
    assert_eq!(ours, apaches);
    // Files came into being with the messages, give or take how long Apache took to get there.
    for (ours, (apaches, _)) in files.keys().zip(FILES) {
        assert!(name::parse(apaches).unwrap() - ours < 100, "{ours} and {apaches}");
    }
}

#[test]
fn a_header_of_apaches_says_what_the_file_holds() {
    for (_, bytes) in FILES {
        let header = Header::decode(bytes).unwrap();
        let entries: Vec<_> = Entry::decode_all(&bytes[SHAPE.entry_at(1) as usize..]).collect();
        let used = &entries[..header.count as usize - 1];
        assert_eq!(
            (used.first().unwrap().physical, used.last().unwrap().physical),
            (header.begin, header.end)
        );
        assert!(entries[used.len()..].iter().all(|entry| *entry == Entry::default()));
    }
}

/// Positions under `hash`, youngest first, by walking the chains.
fn walk(book: &Book, files: &BTreeMap<u64, Vec<u8>>, hash: u32) -> Vec<u64> {
    let shape = book.shape();
    let mut found = Vec::new();
    for (name, header) in book.files() {
        let in_file = |at: u64, len: usize| &files[&name][at as usize..at as usize + len];
        let mut number = match book.youngest(name, hash) {
            Look::Here(number) => number,
            Look::InFile => {
                let bytes = in_file(shape.slot_at(shape.slot_of(hash)), 4);
                u32::from_be_bytes(bytes.try_into().unwrap())
            }
            Look::Gone => panic!("a listed file is there"),
        };
        assert!(number < header.count);
        while number != 0 {
            let entry = match book.entry(name, number) {
                Look::Here(entry) => entry,
                Look::InFile => Entry::decode(in_file(shape.entry_at(number), 20)),
                Look::Gone => panic!("a chained entry is there"),
            };
            if entry.hash == hash {
                found.push(entry.physical);
            }
            assert!(entry.previous < number, "a chain goes back");
            number = entry.previous;
        }
    }
    found
}

proptest! {
    #[test]
    fn every_key_finds_its_messages_and_no_other(
        shape in (1u32..20, 2u32..12).prop_map(|(slots, entries)| IndexShape { slots, entries }),
        keys in prop::collection::vec(prop::collection::vec(0u32..30, 0..5), 1..40),
        writes in prop::collection::vec((0usize..40, 1usize..9), 0..6),
        drop_below in 0u64..600,
    ) {
        let mut book = Book::new(shape, 0);
        let mut files = BTreeMap::new();
        let mut model: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for (n, hashes) in keys.iter().enumerate() {
            let physical = n as u64 * 10;
            for hash in hashes {
                model.entry(*hash).or_default().insert(0, physical);
            }
            book.take(Keyed { physical, store_at: 1_000 * n as i64, hashes }, Timestamp(n as i64));
            book.move_to(physical + 10);
            for (_, at_most) in writes.iter().filter(|(at, _)| *at == n) {
                // What is durable trails what is indexed.
                let durable = physical.saturating_sub(20);
                write(&mut book, &mut files, durable, *at_most);
                let mark = book.mark(durable);
                prop_assert!(mark.position <= durable);
                prop_assert!(book.next_batch(mark.position, 1).is_none(), "everything below a mark is written");
            }
        }
        for hash in 0..30 {
            prop_assert_eq!(walk(&book, &files, hash), model.remove(&hash).unwrap_or_default());
        }
        // Retention takes whole files of the past.
        let before = book.files();
        let mut dropped = Vec::new();
        while let Some(name) = book.drop_below(drop_below) {
            dropped.push(name);
        }
        for (name, header) in before {
            prop_assert!(!dropped.contains(&name) || header.end < drop_below);
        }
        prop_assert!(book.files().len() + dropped.len() == 0 || !book.files().is_empty());
    }
}

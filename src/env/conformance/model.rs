//! Random changes to a directory of files, step by step beside a model that anybody can check by eye: a map from names
//! to bytes.

use std::collections::BTreeMap;
use std::io;
use std::io::ErrorKind;

use bytes::Bytes;
use rand_core::Rng;

use super::{Ground, cases};
use crate::env::Access;

/// Changes that the case draws; a property test draws its own.
const CHANGES: usize = 400;
/// Names that changes are about: few, so that they meet.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

cases! {
    "files under random changes follow a map from names to bytes" => random_changes,
}

/// One step. Names are taken modulo four, so that any number is one.
#[derive(Clone, Debug)]
pub enum FileChange {
    Write {
        name: usize,
        offset: u64,
        data: Vec<u8>,
    },
    SetLen {
        name: usize,
        len: u64,
    },
    Rename {
        from: usize,
        to: usize,
    },
    Remove {
        name: usize,
    },
    /// Fills a part of a segment of that length, created or extended as need be.
    Fill {
        name: usize,
        len: u64,
        offset: u64,
        data: Vec<u8>,
    },
    Sync {
        name: usize,
    },
}

type Model = BTreeMap<&'static str, Vec<u8>>;

async fn random_changes(ground: Ground, _rule: &'static str) {
    let mut rng = ground.env.rng("conformance.files");
    let mut below = move |limit: u64| rng.next_u64() % limit;
    let changes: Vec<FileChange> = (0..CHANGES).map(|_| draw(&mut below)).collect();
    files_follow_the_model(&ground, &changes).await;
}

fn draw(below: &mut impl FnMut(u64) -> u64) -> FileChange {
    let small = |number: u64| usize::try_from(number).unwrap_or(0);
    let name = small(below(4));
    let kind = below(16);
    let byte = u8::try_from(below(255)).unwrap_or(0) + 1;
    let data = vec![byte; small(below(6_000))];
    match kind {
        0..=5 => FileChange::Write { name, offset: below(12_000), data },
        6..=7 => FileChange::SetLen { name, len: below(16_000) },
        8..=9 => FileChange::Rename { from: name, to: small(below(4)) },
        10..=11 => FileChange::Remove { name },
        12..=14 => FileChange::Fill { name, len: below(16_000) + 1, offset: below(12_000), data },
        _ => FileChange::Sync { name },
    }
}

/// Makes `changes` in the ground's directory, which must be empty, and compares every file with the model after each.
///
/// # Panics
///
/// When an answer or a byte differs from the model's.
pub async fn files_follow_the_model(ground: &Ground, changes: &[FileChange]) {
    let mut model = Model::new();
    for (step, change) in changes.iter().enumerate() {
        let expected = expect(&mut model, change);
        let found = make(ground, change).await.err().map(|error| error.kind());
        assert_eq!(found, expected, "step {step}, {change:?}: the model says otherwise");
        compare(ground, &model, step, change).await;
    }
}

/// The model's answer, after the model was changed.
fn expect(model: &mut Model, change: &FileChange) -> Option<ErrorKind> {
    match change {
        FileChange::Write { name, offset, data } => {
            let file = model.entry(named(*name)).or_default();
            if !data.is_empty() {
                overwrite(file, *offset, data);
            }
            None
        }
        FileChange::SetLen { name, len } => {
            let Some(file) = model.get_mut(named(*name)) else { return Some(ErrorKind::NotFound) };
            file.resize(index(*len), 0);
            None
        }
        FileChange::Rename { from, to } => {
            let Some(file) = model.remove(named(*from)) else { return Some(ErrorKind::NotFound) };
            model.insert(named(*to), file);
            None
        }
        FileChange::Remove { name } => model.remove(named(*name)).map_or(Some(ErrorKind::NotFound), |_| None),
        FileChange::Fill { name, len, offset, data } => {
            if model.get(named(*name)).is_some_and(|file| index(*len) < file.len()) {
                return Some(ErrorKind::InvalidData);
            }
            let file = model.entry(named(*name)).or_default();
            file.resize(index(*len), 0);
            if *len < *offset + data.len() as u64 {
                return Some(ErrorKind::InvalidInput);
            }
            overwrite(file, *offset, data);
            None
        }
        FileChange::Sync { name } => (!model.contains_key(named(*name))).then_some(ErrorKind::NotFound),
    }
}

async fn make(ground: &Ground, change: &FileChange) -> io::Result<()> {
    let disk = &ground.env.disk;
    let path = |name: &usize| ground.path(named(*name));
    match change {
        FileChange::Write { name, offset, data } => {
            let file = disk.open(&path(name), Access::Create).await?;
            file.write_at(*offset, Bytes::copy_from_slice(data)).await
        }
        FileChange::SetLen { name, len } => disk.open(&path(name), Access::Write).await?.set_len(*len).await,
        FileChange::Rename { from, to } => disk.rename(&path(from), &path(to)).await,
        FileChange::Remove { name } => disk.remove(&path(name)).await,
        FileChange::Fill { name, len, offset, data } => {
            let segment = disk.map(&path(name), *len, Access::Create).await?;
            segment.fill(*offset, data.len(), &mut |target| target.copy_from_slice(data))?;
            segment.sync(*offset, data.len() as u64).await
        }
        FileChange::Sync { name } => disk.open(&path(name), Access::Read).await?.sync().await,
    }
}

async fn compare(ground: &Ground, model: &Model, step: usize, change: &FileChange) {
    let entries = ground.env.disk.list(&ground.scratch).await.expect("the directory is there");
    let listed: Vec<(&str, u64)> = entries.iter().map(|entry| (entry.name.as_str(), entry.len)).collect();
    let modelled: Vec<(&str, u64)> = model.iter().map(|(name, file)| (*name, file.len() as u64)).collect();
    assert_eq!(listed, modelled, "step {step}, {change:?}: names and lengths");
    for (name, bytes) in model {
        let file = ground.env.disk.open(&ground.path(name), Access::Read).await.expect("it was listed");
        let read = file.read_at(0, usize::MAX).await.expect("a file can be read");
        let differs = read.iter().zip(bytes).position(|(found, expected)| found != expected);
        assert_eq!(differs, None, "step {step}, {change:?}: {name} differs there");
    }
}

fn overwrite(file: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let range = index(offset)..index(offset) + data.len();
    file.resize(file.len().max(range.end), 0);
    file[range].copy_from_slice(data);
}

fn named(name: usize) -> &'static str {
    NAMES[name % NAMES.len()]
}

fn index(position: u64) -> usize {
    usize::try_from(position).expect("a model's files are small")
}

//! Damage done to a store at rest, as a crash or a bad disk would.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Magic of the filler that closes a segment.
const FILLER: u32 = 0xCBD4_3194;

/// How much of a record a writer had copied when it was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    /// Up to the middle of the body: its checksum does not hold.
    OfBody,
    /// Up to the middle of the properties, which no checksum covers.
    OfProperties,
}

/// Writes the beginning of a record behind the log's end: a copy of the last one, placed right, whose rest is missing.
pub(super) fn half_a_record(store: &Path, half: Half) -> io::Result<()> {
    let mut last = None;
    let mut segments: Vec<PathBuf> =
        fs::read_dir(store.join("commitlog"))?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    segments.sort();
    for path in segments {
        let mut bytes = Vec::new();
        fs::File::open(&path)?.read_to_end(&mut bytes)?;
        let start: u64 = name_of(&path).parse().map_err(|_| malformed("the name of a segment"))?;
        let mut at = 0;
        while let Some(head) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
            let [a, b, c, d, e, f, g, h] = *head;
            let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
            let magic = u32::from_be_bytes([e, f, g, h]);
            if magic == FILLER || magic == 0 {
                break;
            }
            last = Some((path.clone(), start, at + size, bytes.get(at..at + size).map(<[u8]>::to_vec)));
            at += size;
        }
    }
    let Some((path, start, end, Some(mut record))) = last else {
        return Err(malformed("a log without records"));
    };
    let position = start + u64::try_from(end).unwrap_or(u64::MAX);
    record.get_mut(28..36).ok_or_else(|| malformed("a record"))?.copy_from_slice(&position.to_be_bytes());
    let body = record.get(84..).and_then(<[u8]>::first_chunk::<4>).ok_or_else(|| malformed("a record"))?;
    let body = usize::try_from(u32::from_be_bytes(*body)).unwrap_or(usize::MAX);
    let keep = match half {
        Half::OfBody => 88 + body / 2,
        Half::OfProperties => usize::midpoint(88 + body, record.len()),
    };
    record.truncate(keep);
    write_at(&path, u64::try_from(end).unwrap_or(u64::MAX), &record)
}

/// Changes the byte at `position` of the log.
pub(super) fn flip_a_byte(store: &Path, segment_bytes: u64, position: u64) -> io::Result<()> {
    let start = position - position % segment_bytes;
    let path = store.join("commitlog").join(format!("{start:020}"));
    let mut file = fs::File::open(&path)?;
    file.seek(SeekFrom::Start(position - start))?;
    let mut byte = [0];
    file.read_exact(&mut byte)?;
    byte[0] ^= 1;
    write_at(&path, position - start, &byte)
}

fn write_at(path: &Path, at: u64, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

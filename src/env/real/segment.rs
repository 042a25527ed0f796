//! Files of fixed length: written by position, read through a mapping.
//!
//! ```text
//!   slice: one read          slice: refcounted views, no copy     fill: one write of its range
//! ┌───────────────────────┬────────────────────────────────────┬───────────────────────────────┐
//! │ from an earlier life  │ published: never written again     │ unpublished: zeros, or a tail │
//! └───────────────────────┴────────────────────────────────────┴───────────────────────────────┘
//!          one read-only mapping of the page cache, dropped with its last view or sync
//! ```
//!
//! Invariants:
//! * no `fill` while its range has a view: the caller's contract, stated at [`crate::env::Segment`];
//! * every byte has its disk block (`fallocate` answers a full disk, a write never does);
//! * nobody shortens the file: the store's directory is locked, and the store never does.
//!
//! A page that the disk cannot read ends a process that touches it through a mapping: SIGBUS. So only what this process
//! wrote is read that way, straight from the page cache that took it. What was there before it came is read by a call,
//! which answers an error, as it does for a file that somebody cut.
//!
//! Why written by `pwrite` and not through the mapping. The first write to a mapped page is a fault in which the kernel
//! finds and zeroes it; and each time a mapped page is written back, its mapping is made read-only in all cores, which is
//! an interrupt of the one that serves, and another fault at the next write. `pwrite` has none of it and tells an error
//! where a mapping kills. In units of 72 KB on ext4, Linux 6.18: 4.8 GB/s beside 0.5 to 3.8 (as memory is fresh or not);
//! with a sync after each, 175 µs beside 351 µs. The copy that this costs stays in the core's cache.
//!
//! `sync` is `msync` of its range, which Linux carries out as an `fdatasync` of that range of the file: the kernel writes
//! and awaits its pages, then what finds them, then the disk's cache. `fdatasync` itself also waits for whatever pages
//! behind the range are on their way by then, while more are appended: a sync of 25 MB took as long as one of 85 MB.

#![expect(clippy::disallowed_methods, reason = "the one place that touches the file system")]

use std::cell::RefCell;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::file::{open, read_only};
use super::{blocking, named};
use crate::env::{Access, BoxFuture, Segment};

/// Bytes written at a time where the file system cannot reserve blocks.
const ZERO_CHUNK_BYTES: usize = 1024 * 1024;
/// A larger room for a fill is given back after it.
const ROOM_KEPT_BYTES: usize = 1024 * 1024;

thread_local! {
    /// Where fills are made ready; always written as a whole before it is read.
    static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

pub(super) struct RealSegment {
    /// The whole mapping as one view; every slice is a slice of it.
    view: Bytes,
    mapping: Arc<MmapRaw>,
    file: fs::File,
    path: Arc<PathBuf>,
    access: Access,
    written: Written,
}

/// The stretch that this process wrote without a gap. Whatever lies elsewhere is not in it, also if it was written.
struct Written {
    from: AtomicU64,
    to: AtomicU64,
}

struct Mapped(Arc<MmapRaw>);

impl RealSegment {
    pub(super) fn open(path: &Path, len: u64, access: Access) -> io::Result<RealSegment> {
        let mapped_len = usize::try_from(len).ok().filter(|len| *len > 0);
        let Some(mapped_len) = mapped_len else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{len} bytes cannot be mapped")));
        };
        let existed = fs::exists(path)?;
        let file = open(path, access)?;
        let found = file.metadata()?.len();
        if found > len || (found < len && access == Access::Read) {
            let cause = format!("the file has {found} bytes, the segment {len}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, cause));
        }
        if access != Access::Read
            && let Err(error) = reserve(&file, found, len)
        {
            // A segment that did not fit leaves nothing behind; the refusal is what counts.
            let _ = if existed { file.set_len(found) } else { fs::remove_file(path) };
            return Err(error);
        }
        let mapping = Arc::new(MmapOptions::new().len(mapped_len).map_raw_read_only(&file)?);
        Ok(RealSegment {
            view: Bytes::from_owner(Mapped(Arc::clone(&mapping))),
            mapping,
            file,
            path: Arc::new(path.to_owned()),
            access,
            written: Written { from: AtomicU64::new(0), to: AtomicU64::new(0) },
        })
    }

    /// The range as indices of the mapping, if it lies within.
    fn range(&self, operation: &str, offset: u64, len: u64) -> io::Result<std::ops::Range<usize>> {
        let end = offset.checked_add(len).filter(|end| *end <= self.len());
        let indices = end.and_then(|end| Some(usize::try_from(offset).ok()?..usize::try_from(end).ok()?));
        indices.ok_or_else(|| {
            let cause = format!("{len} bytes at {offset} are outside its {} bytes", self.len());
            named(operation, self.path.display())(io::Error::new(io::ErrorKind::InvalidInput, cause))
        })
    }
}

impl Segment for RealSegment {
    fn len(&self) -> u64 {
        self.view.len() as u64
    }

    fn fill(&self, offset: u64, len: usize, fill: &mut dyn FnMut(&mut [u8])) -> io::Result<()> {
        if self.access == Access::Read {
            return Err(named("write", self.path.display())(read_only()));
        }
        self.range("write", offset, len as u64)?;
        ROOM.with_borrow_mut(|room| {
            if room.len() < len {
                room.resize(len, 0);
            }
            fill(&mut room[..len]);
            let written = self.file.write_all_at(&room[..len], offset);
            room.truncate(ROOM_KEPT_BYTES);
            room.shrink_to(ROOM_KEPT_BYTES);
            written.map_err(named("write", self.path.display()))?;
            self.written.add(offset, offset + len as u64);
            Ok(())
        })
    }

    fn slice(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let range = self.range("read", offset, len as u64)?;
        if self.written.contains(offset, offset + len as u64) {
            return Ok(self.view.slice(range));
        }
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, offset).map_err(named("read", self.path.display()))?;
        Ok(bytes.into())
    }

    fn sync(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<()>> {
        let within = self.range("sync", offset, len);
        let (mapping, path) = (Arc::clone(&self.mapping), Arc::clone(&self.path));
        Box::pin(async move {
            let range = within?;
            let sync = move || mapping.flush_range(range.start, range.len());
            blocking(move || sync().map_err(named("sync", path.display()))).await
        })
    }
}

impl Written {
    /// Called by one writer at a time, as `fill` is.
    fn add(&self, from: u64, to: u64) {
        let (known, end) = (self.from.load(Ordering::Acquire), self.to.load(Ordering::Acquire));
        if known == end {
            self.from.store(from, Ordering::Release);
            self.to.store(to, Ordering::Release);
        } else if from == end {
            self.to.store(to, Ordering::Release);
        }
    }

    fn contains(&self, from: u64, to: u64) -> bool {
        // `to` first: a `from` seen with it is at least as new, and moves once, before anything is in the stretch.
        let end = self.to.load(Ordering::Acquire);
        to <= end && from >= self.from.load(Ordering::Acquire)
    }
}

impl AsRef<[u8]> for Mapped {
    #[expect(unsafe_code, reason = "a reader gets the mapped bytes themselves")]
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the mapping is readable for all of its length and is unmapped only when the last `Arc` is dropped,
        // one of which is in `self`. `Bytes` asks once, before the segment can be filled, and keeps the address; it
        // forms a `&[u8]` again only for a range that somebody sliced, and such a range is no longer written.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr(), self.0.len()) }
    }
}

/// Extends the file from `found` to `len` bytes and gives every byte of it a block on the disk.
fn reserve(file: &fs::File, found: u64, len: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, len) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => rewrite(file, found, len),
        Err(error) => Err(error.into()),
    }
}

/// Where blocks cannot be reserved, they are written: what is there once more, and zeros up to `len`.
fn rewrite(file: &fs::File, found: u64, len: u64) -> io::Result<()> {
    let mut chunk = vec![0; ZERO_CHUNK_BYTES];
    let mut at = 0;
    while at < len {
        let size = usize::try_from(len - at).unwrap_or(ZERO_CHUNK_BYTES).min(ZERO_CHUNK_BYTES);
        let old = usize::try_from(found.saturating_sub(at)).unwrap_or(size).min(size);
        file.read_exact_at(&mut chunk[..old], at)?;
        chunk[old..size].fill(0);
        file.write_all_at(&chunk[..size], at)?;
        at += size as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewritten_file_keeps_its_bytes_and_gains_zeros() {
        let path = crate::env::real::tests::scratch("rewrite").join("segment");
        fs::write(&path, b"kept").unwrap();
        let file = open(&path, Access::Write).unwrap();
        rewrite(&file, 4, 3 * ZERO_CHUNK_BYTES as u64 / 2).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 3 * ZERO_CHUNK_BYTES / 2);
        assert!(bytes.starts_with(b"kept") && bytes[4..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn what_an_earlier_life_left_is_read_by_a_call_that_can_fail() {
        let path = crate::env::real::tests::scratch("cut").join("segment");
        let fill = |segment: &RealSegment, at: u64| {
            segment.fill(at, 4096, &mut |room| room.fill(7)).unwrap();
        };
        let earlier = RealSegment::open(&path, 65_536, Access::Create).unwrap();
        fill(&earlier, 0);
        let segment = RealSegment::open(&path, 65_536, Access::Write).unwrap();
        fill(&segment, 4096);
        fill(&segment, 8192);
        assert_eq!(segment.slice(0, 12_288).unwrap(), vec![7; 12_288]);
        // Through the mapping the next read would be a SIGBUS.
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
        let error = segment.slice(0, 4096).expect_err("the file was cut");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(error.to_string().contains("segment"), "{error}");
    }

    #[test]
    fn only_what_was_written_without_a_gap_is_read_through_the_mapping() {
        let written = Written { from: AtomicU64::new(0), to: AtomicU64::new(0) };
        assert!(!written.contains(0, 1));
        written.add(100, 200);
        written.add(200, 300);
        written.add(400, 500);
        assert!(written.contains(100, 300) && written.contains(150, 250));
        assert!(!written.contains(99, 200) && !written.contains(250, 301) && !written.contains(400, 500));
    }

    #[test]
    fn a_segment_that_does_not_fit_leaves_nothing_behind() {
        let path = crate::env::real::tests::scratch("too-large").join("segment");
        // 4 EiB: no disk has it.
        let refused = RealSegment::open(&path, 1 << 62, Access::Create).err().expect("it cannot fit");
        assert!(
            matches!(refused.kind(), io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge),
            "{refused:?}"
        );
        assert!(!fs::exists(&path).unwrap());
    }
}

//! One file: its pages as everybody reads them, and which of them the platter has otherwise.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::image::Loss;
use super::image::Survival;
use crate::base::Draw;

pub(super) const PAGE: usize = 4096;
const PAGE_U64: u64 = PAGE as u64;
pub(super) const SECTOR: usize = 512;

/// `None` is a page of zeros.
pub(super) type Page = Option<Arc<[u8; PAGE]>>;

static ZEROS: [u8; PAGE] = [0; PAGE];

/// Why the platter differs from the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// Written, not yet synced.
    Dirty,
    /// Its sync failed: the kernel believes it clean, and no sync will write it again.
    Dropped,
    /// Its sync was acknowledged by a drive that kept it in its own cache.
    Lied,
}

#[derive(Clone, Debug)]
struct Behind {
    platter: Page,
    why: Why,
}

/// What one sync will make durable: pages as they were when it began.
pub(super) struct Capture {
    len: u64,
    pages: Vec<(u32, Page)>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    len: u64,
    /// The length on the platter.
    synced_len: u64,
    pages: Vec<Page>,
    behind: BTreeMap<u32, Behind>,
    /// Pages that cannot be read until they are written anew.
    bad: Vec<u32>,
    /// Handles that processes hold.
    pub(super) open: u32,
}

fn page_count(len: u64) -> usize {
    usize::try_from(len.div_ceil(PAGE_U64)).expect("a simulated file fits in memory")
}

fn page_of(offset: u64) -> u32 {
    u32::try_from(offset / PAGE_U64).expect("a simulated file has fewer than 2^32 pages")
}

impl Inode {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn dirty_pages(&self) -> usize {
        self.behind.len()
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            let keep = page_count(len);
            for index in keep..self.pages.len() {
                let old = self.pages[index].take();
                self.note(index, old);
            }
            self.pages.truncate(keep);
            let tail = usize::try_from(len % PAGE_U64).unwrap_or(0);
            if tail != 0 && self.pages.last().is_some_and(Option::is_some) {
                self.page_mut(keep - 1)[tail..].fill(0);
            }
        }
        self.len = len;
        self.pages.resize(page_count(len), None);
    }

    /// Remembers what the platter has of a page that is about to change.
    fn note(&mut self, index: usize, platter: Page) {
        let index = u32::try_from(index).expect("a simulated file has fewer than 2^32 pages");
        let behind = self.behind.entry(index).or_insert(Behind { platter, why: Why::Dirty });
        behind.why = Why::Dirty;
    }

    fn page_mut(&mut self, index: usize) -> &mut [u8; PAGE] {
        let before = self.pages[index].clone();
        self.note(index, before);
        let page = self.pages[index].get_or_insert_with(|| Arc::new(ZEROS));
        Arc::make_mut(page)
    }

    /// Writes within or beyond the end; a gap reads as zeros.
    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let end = offset + data.len() as u64;
        if end > self.len {
            self.set_len(end);
        }
        let (mut at, mut rest) = (offset, data);
        while !rest.is_empty() {
            let start = usize::try_from(at % PAGE_U64).unwrap_or(0);
            let n = rest.len().min(PAGE - start);
            let index = page_of(at);
            self.bad.retain(|bad| *bad != index);
            self.page_mut(index as usize)[start..start + n].copy_from_slice(&rest[..n]);
            (at, rest) = (at + n as u64, &rest[n..]);
        }
    }

    /// Fewer than `len` bytes only at the end; `None` when a page of the range cannot be read.
    pub(super) fn read(&self, offset: u64, len: usize) -> Option<Vec<u8>> {
        let end = offset.saturating_add(len as u64).min(self.len);
        let mut out = Vec::with_capacity(usize::try_from(end.saturating_sub(offset)).unwrap_or(0));
        let mut at = offset;
        while at < end {
            let start = usize::try_from(at % PAGE_U64).unwrap_or(0);
            let n = (PAGE - start).min(usize::try_from(end - at).unwrap_or(PAGE));
            let index = page_of(at);
            if self.bad.contains(&index) {
                return None;
            }
            let page = self.pages.get(index as usize).and_then(Option::as_deref).unwrap_or(&ZEROS);
            out.extend_from_slice(&page[start..start + n]);
            at += n as u64;
        }
        Some(out)
    }

    /// What the platter has of the range: a stale read.
    pub(super) fn read_platter(&self, offset: u64, len: usize) -> Option<Vec<u8>> {
        let mut old = self.clone();
        for (index, behind) in &self.behind {
            if let Some(page) = old.pages.get_mut(*index as usize) {
                *page = behind.platter.clone();
            }
        }
        old.read(offset, len)
    }

    // -- sync ---------------------------------------------------------------------------------------

    pub(super) fn capture(&self, offset: u64, len: u64) -> Capture {
        let end = offset.saturating_add(len);
        let in_range = |index: u32| {
            let start = u64::from(index) * PAGE_U64;
            start < end && start + PAGE_U64 > offset
        };
        let writes = self.behind.iter().filter(|(index, behind)| match behind.why {
            Why::Dirty => in_range(**index),
            // A drive that empties its cache empties all of it.
            Why::Lied => true,
            Why::Dropped => false,
        });
        let page = |index: u32| self.pages.get(index as usize).cloned().flatten();
        Capture { len: self.len, pages: writes.map(|(index, _)| (*index, page(*index))).collect() }
    }

    /// The captured pages are on the platter. Says how many.
    pub(super) fn synced(&mut self, capture: Capture) -> u64 {
        let count = capture.pages.len() as u64;
        for (index, page) in capture.pages {
            let now = self.pages.get(index as usize).cloned().flatten();
            if same(&now, &page) {
                self.behind.remove(&index);
            } else if let Some(behind) = self.behind.get_mut(&index) {
                behind.platter = page;
            }
        }
        self.synced_len = capture.len;
        count
    }

    /// The captured pages never reach the platter, and nobody will try again.
    pub(super) fn dropped(&mut self, capture: &Capture) -> u64 {
        self.mark(capture, Why::Dropped)
    }

    /// The captured pages are said to be on the platter.
    pub(super) fn lied(&mut self, capture: &Capture) -> u64 {
        self.mark(capture, Why::Lied)
    }

    fn mark(&mut self, capture: &Capture, why: Why) -> u64 {
        let mut marked = 0;
        for (index, page) in &capture.pages {
            let now = self.pages.get(*index as usize).cloned().flatten();
            if let Some(behind) = self.behind.get_mut(index).filter(|_| same(&now, page)) {
                behind.why = why;
                marked += 1;
            }
        }
        marked
    }

    /// The kernel writes one dirty page back before anybody asked.
    pub(super) fn write_back_one(&mut self, pick: u64) -> bool {
        let dirty = self.behind.iter().filter(|(_, behind)| behind.why == Why::Dirty);
        let Some(index) = dirty.map(|(index, _)| *index).nth(usize::try_from(pick % 4).unwrap_or(0)) else {
            return false;
        };
        // A page beyond the end is a truncation that is not on the platter yet.
        if index as usize >= self.pages.len() {
            return false;
        }
        self.behind.remove(&index);
        true
    }

    // -- damage ---------------------------------------------------------------------------------------

    /// Changes a byte; on the platter alone when `platter_only` and the page is in the cache.
    pub(super) fn rot(&mut self, offset: u64, mask: u8, platter_only: bool) -> bool {
        if offset >= self.len {
            return false;
        }
        let (index, at) = (page_of(offset), usize::try_from(offset % PAGE_U64).unwrap_or(0));
        let present = self.pages.get(index as usize).cloned().flatten();
        let mut rotten = match self.behind.get(&index) {
            Some(behind) => behind.platter.clone(),
            None => present.clone(),
        };
        Arc::make_mut(rotten.get_or_insert_with(|| Arc::new(ZEROS)))[at] ^= mask;
        if platter_only {
            let behind = self.behind.entry(index).or_insert(Behind { platter: None, why: Why::Dropped });
            behind.platter = rotten;
        } else {
            if let Some(behind) = self.behind.get_mut(&index) {
                behind.platter = rotten.clone();
                let page = self.pages[index as usize].get_or_insert_with(|| Arc::new(ZEROS));
                Arc::make_mut(page)[at] ^= mask;
            } else {
                self.pages[index as usize] = rotten;
            }
        }
        true
    }

    /// No read of this page succeeds until it is written.
    pub(super) fn make_unreadable(&mut self, offset: u64) -> bool {
        let index = page_of(offset);
        let fits = offset < self.len && !self.bad.contains(&index);
        if fits {
            self.bad.push(index);
        }
        fits
    }

    /// What a machine finds after a power loss. `key` names the file in the draws.
    pub(super) fn crash(&mut self, draw: Draw, key: u64, survival: Survival, loss: &mut Loss) {
        let survival = match survival {
            Survival::Drawn => Survival::drawn(draw, key),
            fixed => fixed,
        };
        let len = self.crash_len(draw, key, survival);
        if len < self.len {
            loss.lengths_cut += 1;
        }
        let grew = len > self.synced_len;
        let mut hollow = false;
        let cut = draw.range("crash.cut", key, 0, 0, self.behind.len() as u64 + 1);
        self.pages.resize(page_count(len.max(self.len)), None);
        for (nth, (index, behind)) in std::mem::take(&mut self.behind).into_iter().enumerate() {
            let Some(page) = self.pages.get_mut(index as usize) else { continue };
            let subject = key ^ (u64::from(index) << 20);
            let fate = match (behind.why, survival) {
                (Why::Dropped, _) | (_, Survival::Nothing | Survival::Hollow) => Fate::Lost,
                (_, Survival::Everything | Survival::Nameless) => Fate::Kept,
                (_, Survival::Torn) => Fate::Torn,
                (_, Survival::Prefix) if (nth as u64) < cut => Fate::Kept,
                (_, Survival::Prefix) if (nth as u64) > cut => Fate::Lost,
                (_, Survival::Prefix) => Fate::Torn,
                (_, Survival::Suffix) if (nth as u64) < cut => Fate::Lost,
                (_, Survival::Suffix) => Fate::Kept,
                (_, survival) => match draw.range("crash.fate", subject, 0, 0, 3) {
                    0 => Fate::Lost,
                    1 => Fate::Kept,
                    _ if survival == Survival::Garbled => Fate::Garbled,
                    _ => Fate::Torn,
                },
            };
            match fate {
                Fate::Kept => loss.pages_kept += 1,
                Fate::Lost => {
                    loss.pages_lost += 1;
                    hollow |= grew && u64::from(index + 1) * PAGE_U64 > self.synced_len;
                    *page = behind.platter;
                }
                Fate::Garbled => {
                    loss.pages_garbled += 1;
                    let bits = |n| draw.at("crash.garbage", subject, n);
                    *page = garbled(page.take(), behind.platter, bits);
                }
                Fate::Torn => {
                    loss.pages_torn += 1;
                    let mask = draw.at("crash.sectors", subject, 0);
                    *page = torn(page.take(), behind.platter, mask);
                }
            }
        }
        loss.files_hollow += u64::from(hollow);
        self.len = len;
        self.pages.truncate(page_count(len));
        let tail = usize::try_from(len % PAGE_U64).unwrap_or(0);
        if tail != 0
            && let Some(Some(page)) = self.pages.last_mut()
        {
            Arc::make_mut(page)[tail..].fill(0);
        }
        self.synced_len = len;
        self.open = 0;
    }

    /// An un-synced length may be the old one, the new one, or any in between.
    fn crash_len(&self, draw: Draw, key: u64, survival: Survival) -> u64 {
        let (old, new) = (self.synced_len, self.len);
        match survival {
            _ if old == new => new,
            Survival::Nothing => old,
            Survival::Everything | Survival::Hollow | Survival::Nameless => new,
            _ => match draw.range("crash.len", key, 0, 0, 3) {
                0 => old,
                1 => new,
                _ => draw.range("crash.len.at", key, 0, old.min(new), old.max(new)),
            },
        }
    }
}

enum Fate {
    Lost,
    Kept,
    Torn,
    Garbled,
}

fn same(a: &Page, b: &Page) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

/// Each sector from the one or the other.
fn torn(cache: Page, platter: Page, mask: u64) -> Page {
    let mut mixed = *platter.as_deref().unwrap_or(&ZEROS);
    let cache = cache.as_deref().copied().unwrap_or(ZEROS);
    for (n, (to, from)) in mixed.chunks_mut(SECTOR).zip(cache.chunks(SECTOR)).enumerate() {
        if mask & (1 << n) != 0 {
            to.copy_from_slice(from);
        }
    }
    Some(Arc::new(mixed))
}

/// New up to some byte, old from another one on, and garbage between them; what the write did not change stays.
fn garbled(cache: Page, platter: Page, bits: impl Fn(u64) -> u64) -> Page {
    let mut mixed = *platter.as_deref().unwrap_or(&ZEROS);
    let cache = cache.as_deref().copied().unwrap_or(ZEROS);
    let differ: Vec<usize> = (0..PAGE).filter(|at| mixed[*at] != cache[*at]).collect();
    let (Some(first), Some(last)) = (differ.first(), differ.last()) else { return Some(Arc::new(mixed)) };
    // Somewhere in what is written anew; the sector in work is the garbage.
    let cut = first + bits(0) as usize % (last - first + 1);
    let garbage_to = (cut + 1 + bits(1) as usize % SECTOR).min(cut - cut % SECTOR + SECTOR);
    for at in differ.into_iter().filter(|at| *at < garbage_to) {
        mixed[at] = if at < cut { cache[at] } else { bits(2 + at as u64) as u8 };
    }
    Some(Arc::new(mixed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crashed(inode: &Inode, seed: u64, survival: Survival) -> Inode {
        let mut after = inode.clone();
        after.crash(Draw::new(seed), 1, survival, &mut Loss::default());
        after
    }

    #[test]
    fn what_was_synced_survives_every_crash() {
        let mut inode = Inode::default();
        inode.write(10, &[7; 9_000]);
        let capture = inode.capture(0, u64::MAX);
        inode.synced(capture);
        inode.write(20_000, &[8; 9_000]);
        for seed in 0..64 {
            let after = crashed(&inode, seed, Survival::Drawn);
            assert_eq!(after.read(10, 9_000), Some(vec![7; 9_000]));
        }
    }

    #[test]
    fn a_write_during_a_sync_is_not_made_durable_by_it() {
        let mut inode = Inode::default();
        inode.write(0, &[1; 100]);
        let capture = inode.capture(0, u64::MAX);
        inode.write(0, &[2; 100]);
        inode.synced(capture);
        assert_eq!(crashed(&inode, 0, Survival::Nothing).read(0, 100), Some(vec![1; 100]));
        assert_eq!(crashed(&inode, 0, Survival::Everything).read(0, 100), Some(vec![2; 100]));
    }

    #[test]
    fn a_sync_after_a_failed_one_says_ok_and_the_data_is_gone() {
        let mut inode = Inode::default();
        inode.write(0, &[1; 100]);
        let capture = inode.capture(0, u64::MAX);
        inode.synced(capture);
        inode.write(0, &[2; 100]);
        let capture = inode.capture(0, u64::MAX);
        assert_eq!(inode.dropped(&capture), 1);
        let capture = inode.capture(0, u64::MAX);
        assert_eq!(inode.synced(capture), 0);
        assert_eq!(inode.read(0, 100), Some(vec![2; 100]));
        assert_eq!(crashed(&inode, 0, Survival::Everything).read(0, 100), Some(vec![1; 100]));
    }

    #[test]
    fn a_torn_page_is_torn_between_sectors() {
        let mut inode = Inode::default();
        inode.write(0, &[1; PAGE]);
        let capture = inode.capture(0, u64::MAX);
        inode.synced(capture);
        inode.write(0, &[2; PAGE]);
        let mut torn = 0;
        for seed in 0..64 {
            let after = crashed(&inode, seed, Survival::Subset).read(0, PAGE).expect("readable");
            assert!(after.chunks(SECTOR).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
            torn += usize::from(after.iter().any(|byte| *byte != after[0]));
        }
        assert!(torn > 5);
    }

    #[test]
    fn a_garbled_page_is_new_then_garbage_then_old_and_keeps_what_was_not_written() {
        let mut inode = Inode::default();
        inode.write(0, &[1; PAGE]);
        let capture = inode.capture(0, u64::MAX);
        inode.synced(capture);
        inode.write(100, &[2; 3_000]);
        let mut garbage = 0;
        for seed in 0..64 {
            let after = crashed(&inode, seed, Survival::Garbled).read(0, PAGE).expect("readable");
            assert_eq!(after[..100], [1; 100]);
            assert_eq!(after[3_100..], [1; PAGE - 3_100]);
            let strange: Vec<usize> = (0..PAGE).filter(|at| !matches!(after[*at], 1 | 2)).collect();
            if let (Some(first), Some(last)) = (strange.first(), strange.last()) {
                garbage += 1;
                assert_eq!(first / SECTOR, last / SECTOR, "one sector was in work");
                assert!(after[100..*first].iter().all(|byte| *byte == 2));
                let behind = (last / SECTOR + 1) * SECTOR;
                assert!(after[behind..].iter().all(|byte| *byte == 1));
            }
        }
        assert!(garbage > 10, "{garbage}");
    }

    #[test]
    fn a_hollow_file_has_its_length_and_nothing_in_it() {
        let mut inode = Inode::default();
        inode.write(0, &[1; 100]);
        let capture = inode.capture(0, u64::MAX);
        inode.synced(capture);
        inode.write(100, &[2; 9_000]);
        let mut loss = Loss::default();
        inode.crash(Draw::new(1), 1, Survival::Hollow, &mut loss);
        let mut expected = vec![1; 100];
        expected.resize(9_100, 0);
        assert_eq!(inode.read(0, 10_000), Some(expected));
        assert_eq!(loss.files_hollow, 1);
    }

    #[test]
    fn a_truncation_that_was_not_synced_may_come_back() {
        let mut inode = Inode::default();
        inode.write(0, &[1; 10_000]);
        let capture = inode.capture(0, u64::MAX);
        inode.synced(capture);
        inode.set_len(100);
        assert_eq!(crashed(&inode, 0, Survival::Nothing).read(0, 10_000), Some(vec![1; 10_000]));
        assert_eq!(crashed(&inode, 0, Survival::Everything).len(), 100);
        let capture = inode.capture(0, u64::MAX);
        inode.synced(capture);
        for seed in 0..32 {
            let mut after = crashed(&inode, seed, Survival::Drawn);
            assert_eq!(after.len(), 100);
            after.set_len(200);
            assert_eq!(after.read(100, 100), Some(vec![0; 100]));
        }
    }
}

//! The task that builds the index, from the log, behind everybody's back.
//!
//! ```text
//! ──── files ────┬──── book ────┬── not indexed ──┬── end of the log
//!        checkpoint         position           durable
//! ```
//!
//! It starts at most [`INTERVAL_MS`] after messages have become durable, and as late after the store was opened, so that the
//! first pulls have the disk to themselves. It reads the log in pieces of [`PIECE_BYTES`], and computes away from the
//! thread that serves messages. Whoever looks a key up asks for all that is visible then, durable or not, and waits for it:
//! so a message is found from the moment it can be read from its queue, unless the index is more than
//! [`super::query::WAIT_MS`] behind (after a rebuild). Entries of what is not durable stay in memory; there are never more
//! than what [`crate::store::Config::window_bytes`] of log holds.
//!
//! A failure of its disk stops the index, not the store: it is told once, and a new start is tried after [`RETRY_MS`].

use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::book::Book;
use super::format::Header;
use super::format::IndexShape;
use super::mark::Mark;
use super::scan::Scanned;
use super::scan::Stop;
use crate::base::Timestamp;
use crate::store::core::Core;
use crate::store::core::Waiters;
use crate::store::open_files::FileTrouble;

/// From the first message that is durable and not indexed to the next pass, in milliseconds.
const INTERVAL_MS: u64 = 500;
/// Between a failure and the next start, in milliseconds.
const RETRY_MS: u64 = 10_000;
/// Bytes of log read at a time.
const PIECE_BYTES: usize = 1024 * 1024;
/// Entries in memory from which they are written before the next checkpoint.
const TAIL_ENTRIES: usize = 32 * 1024;

/// The index of a store, as its tasks share it.
pub(in crate::store) struct Index {
    /// `None`: there is none (`messageIndexEnable=false`).
    shape: Option<IndexShape>,
    /// The files on disk were left in order, or by this store.
    trusted: bool,
    pub(super) shared: Arc<Mutex<Shared>>,
    /// Held by whoever changes files.
    pub(super) writing: tokio::sync::Mutex<()>,
    /// There is more that is durable.
    pub(in crate::store) wanted: Notify,
    /// Somebody waits.
    now: Notify,
}

#[derive(Default)]
pub(super) struct Shared {
    /// `None` before the files were looked at, and after a failure.
    book: Option<Book>,
    mark: Mark,
    /// The header that stands in the last file.
    header: Option<(u64, Header)>,
    failed: bool,
    waiters: Waiters,
}

impl Shared {
    pub(super) fn slot_image(&self, name: u64, closing: bool) -> Option<Vec<(u64, Bytes)>> {
        self.book.as_ref()?.slot_image(name, closing)
    }

    /// Takes what was read from `at` to `to`, unless the index has begun anew meanwhile.
    fn take(&mut self, scanned: &Scanned, at: u64, to: u64, now: Timestamp) -> Option<()> {
        let book = self.book.as_mut().filter(|book| book.position() == at)?;
        for message in scanned.messages() {
            book.take(message, now);
        }
        book.move_to(to);
        self.waiters.wake_all();
        Some(())
    }
}

impl Index {
    pub(in crate::store) fn new(shape: Option<IndexShape>, mark: Mark, trusted: bool) -> Index {
        Index {
            shape,
            trusted,
            shared: Arc::new(Mutex::new(Shared { mark, ..Shared::default() })),
            writing: tokio::sync::Mutex::new(()),
            wanted: Notify::new(),
            now: Notify::new(),
        }
    }

    fn start(&self, book: Book) {
        let mut shared = self.shared.lock();
        (shared.failed, shared.header) = (false, None);
        shared.book = Some(book);
        shared.waiters.wake_all();
    }

    /// What the next checkpoint keeps.
    pub(in crate::store) fn mark(&self) -> Mark {
        self.shared.lock().mark
    }

    pub(super) fn trusts_files(&self) -> bool {
        self.trusted
    }

    pub(super) fn with_book<T>(&self, look: impl FnOnce(&mut Book) -> T) -> Option<T> {
        self.shared.lock().book.as_mut().map(look)
    }

    pub(super) fn set_mark(&self, durable: u64) {
        let mut shared = self.shared.lock();
        if let Some(mark) = shared.book.as_ref().map(|book| book.mark(durable)) {
            shared.mark = mark;
        }
    }

    /// The bug of [`crate::store::planted::INDEX_MARK_AHEAD`].
    pub(super) fn set_mark_ahead(&self, durable: u64) {
        let mut shared = self.shared.lock();
        if let Some(mark) = shared.book.as_ref().map(|book| book.mark(durable)) {
            shared.mark = Mark { position: durable, ..mark };
        }
    }

    pub(super) fn lacks_header(&self, name: u64, header: Header) -> bool {
        self.shared.lock().header != Some((name, header))
    }

    pub(super) fn note_header(&self, name: u64, header: Header) {
        self.shared.lock().header = Some((name, header));
    }

    /// Ends once everything below `position` is indexed; at once when there is no index.
    pub(in crate::store) async fn reached(&self, position: u64) {
        if self.shape.is_none() {
            return;
        }
        std::future::poll_fn(|cx| {
            let mut shared = self.shared.lock();
            if shared.book.as_ref().is_some_and(|book| book.position() >= position) {
                return Poll::Ready(());
            }
            shared.waiters.add(cx);
            self.now.notify_one();
            Poll::Pending
        })
        .await;
    }
}

impl Core {
    pub(in crate::store) async fn run_index(self: Arc<Core>) {
        let Some(shape) = self.index.shape else { return };
        loop {
            match self.open_index(shape).await {
                Ok(book) => {
                    self.index.start(book);
                    self.build_index().await;
                }
                Err(trouble) => self.index_failed(&trouble),
            }
            self.env.sleep_ms(RETRY_MS).await;
        }
    }

    /// Builds until something fails.
    async fn build_index(&self) {
        let index = &self.index;
        // What an earlier process left to do.
        index.wanted.notify_one();
        loop {
            let asked = tokio::select! {
                biased;
                () = index.now.notified() => true,
                () = async { index.wanted.notified().await; self.env.sleep_ms(INTERVAL_MS).await } => false,
            };
            let goal = {
                let state = self.state.lock();
                if asked { self.visible_end(&state) } else { state.durable }
            };
            if self.index_up_to(goal).await.is_none() {
                return;
            }
        }
    }

    /// `None` when the index has failed.
    async fn index_up_to(&self, goal: u64) -> Option<()> {
        let segment_bytes = self.config.segment_bytes;
        let mut len = PIECE_BYTES;
        loop {
            let first = self.state.lock().log.first;
            let at = self.index.with_book(|book| {
                book.move_to(book.position().max(first));
                book.position()
            })?;
            if at >= goal {
                return Some(());
            }
            let bytes = match self.log_piece(at, len.min(usize::try_from(goal - at).unwrap_or(len))).await {
                Ok(bytes) => bytes,
                Err(error) => {
                    tracing::warn!("cannot read the commit log to index it: {error}");
                    self.forget_index();
                    return None;
                }
            };
            let (shared, now) = (Arc::clone(&self.index.shared), self.env.wall());
            let stop = self.env.aside(move || {
                let mut scanned = Scanned::default();
                let stop = scanned.scan(&bytes, at, segment_bytes);
                let (Stop::At(to) | Stop::Short(to, _) | Stop::Damaged(to, _)) = stop;
                shared.lock().take(&scanned, at, to, now).map(|()| stop)
            });
            len = match stop.await?? {
                Stop::At(to) if to > at => PIECE_BYTES,
                // Retention was faster, or the segment's file is short.
                Stop::At(_) if self.state.lock().log.first > at => PIECE_BYTES,
                Stop::At(to) => self.pass_over(to, goal, None)?,
                Stop::Short(to, total) if to + total as u64 <= goal => total.max(PIECE_BYTES),
                Stop::Short(to, _) => self.pass_over(to, goal, None)?,
                Stop::Damaged(to, size) => self.pass_over(to, goal, size)?,
            };
            if self.index.with_book(|book| book.tail_entries())? >= TAIL_ENTRIES {
                let durable = self.state.lock().durable;
                let _alone = self.index.writing.lock().await;
                if let Err(trouble) = self.write_index(durable).await {
                    self.index_failed(&trouble);
                    return None;
                }
            }
        }
    }

    /// Behind a damaged record: by its size if that is believable, else with the next segment.
    fn pass_over(&self, at: u64, goal: u64, size: Option<usize>) -> Option<usize> {
        self.env.probe("store.index_passed_over");
        tracing::warn!("the commit log is damaged at {at:#x}: what is there cannot be found by key");
        let next_segment = at - at % self.config.segment_bytes + self.config.segment_bytes;
        let next = size.map_or(next_segment, |size| at + size as u64).min(goal);
        self.index.with_book(|book| book.move_to(next.max(at)))?;
        Some(PIECE_BYTES)
    }

    pub(super) fn index_failed(&self, trouble: &FileTrouble) {
        let FileTrouble { action, path, error } = trouble;
        if !self.index.shared.lock().failed {
            tracing::warn!(
                "messages cannot be looked up by key: {action} {} failed: {error}; trying again every {RETRY_MS} ms",
                path.display()
            );
            self.env.probe("store.index_failed");
        }
        self.index.shared.lock().failed = true;
        self.forget_index();
    }

    /// What is in memory may not be what is on disk: begin anew.
    fn forget_index(&self) {
        self.index.shared.lock().book = None;
        self.files.forget(&self.layout.index);
        self.index.now.notify_one();
    }
}

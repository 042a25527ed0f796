//! What appends, readers and background tasks share: one state behind one lock, and the signals between them.
//!
//! The lock is held for memory work only, never across an await. Who waits for whom:
//!
//! ```text
//! append ── flush_wanted ──▶ flush ── checkpoint_wanted ──▶ upkeep (checkpoint) ── settle_wanted ──▶ settle
//!   │                          ├─▶ durable_waiters             └─▶ writers      ◀── journal_shorter ──┘
//!   │                          └── index.wanted ──▶ index
//!   └────── segment_wanted ──▶ prepare ──▶ writers
//! ```
//!
//! Deletion and retention take both locks, `settling` first.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::config::Config;
use super::config::Flush;
use super::error::FlushError;
use super::error::LatchCause;
use super::error::OverMark;
use super::index::Index;
use super::journal::Entry;
use super::journal::Journal;
use super::layout::Layout;
use super::log::Log;
use super::log::Placement;
use super::open_files::OpenFiles;
use super::planted;
use super::queues::Queues;
use super::types::Published;
use super::unreadable::Unreadable;
use crate::base::QueueId;
use crate::base::QueueOffset;
use crate::base::Timestamp;
use crate::env::Env;
use crate::env::Tree;

/// Published messages kept apart for [`super::Store::take_published`]; beyond, they are folded to one per queue.
const PUBLISHED_MAX: usize = 16 * 1024;

pub(super) struct Core {
    pub(super) env: Env,
    pub(super) config: Config,
    pub(super) layout: Layout,
    pub(super) files: OpenFiles,
    pub(super) unreadable: Unreadable,
    pub(super) state: Mutex<State>,
    pub(super) flush_wanted: Notify,
    /// A flush is wanted before its time.
    pub(super) flush_now: Notify,
    pub(super) segment_wanted: Notify,
    pub(super) checkpoint_wanted: Notify,
    /// A checkpoint is wanted before its time.
    pub(super) checkpoint_now: Notify,
    pub(super) index: Index,
    pub(super) settle_wanted: Notify,
    /// Units are wanted in queue files before their time.
    pub(super) settle_now: Notify,
    /// Files of the journal are gone.
    pub(super) journal_shorter: Notify,
    /// Held by whoever changes queue files or the checkpoint file. Taken before `upkeep`.
    pub(super) settling: tokio::sync::Mutex<()>,
    /// Held by whoever adds to the journal or drops of it.
    pub(super) upkeep: tokio::sync::Mutex<Journal>,
    /// The directory of queue files.
    pub(super) tree: Arc<dyn Tree>,
}

pub(super) struct State {
    pub(super) log: Log,
    pub(super) queues: Queues,
    /// Queued messages that are not in the journal, in log order; readers see the first `shown`.
    pub(super) pending: VecDeque<Pending>,
    pub(super) shown: usize,
    pub(super) published: Vec<Published>,
    /// Above so many, they are folded.
    published_max: usize,
    pub(super) durable: u64,
    /// Units of what lies below are durable, in the journal or in queue files.
    pub(super) checkpoint: u64,
    /// Store time of the last record below `checkpoint`.
    pub(super) checkpoint_store_at: Timestamp,
    /// Units of what lies below are durable in queue files.
    pub(super) settled: u64,
    pub(super) journal_bytes: u64,
    /// The durable checkpoint lets the log run up to here.
    pub(super) limit: u64,
    pub(super) last_store_at: Timestamp,
    /// Store time of the last record below `durable`.
    pub(super) durable_store_at: Timestamp,
    /// Segments that an append waits for.
    pub(super) segments_wanted: usize,
    pub(super) flush_signalled: bool,
    pub(super) segment_signalled: bool,
    /// No space for the journal: nothing is taken.
    pub(super) full: Option<Arc<PathBuf>>,
    /// No space for queue files or the checkpoint file: nothing is taken.
    pub(super) files_full: Option<Arc<PathBuf>>,
    /// No space for the next segment: nothing is taken that does not fit into what is there.
    pub(super) segment_full: Option<Arc<PathBuf>>,
    /// The disk is fuller than its operator wants: nothing is taken.
    pub(super) over_mark: Option<Arc<OverMark>>,
    pub(super) latched: Option<Arc<LatchCause>>,
    /// Appends are refused.
    pub(super) closing: bool,
    /// The background tasks have ended.
    pub(super) gone: bool,
    /// An append was told to wait, and what it waited for has not happened.
    pub(super) blocked: bool,
    pub(super) writers: Waiters,
    pub(super) durable_waiters: Waiters,
    /// Topics whose queues are being removed.
    pub(super) deleting: Vec<Arc<str>>,
    pub(super) scratch: Scratch,
    pub(super) counters: Counters,
}

/// A queued message on its way to readers and to the journal.
pub(super) struct Pending {
    pub(super) entry: Entry,
    pub(super) store_at: Timestamp,
}

/// Allocations that every append uses again.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) sizes: Vec<u32>,
    pub(super) placement: Placement,
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) appended_messages: u64,
    pub(super) appended_bytes: u64,
    pub(super) syncs: u64,
    pub(super) last_sync_us: u64,
    pub(super) checkpoints: u64,
    pub(super) damaged_reads: u64,
}

/// Tasks to wake when something has happened.
#[derive(Default)]
pub(super) struct Waiters(Vec<Waker>);

impl Waiters {
    pub(super) fn add(&mut self, cx: &Context<'_>) {
        if !self.0.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.0.push(cx.waker().clone());
        }
    }

    pub(super) fn wake_all(&mut self) {
        for waker in self.0.drain(..) {
            waker.wake();
        }
    }
}

impl State {
    pub(super) fn new(log: Log, queues: Queues) -> State {
        State {
            durable: log.end,
            checkpoint: log.end,
            checkpoint_store_at: Timestamp(0),
            settled: log.end,
            journal_bytes: 0,
            limit: log.end,
            log,
            queues,
            pending: VecDeque::new(),
            shown: 0,
            published: Vec::new(),
            published_max: PUBLISHED_MAX,
            last_store_at: Timestamp(0),
            durable_store_at: Timestamp(0),
            segments_wanted: 0,
            flush_signalled: false,
            segment_signalled: false,
            full: None,
            files_full: None,
            segment_full: None,
            over_mark: None,
            latched: None,
            closing: false,
            gone: false,
            blocked: false,
            writers: Waiters::default(),
            durable_waiters: Waiters::default(),
            deleting: Vec::new(),
            scratch: Scratch::default(),
            counters: Counters::default(),
        }
    }

    /// Whatever an append waited for may have happened.
    pub(super) fn unblock(&mut self) {
        self.blocked = false;
        self.writers.wake_all();
    }

    /// Shows readers every message that ends at or below `end`.
    pub(super) fn publish(&mut self, end: u64) {
        while let Some(pending) = self.pending.get(self.shown) {
            let Entry { slot, offset, unit } = pending.entry;
            if unit.end() > end {
                break;
            }
            self.shown += 1;
            if self.queues.is_dead(slot) {
                continue;
            }
            let queue = self.queues.get_mut(slot);
            queue.visible = offset + 1;
            self.published.push(Published {
                topic: Arc::clone(&queue.topic),
                queue: QueueId(queue.id),
                max: QueueOffset(offset + 1),
                tags_code: Some(unit.tags_code),
                store_at: pending.store_at,
            });
        }
        if self.published.len() > self.published_max {
            self.fold_published();
            // With many queues little is folded; do not sort again for every message.
            self.published_max = PUBLISHED_MAX.max(self.published.len() * 2);
        }
    }

    /// Nobody takes what was published: keeps one entry per queue.
    fn fold_published(&mut self) {
        self.published.sort_by(|a, b| (&a.topic, a.queue, a.max).cmp(&(&b.topic, b.queue, b.max)));
        self.published.dedup_by(|later, kept| {
            let same = later.topic == kept.topic && later.queue == kept.queue;
            if same {
                kept.max = later.max;
                kept.store_at = later.store_at;
                kept.tags_code = None;
            }
            same
        });
    }
}

impl Core {
    /// Readers may see what lies below.
    pub(super) fn visible_end(&self, state: &State) -> u64 {
        match self.config.flush {
            Flush::Async { .. } => state.log.end,
            Flush::Sync if self.env.planted(planted::VISIBLE_BEFORE_DURABLE) => state.log.end,
            Flush::Sync => state.durable,
        }
    }

    /// The first failure counts; the store takes nothing from then on.
    pub(super) fn latch(&self, action: &'static str, path: &Path, error: io::Error) -> Arc<LatchCause> {
        let mut state = self.state.lock();
        let cause = Arc::new(LatchCause { action, path: path.to_path_buf(), error });
        let cause = match &state.latched {
            Some(first) => Arc::clone(first),
            None => {
                tracing::error!("{cause}");
                self.env.probe("store.latched");
                state.latched = Some(Arc::clone(&cause));
                cause
            }
        };
        state.unblock();
        state.durable_waiters.wake_all();
        cause
    }

    /// Ends once the log is durable up to `to`, or cannot become so. Asks for a flush now.
    pub(super) async fn flushed(&self, to: u64) -> Result<(), FlushError> {
        std::future::poll_fn(|cx| {
            let mut state = self.state.lock();
            let outcome = durable_reached(&state, to);
            if outcome.is_pending() {
                state.durable_waiters.add(cx);
                drop(state);
                self.ask_for_flush();
            }
            outcome
        })
        .await
    }

    pub(super) fn ask_for_flush(&self) {
        self.flush_wanted.notify_one();
        self.flush_now.notify_one();
    }
}

/// Whether the log is durable up to `to`, or cannot become so.
pub(super) fn durable_reached(state: &State, to: u64) -> Poll<Result<(), FlushError>> {
    if state.durable >= to {
        return Poll::Ready(Ok(()));
    }
    if let Some(cause) = &state.latched {
        return Poll::Ready(Err(FlushError::Latched(Arc::clone(cause))));
    }
    if state.gone {
        return Poll::Ready(Err(FlushError::Closed));
    }
    Poll::Pending
}

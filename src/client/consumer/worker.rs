//! The one task of one queue: from the lock to the last commit.
//!
//! ```text
//! begin ─▶ lock (ordered) ─▶ start offset ─▶ work ─▶ drain ─┬─▶ finish   revoked, stopped
//!   ▲                                                       │
//!   └──────────────── lease lost, offset reset ─────────────┘
//! ```
//!
//! Everything about a queue goes through this task, so nothing overtakes anything: a commit never passes a later one, the
//! lock is renewed until the last handler has returned, and given back after the last commit.
//!
//! Not here: what may be handed out and committed ([`ProcessQueue`]).

mod begin;
mod work;

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::mpsc;

use super::Inner;
use super::MessageView;
use super::settle::Fate;
use crate::base::Mono;
use crate::base::QueueOffset;
use crate::client::MessageQueue;
use crate::client::RequestError;
use crate::client::broker::PullAnswer;
use crate::client::planted;
use crate::env::BoxFuture;
use crate::env::Task;
use crate::machine::consume::LEASE_MS;
use crate::machine::consume::ProcessQueue;

/// A queue that this member has, as everybody but its worker sees it.
pub(super) struct Assigned {
    pub(super) queue: MessageQueue,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Default)]
struct State {
    /// `None` until the start offset is known, and between two starts.
    process: Option<ProcessQueue<MessageView>>,
    wish: Wish,
    /// Start here instead.
    reset: Option<QueueOffset>,
}

/// What the consumer wants of a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Wish {
    #[default]
    Work,
    /// Finish what is being handled, commit, end.
    Stop,
    /// Another member gets the queue: commit, finish what is being handled, end.
    Revoke,
}

/// Why work on a queue ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Revoked,
    Stopped,
    /// Somebody else may have the lock.
    LeaseLost,
    /// Go on from here.
    Restart(QueueOffset),
}

/// A handler has returned.
struct Report {
    handler: u64,
    fates: Vec<(QueueOffset, Fate)>,
}

struct Worker {
    inner: Arc<Inner>,
    assigned: Arc<Assigned>,
    /// When the lock was last asked for with success.
    locked_at: Option<Mono>,
    /// What the group's offset is known to be.
    persisted: Option<QueueOffset>,
    /// Overrides the group's offset at the next beginning.
    start_at: Option<QueueOffset>,
    reports: (mpsc::UnboundedSender<Report>, mpsc::UnboundedReceiver<Report>),
    handlers: BTreeMap<u64, Task>,
    next_handler: u64,
    pull: Option<Pull>,
    pull_not_before: Mono,
    /// The member of the broker group to pull from.
    pull_from: i64,
    renewal: Option<Waiting<(Mono, Result<bool, RequestError>)>>,
    renew_at: Mono,
    commit: Option<Waiting<(QueueOffset, Result<(), RequestError>)>>,
    commit_at: Mono,
}

type Waiting<T> = BoxFuture<'static, T>;

struct Pull {
    begin: QueueOffset,
    asked: Mono,
    answer: Waiting<Result<PullAnswer, RequestError>>,
}

impl Assigned {
    pub(super) fn new(queue: MessageQueue) -> Assigned {
        Assigned { queue, state: Mutex::default(), wake: Notify::new() }
    }

    pub(super) fn revoke(&self) {
        self.wish(Wish::Revoke);
    }

    pub(super) fn tell_to_stop(&self) {
        self.wish(Wish::Stop);
    }

    pub(super) fn reset(&self, to: QueueOffset) {
        self.state.lock().reset = Some(to);
        self.wake.notify_one();
    }

    pub(super) fn is_revoked(&self) -> bool {
        self.state.lock().wish == Wish::Revoke
    }

    /// What may be committed now.
    pub(super) fn commit(&self, now: Mono) -> Option<QueueOffset> {
        self.state.lock().process.as_ref()?.commit(now)
    }

    /// Looks at the queue, if it is being worked on.
    pub(super) fn with_process<T>(&self, look: impl FnOnce(&ProcessQueue<MessageView>) -> T) -> Option<T> {
        self.state.lock().process.as_ref().map(look)
    }

    fn wish(&self, wish: Wish) {
        let mut state = self.state.lock();
        state.wish = state.wish.max(wish);
        drop(state);
        self.wake.notify_one();
    }
}

/// Works on a queue until it is revoked or the consumer stops, then lets go of it.
pub(super) async fn run(inner: Arc<Inner>, assigned: Arc<Assigned>) {
    let mut worker = Worker {
        inner: Arc::clone(&inner),
        assigned: Arc::clone(&assigned),
        locked_at: None,
        persisted: None,
        start_at: None,
        reports: mpsc::unbounded_channel(),
        handlers: BTreeMap::new(),
        next_handler: 0,
        pull: None,
        pull_not_before: Mono(0),
        pull_from: 0,
        renewal: None,
        renew_at: Mono::NEVER,
        commit: None,
        commit_at: Mono::NEVER,
    };
    worker.live().await;
    drop(worker);
    inner.release(&assigned);
}

impl Worker {
    async fn live(&mut self) {
        while let Some(start) = self.begin().await {
            let end = self.work(start).await;
            self.finish(end).await;
            match end {
                End::Revoked | End::Stopped => return,
                End::LeaseLost => {}
                End::Restart(at) => self.start_at = Some(at),
            }
        }
    }

    /// All handlers have returned: the last commit, then the lock.
    async fn finish(&mut self, end: End) {
        assert!(self.idle(), "a queue is let go of when its handlers have returned");
        self.settle_commit().await;
        if matches!(end, End::Revoked | End::Stopped)
            && let Some(to) = self.assigned.commit(self.now())
        {
            self.start_commit(to);
            self.settle_commit().await;
        }
        self.pull = None;
        self.renewal = None;
        let process = self.assigned.state.lock().process.take();
        let leased = process.is_some_and(|process| process.leased(self.inner.client.shared.env.now()));
        if self.inner.locks() && leased && !(end == End::Revoked && self.unlocks_early()) {
            self.unlock(end).await;
        }
    }

    /// Gives the lock back. When the broker does not say that it took it, the request may still be on its way, and would
    /// take the lock from whoever asks next, this member included: so it waits until no lease can be left.
    async fn unlock(&mut self, end: End) {
        self.locked_at = None;
        let shared = Arc::clone(&self.inner.client.shared);
        let queue = &self.assigned.queue;
        let unlocked = match shared.master_of(queue) {
            Ok(addr) => shared.unlock(&addr, &self.inner.config.group, queue).await,
            Err(error) => Err(error),
        };
        if let Err(error) = unlocked {
            tracing::info!(%queue, %error, "the lock was not given back; it ends by itself");
            if end != End::Stopped {
                shared.env.sleep_ms(LEASE_MS).await;
            }
        }
    }

    fn unlocks_early(&self) -> bool {
        self.inner.locks() && self.inner.client.shared.env.planted(planted::UNLOCK_BEFORE_HANDLER_DONE)
    }

    /// Remembers what a commit that is on its way came to.
    async fn settle_commit(&mut self) {
        if self.commit.is_some() {
            let (to, result) = ended(&mut self.commit).await;
            self.on_committed(to, result);
        }
    }

    fn start_commit(&mut self, to: QueueOffset) {
        assert!(self.commit.is_none(), "one commit at a time: none overtakes another");
        if self.persisted != Some(to) {
            self.send_commit(to, false);
        }
    }

    /// Tells again what is committed already: a broker that was killed since may have forgotten it, and where nothing new
    /// comes nobody would ever tell it again. It only raises: the former owner's last commit may have come since we began,
    /// and ours would undo it.
    fn repeat_commit(&mut self, to: QueueOffset) {
        assert!(self.commit.is_none(), "one commit at a time: none overtakes another");
        self.send_commit(to, true);
    }

    fn send_commit(&mut self, to: QueueOffset, only_raises: bool) {
        let (inner, queue) = (Arc::clone(&self.inner), self.assigned.queue.clone());
        self.commit = Some(Box::pin(async move {
            let (shared, group) = (&inner.client.shared, &inner.config.group);
            let sent = if only_raises {
                inner.offsets.raise(shared, group, &queue, to).await
            } else {
                inner.offsets.commit(shared, group, &queue, to).await
            };
            (to, sent)
        }));
    }

    fn on_committed(&mut self, to: QueueOffset, result: Result<(), RequestError>) {
        match result {
            Ok(()) => self.persisted = Some(to),
            Err(error) => tracing::info!(queue = %self.assigned.queue, %to, %error, "not committed yet"),
        }
    }

    fn idle(&self) -> bool {
        self.assigned.with_process(ProcessQueue::idle).unwrap_or(true)
    }

    fn now(&self) -> Mono {
        self.inner.client.shared.env.now()
    }
}

/// Waits for a future that may not be there, and removes it.
async fn ended<T>(waiting: &mut Option<Waiting<T>>) -> T {
    match waiting {
        Some(future) => {
            let value = future.await;
            *waiting = None;
            value
        }
        None => pending().await,
    }
}

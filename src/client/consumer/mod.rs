//! [`PushConsumer`]: hands the messages of subscribed topics to a handler.
//!
//! ```text
//! rebalance (20 s, change of members or routes) ─▶ assigns and revokes queues
//!                                                     │ one worker task per queue
//!   worker: lock (ordered) ▸ start offset ▸ pull ▸ hand out ▸ settle ▸ commit (5 s)
//!                                              ╰─ failed: send back (36), else to %RETRY% itself, else again here
//! ```
//!
//! A worker owns everything about its queue: its lock, its offset, its handlers. When the queue is revoked it lets them
//! finish, commits what may be committed, unlocks, and only then lets go of the queue.
//!
//! Not here: what may be committed and when ([`crate::machine::consume`]), who gets which queue
//! ([`crate::machine::rebalance`]).

mod asked;
mod offsets;
mod rebalance;
mod settle;
mod start;
mod view;
mod worker;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::Semaphore;

pub use start::PushConsumerBuilder;
pub use view::MessageView;

use self::offsets::Offsets;
use self::worker::Assigned;
use super::Client;
use super::MessageQueue;
use super::member::Membership;
use crate::base::Timestamp;
use crate::env::BoxFuture;
use crate::env::Task;
use crate::machine::consume::Order;
use crate::machine::consume::Window;
use crate::machine::rebalance::Division;
pub use crate::protocol::body::MessageModel;
use crate::protocol::subscription::TagFilter;

/// What a handler says about the messages it was given, all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumeResult {
    /// They need not come again.
    Done,
    /// They come again after a while that grows with each attempt, to any member of the group; after too many attempts
    /// they become dead letters.
    Retry,
    /// As `Retry`, with the delay of this level: 1 is a second, 18 two hours.
    RetryAt { delay_level: u32 },
    /// They become dead letters now.
    DeadLetter,
}

/// What an ordered handler says about the messages it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderResult {
    /// They are done: the next ones may come.
    Done,
    /// They come again, here, after so many milliseconds; nothing later of their queue comes before.
    Suspend { ms: u64 },
}

/// Where a group that has no offset for a queue starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConsumeFrom {
    /// Behind what is there. A broker whose queue still has its very first message starts there all the same.
    #[default]
    Last,
    First,
    /// With the first message stored at or after a time.
    At(Timestamp),
}

/// A running consumer. Dropping it ends it as a kill would: what was not committed comes again. [`PushConsumer::stop`]
/// lets handlers finish and commits.
pub struct PushConsumer {
    inner: Arc<Inner>,
    membership: Option<Membership>,
    _tasks: Vec<Task>,
}

type ConcurrentHandler = dyn Fn(Vec<MessageView>) -> BoxFuture<'static, ConsumeResult> + Send + Sync;
type OrderedHandler = dyn Fn(Vec<MessageView>) -> BoxFuture<'static, OrderResult> + Send + Sync;

#[derive(Clone)]
pub(super) enum Handler {
    Concurrent(Arc<ConcurrentHandler>),
    Ordered(Arc<OrderedHandler>),
}

#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) group: String,
    pub(super) model: MessageModel,
    pub(super) from: ConsumeFrom,
    pub(super) division: Division<MessageQueue>,
    /// Batches handled at once, over all queues.
    pub(super) concurrency: usize,
    /// Messages per batch.
    pub(super) batch_max: usize,
    /// Messages per pull.
    pub(super) pull_max: i32,
    pub(super) window: Window,
    /// `None`: 16 for concurrent handling, no limit for ordered.
    pub(super) max_reconsume: Option<i32>,
    /// Milliseconds that a broker holds a pull that finds nothing.
    pub(super) suspend_ms: u64,
    pub(super) pull_timeout_ms: u64,
    pub(super) rebalance_ms: u64,
    pub(super) persist_ms: u64,
    pub(super) renew_lock_ms: u64,
    pub(super) stop_timeout_ms: u64,
    /// Where a broadcast consumer keeps its offsets.
    pub(super) offset_dir: PathBuf,
}

#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub(super) expression: String,
    pub(super) filter: TagFilter,
    /// When it was made, in wall milliseconds.
    pub(super) version: i64,
}

pub(super) struct Inner {
    pub(super) client: Client,
    pub(super) config: Config,
    pub(super) handler: Handler,
    /// By topic, the group's retry topic included.
    pub(super) subscriptions: BTreeMap<Arc<str>, Subscription>,
    offsets: Offsets,
    pub(super) permits: Arc<Semaphore>,
    assigned: Mutex<BTreeMap<MessageQueue, (Arc<Assigned>, Task)>>,
    rebalance: Notify,
    released: Notify,
    stopping: AtomicBool,
}

impl PushConsumer {
    pub fn group(&self) -> &str {
        &self.inner.config.group
    }

    /// The queues it has at the moment, and what of each may be committed.
    pub fn queues(&self) -> Vec<(MessageQueue, Option<crate::base::QueueOffset>)> {
        let now = self.inner.client.shared.env.now();
        let assigned = self.inner.assigned.lock();
        assigned.iter().map(|(queue, (state, _))| (queue.clone(), state.commit(now))).collect()
    }

    /// Takes no more messages, waits for the handlers (30 s, see [`PushConsumerBuilder::stop_timeout_ms`]), commits,
    /// unlocks, leaves the group.
    pub async fn stop(mut self) {
        let inner = Arc::clone(&self.inner);
        inner.stopping.store(true, Ordering::Relaxed);
        let shared = &inner.client.shared;
        for (state, _) in inner.assigned.lock().values() {
            state.tell_to_stop();
        }
        let all_released = async {
            while !inner.assigned.lock().is_empty() {
                inner.released.notified().await;
            }
        };
        if shared.env.timeout_ms(inner.config.stop_timeout_ms, all_released).await.is_none() {
            tracing::warn!(group = inner.config.group, "stopped while handlers were at work");
        }
        inner.offsets.save(&shared.env).await;
        if let Some(membership) = self.membership.take() {
            membership.leave(shared).await;
        }
    }
}

impl Drop for PushConsumer {
    fn drop(&mut self) {
        self.inner.stopping.store(true, Ordering::Relaxed);
        // The workers hold the consumer; ending them ends it.
        let workers = std::mem::take(&mut *self.inner.assigned.lock());
        drop(workers);
    }
}

impl Inner {
    pub(super) fn order(&self) -> Order {
        match self.handler {
            Handler::Concurrent(_) => Order::Concurrent,
            Handler::Ordered(_) => Order::Orderly,
        }
    }

    /// Ordered queues of a group that shares them are locked at the broker.
    pub(super) fn locks(&self) -> bool {
        self.order() == Order::Orderly && self.config.model == MessageModel::Clustering
    }

    /// `None`: no limit.
    pub(super) fn max_reconsume(&self) -> Option<i32> {
        match (self.config.max_reconsume, self.order()) {
            (Some(max), _) => Some(max),
            (None, Order::Concurrent) => Some(16),
            (None, Order::Orderly) => None,
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

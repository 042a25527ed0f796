//! The store's front door.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;

use bytes::Bytes;
use parking_lot::Mutex;

use super::AppendError;
use super::Appended;
use super::Boundary;
use super::Bounds;
use super::Config;
use super::FlushError;
use super::KeyFound;
use super::KeyQuery;
use super::OpenError;
use super::OverMark;
use super::Published;
use super::Read;
use super::ReadError;
use super::ReadLimits;
use super::Recovery;
use super::Removed;
use super::Stats;
use super::UpkeepError;
use super::core::Core;
use super::core::durable_reached;
use super::layout::Layout;
use super::read::Want;
use super::recover::Recover;
use crate::base::PhysicalOffset;
use crate::base::QueueId;
use crate::base::QueueOffset;
use crate::base::Timestamp;
use crate::env::Access;
use crate::env::DirLock;
use crate::env::Env;
use crate::env::Task;
use crate::protocol::record::NewRecord;

/// How long a shutdown lets the index catch up, in milliseconds.
const INDEX_WAIT_MS: u64 = 5_000;

/// An open store. Dropping it ends its background tasks at once, as a crash would; [`Store::shutdown`] closes it.
pub struct Store {
    core: Arc<Core>,
    tasks: Mutex<Vec<Task>>,
    lock: Mutex<Option<Box<dyn DirLock>>>,
}

impl Store {
    /// Takes the directory's lock, recovers the log and the queues, starts the background tasks.
    pub async fn open(env: &Env, config: Config) -> Result<(Arc<Store>, Recovery), OpenError> {
        config.check().map_err(OpenError::Config)?;
        let root = config.root.clone();
        env.disk.create_dir_all(&root).await.map_err(OpenError::io("create", &root))?;
        sync_ancestors(env, &config).await?;
        let lock_path = Layout::new(&config).lock();
        let lock = match env.disk.lock(&lock_path).await {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(OpenError::Locked { root, error });
            }
            Err(error) => return Err(OpenError::io("lock", &lock_path)(error)),
        };
        let (core, recovery) = Recover::new(env, config).run().await?;
        let core = Arc::new(core);
        let tasks = vec![
            env.spawn("store.flush", Arc::clone(&core).run_flush()),
            env.spawn("store.prepare", Arc::clone(&core).run_prepare()),
            env.spawn("store.upkeep", Arc::clone(&core).run_upkeep()),
            env.spawn("store.index", Arc::clone(&core).run_index()),
            env.spawn("store.settle", Arc::clone(&core).run_settle()),
        ];
        let store = Store { core, tasks: Mutex::new(tasks), lock: Mutex::new(Some(lock)) };
        Ok((Arc::new(store), recovery))
    }

    pub fn config(&self) -> &Config {
        &self.core.config
    }

    /// Stores `unit` as a whole or not at all, and says in `out` (appended to) where. One lock, one copy and one CRC
    /// pass per body; never waits. On [`AppendError::NotReady`] await [`Store::writable`] and try again.
    pub fn append(&self, unit: &[NewRecord], out: &mut Vec<Appended>) -> Result<(), AppendError> {
        self.core.append(unit, out)
    }

    /// Ready once an append that was [`AppendError::NotReady`] is worth another try (also when it would now fail for a
    /// lasting reason).
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.core.state.lock();
        if !state.blocked || state.latched.is_some() || state.closing {
            return Poll::Ready(());
        }
        state.writers.add(cx);
        Poll::Pending
    }

    /// As [`Store::poll_writable`].
    pub async fn writable(&self) {
        std::future::poll_fn(|cx| self.poll_writable(cx)).await;
    }

    /// The end of the log.
    pub fn appended(&self) -> PhysicalOffset {
        PhysicalOffset(self.core.state.lock().log.end)
    }

    /// Everything below is on stable storage.
    pub fn durable(&self) -> PhysicalOffset {
        PhysicalOffset(self.core.state.lock().durable)
    }

    /// Ends once the log is durable up to `to` ([`Appended::end`]), or with [`FlushError::Timeout`] after
    /// [`Config::sync_timeout_ms`]. Under [`super::Flush::Async`] it asks for a flush at once.
    pub async fn wait_durable(&self, to: PhysicalOffset) -> Result<(), FlushError> {
        let span_ms = self.core.config.sync_timeout_ms;
        let outcome = self.core.env.timeout_ms(span_ms, self.core.flushed(to.0)).await;
        outcome.unwrap_or(Err(FlushError::Timeout(span_ms)))
    }

    /// The durable end once it is beyond `seen`. For an observer that releases many acknowledgements at a time; it keeps
    /// its own deadlines.
    pub fn poll_durable_changed(
        &self,
        seen: PhysicalOffset,
        cx: &mut Context<'_>,
    ) -> Poll<Result<PhysicalOffset, FlushError>> {
        let mut state = self.core.state.lock();
        let outcome = durable_reached(&state, seen.0 + 1).map_ok(|()| PhysicalOffset(state.durable));
        if outcome.is_pending() {
            state.durable_waiters.add(cx);
        }
        outcome
    }

    /// As [`Store::poll_durable_changed`].
    pub async fn durable_changed(&self, seen: PhysicalOffset) -> Result<PhysicalOffset, FlushError> {
        std::future::poll_fn(|cx| self.poll_durable_changed(seen, cx)).await
    }

    /// Moves to `out` what became visible to readers since the last call: under [`super::Flush::Async`] right after the
    /// append, under [`super::Flush::Sync`] once it is durable.
    pub fn take_published(&self, out: &mut Vec<Published>) {
        out.append(&mut self.core.state.lock().published);
    }

    /// The visible messages of a queue; `None` for a queue that nothing was ever stored in.
    pub fn bounds(&self, topic: &str, queue: QueueId) -> Option<Bounds> {
        self.core.bounds(topic, queue)
    }

    /// Reads from memory and mapped segments; `None` when that needs a disk: then await [`Store::read`]. `filter` is
    /// called with each unit's tags code, under the store's lock: it must not call the store.
    pub fn try_read(
        &self,
        topic: &str,
        queue: QueueId,
        from: QueueOffset,
        limits: &ReadLimits,
        filter: &dyn Fn(i64) -> bool,
    ) -> Option<Read> {
        self.core.try_read(Want { topic, queue, from, limits }, filter)
    }

    /// Reads messages of one queue, from `from` on, whose tags code passes `filter`.
    pub async fn read(
        &self,
        topic: &str,
        queue: QueueId,
        from: QueueOffset,
        limits: &ReadLimits,
        filter: &(dyn Fn(i64) -> bool + Sync),
    ) -> Result<Read, ReadError> {
        self.core.read(Want { topic, queue, from, limits }, filter).await
    }

    /// The whole record that starts at `at`; `None` when none does, or when readers may not see it yet.
    pub fn record_at(&self, at: PhysicalOffset) -> Result<Option<Bytes>, ReadError> {
        self.core.record_at(at)
    }

    /// As [`Store::record_at`], without holding up the caller's thread where the record is not in memory.
    pub async fn view(&self, at: PhysicalOffset) -> Result<Option<Bytes>, ReadError> {
        self.core.view(at).await
    }

    /// Messages by key: all that could be read from their queues when the call was made, and that the log still has.
    /// Nothing where there is no index. A message is missing only while the index is further behind than it waits for.
    pub async fn query(&self, query: KeyQuery<'_>) -> Result<KeyFound, ReadError> {
        self.core.query(query).await
    }

    /// The message of a queue that `time` stands for, by store time.
    pub async fn offset_by_time(
        &self,
        topic: &str,
        queue: QueueId,
        time: Timestamp,
        boundary: Boundary,
    ) -> Result<QueueOffset, ReadError> {
        self.core.offset_by_time(topic, queue, time, boundary).await
    }

    /// When the message at `offset` was stored; `None` when there is no such message.
    pub async fn store_time_of(
        &self,
        topic: &str,
        queue: QueueId,
        offset: QueueOffset,
    ) -> Result<Option<Timestamp>, ReadError> {
        self.core.store_time_of(topic, queue, offset).await
    }

    /// When the oldest message of the log was stored.
    pub fn earliest_store_time(&self) -> Option<Timestamp> {
        self.core.earliest_store_time()
    }

    /// The topics that anything was ever stored in, sorted.
    pub fn topics(&self) -> Vec<Arc<str>> {
        self.core.state.lock().queues.topic_names()
    }

    /// The queues of `topic` that anything was ever stored in, sorted.
    pub fn queues_of(&self, topic: &str) -> Vec<QueueId> {
        let state = self.core.state.lock();
        let of_topic = state.queues.iter().filter(|queue| *queue.topic == *topic);
        let mut queues: Vec<QueueId> = of_topic.map(|queue| QueueId(queue.id)).collect();
        queues.sort_unstable();
        queues
    }

    /// Removes the topic's queues; its records stay in the log until retention reaches them. Appends to the topic wait
    /// meanwhile ([`AppendError::NotReady`]); queues start again at 0 afterwards.
    pub async fn delete_topic(&self, topic: &str) -> Result<Removed, UpkeepError> {
        self.core.delete_topic(topic).await
    }

    /// Removes what [`Config::retention`] no longer keeps at `now`, and says what that was.
    pub async fn run_retention(&self, now: Timestamp) -> Result<Removed, UpkeepError> {
        self.core.run_retention(Some(now)).await
    }

    /// As [`Store::run_retention`], but only what exceeds [`Retention::keep_bytes`](super::Retention::keep_bytes): its
    /// age does not count.
    pub async fn run_retention_of_bytes(&self) -> Result<Removed, UpkeepError> {
        self.core.run_retention(None).await
    }

    /// Hides from readers what was stored of `topic` before `since`, or shows all of it again; the log keeps it either way.
    /// Says how many queues begin elsewhere than before. Not written down: to be said again after a start.
    pub async fn reserve(&self, topic: &str, since: Option<Timestamp>) -> Result<u64, ReadError> {
        self.core.reserve(topic, since).await
    }

    /// Removes the oldest segment though retention would keep it; nothing when it is the active one, or behind the
    /// checkpoint.
    pub async fn remove_oldest(&self) -> Result<Removed, UpkeepError> {
        self.core.remove_oldest().await
    }

    /// Refuses appends with [`AppendError::OverMark`], or takes them again.
    pub fn refuse_above(&self, mark: Option<OverMark>) {
        let mut state = self.core.state.lock();
        match (&state.over_mark, &mark) {
            (None, Some(mark)) => tracing::warn!("{mark}"),
            (Some(_), None) => tracing::info!("messages are taken again: the disk is below its mark"),
            _ => {}
        }
        state.over_mark = mark.map(Arc::new);
        state.unblock();
    }

    pub fn stats(&self) -> Stats {
        let earliest = self.core.earliest_store_time();
        let state = self.core.state.lock();
        let full = state.full.as_ref().or(state.files_full.as_ref()).or(state.segment_full.as_ref());
        let latched = state.latched.as_ref().map(ToString::to_string);
        Stats {
            min: PhysicalOffset(state.log.first),
            max: PhysicalOffset(state.log.end),
            durable: PhysicalOffset(state.durable),
            checkpoint: PhysicalOffset(state.checkpoint),
            settled: PhysicalOffset(state.settled),
            segments: state.log.segments_len() as u64,
            segment_bytes: state.log.segment_bytes(),
            queues: state.queues.len(),
            tail_units: state.queues.tail_units(),
            appended_messages: state.counters.appended_messages,
            appended_bytes: state.counters.appended_bytes,
            syncs: state.counters.syncs,
            last_sync_us: state.counters.last_sync_us,
            checkpoints: state.counters.checkpoints,
            damaged_reads: state.counters.damaged_reads,
            trouble: latched
                .or_else(|| full.map(|path| format!("no space left for {}", path.display())))
                .or_else(|| state.over_mark.as_ref().map(ToString::to_string)),
            earliest,
        }
    }

    /// Flushes everything, brings all units into queue files, removes the abort marker. Appends are refused from the first moment.
    /// After an error the next open recovers as after a crash.
    pub async fn shutdown(&self) -> Result<(), UpkeepError> {
        {
            let mut state = self.core.state.lock();
            if state.gone {
                return Ok(());
            }
            state.closing = true;
            state.unblock();
        }
        let outcome = self.close().await;
        {
            let mut state = self.core.state.lock();
            state.gone = true;
            state.durable_waiters.wake_all();
        }
        self.tasks.lock().clear();
        self.lock.lock().take();
        outcome
    }

    async fn close(&self) -> Result<(), UpkeepError> {
        let core = &self.core;
        let end = core.state.lock().log.end;
        core.flushed(end).await?;
        if core.env.timeout_ms(INDEX_WAIT_MS, core.index.reached(end)).await.is_none() {
            tracing::info!("the index is behind the log; it goes on from where it is at the next start");
        }
        let _alone = core.settling.lock().await;
        core.settle_everything().await?;
        core.close_index().await;
        let failed = |action, path: PathBuf| move |error| UpkeepError::Io { action, path, error };
        let (abort, root) = (core.layout.abort(), core.layout.root.clone());
        core.env.disk.remove(&abort).await.map_err(failed("remove", abort))?;
        core.env.disk.sync_dir(&root).await.map_err(failed("sync", root.clone()))
    }
}

/// Makes the name of a new store durable, all the way up: what is in the directory could not be found otherwise. A store
/// whose first start got to its end has a checkpoint.
async fn sync_ancestors(env: &Env, config: &Config) -> Result<(), OpenError> {
    let checkpoint = Layout::new(config).checkpoint();
    match env.disk.open(&checkpoint, Access::Read).await {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(OpenError::io("open", checkpoint)(error)),
    }
    for dir in config.root.ancestors().skip(1) {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        match env.disk.sync_dir(dir).await {
            // What may not be opened was not created here.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            outcome => outcome.map_err(OpenError::io("sync", dir))?,
        }
    }
    Ok(())
}

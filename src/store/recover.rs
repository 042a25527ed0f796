//! Recovery: from whatever a crash left to a log that ends behind its last valid record, and queues that are a function
//! of it.
//!
//! ```text
//! first            checkpoint        cut              limit
//!  |  trusted . . . . . |  replayed . . |  cleared . . . |  never written
//! ```
//!
//! The checkpoint is where the journal ends; behind the position that the checkpoint file says, units are there and in no
//! queue file that counts.
//!
//! In this order, so that a crash inside leads to the same result:
//!
//! 1. mark the store as in use; find segments, the checkpoint file and queue ends. A queue's end is found by position
//!    alone: its units below that of the file are durable, whatever is behind them names something above it. Units of
//!    the journal go on from there;
//! 2. replay records from the checkpoint: magic, sizes, position, CRC, queue offset; the first invalid one is the cut;
//! 3. make what was replayed durable (a killed process leaves it in the page cache only); remove segments behind the
//!    cut, last one first; clear what was ever written behind it, so that no later, shorter record uncovers it;
//! 4. drop queue units behind the cut, add those replayed to the journal: the checkpoint is at the cut. Without a
//!    checkpoint of ours, and after a rebuild, they go to the queue files and the checkpoint file instead.
//!
//! When queues contradict the log, or there are fewer than the checkpoint counted, the checkpoint is first moved back
//! to the log's start, and all queues are rebuilt by a replay of everything. What lies below the old checkpoint was
//! acknowledged: a damaged record there is passed over, it does not end the log.
//!
//! Not here: the file formats.

mod cut;
mod foreign;
mod journal;
mod queue_ends;
mod replay;

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::OpenError;
use super::Recovery;
use super::checkpoint::Checkpoint;
use super::checkpoint::Found;
use super::config::Config;
use super::core::Core;
use super::core::State;
use super::index::Index;
use super::index::Mark;
use super::journal::Entry;
use super::journal::Journal;
use super::journal::JournalFile;
use super::layout::Layout;
use super::layout::number_of;
use super::log::Log;
use super::open_files::OpenFiles;
use super::planted;
use super::queues::Due;
use super::queues::Queues;
use super::scan::LogFiles;
use super::scan::Step;
use super::scan::Window;
use super::unreadable::Unreadable;
use crate::base::PhysicalOffset;
use crate::base::Timestamp;
use crate::env::Access;
use crate::env::Env;
use crate::env::Segment;
use crate::env::Tree;

/// Progress is told each time so much has been read.
const TOLD_BYTES: u64 = 1024 * 1024 * 1024;

/// A store on its way from files to [`Core`].
pub(super) struct Recover {
    env: Env,
    config: Config,
    layout: Layout,
    files: OpenFiles,
    queues: Queues,
    /// Slots whose files hold units behind the end found.
    suspects: Vec<u32>,
    /// Files of the journal that hold units behind those in queue files.
    journal_files: Vec<JournalFile>,
    /// Units that are neither in the journal nor in queue files.
    replayed: Vec<Entry>,
    /// The journal does not go on from where queue files end.
    contradicted: bool,
    /// Starts of the segments there are, without a hole.
    segments: Vec<u64>,
    report: Recovery,
    /// Units of what lies below are in queue files.
    settled: u64,
    last_store_at: i64,
    index: Mark,
    index_trusted: bool,
    /// Where the last record that was replayed begins.
    last_record_at: u64,
}

/// What to replay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) from: u64,
    /// Nothing was ever written at or above it.
    pub(super) limit: u64,
    /// What the checkpoint counted.
    pub(super) queues: u64,
    /// The checkpoint is ours: everything below `from` is durable.
    pub(super) trusted: bool,
}

impl Plan {
    /// What `found` lets a start do with the log in `log`.
    pub(super) async fn of(found: Found, log: LogFiles<'_>, window: &mut Window) -> Result<Plan, OpenError> {
        let first = log.segments.first().copied().unwrap_or(0);
        let files_end = log.end();
        Ok(match found {
            Found::Ours(checkpoint) => {
                let from = checkpoint.position.max(first);
                Plan { from, limit: checkpoint.limit, queues: checkpoint.queues, trusted: true }
            }
            Found::Times(time, position) => {
                let position = position.unwrap_or(u64::MAX);
                let ours = position - position % log.segment_bytes;
                let from = log.segment_before(window, time).await?.min(ours).max(first);
                Plan { from, limit: files_end, queues: 0, trusted: false }
            }
            Found::Nothing => Plan { from: first, limit: files_end, queues: 0, trusted: false },
        })
    }
}

impl Recover {
    pub(super) fn new(env: &Env, config: Config) -> Recover {
        let layout = Layout::new(&config);
        let files = OpenFiles::new(env, &layout, u64::from(config.queue_file_units), config.open_files);
        Recover {
            env: env.clone(),
            config,
            layout,
            files,
            queues: Queues::default(),
            suspects: Vec::new(),
            journal_files: Vec::new(),
            replayed: Vec::new(),
            contradicted: false,
            segments: Vec::new(),
            report: Recovery::default(),
            settled: 0,
            last_store_at: 0,
            index: Mark::default(),
            index_trusted: false,
            last_record_at: 0,
        }
    }

    pub(super) async fn run(mut self) -> Result<(Core, Recovery), OpenError> {
        self.mark_in_use().await?;
        self.find_segments().await?;
        let plan = self.plan().await?;
        let mut plan = self.load(plan).await?;
        if self.env.planted(planted::REPLAY_LAST_SEGMENT) {
            let last = self.log_files().segment_before(&mut Window::default(), i64::MAX).await?;
            plan.from = plan.from.max(last);
        }
        self.report.from = PhysicalOffset(plan.from);
        let end = self.replay_by(plan).await?;
        self.report.end = PhysicalOffset(end);
        self.make_durable(plan.from, end).await?;
        self.clear_behind(end, plan.limit).await?;
        self.clear_queues_behind().await?;
        if self.env.planted(planted::RECOVERY_CHECKPOINT_FIRST) {
            self.write_checkpoint(end, plan.limit).await?;
        }
        let (journal, limit) = if plan.trusted && self.report.rebuilt.is_none() {
            self.go_on_with_journal(plan, end).await?
        } else {
            self.write_back(end).await?;
            let limit = end + self.config.window_bytes;
            self.write_checkpoint(end, limit).await?;
            self.settled = end;
            (Journal::new(&self.env, &self.layout, Vec::new()), limit)
        };
        let log = self.map_log(end).await?;
        self.report.queues = self.queues.len();
        let report = self.report.clone();
        let dir = &self.layout.consume_queue;
        let tree = self.env.disk.tree(dir).await.map_err(OpenError::io("open", dir))?;
        let mut state = self.state(log, limit);
        state.settled = self.settled;
        state.journal_bytes = journal.bytes();
        Ok((self.into_core(state, journal, tree), report))
    }

    /// Takes all queues from their files and the journal. Says what is left to replay.
    async fn load(&mut self, plan: Plan) -> Result<Plan, OpenError> {
        self.queues = Queues::default();
        self.settled = plan.from;
        if !(plan.trusted && self.load_table(plan.from).await?) {
            self.load_queues(plan.from).await?;
        }
        let plan = self.load_journal(plan).await?;
        let end = self.log_files().end();
        if plan.trusted && plan.from > end {
            return Err(OpenError::LogMissing {
                root: self.layout.root.clone(),
                checkpoint: PhysicalOffset(plan.from),
                end: PhysicalOffset(end),
            });
        }
        Ok(plan)
    }

    /// The abort marker is durable before anything else changes.
    async fn mark_in_use(&mut self) -> Result<(), OpenError> {
        let disk = &self.env.disk;
        let abort = self.layout.abort();
        self.report.clean = match disk.open(&abort, Access::Read).await {
            Ok(_) => false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(OpenError::io("open", &abort)(error)),
        };
        for dir in [&self.layout.commit_log, &self.layout.consume_queue, &self.layout.journal] {
            disk.create_dir_all(dir).await.map_err(OpenError::io("create", dir))?;
        }
        if self.report.clean {
            let file = disk.open(&abort, Access::Create).await.map_err(OpenError::io("create", &abort))?;
            file.sync().await.map_err(OpenError::io("sync", &abort))?;
        }
        disk.sync_dir(&self.layout.root).await.map_err(OpenError::io("sync", &self.layout.root))
    }

    async fn find_segments(&mut self) -> Result<(), OpenError> {
        let dir = &self.layout.commit_log;
        let entries = self.env.disk.list(dir).await.map_err(OpenError::io("list", dir))?;
        let asked = self.config.segment_bytes;
        for entry in entries.iter().filter(|entry| !entry.is_dir) {
            let Some(start) = number_of(&entry.name) else { continue };
            let path = dir.join(&entry.name);
            if entry.len > asked || start % asked != 0 {
                return Err(OpenError::SegmentSize { path, is: entry.len, asked });
            }
            if let Some(last) = self.segments.last()
                && *last + asked != start
            {
                return Err(OpenError::Hole { dir: dir.clone(), at: PhysicalOffset(*last + asked) });
            }
            self.segments.push(start);
        }
        Ok(())
    }

    async fn plan(&mut self) -> Result<Plan, OpenError> {
        let path = self.layout.checkpoint();
        let found = Checkpoint::load(&self.env, &self.layout).await.map_err(OpenError::io("read", &path))?;
        let files_end = self.log_files().end();
        if !matches!(found, Found::Ours(_)) && !self.segments.is_empty() {
            self.tell_unread().await?;
        }
        // What another program wrote and did not close may be anything.
        self.index_trusted = self.report.clean || matches!(found, Found::Ours(_));
        if let Found::Ours(checkpoint) = found {
            if checkpoint.position > files_end {
                return Err(OpenError::LogMissing {
                    root: self.layout.root.clone(),
                    checkpoint: PhysicalOffset(checkpoint.position),
                    end: PhysicalOffset(files_end),
                });
            }
            self.last_store_at = checkpoint.store_at;
            self.index = checkpoint.index;
        }
        let mut window = Window::default();
        let plan = Plan::of(found, self.log_files(), &mut window).await;
        self.report.read_bytes += window.read_bytes;
        plan
    }

    fn log_files(&self) -> LogFiles<'_> {
        LogFiles {
            env: &self.env,
            layout: &self.layout,
            segment_bytes: self.config.segment_bytes,
            segments: &self.segments,
            record_bytes_max: u64::MAX,
        }
    }

    async fn step(&mut self, window: &mut Window, at: u64) -> Result<Step, OpenError> {
        let step = self.log_files().step(window, at).await;
        let before = self.report.read_bytes / TOLD_BYTES;
        self.report.read_bytes += std::mem::take(&mut window.read_bytes);
        let gib = self.report.read_bytes / TOLD_BYTES;
        if gib > before {
            let end = self.log_files().end();
            tracing::warn!("still recovering: {gib} GiB read, at {at:#x} of a log of at most {end:#x}");
        }
        step
    }

    async fn write_checkpoint(&self, position: u64, limit: u64) -> Result<(), OpenError> {
        let queues = self.queues.in_files();
        let checkpoint =
            Checkpoint { store_at: self.last_store_at, position, limit, queues, index: self.index };
        let saved = checkpoint.save(&self.env, &self.layout).await;
        saved.map_err(|trouble| OpenError::io(trouble.action, trouble.path)(trouble.error))
    }

    /// Units of everything below `position` reach the queue files, durably; the log is durable there by now.
    async fn write_back(&mut self, position: u64) -> Result<(), OpenError> {
        let dir = &self.layout.consume_queue;
        let tree = self.env.disk.tree(dir).await.map_err(OpenError::io("open", dir))?;
        let slots = self.queues.take_dirty();
        let mut due = Due::new(&slots, position);
        loop {
            let Some(batches) = due.next(&self.queues) else { break };
            tree.write(self.files.pieces(&batches)).await.map_err(OpenError::io("write", dir))?;
        }
        tree.sync().await.map_err(OpenError::io("sync", dir))?;
        for (slot, end) in due.ends() {
            self.queues.written(slot, end, u64::from(self.config.queue_file_units), 1024);
        }
        self.queues.still_dirty(slots);
        Ok(())
    }

    async fn map_log(&mut self, end: u64) -> Result<Log, OpenError> {
        let segment_bytes = self.config.segment_bytes;
        let active = end - end % segment_bytes;
        self.segments.retain(|start| *start < active);
        self.segments.push(active);
        let mut mapped: Vec<Arc<dyn Segment>> = Vec::new();
        for start in &self.segments {
            let path = self.layout.segment(*start);
            let access = if *start == active { Access::Create } else { Access::Read };
            let segment = self.env.disk.map(&path, segment_bytes, access).await;
            mapped.push(segment.map_err(OpenError::io("map", &path))?);
        }
        let dir = &self.layout.commit_log;
        self.env.disk.sync_dir(dir).await.map_err(OpenError::io("sync", dir))?;
        let first = self.segments.first().copied().unwrap_or(active);
        Ok(Log::new(segment_bytes, first, mapped, end))
    }

    fn state(&mut self, log: Log, limit: u64) -> State {
        let mut state = State::new(log, std::mem::take(&mut self.queues));
        state.limit = limit;
        state.last_store_at = Timestamp(self.last_store_at);
        state.durable_store_at = state.last_store_at;
        state.checkpoint_store_at = state.last_store_at;
        for name in state.queues.names() {
            let queue = state.queues.get_mut(name.slot);
            queue.visible = queue.next;
        }
        state
    }

    fn into_core(self, state: State, journal: Journal, tree: Arc<dyn Tree>) -> Core {
        let settle_wanted = Notify::new();
        settle_wanted.notify_one();
        Core {
            index: Index::new(self.config.index, self.index, self.index_trusted),
            env: self.env,
            config: self.config,
            layout: self.layout,
            files: self.files,
            unreadable: Unreadable::default(),
            state: Mutex::new(state),
            flush_wanted: Notify::new(),
            flush_now: Notify::new(),
            segment_wanted: Notify::new(),
            checkpoint_wanted: Notify::new(),
            checkpoint_now: Notify::new(),
            settle_wanted,
            settle_now: Notify::new(),
            journal_shorter: Notify::new(),
            settling: tokio::sync::Mutex::new(()),
            upkeep: tokio::sync::Mutex::new(journal),
            tree,
        }
    }
}

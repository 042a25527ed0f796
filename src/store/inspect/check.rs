//! A check: the files' names and sizes, the checkpoint, the tables, the log record by record, each queue against the log.
//!
//! What a crash leaves to recovery is no damage: units behind the checkpoint that are in no file, a store without a clean
//! end. What was acknowledged and is not there, or what a start would cut or refuse, is.
//!
//! No checksum of the format covers a record's flag, times, hosts, counters, or its properties other than the tags; a
//! change of those alone is not found.

use std::io;
use std::path::Path;

use super::ClosedStore;
use super::Damage;
use super::InspectError;
use super::Progress;
use super::Report;
use super::SegmentFile;
use super::list_or_nothing;
use super::queue_check::QueueCheck;
use crate::env::Access;
use crate::protocol::fastjson;
use crate::store::OpenError;
use crate::store::checkpoint::Found;
use crate::store::layout::number_of;
use crate::store::recover::Plan;
use crate::store::scan::Window;
use crate::store::unit::UNIT_BYTES;

/// A larger table is not read.
const TABLE_BYTES_MAX: u64 = 1 << 30;
/// Bytes of progress between two words to the watcher.
const WORD_EVERY: u64 = 1 << 20;

pub(super) struct Check<'a> {
    pub(super) store: &'a ClosedStore,
    pub(super) report: Report,
    pub(super) plan: Plan,
    /// The checkpoint file is ours, and all below this position was made durable in log and queue files. From here to the
    /// plan's start, the journal has the units.
    pub(super) trusted: u64,
    /// Units of what a start reads from here on may be in no queue file.
    pub(super) settled: u64,
    /// Recovery will have to build the queues again, for this reason.
    pub(super) rebuild: Option<&'static str>,
    watch: &'a mut dyn FnMut(Progress),
    progress: Progress,
    told: u64,
}

impl<'a> Check<'a> {
    pub(super) fn new(store: &'a ClosedStore, watch: &'a mut dyn FnMut(Progress)) -> Check<'a> {
        let files_end = store.log_files().end();
        Check {
            store,
            report: Report {
                root: store.config.root.clone(),
                segment_bytes: store.config.segment_bytes,
                queue_file_bytes: u64::from(store.config.queue_file_units) * UNIT_BYTES as u64,
                segments: store.segments.len() as u64,
                first: store.first(),
                clean: store.clean,
                ..Report::default()
            },
            plan: Plan { from: store.first(), limit: files_end, queues: 0, trusted: false },
            trusted: 0,
            settled: 0,
            rebuild: None,
            watch,
            progress: Progress { doing: "log", done: 0, all: 0 },
            told: 0,
        }
    }

    pub(super) async fn run(mut self) -> Result<Report, InspectError> {
        self.checkpoint().await?;
        self.tables().await?;
        let queues = self.store.queue_dirs().await?;
        let log_bytes: u64 = self.store.segments.iter().map(|file| file.len).sum();
        self.progress.all = log_bytes + queues.iter().map(|queue| queue.bytes).sum::<u64>();
        self.queue_files(&queues).await?;
        let mut against = QueueCheck::new(self.store, &queues);
        self.log(&mut against).await?;
        self.segment_files();
        self.doing("queues");
        against.finish(&mut self).await?;
        self.tell(self.progress.all);
        self.recovery();
        Ok(self.report)
    }

    pub(super) fn doing(&mut self, doing: &'static str) {
        self.progress.doing = doing;
    }

    /// `bytes` more were looked at.
    pub(super) fn advance(&mut self, bytes: u64) {
        self.tell(self.progress.done.saturating_add(bytes).min(self.progress.all));
    }

    fn tell(&mut self, done: u64) {
        self.progress.done = done;
        if done == self.progress.all || done >= self.told.saturating_add(WORD_EVERY) {
            self.told = done;
            (self.watch)(self.progress);
        }
    }

    fn segment_files(&mut self) {
        let asked = self.store.config.segment_bytes;
        for entry in &self.store.strange {
            let path = self.store.layout.commit_log.join(&entry.name);
            self.report.add(Damage::SegmentFile, path, None, "this is no name of a segment");
        }
        for file in &self.store.segments {
            let path = self.store.layout.commit_log.join(format!("{:020}", file.start));
            if file.start % asked != 0 {
                let what = format!("the name is no multiple of the segment size of {asked} bytes");
                self.report.add(Damage::SegmentFile, path, None, what);
            } else if file.len != asked && !self.is_left_over(file) {
                let what = format!("it has {} bytes, a segment of this store {asked}", file.len);
                self.report.add(Damage::SegmentFile, path, None, what);
            }
        }
    }

    /// A crash came between its creation and its use; the next start removes it.
    fn is_left_over(&self, file: &SegmentFile) -> bool {
        !self.report.clean && file.start >= self.report.end && file.len < self.report.segment_bytes
    }

    async fn checkpoint(&mut self) -> Result<(), InspectError> {
        let store = self.store;
        let path = store.layout.checkpoint();
        let files_end = store.log_files().end();
        match store.found {
            Found::Ours(checkpoint) => {
                self.report.checkpoint = Some(checkpoint.position);
                self.trusted = checkpoint.position;
                if checkpoint.position > files_end {
                    let what = format!(
                        "it stands at {}, but the log's files end at {files_end}",
                        checkpoint.position
                    );
                    self.report.add(Damage::LogMissing, path, Some(checkpoint.position), what);
                }
            }
            Found::Times(..) => {
                let what = "its checksum is wrong: damaged, or written by Apache RocketMQ; a start goes by its times";
                self.report.add(Damage::Checkpoint, path, None, what);
            }
            Found::Nothing if store.segments.is_empty() => {}
            Found::Nothing => {
                self.report.add(
                    Damage::Checkpoint,
                    path,
                    None,
                    "there is none; a start reads all of the log",
                );
            }
        }
        let mut window = Window::default();
        self.plan = Plan::of(store.found, store.log_files(), &mut window).await?;
        self.settled = self.plan.from;
        if !self.plan.trusted {
            return Ok(());
        }
        self.journal().await?;
        if self.plan.from > files_end && !self.report.has(Damage::LogMissing) {
            let at = self.plan.from;
            let what = format!("it has units up to {at}, but the log's files end at {files_end}");
            self.report.add(Damage::LogMissing, store.layout.journal.clone(), Some(at), what);
        }
        Ok(())
    }

    /// `config/*.json` and their backups, as a broker would load them.
    async fn tables(&mut self) -> Result<(), InspectError> {
        let dir = self.store.config.root.join("config");
        for entry in list_or_nothing(&self.store.env, &dir).await? {
            if entry.is_dir || !(entry.name.ends_with(".json") || entry.name.ends_with(".json.bak")) {
                continue;
            }
            let path = dir.join(&entry.name);
            match self.table(&path).await? {
                Ok(()) => self.report.tables += 1,
                Err(why) => {
                    let next = if entry.name.ends_with(".bak") {
                        "the backup is of no use"
                    } else {
                        "a start falls back to its .bak, or is refused without one"
                    };
                    self.report.add(Damage::Table, path, None, format!("{why}: {next}"));
                }
            }
        }
        Ok(())
    }

    /// The inner error says why its content cannot be read.
    async fn table(&self, path: &Path) -> Result<Result<(), String>, InspectError> {
        let fail = |error: io::Error| InspectError::from(OpenError::io("read", path)(error));
        let file = self.store.env.disk.open(path, Access::Read).await.map_err(fail)?;
        let len = file.len().await.map_err(fail)?;
        if len > TABLE_BYTES_MAX {
            return Ok(Err(format!("it has {len} bytes; at most {TABLE_BYTES_MAX} are read")));
        }
        let content = file.read_at(0, usize::try_from(len).unwrap_or(usize::MAX)).await.map_err(fail)?;
        Ok(match fastjson::parse(&content) {
            Ok(value) if value.is_object() => Ok(()),
            Ok(_) => Err("it holds no JSON object".to_owned()),
            Err(error) => Err(error.to_string()),
        })
    }

    async fn queue_files(&mut self, queues: &[super::QueueDir]) -> Result<(), InspectError> {
        let bytes = self.report.queue_file_bytes;
        let mut topics: Vec<&str> = Vec::new();
        for queue in queues {
            if topics.last() != Some(&queue.topic.as_str()) {
                topics.push(&queue.topic);
            }
            let dir = self.store.layout.queue_dir(&queue.topic, queue.id);
            for entry in list_or_nothing(&self.store.env, &dir).await? {
                let path = dir.join(&entry.name);
                let what = match number_of(&entry.name) {
                    Some(start) if !entry.is_dir && start % bytes == 0 && entry.len == bytes => continue,
                    Some(start) if !entry.is_dir && start % bytes == 0 => {
                        format!("it has {} bytes, a queue file of this store {bytes}", entry.len)
                    }
                    _ => format!("this is no name of a queue file of {bytes} bytes"),
                };
                self.report.add(Damage::QueueFile, path, None, what);
            }
        }
        self.report.topics = topics.len() as u64;
        self.report.queues = queues.iter().filter(|queue| !queue.files.is_empty()).count() as u64;
        if self.report.queues < self.plan.queues {
            let what =
                format!("the checkpoint counts {}, there are {}", self.plan.queues, self.report.queues);
            let path = self.store.layout.consume_queue.clone();
            self.report.add(Damage::QueueFile, path, None, what);
            self.rebuild = Some("queue files are missing");
        } else if !self.plan.trusted && self.plan.from > self.store.first() && self.report.queues == 0 {
            self.rebuild = Some("there are no queue files");
        }
        Ok(())
    }

    /// What [`crate::store::Store::open`] would do with what was found.
    fn recovery(&mut self) {
        let segments: Vec<SegmentFile> =
            self.store.segments.iter().filter(|file| !self.is_left_over(file)).copied().collect();
        let report = &mut self.report;
        let refusals = [
            (Damage::Hole, "a segment is missing in the middle of the log"),
            (Damage::LogMissing, "the checkpoint stands behind the end of the log"),
        ];
        for (damage, why) in refusals {
            if report.has(damage) {
                report.refused = true;
                report.recovery.push(format!("refuse to start: {why}"));
            }
        }
        let bytes = report.segment_bytes;
        let last = segments.last().map(|file| file.start);
        for file in segments {
            let within = file.start % bytes == 0 && file.len <= bytes;
            // The log's own segments are mapped at their full length; the last one is made that long.
            if !within || (file.len < bytes && Some(file.start) != last) {
                report.refused = true;
                let place = format!("segment {:020} has {} bytes, not {bytes}", file.start, file.len);
                report.recovery.push(format!("refuse to start: {place}"));
            }
        }
        if report.refused {
            return;
        }
        if let Some(why) = self.rebuild {
            report.recovery.push(format!("build all queue files again from the log: {why}"));
        } else if report.end > self.plan.from {
            let (from, behind) = (self.plan.from, report.end - self.plan.from);
            report.recovery.push(format!("replay {behind} bytes of log from position {from} on"));
        }
        if report.torn_bytes > 0 {
            let (end, torn) = (report.end, report.torn_bytes);
            report.recovery.push(format!("end the log at {end} and clear {torn} bytes behind it"));
        }
        if report.has(Damage::Record) {
            report.recovery.push(
                "leave damaged records below the checkpoint where they are; reads pass over them".to_owned(),
            );
        }
        if report.has(Damage::Unit) && self.rebuild.is_none() {
            report.recovery.push("not look at queue units below the checkpoint: `repair` does".to_owned());
        }
        if report.recovery.is_empty() {
            report.recovery.push("nothing: the log ends at the checkpoint".to_owned());
        }
    }
}

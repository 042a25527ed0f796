//! What the journal has: units behind those in queue files, and how far the log is known to be good.

use bytes::Bytes;

use super::Plan;
use super::Recover;
use crate::base::FastMap;
use crate::env::Access;
use crate::store::OpenError;
use crate::store::journal::Block;
use crate::store::journal::Journal;
use crate::store::journal::JournalFile;
use crate::store::journal::Span;
use crate::store::layout::number_of;

/// What a file's blocks call a queue.
type Names<'a> = FastMap<u32, (&'a str, u32)>;

impl Recover {
    /// Takes the blocks that go on from the plan's start, and moves the start behind them. Without a checkpoint of ours
    /// there is nothing to go on from: the log tells everything. What is not taken is removed, durably, before anything
    /// is added that could be mistaken for its continuation.
    pub(super) async fn load_journal(&mut self, plan: Plan) -> Result<Plan, OpenError> {
        let mut plan = plan;
        self.replayed.clear();
        self.journal_files.clear();
        if !plan.trusted {
            self.remove_journal().await?;
            return Ok(plan);
        }
        let dir = self.layout.journal.clone();
        let entries = self.env.disk.list(&dir).await.map_err(OpenError::io("list", &dir))?;
        let mut starts = Vec::new();
        let mut tables = Vec::new();
        for entry in entries {
            match number_of(&entry.name) {
                Some(start) => starts.push(start),
                None if entry.name.ends_with(".queues") => tables.push(dir.join(&entry.name)),
                None => {}
            }
        }
        let mut rest = starts.into_iter().peekable();
        let settled = plan.from;
        while let Some(start) = rest.next_if(|start| *start <= plan.from) {
            let file = self.load_journal_file(start, &mut plan).await?;
            if file.end > settled {
                self.journal_files.push(file);
            } else {
                self.remove_journal_file(start).await?;
            }
        }
        // A crash may have left tables of other positions.
        let table = self.layout.queue_table(settled);
        for path in tables {
            if path != table {
                self.env.disk.remove(&path).await.map_err(OpenError::io("remove", &path))?;
            }
        }
        let rest: Vec<u64> = rest.collect();
        for start in rest {
            self.remove_journal_file(start).await?;
        }
        self.env.disk.sync_dir(&dir).await.map_err(OpenError::io("sync", &dir))?;
        Ok(plan)
    }

    /// Removes all of the journal, and the table of queues: what they say is no longer so.
    pub(super) async fn remove_journal(&mut self) -> Result<(), OpenError> {
        self.replayed.clear();
        self.journal_files.clear();
        let dir = &self.layout.journal;
        for entry in self.env.disk.list(dir).await.map_err(OpenError::io("list", dir))? {
            let path = dir.join(&entry.name);
            self.env.disk.remove(&path).await.map_err(OpenError::io("remove", &path))?;
        }
        self.env.disk.sync_dir(dir).await.map_err(OpenError::io("sync", dir))
    }

    async fn remove_journal_file(&self, start: u64) -> Result<(), OpenError> {
        let path = self.layout.journal_file(start);
        self.env.disk.remove(&path).await.map_err(OpenError::io("remove", &path))
    }

    async fn load_journal_file(&mut self, start: u64, plan: &mut Plan) -> Result<JournalFile, OpenError> {
        let path = self.layout.journal_file(start);
        let file = self.env.disk.open(&path, Access::Write).await.map_err(OpenError::io("open", &path))?;
        let len = file.len().await.map_err(OpenError::io("ask for the length of", &path))?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let bytes = file.read_at(0, len).await.map_err(OpenError::io("read", &path))?;
        self.report.read_bytes += bytes.len() as u64;
        let mut names = Names::default();
        let mut at = 0;
        let mut end = start;
        while let Some(block) = bytes.get(at..).and_then(Block::decode) {
            names.extend(block.names.iter().map(|(number, topic, queue)| (*number, (*topic, *queue))));
            let is_settled = block.span.to <= plan.from && block.span.from < plan.from;
            if !is_settled && block.span.from != plan.from {
                break;
            }
            if !is_settled {
                self.take_block(&block, &names);
                plan.from = block.span.to;
                plan.limit = plan.limit.max(block.span.limit);
                self.last_store_at = block.span.store_at;
            }
            end = block.span.to;
            at += block.bytes;
        }
        if at < bytes.len() {
            self.env.probe("store.journal_torn");
        }
        if !self.report.clean && at > 0 {
            // A killed process leaves it in the page cache only; see `make_durable`.
            let whole: Bytes = bytes.slice(..at);
            file.write_at(0, whole).await.map_err(OpenError::io("write", &path))?;
            file.sync().await.map_err(OpenError::io("sync", &path))?;
        }
        Ok(JournalFile { start, end, bytes: at as u64 })
    }

    fn take_block(&mut self, block: &Block<'_>, names: &Names<'_>) {
        for entry in &block.units {
            let Some((topic, id)) = names.get(&entry.slot) else {
                self.contradicted = true;
                return;
            };
            let slot = self.slot_of(topic, *id);
            if self.queues.get(slot).next != entry.offset {
                self.contradicted = true;
                return;
            }
            self.queues.push(slot, entry.unit);
        }
    }

    /// The journal with what was replayed, durably, and the new limit of the log.
    pub(super) async fn go_on_with_journal(
        &mut self,
        plan: Plan,
        end: u64,
    ) -> Result<(Journal, u64), OpenError> {
        let mut journal = Journal::new(&self.env, &self.layout, std::mem::take(&mut self.journal_files));
        let wanted = end + self.config.window_bytes;
        if plan.from == end && plan.limit >= wanted {
            return Ok((journal, plan.limit));
        }
        let limit = plan.limit.max(wanted);
        let span = Span { from: plan.from, to: end, limit, store_at: self.last_store_at };
        let replayed = std::mem::take(&mut self.replayed);
        let block = journal.block(span, replayed.iter(), &self.queues);
        let added = journal.append(span, block).await;
        added.map_err(|trouble| OpenError::io(trouble.action, trouble.path)(trouble.error))?;
        Ok((journal, limit))
    }
}

//! Where each queue begins and ends, by its files.
//!
//! Units below the checkpoint are durable and in log order, so "names something below the checkpoint" holds for a prefix
//! of a queue's units and for nothing behind it: the end is found by bisection over blocks. The files are holes
//! behind their last unit, and may be empty altogether.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::Recover;
use crate::base::FastSet;
use crate::store::OpenError;
use crate::store::ReadError;
use crate::store::layout::is_plain_name;
use crate::store::layout::number_of;
use crate::store::planted;
use crate::store::queue_table;
use crate::store::queue_table::Made;
use crate::store::queue_table::QueueTable;
use crate::store::queues::QueueName;
use crate::store::queues::Queues;
use crate::store::unit::UNIT_BYTES;
use crate::store::unit::Unit;

/// Units read at a time.
const BLOCK_UNITS: u64 = 200;

impl Recover {
    /// Finds all queues, and of each the units below `position`. Forgets what was known of queues before.
    pub(super) async fn load_queues(&mut self, position: u64) -> Result<(), OpenError> {
        self.queues = Queues::default();
        self.suspects.clear();
        for topic in self.names_in(&self.layout.consume_queue.clone()).await? {
            let name: Arc<str> = Arc::from(topic.as_str());
            for queue in self.names_in(&self.layout.topic_dir(&topic)).await? {
                // Leading zeros would make two names of one queue.
                let Some(id) = queue.parse::<u32>().ok().filter(|id| id.to_string() == queue) else {
                    continue;
                };
                self.load_queue(&name, id, position).await?;
            }
        }
        Ok(())
    }

    /// Takes all queues from the table of `position`. False, and nothing taken, when there is none or when a queue of it
    /// has no directory any more.
    pub(super) async fn load_table(&mut self, position: u64) -> Result<bool, OpenError> {
        let path = self.layout.queue_table(position);
        let bytes = QueueTable::load(&self.env, &self.layout, position).await;
        let bytes = bytes.map_err(OpenError::io("read", &path))?;
        let log_first = self.segments.first().copied().unwrap_or(0);
        let file_bytes = u64::from(self.config.queue_file_units) * UNIT_BYTES as u64;
        let made = Made { position, log_first, file_bytes };
        let Some(rows) = queue_table::decode(&bytes, made) else { return Ok(false) };
        self.report.read_bytes += bytes.len() as u64;
        let mut topics: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for row in &rows {
            topics.entry(row.topic).or_default().push(row.id);
        }
        for (topic, ids) in &topics {
            let dir = self.layout.topic_dir(topic);
            let names = match self.env.disk.list(&dir).await {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(OpenError::io("list", &dir)(error)),
            };
            let there: FastSet<&str> = names.iter().map(|entry| entry.name.as_str()).collect();
            if !ids.iter().all(|id| there.contains(id.to_string().as_str())) {
                return Ok(false);
            }
        }
        for row in rows {
            let slot = self.slot_of(row.topic, row.id);
            self.queues.get_mut(slot).reset(row.min.min(row.end), row.end, row.first_file);
        }
        Ok(true)
    }

    async fn names_in(&self, dir: &std::path::Path) -> Result<Vec<String>, OpenError> {
        let entries = self.env.disk.list(dir).await.map_err(OpenError::io("list", dir))?;
        let dirs = entries.into_iter().filter(|entry| entry.is_dir && is_plain_name(&entry.name));
        Ok(dirs.map(|entry| entry.name).collect())
    }

    async fn load_queue(&mut self, topic: &Arc<str>, id: u32, position: u64) -> Result<(), OpenError> {
        let dir = self.layout.queue_dir(topic, id);
        let entries = self.env.disk.list(&dir).await.map_err(OpenError::io("list", &dir))?;
        let file_bytes = u64::from(self.config.queue_file_units) * UNIT_BYTES as u64;
        let mut files = Vec::new();
        for entry in entries.iter().filter(|entry| !entry.is_dir) {
            let Some(start) = number_of(&entry.name) else { continue };
            let short = entry.len < file_bytes && self.env.planted(planted::SHORT_QUEUE_FILE_REFUSED);
            if entry.len > file_bytes || start % file_bytes != 0 || short {
                let path = dir.join(&entry.name);
                return Err(OpenError::QueueFileSize { path, is: entry.len, asked: file_bytes });
            }
            files.push(start / UNIT_BYTES as u64);
        }
        files.sort_unstable();
        let Some(first_file) = files.first().copied() else { return Ok(()) };
        let slot = self.queues.slot_or_create(topic, id);
        let name = self.queues.get(slot).name(slot);
        let mut next = first_file;
        for file in files.iter().rev() {
            if let Some(end) = self.end_in_file(&name, *file, position).await.map_err(unreadable)? {
                next = end;
                break;
            }
        }
        if self.has_units_at(&name, next).await.map_err(unreadable)? {
            self.suspects.push(slot);
        }
        let log_first = self.segments.first().copied().unwrap_or(0);
        let min = self.min_of(&name, first_file, next, log_first).await.map_err(unreadable)?;
        self.queues.get_mut(slot).reset(min, next, Some(first_file));
        Ok(())
    }

    /// The end of the units below `position` in the file that begins at `file`; `None` when there is none in it.
    async fn end_in_file(
        &self,
        name: &QueueName,
        file: u64,
        position: u64,
    ) -> Result<Option<u64>, ReadError> {
        let units = u64::from(self.config.queue_file_units);
        // The last block with a unit below the position is in `low..high`; most queues end in their first block.
        let (mut low, mut high) = (0, units.div_ceil(BLOCK_UNITS));
        let mut probe = 0;
        let mut found = None;
        while low < high {
            let at = file + probe * BLOCK_UNITS;
            let count = BLOCK_UNITS.min(file + units - at) as usize;
            let block = self.files.read_units(name, at, count).await?;
            let below = block.iter().take_while(|unit| unit.is_gap() || unit.is_below(position)).count();
            if below > 0 {
                found = Some(at + below as u64);
                if below < count {
                    break;
                }
                low = probe + 1;
            } else {
                high = probe;
            }
            probe = low + (high - low) / 2;
        }
        Ok(found)
    }

    async fn has_units_at(&self, name: &QueueName, at: u64) -> Result<bool, ReadError> {
        let units = self.files.read_units(name, at, 1).await?;
        Ok(units.iter().any(Unit::is_written))
    }

    /// The first unit whose record is in the log that begins at `log_first`.
    async fn min_of(
        &self,
        name: &QueueName,
        first: u64,
        next: u64,
        log_first: u64,
    ) -> Result<u64, ReadError> {
        let (mut low, mut high) = (first, next);
        let mut probe = first;
        while low < high {
            let units = self.files.read_units(name, probe, 1).await?;
            let gone =
                units.iter().all(|unit| unit.is_gap() || unit.is_below(log_first) || !unit.is_written());
            if gone {
                low = probe + 1;
            } else {
                high = probe;
            }
            probe = low + (high - low) / 2;
        }
        Ok(low)
    }

    /// Clears the units behind the ends of queues whose files had some: what they name is not in the log.
    pub(super) async fn clear_queues_behind(&mut self) -> Result<(), OpenError> {
        let mut suspects = std::mem::take(&mut self.suspects);
        suspects.sort_unstable();
        suspects.dedup();
        for slot in suspects {
            let queue = self.queues.get(slot);
            let (name, mut at) = (queue.name(slot), queue.next);
            loop {
                let units =
                    self.files.read_units(&name, at, BLOCK_UNITS as usize).await.map_err(unreadable)?;
                if !units.iter().any(Unit::is_written) {
                    break;
                }
                self.env.probe("store.queue_ahead_of_log");
                let cleared = self.files.clear_units(&name, at, units.len()).await;
                cleared.map_err(|trouble| OpenError::io(trouble.action, trouble.path)(trouble.error))?;
                at += units.len() as u64;
            }
        }
        Ok(())
    }
}

fn unreadable(error: ReadError) -> OpenError {
    match error {
        ReadError::Io { path, error } => OpenError::Io { action: "read", path, error },
        ReadError::QueueDamaged { path, .. } => OpenError::Io {
            action: "read",
            path,
            error: std::io::Error::from(std::io::ErrorKind::InvalidData),
        },
    }
}

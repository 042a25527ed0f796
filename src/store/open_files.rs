//! Files read and written by position, a bounded number of them open at a time.
//!
//! The least recently used handle is dropped when a new one would pass the bound. A file is synced through whatever
//! handle is at hand: a sync is about the file, not the handle. Here too: units of queue files, by offset. Not here:
//! when anything is written.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::ReadError;
use super::layout::Layout;
use super::planted;
use super::queues::Batch;
use super::queues::QueueName;
use super::unit::UNIT_BYTES;
use super::unit::Unit;
use crate::base::QueueOffset;
use crate::env::Access;
use crate::env::Env;
use crate::env::File;
use crate::env::Piece;

pub(super) struct OpenFiles {
    env: Env,
    layout: Layout,
    file_units: u64,
    bound: usize,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    files: BTreeMap<PathBuf, (u64, Arc<dyn File>)>,
    by_age: BTreeMap<u64, PathBuf>,
    tick: u64,
}

/// A failed operation on a file.
#[derive(Debug)]
pub(super) struct FileTrouble {
    pub(super) action: &'static str,
    pub(super) path: PathBuf,
    pub(super) error: io::Error,
}

impl FileTrouble {
    pub(super) fn new(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileTrouble + use<> {
        let path = path.to_path_buf();
        move |error| FileTrouble { action, path, error }
    }
}

impl OpenFiles {
    pub(super) fn new(env: &Env, layout: &Layout, file_units: u64, bound: usize) -> OpenFiles {
        let cache = Mutex::new(Cache::default());
        OpenFiles { env: env.clone(), layout: layout.clone(), file_units, bound: bound.max(1), cache }
    }

    pub(super) async fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        if let Some(file) = self.cache.lock().touch(path) {
            return Ok(file);
        }
        let file = self.env.disk.open(path, access).await?;
        self.cache.lock().insert(path, &file, self.bound);
        Ok(file)
    }

    /// Closes what is open below `dir`.
    pub(super) fn forget(&self, dir: &Path) {
        let mut cache = self.cache.lock();
        let below: Vec<PathBuf> = cache.files.keys().filter(|path| path.starts_with(dir)).cloned().collect();
        for path in below {
            cache.remove(&path);
        }
    }

    /// Units `from..` of a queue, at most `count` and at most to the end of `from`'s file. What is not there reads as
    /// unwritten.
    pub(super) async fn read_units(
        &self,
        queue: &QueueName,
        from: u64,
        count: usize,
    ) -> Result<Vec<Unit>, ReadError> {
        let path = self.layout.queue_file(&queue.topic, queue.id, from);
        let within = from % self.file_units;
        let count = (self.file_units - within).min(count as u64) as usize;
        let file = match self.open(&path, Access::Write).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![Unit::default(); count]),
            Err(error) => return Err(ReadError::Io { path, error }),
        };
        let bytes = match file.read_at(within * UNIT_BYTES as u64, count * UNIT_BYTES).await {
            Ok(bytes) => bytes,
            Err(error) => return Err(ReadError::Io { path, error }),
        };
        let mut units: Vec<Unit> = Unit::decode_all(&bytes).collect();
        units.resize(count, Unit::default());
        Ok(units)
    }

    /// One unit that must be there.
    pub(super) async fn read_unit(&self, queue: &QueueName, at: u64) -> Result<Unit, ReadError> {
        match self.read_units(queue, at, 1).await?.first() {
            Some(unit) if unit.is_written() => Ok(*unit),
            _ => {
                let path = self.layout.queue_file(&queue.topic, queue.id, at);
                Err(ReadError::QueueDamaged { path, at: QueueOffset(at) })
            }
        }
    }

    /// What to write for batches of units: a piece for each file.
    pub(super) fn pieces(&self, batches: &[Batch]) -> Vec<Piece> {
        let mut pieces = Vec::with_capacity(batches.len());
        for batch in batches {
            self.add_pieces(batch, &mut pieces);
        }
        pieces
    }

    fn add_pieces(&self, batch: &Batch, out: &mut Vec<Piece>) {
        let mut units = batch.units.clone();
        let len = self.file_units * UNIT_BYTES as u64;
        let mut at = batch.first;
        while !units.is_empty() {
            let within = at % self.file_units;
            let room = usize::try_from(self.file_units - within).unwrap_or(usize::MAX);
            let data = units.split_to(units.len().min(room.saturating_mul(UNIT_BYTES)));
            let count = (data.len() / UNIT_BYTES) as u64;
            out.push(Piece {
                path: self.layout.queue_file(&batch.queue.topic, batch.queue.id, at),
                // Apache expects a queue file at its full length; the rest of it is a hole.
                len: if self.env.planted(planted::HALF_MADE_FILE) { 0 } else { len },
                offset: within * UNIT_BYTES as u64,
                data,
            });
            at += count;
        }
    }

    /// Makes units unwritten again, durably; all of them lie in one file that exists.
    pub(super) async fn clear_units(
        &self,
        queue: &QueueName,
        from: u64,
        count: usize,
    ) -> Result<(), FileTrouble> {
        let path = self.layout.queue_file(&queue.topic, queue.id, from);
        let file = self.open(&path, Access::Write).await.map_err(FileTrouble::new("open", &path))?;
        let offset = from % self.file_units * UNIT_BYTES as u64;
        let zeros = Bytes::from(vec![0; count * UNIT_BYTES]);
        file.write_at(offset, zeros).await.map_err(FileTrouble::new("write", &path))?;
        file.sync().await.map_err(FileTrouble::new("sync", &path))
    }
}

impl Cache {
    fn touch(&mut self, path: &Path) -> Option<Arc<dyn File>> {
        let (age, file) = self.files.get_mut(path)?;
        let owned = self.by_age.remove(age)?;
        self.tick += 1;
        *age = self.tick;
        let file = Arc::clone(file);
        self.by_age.insert(self.tick, owned);
        Some(file)
    }

    fn insert(&mut self, path: &Path, file: &Arc<dyn File>, bound: usize) {
        self.remove(path);
        while self.files.len() >= bound {
            let Some((_, oldest)) = self.by_age.pop_first() else { break };
            self.files.remove(&oldest);
        }
        self.tick += 1;
        self.by_age.insert(self.tick, path.to_path_buf());
        self.files.insert(path.to_path_buf(), (self.tick, Arc::clone(file)));
    }

    fn remove(&mut self, path: &Path) {
        if let Some((age, _)) = self.files.remove(path) {
            self.by_age.remove(&age);
        }
    }
}

//! Where a group's offsets are: with the broker, or for broadcasting in a file of this member.
//!
//! The file is `<dir>/<instance>/<group>/offsets.json`: `{"offsets":[{"broker","offset","queue","topic"}]}`, replaced as a
//! whole. It is saved every few seconds and when the consumer stops; after a kill the last seconds come again.
//!
//! Invariant: a missing answer is no offset. Starting somewhere on an error would skip or repeat a whole queue.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Deserialize;
use serde::Serialize;

use crate::base::QueueId;
use crate::base::QueueOffset;
use crate::client::MessageQueue;
use crate::client::RequestError;
use crate::client::StartError;
use crate::client::instance::Shared;
use crate::env::Access;
use crate::env::Env;

/// Far more than the queues of any member; a larger file is not one of ours.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

pub(super) enum Offsets {
    Broker,
    File(OffsetFile),
}

pub(super) struct OffsetFile {
    path: PathBuf,
    state: Mutex<FileState>,
}

#[derive(Default)]
struct FileState {
    table: BTreeMap<MessageQueue, QueueOffset>,
    dirty: bool,
}

#[derive(Serialize, Deserialize)]
struct Contents {
    offsets: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    broker: String,
    offset: QueueOffset,
    queue: QueueId,
    topic: String,
}

impl Offsets {
    /// `None` when the group has none for the queue.
    pub(super) async fn committed(
        &self,
        shared: &Shared,
        addr: &str,
        group: &str,
        queue: &MessageQueue,
    ) -> Result<Option<QueueOffset>, RequestError> {
        match self {
            Offsets::Broker => shared.committed(addr, group, queue).await,
            Offsets::File(file) => Ok(file.state.lock().table.get(queue).copied()),
        }
    }

    pub(super) async fn commit(
        &self,
        shared: &Shared,
        group: &str,
        queue: &MessageQueue,
        to: QueueOffset,
    ) -> Result<(), RequestError> {
        match self {
            Offsets::Broker => shared.commit(&shared.master_of(queue)?, group, queue, to).await,
            Offsets::File(file) => {
                let mut state = file.state.lock();
                state.table.insert(queue.clone(), to);
                state.dirty = true;
                Ok(())
            }
        }
    }

    /// Commits, unless the group is there or further already: RocketMQ's own brokers let an offset go back.
    pub(super) async fn raise(
        &self,
        shared: &Shared,
        group: &str,
        queue: &MessageQueue,
        to: QueueOffset,
    ) -> Result<(), RequestError> {
        let Offsets::Broker = self else { return Ok(()) };
        let addr = shared.master_of(queue)?;
        match shared.committed(&addr, group, queue).await? {
            Some(known) if known >= to => Ok(()),
            _ => shared.commit(&addr, group, queue, to).await,
        }
    }

    /// Writes the file, if there is one and it is behind.
    pub(super) async fn save(&self, env: &Env) {
        let Offsets::File(file) = self else { return };
        let json = {
            let mut state = file.state.lock();
            if !std::mem::take(&mut state.dirty) {
                return;
            }
            encode(&state.table)
        };
        if let Err(error) = replace(env, &file.path, json).await {
            tracing::warn!(path = %file.path.display(), %error, "cannot save the offsets");
            file.state.lock().dirty = true;
        }
    }
}

impl OffsetFile {
    pub(super) async fn load(env: &Env, path: PathBuf) -> Result<OffsetFile, StartError> {
        let read = |source| StartError::ReadOffsets { path: path.clone(), source };
        let file = match env.disk.open(&path, Access::Read).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(OffsetFile { path, state: Mutex::default() });
            }
            other => other.map_err(read)?,
        };
        let len = file.len().await.map_err(read)?.min(FILE_BYTES_MAX);
        let bytes = file.read_at(0, usize::try_from(len).unwrap_or(usize::MAX)).await.map_err(read)?;
        let contents: Contents = serde_json::from_slice(&bytes)
            .map_err(|error| StartError::DamagedOffsets { path: path.clone(), reason: error.to_string() })?;
        let entries = contents.offsets.into_iter();
        let table = entries
            .map(|entry| (MessageQueue::new(&entry.topic, &entry.broker, entry.queue), entry.offset))
            .collect();
        Ok(OffsetFile { path, state: Mutex::new(FileState { table, dirty: false }) })
    }
}

fn encode(table: &BTreeMap<MessageQueue, QueueOffset>) -> Bytes {
    let entries = table.iter().map(|(queue, offset)| Entry {
        broker: queue.broker.to_string(),
        offset: *offset,
        queue: queue.id,
        topic: queue.topic.to_string(),
    });
    let contents = Contents { offsets: entries.collect() };
    Bytes::from(serde_json::to_vec(&contents).expect("a list of texts and numbers is JSON"))
}

/// Replaces a file as a whole: a crash leaves the former or the new one.
async fn replace(env: &Env, path: &Path, bytes: Bytes) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let beside = path.with_extension("json.tmp");
    env.disk.create_dir_all(dir).await?;
    let file = env.disk.open(&beside, Access::Create).await?;
    file.set_len(0).await?;
    file.write_at(0, bytes).await?;
    file.sync().await?;
    env.disk.rename(&beside, path).await?;
    env.disk.sync_dir(dir).await
}

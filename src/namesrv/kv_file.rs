//! `kvConfig.json`: `{"configTable":{"namespace":{"key":"value"}}}`, as RocketMQ's name server writes it.
//!
//! The file is replaced as a whole: written beside it, synced, renamed, its directory synced. A crash leaves the former
//! or the new one.

use std::io;
use std::path::Path;
use std::path::PathBuf;

use bytes::Bytes;

use super::StartError;
use crate::env::Access;
use crate::env::Env;
use crate::machine::route::KvConfig;
use crate::protocol::body::Body;
use crate::protocol::body::config::KvConfigFile;

/// Far more than operators write by hand; a larger file is not one of ours.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Empty if there is no file.
pub(super) async fn load(env: &Env, path: &Path) -> Result<KvConfig, StartError> {
    let read = |source| StartError::ReadKv { path: path.to_owned(), source };
    let file = match env.disk.open(path, Access::Read).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(KvConfig::default()),
        other => other.map_err(read)?,
    };
    let len = file.len().await.map_err(read)?;
    let damaged = |reason: String| StartError::DamagedKv { path: path.to_owned(), reason };
    let len = usize::try_from(len.min(FILE_BYTES_MAX)).unwrap_or(usize::MAX);
    let bytes = file.read_at(0, len).await.map_err(read)?;
    let contents = KvConfigFile::decode(&bytes).map_err(|error| damaged(error.to_string()))?;
    Ok(KvConfig::restore(contents.config_table))
}

pub(super) fn encode(kv: &KvConfig) -> Bytes {
    Bytes::from(KvConfigFile { config_table: kv.table().clone() }.encode_standard())
}

pub(super) async fn save(env: &Env, path: &Path, json: Bytes) -> io::Result<()> {
    let dir: PathBuf = path.parent().map(Path::to_owned).unwrap_or_default();
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let beside = PathBuf::from(beside);
    env.disk.create_dir_all(&dir).await?;
    let file = env.disk.open(&beside, Access::Create).await?;
    file.set_len(0).await?;
    file.write_at(0, json).await?;
    file.sync().await?;
    env.disk.rename(&beside, path).await?;
    env.disk.sync_dir(&dir).await
}

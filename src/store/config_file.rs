//! Small files that are replaced as a whole: `config/*.json`, with a `.bak` of the previous content.
//!
//! ```text
//! write x.tmp, sync  ->  rename x to x.bak  ->  rename x.tmp to x  ->  sync the directory
//! ```
//!
//! A crash at any step leaves the old or the new content under `x` or `x.bak`, whole. Not here: what is inside.

use std::io;
use std::path::Path;
use std::path::PathBuf;

use bytes::Bytes;
use thiserror::Error;

use super::planted;
use crate::env::Access;
use crate::env::Env;

/// Largest file read back, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Why a file could not be saved. The previous content is still there.
#[derive(Debug, Error)]
#[error("cannot {action} {}: {error}", .path.display())]
pub struct SaveError {
    pub action: &'static str,
    pub path: PathBuf,
    pub error: io::Error,
}

/// Why a file could not be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    #[error("cannot read {}: {error}", .path.display())]
    Io { path: PathBuf, error: io::Error },
    /// Neither the file nor its `.bak` could be understood; `reason` is about the file itself.
    #[error("{} is damaged and so is its backup: {reason}", .path.display())]
    Damaged { path: PathBuf, reason: String },
}

/// Replaces the content of `path`; creates its directory. Durable when it returns.
pub async fn save(env: &Env, path: &Path, content: Bytes) -> Result<(), SaveError> {
    let fail = |action, path: &Path| {
        let path = path.to_path_buf();
        move |error| SaveError { action, path, error }
    };
    let dir = path.parent().unwrap_or(Path::new("."));
    let in_place = env.planted(planted::REPLACE_IN_PLACE);
    let temporary = if in_place { path.to_path_buf() } else { sibling(path, ".tmp") };
    env.disk.create_dir_all(dir).await.map_err(fail("create", dir))?;
    let file = env.disk.open(&temporary, Access::Create).await.map_err(fail("create", &temporary))?;
    if in_place {
        file.set_len(0).await.map_err(fail("clear", path))?;
    }
    env.probe("config_file.created");
    let len = content.len() as u64;
    file.write_at(0, content).await.map_err(fail("write", &temporary))?;
    file.set_len(len).await.map_err(fail("write", &temporary))?;
    env.probe("config_file.written");
    file.sync().await.map_err(fail("sync", &temporary))?;
    drop(file);
    if in_place {
        return env.disk.sync_dir(dir).await.map_err(fail("sync", dir));
    }
    match env.disk.rename(path, &sibling(path, ".bak")).await {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Perhaps the directory is new, too.
            let above = dir.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
            env.disk.sync_dir(above).await.map_err(fail("sync", above))?;
        }
        Err(error) => return Err(fail("rename", path)(error)),
    }
    env.probe("config_file.put_aside");
    env.disk.rename(&temporary, path).await.map_err(fail("rename", &temporary))?;
    env.disk.sync_dir(dir).await.map_err(fail("sync", dir))
}

/// Parses `path`, or its `.bak` when it is missing or `parse` refuses it. `None` when neither exists.
pub async fn load<T, E: std::fmt::Display>(
    env: &Env,
    path: &Path,
    parse: impl Fn(&[u8]) -> Result<T, E>,
) -> Result<Option<T>, LoadError> {
    let mut reason = None;
    for candidate in [path.to_path_buf(), sibling(path, ".bak")] {
        let Some(content) = read_whole(env, &candidate).await? else { continue };
        match parse(&content) {
            Ok(value) => return Ok(Some(value)),
            Err(error) => {
                tracing::warn!("{} is damaged: {error}", candidate.display());
                reason.get_or_insert(error.to_string());
            }
        }
    }
    match reason {
        None => Ok(None),
        Some(reason) => Err(LoadError::Damaged { path: path.to_path_buf(), reason }),
    }
}

async fn read_whole(env: &Env, path: &Path) -> Result<Option<Bytes>, LoadError> {
    let fail = |error| LoadError::Io { path: path.to_path_buf(), error };
    let file = match env.disk.open(path, Access::Read).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error)),
    };
    let len = file.len().await.map_err(fail)?.min(FILE_BYTES_MAX);
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    file.read_at(0, len).await.map_err(fail).map(Some)
}

fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

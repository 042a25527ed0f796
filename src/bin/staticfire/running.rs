//! Which servers of this user run on this machine: one small file each, in a directory of the user's own.
//!
//! `$XDG_RUNTIME_DIR/staticfire`, or `staticfire-UID` in the temporary directory. A file names a process by id *and*
//! start time, so that a number used again is never signalled; files of dead processes are removed when they are read.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use staticfire::env::Env;

use crate::args::Role;
use crate::file;
use crate::proc;
use crate::say;

/// A server that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) role: Role,
    pub(crate) pid: u32,
    /// Clock ticks since boot.
    started: u64,
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) data: PathBuf,
}

/// The file of this process.
pub(crate) struct Announced {
    path: Option<PathBuf>,
}

/// Notes that this process serves. Without it only `mqshutdown` is blind, so a failure is a warning.
pub(crate) async fn announce(env: &Env, role: Role, name: &str, address: &str, data: PathBuf) -> Announced {
    let pid = std::process::id();
    let Some(started) = proc::started(pid) else { return Announced { path: None } };
    let data = std::path::absolute(&data).unwrap_or(data);
    let running = Running { role, pid, started, name: name.to_owned(), address: address.to_owned(), data };
    let text = serde_json::json!(running).to_string();
    let dir = directory();
    let path = dir.join(format!("{pid}.json"));
    let written = async {
        env.disk.create_dir_all(&dir).await?;
        file::write(env, &path, text).await
    };
    match written.await {
        Ok(()) => Announced { path: Some(path) },
        Err(error) => {
            say::warning(&format!("`mqshutdown` will not find this process: {error}"));
            Announced { path: None }
        }
    }
}

impl Announced {
    /// Takes the note back. What is left behind by a crash is removed by the next reader.
    pub(crate) async fn withdraw(self, env: &Env) {
        if let Some(path) = self.path {
            let _ = env.disk.remove(&path).await;
        }
    }
}

/// The servers of this user that run as `role`, oldest first.
pub(crate) async fn find(env: &Env, role: Role) -> Vec<Running> {
    let dir = directory();
    // In a shared temporary directory anybody can create a name: only one's own is believed.
    let owner = rustix::fs::stat(&dir).map(|stat| stat.st_uid).ok();
    if owner != Some(rustix::process::geteuid().as_raw()) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for entry in env.disk.list(&dir).await.unwrap_or_default() {
        let path = dir.join(&entry.name);
        let text = file::read(env, &path).await.unwrap_or_default();
        let Ok(running) = serde_json::from_slice::<Running>(&text) else { continue };
        if !running.alive() {
            let _ = env.disk.remove(&path).await;
        } else if running.role == role {
            found.push(running);
        }
    }
    found.sort_by_key(|running| running.started);
    found
}

impl Running {
    pub(crate) fn alive(&self) -> bool {
        proc::started(self.pid) == Some(self.started)
    }
}

fn directory() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir).join("staticfire"),
        None => std::env::temp_dir().join(format!("staticfire-{}", rustix::process::geteuid().as_raw())),
    }
}

//! Why a command could not be done: the cause with what was measured, and the next step.
//!
//! Every failure ends the process with exit code 1 (a malformed command line with 2), but for the tools of a store, whose
//! 1 means damage: what kept them from looking is 2.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use staticfire::broker::config::ConfigError;
use staticfire::env::Env;
use staticfire::store::OpenError;
use staticfire::store::inspect::{InspectError, RepairError};

use crate::args::Role;
use crate::proc;
use crate::proc::Process;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("this process got no runtime: {error}")]
    Runtime { error: io::Error },
    #[error("`{text}` is not a log filter: {cause}")]
    Filter { text: String, cause: String },
    #[error("cannot read {}: {error}", file.display())]
    Unreadable { file: PathBuf, error: io::Error },
    #[error("{error}")]
    Config { file: PathBuf, error: ConfigError },
    #[error("`{text}` does not name name servers: expected host:port, several of them between semicolons")]
    NameServers { text: String },
    #[error("{address} is taken{}", by(holder.as_ref()))]
    PortTaken { address: SocketAddr, holder: Option<Process> },
    #[error("no interface of this machine has the address {}", address.ip())]
    NotOurs { address: SocketAddr },
    #[error("{cause}")]
    Locked { cause: String },
    #[error("{} has {is} bytes, but mappedFileSizeCommitLog is {asked}", segment.display())]
    SegmentSize { segment: PathBuf, is: u64, asked: u64 },
    #[error("the disk of {} is full: {} MiB are free; {cause}", dir.display(), available >> 20)]
    DiskFull { dir: PathBuf, available: u64, cause: String },
    #[error("permission denied: {cause}")]
    Denied { cause: String },
    #[error("the {what} did not start: {cause}")]
    Start { what: &'static str, cause: String },
    #[error("the {what} did not stop cleanly: {cause}")]
    Stop { what: &'static str, cause: String },
    #[error("No {} running.", role.launcher())]
    NotRunning { role: Role },
    #[error("process {pid} still runs {seconds} s after SIGTERM")]
    StillRunning { pid: u32, seconds: u64 },
    #[error("cannot signal process {pid}: {error}")]
    Signal { pid: u32, error: io::Error },
    #[error("{error}")]
    Store { dir: PathBuf, error: InspectError },
    #[error("{error}")]
    Repair { error: RepairError },
}

impl Failure {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Failure::Store { .. } | Failure::Repair { .. } => 2,
            _ => 1,
        }
    }

    /// What the reader can do about it.
    pub(crate) fn next_step(&self) -> Option<String> {
        let step = match self {
            Failure::Filter { .. } => "use error, warn, info, debug, trace, or module=level,…".to_owned(),
            Failure::Config { file, .. } => {
                format!("correct {}; `-p` without it prints every key with its default", file.display())
            }
            Failure::PortTaken { holder: Some(holder), .. } => {
                format!("stop process {}, or choose another port", holder.pid)
            }
            Failure::PortTaken { holder: None, .. } => {
                "`ss -ltnp` as root shows who listens; stop it, or choose another port".to_owned()
            }
            Failure::Locked { .. } => "stop that process, or give this one a directory of its own".to_owned(),
            Failure::NotOurs { .. } => {
                "set bindAddress to 0.0.0.0 or to an address of this machine".to_owned()
            }
            Failure::SegmentSize { is, .. } => {
                format!("a store keeps the size it was created with: set mappedFileSizeCommitLog={is}")
            }
            Failure::DiskFull { .. } => {
                "free space, move the directory, or choose a smaller mappedFileSizeCommitLog".to_owned()
            }
            Failure::Denied { .. } => "run as the owner, or choose another directory or port".to_owned(),
            Failure::Start { .. } => "run again with `--log debug` for what came before".to_owned(),
            Failure::StillRunning { pid, .. } => {
                format!("wait, or `kill -9 {pid}`: what was acknowledged from the disk is kept")
            }
            Failure::Store { dir, error } => return store_step(dir, error),
            _ => return None,
        };
        Some(step)
    }

    /// What kept `what` from starting, from the kind of system error behind it.
    pub(crate) async fn to_start(
        env: &Env,
        what: &'static str,
        address: SocketAddr,
        dir: &Path,
        kind: Option<io::ErrorKind>,
        cause: String,
    ) -> Failure {
        match kind {
            Some(io::ErrorKind::AddrInUse) => {
                Failure::PortTaken { address, holder: proc::listener(env, address.port()).await }
            }
            Some(io::ErrorKind::AddrNotAvailable) => Failure::NotOurs { address },
            Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                let available = env.disk.space(dir).await.map_or(0, |space| space.available);
                Failure::DiskFull { dir: dir.to_owned(), available, cause }
            }
            Some(io::ErrorKind::PermissionDenied) => Failure::Denied { cause },
            _ => Failure::Start { what, cause },
        }
    }
}

fn store_step(dir: &Path, error: &InspectError) -> Option<String> {
    let step = match error {
        InspectError::NoStore { .. } => {
            let broker = dir.join("broker");
            format!(
                "name the directory of storePathRootDir; below `staticfire dev` it is {}",
                broker.display()
            )
        }
        InspectError::Open(OpenError::Locked { .. }) => {
            let dir = dir.display();
            format!("stop it (`staticfire shutdown broker --data {dir}`), or look at a copy of the directory")
        }
        InspectError::Size { .. } => "leave the option away: the files say their size".to_owned(),
        InspectError::NoSuchPosition { first, .. } => format!("begin at {first}"),
        InspectError::NotMendable { .. } | InspectError::Open(_) => return None,
    };
    Some(step)
}

/// An error and its sources, each once: many repeat what they wrap.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let said = inner.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = inner.source();
    }
    text
}

fn by(holder: Option<&Process>) -> String {
    holder.map(|holder| format!(": {holder} listens there")).unwrap_or_default()
}

//! A store in a process of its own: one that is killed, one that recovers, one that only holds queues.

use std::io;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use staticfire::base::{QueueId, QueueOffset};
use staticfire::env::Env;
use staticfire::store::{AppendError, Config, Flush, ReadLimits, ReadStatus, Store};

use super::speed::{Input, Side, records, runtime};

#[derive(clap::Args)]
pub(crate) struct Options {
    #[arg(value_enum)]
    role: Role,
    #[arg(long)]
    dir: PathBuf,
    /// Megabytes of log, or how many queues
    #[arg(long, default_value_t = 0)]
    amount: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Role {
    /// Writes for ever; says so once it has written the amount
    Write,
    /// Opens the store and pulls
    Open,
    /// Gives so many queues a message each, waits until all is quiet, and closes
    Hold,
}

/// What a process can say about itself and its store.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Report {
    /// From the start of the process to the end of the first pull, and of opening alone.
    pub(super) first_pull_ms: f64,
    pub(super) open_ms: f64,
    /// Through read calls, by the kernel's count; from the disk; and by the store's own count.
    pub(super) called_bytes: u64,
    pub(super) disk_bytes: u64,
    pub(super) counted_bytes: u64,
    pub(super) resident_bytes: u64,
    pub(super) anonymous_bytes: u64,
    pub(super) open_files: usize,
    pub(super) queues: usize,
    pub(super) seconds: f64,
}

/// # Errors
/// The store fails, or a pull finds nothing.
pub(crate) fn run(options: &Options) -> io::Result<String> {
    let began = Instant::now();
    runtime()?.block_on(async {
        let env = staticfire::env::real::env();
        match options.role {
            Role::Write => write(&env, &options.dir, options.amount).await,
            Role::Open => open(&env, &options.dir, began).await,
            Role::Hold => hold(&env, &options.dir, options.amount, began).await,
        }
    })
}

async fn write(env: &Env, dir: &Path, megabytes: u64) -> io::Result<String> {
    let mut side = Side::open(env, dir, Flush::ASYNC, Input::cold(1_000)).await?;
    let step = side.count(16);
    let mut told = false;
    loop {
        side.fill(step).await?;
        if !told && side.store.appended().0 >= megabytes * 1_000_000 {
            told = true;
            writeln!(io::stdout(), "written")?;
            io::stdout().flush()?;
        }
    }
}

async fn open(env: &Env, dir: &Path, began: Instant) -> io::Result<String> {
    let (store, recovery) = Store::open(env, Config::new(dir)).await.map_err(io::Error::other)?;
    let open_ms = began.elapsed().as_secs_f64() * 1e3;
    let (topic, queue) = ("topic-0", QueueId(0));
    let bounds = store.bounds(topic, queue).ok_or_else(|| io::Error::other("the queue is gone"))?;
    let from = QueueOffset(bounds.max.0.saturating_sub(32));
    let read = store.read(topic, queue, from, &ReadLimits::pull(32), &|_| true).await;
    let read = read.map_err(io::Error::other)?;
    if read.status != ReadStatus::Found {
        return Err(io::Error::other(format!("the first pull answers {:?}", read.status)));
    }
    let first_pull_ms = began.elapsed().as_secs_f64() * 1e3;
    let report = Report {
        first_pull_ms,
        open_ms,
        counted_bytes: recovery.read_bytes,
        queues: recovery.queues,
        ..about_me(began)?
    };
    drop(store);
    Ok(serde_json::to_string(&report)?)
}

async fn hold(env: &Env, dir: &Path, queues: u64, began: Instant) -> io::Result<String> {
    let (store, _) = Store::open(env, Config::new(dir)).await.map_err(io::Error::other)?;
    let queues = usize::try_from(queues).unwrap_or(usize::MAX);
    let mut out = Vec::new();
    for unit in records(Input::cold(queues), 64).get(..queues).unwrap_or_default().chunks(64) {
        out.clear();
        while let Err(error) = store.append(unit, &mut out) {
            match error {
                AppendError::NotReady => store.writable().await,
                error => return Err(io::Error::other(error)),
            }
        }
        store.take_published(&mut Vec::new());
        tokio_real::task::yield_now().await;
    }
    while store.stats().checkpoint < store.appended() {
        tokio_real::time::sleep(Duration::from_millis(50)).await;
    }
    let report = Report { queues: store.stats().queues, ..about_me(began)? };
    store.shutdown().await.map_err(io::Error::other)?;
    Ok(serde_json::to_string(&Report { seconds: began.elapsed().as_secs_f64(), ..report })?)
}

fn about_me(began: Instant) -> io::Result<Report> {
    let figure = |file: &str, name: &str| -> io::Result<u64> {
        let text = std::fs::read_to_string(file)?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let value = value.and_then(|value| value.split_whitespace().next()?.parse().ok());
        value.ok_or_else(|| io::Error::other(format!("{file} has no {name}")))
    };
    let status = "/proc/self/status";
    Ok(Report {
        first_pull_ms: 0.0,
        open_ms: 0.0,
        called_bytes: figure("/proc/self/io", "rchar")?,
        disk_bytes: figure("/proc/self/io", "read_bytes")?,
        counted_bytes: 0,
        resident_bytes: figure(status, "VmRSS")? * 1024,
        anonymous_bytes: figure(status, "RssAnon")? * 1024,
        open_files: std::fs::read_dir("/proc/self/fd")?.count(),
        queues: 0,
        seconds: began.elapsed().as_secs_f64(),
    })
}

//! `cargo ci full-disk`: a broker whose file system is filled to its last byte under load, again and again.
//!
//! ```text
//!   round:  writers send ── ballast takes every free byte ── each writer is refused, by path and cause
//!           ── readers still read ── (every third round: kill -9) ── the ballast goes ── each writer is served again
//!   end:    read everything from offset 0 and compare with what was acknowledged
//! ```
//!
//! The file system is a tmpfs of its own, so that mapped files meet a page that the system cannot give: a process that
//! touched one would end by SIGBUS. Judged: no acknowledged message is lost, no process ends by itself, refusals name the
//! disk and a path on it, service resumes without a restart.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::compat::clock::{Deadline, Stopwatch, nap};
use crate::compat::target::{Target, TargetError};
use crate::compat::wire::{Wire, WireError};
use crate::kill9::{Ack, Fault, Options, QUEUES, Reader, TOPIC, body, judge};

const DISK_BYTES: u64 = 200 << 20;
/// Until every writer was refused, and until every writer is served again.
const PATIENCE: Duration = Duration::from_secs(30);
/// Keeps 20 rounds within the disk.
const BETWEEN_SENDS: Duration = Duration::from_millis(8);

/// Why the run did not hold.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FullDiskError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Target(#[from] TargetError),
    #[error("{0}")]
    Wire(#[from] WireError),
    #[error("cannot mount a tmpfs at {}: {said}; run as root, or under `unshare -rm`", at.display())]
    Mount { at: PathBuf, said: String },
    #[error("round {round}: {fault}")]
    Round { round: u32, fault: Fault },
    #[error("round {round}: the broker ended by itself ({status})")]
    Ended { round: u32, status: String },
    #[error("round {round}: {refused} of {QUEUES} writers were refused within {} s of a full disk", PATIENCE.as_secs())]
    NotRefused { round: u32, refused: usize },
    #[error("round {round}: the refusal names neither the full disk nor a path of the store: `{said}`")]
    Wordless { round: u32, said: String },
    #[error("watermarks: {what}")]
    Mark { what: String },
    #[error("round {round}: {served} of {QUEUES} writers are served {} s after there was space", PATIENCE.as_secs())]
    NotResumed { round: u32, served: usize },
}

/// What a run that held has to tell.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) acknowledged: usize,
    pub(crate) refused: u64,
    pub(crate) said: String,
    pub(crate) resumed: Vec<Duration>,
}

/// What writers saw since the disk became full, by queue.
#[derive(Default)]
struct Told {
    acks: Vec<Ack>,
    refusals: BTreeMap<u32, String>,
    refused: u64,
    /// Acknowledgements after a refusal.
    served: BTreeMap<u32, u64>,
}

/// Runs all rounds; tells each on `progress`.
pub(crate) fn run(options: Options, progress: &mut dyn Write) -> Result<Report, FullDiskError> {
    if options.dir.exists() {
        fs::remove_dir_all(&options.dir)?;
    }
    let store = Target::store(&options.dir);
    fs::create_dir_all(&store)?;
    let _disk = Disk::mount(&store, DISK_BYTES)?;
    let mut launch = options.launch;
    // Segments are rolled within a round. The watermarks are off: it is the last byte that is asked for.
    launch.properties = vec![
        "flushDiskType=SYNC_FLUSH".to_owned(),
        "mappedFileSizeCommitLog=1048576".to_owned(),
        "diskSpaceWarningLevelRatio=100".to_owned(),
        "diskSpaceCleanForciblyRatio=100".to_owned(),
    ];
    let mut target = Target::start(launch, &options.dir)?;
    Wire::connect(target.broker)?.create_topic(TOPIC, QUEUES)?;
    let mut report = Report { acknowledged: 0, refused: 0, said: String::new(), resumed: Vec::new() };
    let mut reader = Reader::default();
    let mut acknowledged = Vec::new();
    for round in 0..options.rounds {
        let (told, resumed) = fill_and_free(&mut target, &store, round, &mut reader)?;
        reader.read_to_end(target.broker)?.map_err(|fault| FullDiskError::Round { round, fault })?;
        judge(&told.acks, reader.seen()).map_err(|fault| FullDiskError::Round { round, fault })?;
        let said = told.refusals.values().next().cloned().unwrap_or_default();
        // Progress is a courtesy: a closed pipe must not fail the run.
        drop(writeln!(
            progress,
            "round {round}: {} acknowledged, {} refused (`{said}`), served again after {} ms",
            told.acks.len(),
            told.refused,
            resumed.as_millis()
        ));
        report.refused += told.refused;
        report.said = said;
        report.resumed.push(resumed);
        acknowledged.extend(told.acks);
    }
    let round = options.rounds;
    let mut again = Reader::default();
    again.read_to_end(target.broker)?.map_err(|fault| FullDiskError::Round { round, fault })?;
    judge(&acknowledged, again.seen()).map_err(|fault| FullDiskError::Round { round, fault })?;
    report.acknowledged = acknowledged.len();
    Ok(report)
}

fn fill_and_free(
    target: &mut Target,
    store: &Path,
    round: u32,
    reader: &mut Reader,
) -> Result<(Told, Duration), FullDiskError> {
    let told = Mutex::new(Told::default());
    let over = AtomicBool::new(false);
    let broker = target.broker;
    let resumed = std::thread::scope(|scope| {
        for queue in 0..QUEUES {
            let (told, over) = (&told, &over);
            scope.spawn(move || write_until(over, broker, round, queue, told));
        }
        let outcome = ballast_round(target, store, round, reader, &told);
        over.store(true, Ordering::Relaxed);
        outcome
    })?;
    Ok((told.into_inner(), resumed))
}

/// Fills the disk, sees every writer refused, frees it, sees every writer served.
fn ballast_round(
    target: &mut Target,
    store: &Path,
    round: u32,
    reader: &mut Reader,
    told: &Mutex<Told>,
) -> Result<Duration, FullDiskError> {
    let ballast = store.join("ballast");
    let mut hold = Ballast::fill(&ballast)?;
    let deadline = Deadline::after(PATIENCE);
    while told.lock().refusals.len() < QUEUES as usize {
        // Whatever the broker gave back meanwhile is taken, too.
        hold.top_up()?;
        ended(target, round)?;
        if deadline.passed() {
            return Err(FullDiskError::NotRefused { round, refused: told.lock().refusals.len() });
        }
        nap(Duration::from_millis(10));
    }
    let said = told.lock().refusals.values().next().cloned().unwrap_or_default();
    if !said.contains("disk is full") || !said.contains(&store.display().to_string()) {
        return Err(FullDiskError::Wordless { round, said });
    }
    reader.read_to_end(target.broker)?.map_err(|fault| FullDiskError::Round { round, fault })?;
    let killed = round % 3 == 2;
    if killed {
        target.kill_broker();
    }
    drop(hold);
    fs::remove_file(&ballast)?;
    let watch = Stopwatch::start();
    if killed {
        target.start_broker()?;
    }
    told.lock().served.clear();
    let deadline = Deadline::after(PATIENCE);
    while told.lock().served.len() < QUEUES as usize {
        ended(target, round)?;
        if deadline.passed() {
            return Err(FullDiskError::NotResumed { round, served: told.lock().served.len() });
        }
        nap(Duration::from_millis(1));
    }
    Ok(watch.elapsed())
}

fn ended(target: &mut Target, round: u32) -> Result<(), FullDiskError> {
    match target.broker_ended() {
        Some(status) => Err(FullDiskError::Ended { round, status: status.to_string() }),
        None => Ok(()),
    }
}

/// Sends until told to stop; connects again when the broker was killed.
fn write_until(over: &AtomicBool, broker: SocketAddr, round: u32, queue: u32, told: &Mutex<Told>) {
    let mut wire = None;
    for n in 0_u64.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        nap(BETWEEN_SENDS);
        let Some(open) = wire.take().or_else(|| Wire::connect(broker).ok()) else { continue };
        let mut open: Wire = open;
        let id = format!("{round}-{queue}-{n}");
        let Ok(answer) = open.send(TOPIC, queue, &body(&id)) else { continue };
        wire = Some(open);
        let mut told = told.lock();
        match (answer.code, answer.number("queueOffset")) {
            (0, Some(offset)) => {
                told.acks.push(Ack { place: (queue, offset), id });
                *told.served.entry(queue).or_default() += 1;
            }
            _ => {
                let said = answer.fields.get("remark").and_then(|remark| remark.as_str()).unwrap_or_default();
                told.refusals.entry(queue).or_insert_with(|| said.to_owned());
                told.refused += 1;
            }
        }
    }
}

/// A file that takes every free byte.
pub(crate) struct Ballast {
    file: File,
    chunk: Vec<u8>,
}

impl Ballast {
    fn fill(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
        let mut ballast = Self { file, chunk: vec![1; 1 << 20] };
        ballast.top_up()?;
        Ok(ballast)
    }

    /// Takes so many bytes.
    pub(crate) fn of(path: &Path, bytes: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
        let mut ballast = Self { file, chunk: vec![1; 1 << 20] };
        let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
        while left > 0 {
            let piece = ballast.chunk.get(..left).unwrap_or(&ballast.chunk);
            left -= ballast.file.write(piece)?;
        }
        Ok(ballast)
    }

    /// Writes until not one more byte fits.
    fn top_up(&mut self) -> io::Result<()> {
        let mut size = self.chunk.len();
        while size > 0 {
            match self.file.write(self.chunk.get(..size).unwrap_or_default()) {
                Ok(written) if written > 0 => {}
                Ok(_) => size /= 16,
                Err(error) if error.kind() == io::ErrorKind::StorageFull => size /= 16,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A mounted tmpfs; it goes with the value.
pub(crate) struct Disk {
    at: PathBuf,
}

impl Disk {
    pub(crate) fn mount(at: &Path, bytes: u64) -> Result<Self, FullDiskError> {
        let size = format!("size={bytes}");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "staticfire"]).arg(at).output()?;
        if done.status.success() {
            return Ok(Self { at: at.to_owned() });
        }
        let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
        Err(FullDiskError::Mount { at: at.to_owned(), said })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a broker that did not end in time may still hold it.
        drop(Command::new("umount").arg("-l").arg(&self.at).status());
    }
}

//! `cargo ci compat`: official RocketMQ clients, unchanged, against our servers.
//!
//! ```text
//!   install   pip, Maven and go fetch the clients and build the drivers of ci/compat/ under target/compat/
//!   target    release binary (or Apache's own servers) on free ports, in a fresh directory
//!   stage     per client: two driver processes, more where a scenario needs one that dies or restarts
//!   scenario  sends, consumption, order, batches, broadcasting, restart          } all at the same time,
//!   settle    retries and dead letters, transactions                            } for all clients
//!   admin     Apache's mqadmin on what the scenarios left behind
//!   store     a store written by Apache RocketMQ opens here, and one written here opens there
//!   record    the rules that judge counts, contents and order, and the edits each rule must refuse
//! ```
//!
//! Drivers report and judge nothing; rules judge and run nothing. Every rule is also run on an edited copy of the record it
//! passed, and must refuse it. `--against apache` proves drivers and rules on Apache RocketMQ itself.
//!
//! Not here: the kill -9 run (`kill9`), request-level compatibility (`docs/COMPAT.md`, golden bytes).

mod admin;
pub(crate) mod clock;
mod driver;
mod install;
mod record;
mod scenario;
mod settle;
mod stage;
mod store;
pub(crate) mod target;
pub(crate) mod wire;

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;

use self::admin::Admin;
use self::clock::Stopwatch;
use self::install::{InstallError, Installed, install};
use self::stage::{CheckError, Checked, Stage};
use self::store::{Direction, Handover, Retired};
use self::target::{Launch, Target, TargetError};

pub(crate) use self::stage::Client;
pub(crate) use self::target::Against;

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Root of the workspace.
    pub(crate) root: PathBuf,
    /// The release binary.
    pub(crate) binary: PathBuf,
    /// Whose servers.
    pub(crate) against: Against,
    /// Only these clients; empty means all.
    pub(crate) clients: Vec<Client>,
    /// Only checks whose name contains this.
    pub(crate) only: Option<String>,
}

/// Why a run has no report at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompatError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("preparing the official clients: {0}")]
    Install(#[from] InstallError),
    #[error("starting the servers: {0}")]
    Target(#[from] TargetError),
}

/// What every check found.
#[derive(Debug)]
pub(crate) struct Report {
    outcomes: Vec<Outcome>,
    elapsed: Duration,
}

/// One check of one client.
#[derive(Debug)]
struct Outcome {
    who: &'static str,
    check: &'static str,
    verdict: Result<String, String>,
    took: Duration,
}

impl Report {
    /// How many checks passed.
    pub(crate) fn passed(&self) -> u64 {
        self.outcomes.iter().map(|outcome| u64::from(outcome.verdict.is_ok())).sum()
    }

    /// How many failed; a run without a check is one failure.
    pub(crate) fn failed(&self) -> u64 {
        let failed = self.outcomes.iter().map(|outcome| u64::from(outcome.verdict.is_err())).sum();
        if self.outcomes.is_empty() { 1 } else { failed }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for outcome in &self.outcomes {
            writeln!(f, "{outcome}")?;
        }
        write!(f, "{} passed, {} failed, {} s", self.passed(), self.failed(), self.elapsed.as_secs())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mark, text) = match &self.verdict {
            Ok(text) => ("ok  ", text),
            Err(text) => ("FAIL", text),
        };
        let (who, check, seconds) = (self.who, self.check, self.took.as_secs_f32());
        write!(f, "{mark} {who:<8} {check:<17} {seconds:>5.1} s  {text}")
    }
}

/// Runs all checks and returns what they found; progress goes to `progress` as it happens.
pub(crate) fn run(options: &Options, progress: &mut (dyn Write + Send)) -> Result<Report, CompatError> {
    let watch = Stopwatch::start();
    let dir = options.root.join("target/compat");
    let run_dir = dir.join("run");
    if run_dir.exists() {
        fs::remove_dir_all(&run_dir)?;
    }
    fs::create_dir_all(&run_dir)?;
    let sources = options.root.join("ci/compat");
    let installed = install(&sources, &dir)?;
    let launch = match options.against {
        Against::Apache => Launch::apache(&installed.server_jars, &run_dir.join("home")),
        Against::Staticfire => Launch::staticfire(&options.binary),
    };
    writeln!(progress, "clients are ready after {} s", watch.elapsed().as_secs())?;
    let mut target = Target::start(launch, &run_dir.join("servers"))?;
    let journal = Journal { outcomes: Mutex::new(Vec::new()), progress: Mutex::new(progress) };
    let clients = if options.clients.is_empty() { Client::ALL.to_vec() } else { options.clients.clone() };
    std::thread::scope(|scope| {
        for client in &clients {
            let stage = Stage::new(*client, target.namesrv, target.broker, &installed, &run_dir);
            let journal = &journal;
            scope.spawn(move || drive(&stage, options, journal));
        }
    });
    if let (true, Some(client)) = (options.wants("mqadmin"), clients.last()) {
        administrate(&journal, &installed, &mut target, &run_dir, *client, options.against);
    }
    drop(target);
    if options.against == Against::Staticfire {
        hand_over(&journal, options, &installed, &run_dir);
    }
    let mut outcomes = journal.outcomes.into_inner();
    outcomes.sort_by_key(|outcome| outcome.who);
    let report = Report { outcomes, elapsed: watch.elapsed() };
    fs::write(run_dir.join("report.txt"), report.to_string())?;
    Ok(report)
}

/// Stores that change hands between Apache RocketMQ and ours, both ways at the same time.
fn hand_over(journal: &Journal<'_>, options: &Options, installed: &Installed, dir: &Path) {
    let both = [
        (Direction::FromApache, "store from apache", "store-from-apache"),
        (Direction::ToApache, "store to apache", "store-to-apache"),
    ];
    std::thread::scope(|scope| {
        for (direction, check, place) in both {
            let dir = dir.join(place);
            let handover = Handover { direction, installed, binary: &options.binary, dir };
            scope.spawn(move || journal.run(options, "servers", check, || handover.run()));
        }
        let retired = Retired { installed, binary: &options.binary, dir: dir.join("store-retired") };
        scope.spawn(move || journal.run(options, "servers", "store retired", || retired.run()));
    });
}

impl Options {
    fn wants(&self, check: &str) -> bool {
        self.only.as_deref().is_none_or(|only| check.contains(only))
    }
}

/// How to start the servers of a run that drives no official client.
pub(crate) fn launch(root: &Path, binary: &Path, against: Against) -> Result<Launch, InstallError> {
    let (sources, dir) = (root.join("ci/compat"), root.join("target/compat"));
    Ok(match against {
        Against::Staticfire => Launch::staticfire(binary),
        Against::Apache => Launch::apache(&install::servers(&sources, &dir)?, &dir.join("home")),
    })
}

/// Collects outcomes from all threads and tells each as it comes.
struct Journal<'a> {
    outcomes: Mutex<Vec<Outcome>>,
    progress: Mutex<&'a mut (dyn Write + Send)>,
}

impl Journal<'_> {
    fn run(&self, options: &Options, who: &'static str, check: &'static str, job: impl FnOnce() -> Checked) {
        if options.wants(check) {
            self.note(who, check, Stopwatch::start(), job);
        }
    }

    fn note(&self, who: &'static str, check: &'static str, watch: Stopwatch, job: impl FnOnce() -> Checked) {
        let verdict = job().map_err(|error| error.to_string());
        let outcome = Outcome { who, check, verdict, took: watch.elapsed() };
        // Progress is a courtesy: a closed pipe must not fail the run.
        drop(writeln!(self.progress.lock(), "{outcome}"));
        self.outcomes.lock().push(outcome);
    }
}

/// All scenarios of one client, at the same time.
fn drive(stage: &Stage<'_>, options: &Options, journal: &Journal<'_>) {
    let who = stage.client.label();
    let watch = Stopwatch::start();
    let (a, b) = match stage.driver("a").and_then(|a| Ok((a, stage.driver("b")?))) {
        Ok(both) => both,
        Err(error) => return journal.note(who, "start", watch, || Err(error.into())),
    };
    let against = options.against;
    std::thread::scope(|scope| {
        scope.spawn(|| journal.run(options, who, "transactions", || settle::transactions(stage, &a, &b)));
        scope.spawn(|| {
            journal.run(options, who, "dead letter", || settle::dead_letter(stage, &a, &b, against))
        });
        scope.spawn(|| journal.run(options, who, "sync pair", || scenario::sync_pair(stage, &a, &b)));
        scope.spawn(|| {
            journal.run(options, who, "ordered", || scenario::ordered(stage, &a, &b));
            journal.run(options, who, "resume", || scenario::resume(stage, &a));
        });
        scope.spawn(|| {
            journal.run(options, who, "broadcast", || scenario::broadcast(stage, &a, &b));
            journal.run(options, who, "batch", || scenario::batch(stage, &a, against));
            journal.run(options, who, "oneway", || scenario::oneway(stage, &a));
        });
    });
    a.end();
    b.end();
}

/// mqadmin, on what the scenarios of `client` left behind, before and after a restart of the servers.
fn administrate(
    journal: &Journal<'_>,
    installed: &Installed,
    target: &mut Target,
    dir: &Path,
    client: Client,
    against: Against,
) {
    let watch = Stopwatch::start();
    let admin = match Admin::start(installed, target.namesrv, target.broker, dir) {
        Ok(admin) => admin,
        Err(error) => return journal.note("mqadmin", "start", watch, || Err(error)),
    };
    let label = client.label();
    let (topic, group) = (format!("ordered_{label}"), format!("ordered_c_{label}"));
    let check = |name, job: &dyn Fn() -> Checked| journal.note("mqadmin", name, Stopwatch::start(), job);
    check("cluster", &|| admin.cluster());
    check("topics", &|| admin.topics());
    check("groups", &|| admin.groups());
    check("look-up", &|| admin.look_up());
    check("progress", &|| admin.progress(&topic, &group, 1000));
    check("closed port", &|| admin.closed_port());
    // Apache's takes its time to stop; ours has no reason to.
    let seconds = if against == Against::Apache { 60 } else { 10 };
    journal.note("servers", "restart", Stopwatch::start(), || {
        if !target.stop(Duration::from_secs(seconds)) {
            return Err(CheckError::Never { what: "a stop on SIGTERM", seconds });
        }
        target.start_both()?;
        admin.keyed()?;
        Ok(format!("both ended on SIGTERM and came back; {}", admin.progress(&topic, &group, 1000)?))
    });
}

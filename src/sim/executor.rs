//! One simulation: a seed, a fresh thread, a scenario, an outcome.
//!
//! A fresh thread, because std seeds its hash maps once per thread. A run ends when the scenario's future ends; it fails
//! when anything in it panics, when nothing can ever happen again, when virtual time runs out, or when a poll never
//! returns. Afterwards every task is dropped and every handle is dead, so that a process can run thousands of seeds.

use std::any::Any;
use std::cell::Cell;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Once;
use std::sync::mpsc;
use std::time::Duration;

use crate::sim::NodeId;
use crate::sim::World;
use crate::sim::ledger::Entry;
use crate::sim::trace::At;
use crate::sim::trace::Line;
use crate::sim::trace::Rendered;

/// Where every decision of a run comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seed(pub u64);

impl fmt::Display for Seed {
    /// As a failing run prints it and `SEED=` reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.0;
        write!(
            f,
            "0x{:04x}_{:04x}_{:04x}_{:04x}",
            s >> 48,
            (s >> 32) & 0xffff,
            (s >> 16) & 0xffff,
            s & 0xffff
        )
    }
}

impl Seed {
    /// Reads decimal or `0x` hexadecimal, with or without underscores.
    pub fn parse(text: &str) -> Option<Seed> {
        let plain: String = text.trim().chars().filter(|c| *c != '_').collect();
        match plain.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok().map(Seed),
            None => plain.parse().ok().map(Seed),
        }
    }
}

/// How long a run may take and what it keeps.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Virtual time after which the run fails.
    pub virtual_time: Duration,
    /// Real time after which the run is given up: a poll that never returns cannot be interrupted.
    pub real_time: Duration,
    /// Keep all events and texts instead of the last few.
    pub keep_trace: bool,
    /// Let [`Env::buggify`](crate::env::Env::buggify) fire.
    pub buggify: bool,
    /// Planted bugs to switch on, by name.
    pub planted: Vec<String>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            virtual_time: Duration::from_secs(3_600),
            real_time: Duration::from_secs(120),
            keep_trace: false,
            buggify: true,
            planted: Vec::new(),
        }
    }
}

/// What became of one run.
#[derive(Debug)]
pub struct Outcome<T> {
    pub seed: Seed,
    pub result: Result<T, Failure>,
    pub report: Report,
}

/// What a run leaves behind, failed or not.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Equal for equal runs.
    pub trace_hash: u64,
    pub events: u64,
    pub virtual_ns: u64,
    pub ledger: Vec<Entry>,
    /// How often each probe, rare branch and fault was hit.
    pub probes: BTreeMap<&'static str, u64>,
    /// All lines when the trace was kept, else the last few.
    pub lines: Vec<Line>,
    /// Each node's name, by [`NodeId`].
    pub names: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    pub message: String,
    /// `file:line` of a panic.
    pub location: Option<String>,
    /// Node and task that panicked.
    pub task: Option<(NodeId, &'static str)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    Panic,
    /// No event was left: every task would wait for ever.
    Deadlock,
    /// Virtual time ran out.
    TimeLimit,
    /// Real time ran out: some poll does not return.
    Hung,
}

impl<T> Outcome<T> {
    /// The scenario's value; panics with the whole story if the run failed.
    #[track_caller]
    pub fn expect_ok(self) -> T {
        match self.result {
            Ok(value) => value,
            Err(failure) => panic!("{}", story(self.seed, &failure, &self.report)),
        }
    }

    /// What a failing run prints; `None` for one that passed.
    pub fn story(&self) -> Option<String> {
        self.result.as_ref().err().map(|failure| story(self.seed, failure, &self.report))
    }
}

impl Report {
    /// Every kept line as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            text.push_str(&Rendered(line, &self.names).to_string());
            text.push('\n');
        }
        text
    }

    fn name(&self, node: NodeId) -> &str {
        self.names.get(node.index()).map_or("?", String::as_str)
    }
}

fn story(seed: Seed, failure: &Failure, report: &Report) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    let _ = writeln!(out, "FAILED  seed {seed}  {:?} at {}", failure.kind, At(report.virtual_ns));
    let _ = writeln!(out, "\n  {}", failure.message.replace('\n', "\n  "));
    if let Some(location) = &failure.location {
        let _ = writeln!(out, "  at {location}");
    }
    if let Some((node, task)) = failure.task {
        let _ = writeln!(out, "  in task {task:?} of {}", report.name(node));
    }
    if !report.ledger.is_empty() {
        let _ = writeln!(out, "\n  Damage done");
        for entry in &report.ledger {
            let name = report.name(entry.node);
            let _ = writeln!(out, "    {}  {name:<14} {:?}", At(entry.at), entry.damage);
        }
    }
    let _ = writeln!(out, "\n  Events ({} in all{})", report.events, {
        if report.events > report.lines.len() as u64 { ", the last of them" } else { "" }
    });
    for line in &report.lines {
        let _ = writeln!(out, "    {}", Rendered(line, &report.names));
    }
    let _ = writeln!(out, "\n  Trace {:016x}", report.trace_hash);
    let _ = writeln!(out, "  Replay  SEED={seed}");
    out
}

/// Runs `scenario` in a simulated world of its own, in a thread of its own.
pub fn run<T, F, Fut>(seed: Seed, limits: Limits, scenario: F) -> Outcome<T>
where
    T: Send + 'static,
    F: FnOnce(World) -> Fut + Send + 'static,
    Fut: Future<Output = T> + 'static,
{
    install_panic_hook();
    let real_time = limits.real_time;
    let (sender, receiver) = mpsc::sync_channel(1);
    #[expect(
        clippy::disallowed_methods,
        reason = "a simulation owns its thread: std seeds hash maps per thread"
    )]
    let thread = std::thread::spawn(move || {
        // The receiver is gone only when this run was given up.
        let _ = sender.send(run_here(seed, limits, scenario));
    });
    match receiver.recv_timeout(real_time) {
        Ok(outcome) => {
            let joined = thread.join();
            assert!(joined.is_ok(), "a simulation's thread ends without a panic of its own");
            outcome
        }
        Err(_) => Outcome {
            seed,
            result: Err(Failure {
                kind: FailureKind::Hung,
                message: format!("no result after {real_time:?} of real time: some poll does not return"),
                location: None,
                task: None,
            }),
            report: Report::default(),
        },
    }
}

fn run_here<T, F, Fut>(seed: Seed, limits: Limits, scenario: F) -> Outcome<T>
where
    T: Send + 'static,
    F: FnOnce(World) -> Fut,
    Fut: Future<Output = T> + 'static,
{
    IN_SIMULATION.set(true);
    let mut runtime = madsim::runtime::Runtime::with_seed_and_config(seed.0, madsim::Config::default());
    runtime.set_time_limit(limits.virtual_time);
    let slot: RefCell<Option<World>> = RefCell::new(None);
    let result = std::panic::catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let world = World::new(seed, &limits);
            *slot.borrow_mut() = Some(world.clone());
            scenario(world).await
        })
    }));
    let result = result.map_err(|payload| failure(&*payload));
    let report = slot.borrow().as_ref().map(World::report).unwrap_or_default();
    // Drop every task now, in their runtime: a future left behind would keep the whole world alive.
    let ended = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let Some(world) = slot.borrow_mut().take() else { return };
        runtime.block_on(async move {
            world.end();
            madsim::task::yield_now().await;
        });
    }));
    if ended.is_err() {
        // A failed run may leave its runtime half-way through a step. Leaking it is better than unwinding again.
        std::mem::forget(runtime);
    }
    Outcome { seed, result, report }
}

fn failure(payload: &(dyn Any + Send)) -> Failure {
    let message = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "panic with a value that is no text".to_owned(),
    };
    let kind = if message.contains("all tasks will block forever") {
        FailureKind::Deadlock
    } else if message.starts_with("time limit exceeded") {
        FailureKind::TimeLimit
    } else {
        FailureKind::Panic
    };
    let (location, task) = LAST_PANIC.take().unwrap_or_default();
    let panicked = kind == FailureKind::Panic;
    Failure { kind, message, location: location.filter(|_| panicked), task: task.filter(|_| panicked) }
}

type Running = Option<(NodeId, &'static str)>;

thread_local! {
    static IN_SIMULATION: Cell<bool> = const { Cell::new(false) };
    static RUNNING: Cell<Running> = const { Cell::new(None) };
    static LAST_PANIC: RefCell<Option<(Option<String>, Running)>> = const { RefCell::new(None) };
}

/// Notes which task is being polled and returns which was.
pub(super) fn set_running(running: Running) -> Running {
    RUNNING.replace(running)
}

/// Panics of a simulation are part of its outcome: they are noted, not printed. Other threads keep the old hook.
fn install_panic_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !IN_SIMULATION.get() {
                return before(info);
            }
            let location = info.location().map(|at| format!("{}:{}", at.file(), at.line()));
            LAST_PANIC.set(Some((location, RUNNING.get())));
        }));
    });
}

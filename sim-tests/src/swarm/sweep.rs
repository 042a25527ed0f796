//! Many seeds: on every core, in processes of their own, each failure seen twice before it is believed.
//!
//! ```text
//! parent ── child ── child …   this very test binary, running only `swarm::tests::batch`
//!    ▲        │ one line of JSON for each seed
//!    └────────┘  failed? again in a fresh process: the same → reported, another → not deterministic
//! ```
//!
//! One seed in ten runs a second time, in a process that did not see the first: the traces must be equal.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use super::seed;
use super::seed::Ran;

/// Marks a child's line, wherever the test harness lets it begin.
const MARK: &str = "@ran ";
/// The seeds of a batch, as `from:step:count`.
const BATCH: &str = "SWARM_BATCH";
/// Planted bugs, joined by commas.
pub(crate) const PLANT: &str = "PLANT";
/// Of so many seeds one runs twice.
const TWICE_EVERY: u64 = 10;
/// Failures that are told in full.
const TOLD_MAX: usize = 5;

/// Some of the seeds: `from`, `from + step`, … `count` of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    pub(crate) from: u64,
    pub(crate) step: u64,
    pub(crate) count: u64,
}

/// What all seeds of a sweep came to.
#[derive(Default)]
pub(crate) struct Sum {
    pub(crate) seeds: u64,
    pub(crate) failures: Vec<Ran>,
    pub(crate) unequal: Vec<u64>,
    virtual_ns: u64,
    faults: u64,
    crashes: u64,
    twice: u64,
    premises: BTreeMap<String, u64>,
    excused: BTreeMap<String, u64>,
    excused_seeds: u64,
    rotten: u64,
    probes: BTreeMap<String, u64>,
}

/// Runs in a child: the batch that the parent asked for, if it did.
pub(crate) fn child() {
    let Some(batch) = std::env::var(BATCH).ok().and_then(|text| Batch::parse(&text)) else { return };
    let planted = std::env::var(PLANT).unwrap_or_default();
    let planted: Vec<&str> = planted.split(',').filter(|name| !name.is_empty()).collect();
    for seed in batch.seeds() {
        let ran = seed::run(seed, &planted, false);
        let line = serde_json::to_string(&ran).expect("numbers and texts are JSON");
        // A parent that has seen enough is gone.
        if writeln!(std::io::stdout().lock(), "{MARK}{line}").is_err() {
            return;
        }
    }
}

/// Runs the seeds on so many processes. `enough` ends it early.
pub(crate) fn run(
    batch: Batch,
    processes: u64,
    planted: &[&str],
    mut enough: impl FnMut(&Ran) -> bool,
) -> Vec<Ran> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let mut children: Vec<Child> = Vec::new();
    for nth in 0..processes.min(batch.count) {
        let count = (batch.count - nth).div_ceil(processes);
        let part = Batch { from: batch.from + nth * batch.step, step: batch.step * processes, count };
        let mut child = spawn(part, planted);
        let stdout = child.stdout.take().expect("a child's output is piped");
        let sender = sender.clone();
        #[expect(
            clippy::disallowed_methods,
            reason = "one reader for each child, outside of any simulation"
        )]
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some((_, json)) = line.split_once(MARK)
                    && let Ok(ran) = serde_json::from_str::<Ran>(json)
                {
                    let _ = sender.send(ran);
                }
            }
        });
        children.push(child);
    }
    drop(sender);
    let mut all = Vec::new();
    for ran in receiver {
        let last = enough(&ran);
        all.push(ran);
        if last {
            children.iter_mut().for_each(|child| _ = child.kill());
            break;
        }
    }
    for mut child in children {
        let _ = child.wait();
    }
    all.sort_by_key(|ran| ran.seed);
    all
}

/// A sweep without planted bugs: every failure seen again, every tenth seed run again.
pub(crate) fn sweep(from: u64, count: u64, processes: u64) -> Sum {
    let all = run(Batch { from, step: 1, count }, processes, &[], |_| false);
    let first_multiple = from.div_ceil(TWICE_EVERY) * TWICE_EVERY;
    let again = (from + count).saturating_sub(first_multiple).div_ceil(TWICE_EVERY);
    let batch = Batch { from: first_multiple, step: TWICE_EVERY, count: again };
    let mut second = run(batch, processes, &[], |_| false);
    for failed in all.iter().filter(|ran| !ran.broken.is_empty()).take(TOLD_MAX) {
        if !failed.seed.is_multiple_of(TWICE_EVERY) {
            second.extend(run(Batch { from: failed.seed, step: 1, count: 1 }, 1, &[], |_| false));
        }
    }
    let mut sum = Sum { twice: second.len() as u64, ..Sum::default() };
    for ran in second {
        let first = all.iter().find(|first| first.seed == ran.seed);
        if first.is_some_and(|first| first.hash != ran.hash || first.broken != ran.broken) {
            sum.unequal.push(ran.seed);
        }
    }
    all.into_iter().for_each(|ran| sum.add(ran));
    sum
}

impl Batch {
    fn parse(text: &str) -> Option<Batch> {
        let mut numbers = text.split(':').map(|number| number.parse::<u64>().ok());
        Some(Batch { from: numbers.next()??, step: numbers.next()??, count: numbers.next()?? })
    }

    fn seeds(self) -> impl Iterator<Item = u64> {
        (0..self.count).map(move |n| self.from + n * self.step)
    }
}

impl Sum {
    fn add(&mut self, ran: Ran) {
        self.seeds += 1;
        self.virtual_ns += ran.virtual_ns;
        self.faults += ran.faults;
        self.crashes += ran.crashes;
        // What rotted is lost for a cause that names each record; there is nothing to be sparing with.
        self.excused_seeds += u64::from(ran.rotten == 0 && ran.excused.contains_key("O1"));
        self.rotten += ran.rotten;
        let add = |to: &mut BTreeMap<String, u64>, from: &BTreeMap<String, u64>| {
            from.iter().for_each(|(name, n)| *to.entry(name.clone()).or_insert(0) += n);
        };
        add(&mut self.premises, &ran.premises);
        add(&mut self.excused, &ran.excused);
        add(&mut self.probes, &ran.probes);
        if !ran.broken.is_empty() {
            self.failures.push(ran);
        }
    }

    /// Promises that no seed put to the test.
    pub(crate) fn vacuous(&self) -> Vec<&str> {
        self.premises.iter().filter(|(_, n)| **n == 0).map(|(id, _)| id.as_str()).collect()
    }

    pub(crate) fn probes_never_hit(&self, wanted: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
        wanted.filter(|name| !self.probes.contains_key(*name)).collect()
    }

    /// Seeds in which something acknowledged was lost legally, without a bit of the disk having flipped.
    pub(crate) fn excused_seeds(&self) -> u64 {
        self.excused_seeds
    }

    /// The failures, then what the sweep is worth.
    pub(crate) fn text(&self) -> String {
        use std::fmt::Write as _;
        let mut out = String::new();
        for failed in self.failures.iter().take(TOLD_MAX) {
            let _ = writeln!(out, "{}", failed.story);
        }
        let minutes = self.virtual_ns / 60_000_000_000;
        let _ = writeln!(
            out,
            "{} seeds, {}.{} simulated hours, {} faults, {} crashes recovered from",
            self.seeds,
            minutes / 60,
            minutes % 60 / 6,
            self.faults,
            self.crashes
        );
        let _ = writeln!(
            out,
            "{} ran twice, {} of them unequal: {:?}",
            self.twice,
            self.unequal.len(),
            self.unequal
        );
        let _ = writeln!(out, "promises put to the test: {:?}", self.premises);
        let _ = writeln!(
            out,
            "excused: {:?}; a loss in {} seeds; {} records rotted",
            self.excused, self.excused_seeds, self.rotten
        );
        if !self.failures.is_empty() {
            let list: Vec<String> =
                self.failures.iter().map(|ran| format!("{} {:?}", ran.seed, ran.broken)).collect();
            let _ = writeln!(out, "{} seeds FAILED: {}", list.len(), list.join(", "));
        }
        out
    }
}

fn spawn(batch: Batch, planted: &[&str]) -> Child {
    let binary = std::env::current_exe().expect("a test binary knows itself");
    Command::new(binary)
        .args(["swarm::tests::batch", "--exact", "--nocapture", "--test-threads=1"])
        .env(BATCH, format!("{}:{}:{}", batch.from, batch.step, batch.count))
        .env(PLANT, planted.join(","))
        .env_remove("SEED")
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the test binary starts again")
}

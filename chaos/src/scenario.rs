//! Runs a story under many seeds, as a plain Rust test, and says what a broken promise looked like.
//!
//! ```text
//! #[test]
//! fn orders_survive() {
//!     scenario("orders_survive").seeds(20).run(|story| async move { … Ok(()) });
//! }
//! ```
//!
//! `SEED=0x…` replays one seed, `SEEDS=1000` runs more, `FROM=500` other ones, `TRACE=1` prints every event.
//!
//! A story that its `when` never lets begin fails as vacuous; so does a sweep in which something declared by
//! [`Scenario::sometimes`] never happened. [`Scenario::finds`] turns a scenario round: it must break that promise, and
//! so proves that it can fail.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use staticfire::sim;
use staticfire::sim::Limits;
use staticfire::sim::Outcome;
use staticfire::sim::Seed;
use staticfire::sim::World;

use crate::cluster::Cluster;
use crate::cluster::ClusterBuilder;
use crate::history::History;
use crate::history::Notes;
use crate::history::Record;
use crate::identity::MessageKey;
use crate::operator::NotLive;
use crate::operator::wait_until;
use crate::story;

/// How a story ends.
pub type Told = Result<(), Broken>;

/// What kind of failure a story ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A promise was broken.
    Promise,
    /// Something that had to happen did not.
    NotLive,
    /// The story never came to its point.
    Vacuous,
    /// The story itself could not go on: a send that it needed failed, say.
    Unexpected,
}

/// Why a story failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub kind: Kind,
    /// The promise by its name, as in `O1 nothing acknowledged is lost`.
    pub promise: String,
    pub what: String,
    /// The message that shows it.
    pub about: Option<MessageKey>,
}

/// A scenario before it runs.
#[must_use = "a scenario does nothing until run or finds"]
pub struct Scenario {
    name: &'static str,
    seeds: u64,
    planted: Vec<String>,
    sometimes: Vec<&'static str>,
    virtual_time: Duration,
}

/// One run of a scenario: its world, its history, its verbs.
#[derive(Clone)]
pub struct Story {
    world: World,
    history: History,
    shared: Arc<Mutex<Shared>>,
}

/// What outlives a run.
#[derive(Default)]
struct Shared {
    notes: Option<Notes>,
    reached: BTreeSet<&'static str>,
}

/// One run that went well.
struct Passed {
    reached: BTreeSet<&'static str>,
    trace_hash: u64,
}

/// One seed in so many is run twice: two runs of a seed must be the same run.
const TWICE_EVERY: usize = 10;

/// One failed run, as text.
struct Failed {
    promise: Option<String>,
    text: String,
}

pub fn scenario(name: &'static str) -> Scenario {
    Scenario {
        name,
        seeds: 20,
        planted: Vec::new(),
        sometimes: Vec::new(),
        virtual_time: Duration::from_secs(1_800),
    }
}

impl Scenario {
    /// Seeds of a run that no environment variable speaks of.
    pub fn seeds(mut self, seeds: u64) -> Scenario {
        self.seeds = seeds;
        self
    }

    /// Switches a planted bug on.
    pub fn plant(mut self, bug: &str) -> Scenario {
        self.planted.push(bug.to_owned());
        self
    }

    /// Something that must happen in at least one seed of a sweep: [`Story::happened`] says that it did.
    pub fn sometimes(mut self, what: &'static str) -> Scenario {
        self.sometimes.push(what);
        self
    }

    /// Tells the story under each seed. Panics at the first one that fails, with all that is known about it.
    pub fn run<F, Fut>(self, tell: F)
    where
        F: Fn(Story) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = Told> + 'static,
    {
        let seeds = seeds_to_run(self.name, self.seeds);
        let mut reached: BTreeMap<&'static str, u64> = BTreeMap::new();
        for (nth, seed) in seeds.iter().enumerate() {
            let passed = match self.once(*seed, tell) {
                Ok(passed) => passed,
                Err(failed) => panic!("{} of {} seeds\n{}", nth + 1, seeds.len(), failed.text),
            };
            if nth % TWICE_EVERY == 0 {
                let again = self.once(*seed, tell).map(|passed| passed.trace_hash).ok();
                assert_eq!(again, Some(passed.trace_hash), "{}: two runs of seed {seed} differ", self.name);
            }
            passed.reached.into_iter().for_each(|what| *reached.entry(what).or_insert(0) += 1);
        }
        let never = self.sometimes.iter().find(|what| !reached.contains_key(*what));
        if let Some(never) =
            never.filter(|_| seeds.len() >= usize::try_from(self.seeds).unwrap_or(usize::MAX))
        {
            panic!("{}: vacuous: in none of {} seeds {never}", self.name, seeds.len());
        }
    }

    /// Tells the story until it breaks the promise (or liveness) whose name begins with `promise`. Panics if no seed does, or if one
    /// fails in another way.
    pub fn finds<F, Fut>(self, promise: &str, tell: F)
    where
        F: Fn(Story) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = Told> + 'static,
    {
        let seeds = seeds_to_run(self.name, self.seeds);
        for seed in &seeds {
            match self.once(*seed, tell) {
                Ok(_) => {}
                Err(failed)
                    if failed.promise.as_deref().is_some_and(|broken| broken.starts_with(promise)) =>
                {
                    return;
                }
                Err(failed) => panic!("{promise} should have been broken, and this was:\n{}", failed.text),
            }
        }
        panic!(
            "{}: {promise} held in {} seeds although {:?} was planted",
            self.name,
            seeds.len(),
            self.planted
        );
    }

    fn once<F, Fut>(&self, seed: Seed, tell: F) -> Result<Passed, Failed>
    where
        F: Fn(Story) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = Told> + 'static,
    {
        let shared: Arc<Mutex<Shared>> = Arc::default();
        let limits = Limits {
            virtual_time: self.virtual_time,
            keep_trace: std::env::var_os("TRACE").is_some(),
            planted: self.planted.clone(),
            ..Limits::default()
        };
        let inside = Arc::clone(&shared);
        let outcome = sim::run(seed, limits, move |world| async move {
            let history = History::new(&world);
            inside.lock().notes = Some(history.notes());
            tell(Story { world, history, shared: inside }).await
        });
        let shared = std::mem::take(&mut *shared.lock());
        match &outcome.result {
            Ok(Ok(())) => Ok(Passed { reached: shared.reached, trace_hash: outcome.report.trace_hash }),
            Ok(Err(broken)) => Err(self.failed(&outcome, Some(broken), shared.notes)),
            Err(_) => Err(self.failed(&outcome, None, shared.notes)),
        }
    }

    fn failed(&self, outcome: &Outcome<Told>, broken: Option<&Broken>, notes: Option<Notes>) -> Failed {
        let report = &outcome.report;
        let mut text = String::new();
        let virtual_s = report.virtual_ns / 1_000_000_000;
        let _ = writeln!(text, "FAILED  {}   seed {}   ({virtual_s} simulated s)\n", self.name, outcome.seed);
        let record = notes.map(|notes| notes.seal(&report.ledger, &report.names)).unwrap_or_default();
        match (broken, &outcome.result) {
            (Some(broken), _) => describe(&mut text, broken, &record),
            (None, Err(_)) => text.push_str(&outcome.story().unwrap_or_default()),
            (None, Ok(_)) => {}
        }
        if std::env::var_os("TRACE").is_some() {
            let _ = writeln!(text, "  Trace\n{}", report.text());
        }
        let test = std::thread::current().name().unwrap_or(self.name).to_owned();
        let _ = writeln!(text, "  Trace hash       {:016x}", report.trace_hash);
        let _ = writeln!(
            text,
            "  Replay           SEED={} RUSTFLAGS='--cfg madsim' cargo test --profile sim --target-dir target/sim \
             -p staticfire-chaos -- --exact {test}",
            outcome.seed
        );
        let promise = broken
            .filter(|broken| matches!(broken.kind, Kind::Promise | Kind::NotLive))
            .map(|broken| broken.promise.clone());
        Failed { promise, text }
    }
}

fn describe(text: &mut String, broken: &Broken, record: &Record) {
    let headline = match broken.kind {
        Kind::Promise => "Broken promise  ",
        Kind::NotLive => "Not live        ",
        Kind::Vacuous => "Vacuous         ",
        Kind::Unexpected => "Could not go on ",
    };
    let _ = writeln!(text, "  {headline} {}", broken.promise);
    let _ = writeln!(text, "  What happened    {}\n", broken.what);
    let _ = writeln!(text, "{}", story::told(record, broken.about));
}

/// The seeds that the environment asks for, or so many of the scenario's own.
fn seeds_to_run(name: &str, seeds: u64) -> Vec<Seed> {
    let number = |variable: &str| -> Option<u64> {
        let text = std::env::var(variable).ok()?;
        let seed = Seed::parse(&text).unwrap_or_else(|| panic!("{variable}={text} is no number"));
        Some(seed.0)
    };
    if let Some(seed) = number("SEED") {
        return vec![Seed(seed)];
    }
    let own = staticfire::base::fnv64(name.as_bytes()) >> 16;
    let from = own.wrapping_add(number("FROM").unwrap_or(0));
    (0..number("SEEDS").unwrap_or(seeds)).map(|n| Seed(from.wrapping_add(n))).collect()
}

impl Story {
    pub fn world(&self) -> &World {
        &self.world
    }

    pub fn history(&self) -> &History {
        &self.history
    }

    /// A cluster whose processes note into this story's history.
    pub fn cluster(&self) -> ClusterBuilder {
        Cluster::builder(&self.world).history(&self.history)
    }

    /// A number from the seed, for `purpose`.
    pub fn between(&self, purpose: &str, low: u64, high: u64) -> u64 {
        self.world.draw().domain("story").range(purpose, 0, 0, low, high)
    }

    /// Waits for the point of the story. If it never comes, the story is vacuous.
    pub async fn when(&self, what: &str, mut holds: impl FnMut() -> bool) -> Told {
        let limit = Duration::from_secs(120);
        let waited = wait_until(&self.world, what, limit, || {
            let answer = if holds() { Ok(()) } else { Err("it did not come to that".to_owned()) };
            std::future::ready(answer)
        });
        waited.await.map_err(|not_live| Broken {
            kind: Kind::Vacuous,
            promise: format!("this story begins when {what}"),
            what: not_live.to_string(),
            about: None,
        })
    }

    /// Waits for something that must come, with a limit of virtual time.
    pub async fn until(&self, what: &str, limit: Duration, mut holds: impl FnMut() -> bool) -> Told {
        let waited = wait_until(&self.world, what, limit, || {
            let answer = if holds() { Ok(()) } else { Err("it did not come to that".to_owned()) };
            std::future::ready(answer)
        });
        Ok(waited.await?)
    }

    /// Lets virtual time pass.
    pub async fn pass_ms(&self, ms: u64) {
        self.world.sleep(Duration::from_millis(ms)).await;
    }

    /// Notes that something which a sweep must see has been seen, if it `did`.
    pub fn happened(&self, what: &'static str, did: bool) {
        if did {
            self.world.count(what);
            self.shared.lock().reached.insert(what);
        }
    }

    /// Everything so far.
    pub fn record(&self) -> Record {
        self.history.seal()
    }
}

impl Broken {
    pub fn promise(promise: &str, about: Option<MessageKey>, what: impl Into<String>) -> Broken {
        Broken { kind: Kind::Promise, promise: promise.to_owned(), what: what.into(), about }
    }

    pub fn unexpected(what: impl fmt::Display) -> Broken {
        let promise = "the story's own steps succeed".to_owned();
        Broken { kind: Kind::Unexpected, promise, what: what.to_string(), about: None }
    }
}

impl From<NotLive> for Broken {
    fn from(not_live: NotLive) -> Broken {
        let promise = "O24 everything drains once faults have ended".to_owned();
        Broken { kind: Kind::NotLive, promise, what: not_live.to_string(), about: None }
    }
}

impl From<staticfire::client::RequestError> for Broken {
    fn from(error: staticfire::client::RequestError) -> Broken {
        Broken::unexpected(error)
    }
}

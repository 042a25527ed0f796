//! What every implementation of [`Env`] must do, as functions that run against any of them.
//!
//! A simulator that promises more than the machine does hides bugs; one that promises less invents them. So both run
//! these cases, and a behaviour that the product relies on is a case here or it is not relied upon. Each case is an
//! async function that panics with the rule that was broken.
//!
//! The world must be healthy while they run: no injected faults, enough room on the disk.
//!
//! Not here: what only one world can show (words of errors, crashes, partitions).

mod clock;
mod disk;
mod model;
mod net;
mod segment;
mod task;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

pub use model::{FileChange, files_follow_the_model};

use crate::env::{BoxFuture, Env};

/// Milliseconds after which something that must happen is taken not to.
const PATIENCE_MS: u64 = 20_000;
/// Milliseconds for which something that must not happen is watched.
const WATCH_MS: u64 = 50;

/// One rule and the function that holds an environment to it.
pub struct Case {
    pub rule: &'static str,
    pub run: fn(Ground) -> BoxFuture<'static, ()>,
}

/// Where the cases run.
#[derive(Clone)]
pub struct Ground {
    pub env: Env,
    /// The process that connects to `env`; the same process unless [`Ground::peer`] said otherwise.
    pub peer: Env,
    /// An existing directory of `env`; each case works in a fresh directory below it.
    pub scratch: PathBuf,
    /// An address of `env` that `peer` reaches.
    pub host: IpAddr,
}

impl Ground {
    pub fn new(env: Env, scratch: &Path, host: IpAddr) -> Ground {
        Ground { peer: env.clone(), env, scratch: scratch.to_owned(), host }
    }

    /// Lets another process play the connecting side.
    pub fn peer(mut self, peer: Env) -> Ground {
        self.peer = peer;
        self
    }

    /// Any free port of the host.
    fn any_port(&self) -> SocketAddr {
        SocketAddr::new(self.host, 0)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// The value of something that must happen.
    ///
    /// # Panics
    ///
    /// With `rule`, when it does not happen.
    async fn soon<T>(&self, rule: &str, future: impl Future<Output = T>) -> T {
        let outcome = self.env.timeout_ms(PATIENCE_MS, future).await;
        outcome.unwrap_or_else(|| panic!("{rule}: nothing happened in {PATIENCE_MS} ms"))
    }
}

/// Every case, by subject: clock, random streams, tasks, network, disk, segments.
pub const CASES: &[&[Case]] =
    &[clock::CASES, task::CASES, net::CASES, disk::CASES, segment::CASES, model::CASES];

/// Holds `env` to every rule and returns the rules, in the order in which they were kept.
///
/// # Panics
///
/// With the first rule that is broken.
pub async fn run_all(env: Env, scratch: &Path, host: IpAddr) -> Vec<&'static str> {
    run_all_on(&Ground::new(env, scratch, host)).await
}

/// As [`run_all`], on a prepared ground.
pub async fn run_all_on(ground: &Ground) -> Vec<&'static str> {
    let mut kept = Vec::new();
    for (number, case) in CASES.iter().copied().flatten().enumerate() {
        let scratch = ground.scratch.join(format!("case-{number}"));
        let made = ground.env.disk.create_dir_all(&scratch).await;
        assert!(made.is_ok(), "a scratch directory must be possible: {made:?}");
        tracing::debug!(rule = case.rule, "conformance");
        (case.run)(Ground { scratch, ..ground.clone() }).await;
        kept.push(case.rule);
    }
    assert!(!kept.is_empty(), "a suite without cases proves nothing");
    kept
}

/// Declares the cases of a file: a rule in words, then the function that checks it.
macro_rules! cases {
    ($($rule:literal => $function:ident,)+) => {
        pub(super) const CASES: &[crate::env::conformance::Case] = &[
            $(crate::env::conformance::Case {
                rule: $rule,
                run: |ground| Box::pin($function(ground, $rule)),
            },)+
        ];
    };
}
use cases;

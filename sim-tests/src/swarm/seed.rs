//! One seed: run it, judge it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use staticfire::base::Draw;
use staticfire::sim;
use staticfire::sim::Limits;
use staticfire::sim::Seed;

use super::plan::Plan;
use super::report;
use super::scenario;
use crate::oracle::Case;
use crate::oracle::ORACLES;

/// What became of a seed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Ran {
    pub(crate) seed: u64,
    pub(crate) hash: u64,
    pub(crate) virtual_ns: u64,
    pub(crate) events: u64,
    /// Ids of broken promises.
    pub(crate) broken: Vec<String>,
    /// The whole report, if anything broke.
    pub(crate) story: String,
    /// By promise: how often its premise held.
    pub(crate) premises: BTreeMap<String, u64>,
    /// By promise: how often it was excused.
    pub(crate) excused: BTreeMap<String, u64>,
    /// Faults that struck, restarts after a crash, probes.
    pub(crate) probes: BTreeMap<String, u64>,
    pub(crate) faults: u64,
    pub(crate) crashes: u64,
    /// Stored messages that rotted.
    pub(crate) rotten: u64,
}

/// Runs a seed with bugs planted by name. `verbose` keeps the trace.
pub(crate) fn run(seed: u64, planted: &[&str], verbose: bool) -> Ran {
    let limits = Limits {
        virtual_time: Duration::from_secs(3_600),
        real_time: Duration::from_secs(180),
        keep_trace: verbose,
        buggify: true,
        planted: planted.iter().map(|name| (*name).to_owned()).collect(),
    };
    let outcome = sim::run(Seed(seed), limits, scenario::run);
    let plan = Plan::draw(Draw::new(seed));
    let ledger = &outcome.report.ledger;
    let death = |entry: &&sim::Entry| {
        matches!(entry.damage, sim::Damage::Kill | sim::Damage::OsCrash { .. } | sim::Damage::Loss)
    };
    let mut ran = Ran {
        seed,
        hash: outcome.report.trace_hash,
        virtual_ns: outcome.report.virtual_ns,
        events: outcome.report.events,
        faults: ledger.len() as u64,
        crashes: ledger.iter().filter(death).count() as u64,
        probes: outcome.report.probes.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect(),
        ..Ran::default()
    };
    match &outcome.result {
        Err(failure) => {
            ran.broken.push(format!("{:?}", failure.kind));
            ran.story = outcome.story().unwrap_or_default();
            ran.story.push_str(&report::replay(seed, planted));
        }
        Ok((record, contract)) => {
            ran.rotten = contract.rotten.len() as u64;
            let case = Case::new(record.clone(), contract.clone());
            for oracle in ORACLES {
                let verdict = (oracle.judge)(&case);
                *ran.premises.entry(oracle.id.to_owned()).or_insert(0) += verdict.premises;
                if !verdict.excused.is_empty() {
                    ran.excused.insert(oracle.id.to_owned(), verdict.excused.len() as u64);
                }
                if !verdict.violations.is_empty() {
                    ran.broken.push(oracle.id.to_owned());
                    ran.story.push_str(&report::broken(oracle, &verdict, &case, scenario::mode(&plan)));
                }
            }
            if !ran.broken.is_empty() {
                let head = format!("FAILED  seed {seed}  {plan:?}\n");
                let tail = report::tail(&case, ran.hash);
                ran.story = format!("{head}{}{tail}{}", ran.story, report::replay(seed, planted));
            }
            if verbose {
                ran.story.push_str(&report::everything(&case));
                ran.story.push_str(&outcome.report.text());
            }
        }
    }
    ran
}

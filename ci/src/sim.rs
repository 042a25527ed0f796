//! The simulation: the same crates, built with `--cfg madsim`, optimised with every assertion on.
//!
//! Two things go wrong in silence elsewhere and must not here:
//! * an exported `RUSTFLAGS` replaces the flags of any configuration, so the simulation would compile to nothing and
//!   pass. The flags are therefore merged here and passed by the one variable that outranks the others;
//! * a renamed module or filter leaves zero tests, and zero tests pass. Each part must report at least one.
//!
//! Not here: what a seed does, how many a swarm runs by itself (`sim-tests`).

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use crate::cargo::{cargo, run_tests, target_dir};
use crate::step::{Failed, Gate, Outcome, Passed, capture, watch};

/// The parts, in the order in which their failures explain each other: the name of the step, what cargo is told.
const PARTS: &[(&str, &[&str])] = &[
    ("sim: the simulator", &["-p", "staticfire", "--lib", "sim::"]),
    ("sim: the product", &["-p", "staticfire-sim-tests", "--tests"]),
    ("sim: scenarios", &["-p", "staticfire-chaos", "--tests"]),
];
/// The profile of all simulations: optimised, every assertion on.
pub(crate) const PROFILE: &str = "sim";
/// Seeds that a debug build must run exactly as the optimised one does, as `from:step:count`.
const ALIKE: &str = "3000:1:6";
/// What makes a build a simulation.
const FLAGS: [&str; 2] = ["--cfg", "madsim"];

pub(crate) fn sim(gate: &mut Gate, seeds: Option<u64>, from: Option<u64>) {
    let simulation = Simulation::of(gate.root.clone());
    for (name, part) in PARTS {
        gate.step(name, || {
            let mut command = simulation.test(PROFILE, part);
            for (variable, value) in [("SEEDS", seeds), ("FROM", from)] {
                if let Some(value) = value {
                    command.env(variable, value.to_string());
                }
            }
            some(run_tests(command.arg("--no-fail-fast")))
        });
    }
    gate.step("sim: debug as optimised", || {
        let optimised = simulation.traces(PROFILE)?;
        let debug = simulation.traces("dev")?;
        alike(&optimised, &debug)
    });
}

/// The trace of a run: its hash and its number of events.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
struct Trace {
    seed: u64,
    hash: u64,
    events: u64,
}

fn alike(optimised: &BTreeMap<u64, Trace>, debug: &BTreeMap<u64, Trace>) -> Outcome {
    let differs = |(seed, trace): (&u64, &Trace)| {
        let other = debug.get(seed);
        (other != Some(trace)).then(|| format!("seed {seed}: optimised {trace:x?}, debug {other:x?}"))
    };
    let findings: Vec<String> = optimised.iter().filter_map(differs).collect();
    if optimised.is_empty() || !findings.is_empty() {
        let lines = findings.join("\n");
        return Err(Failed::because(format!("{} seeds ran; these differ:\n{lines}", optimised.len())));
    }
    let checks = optimised.len() as u64;
    Ok(Passed { checks, note: format!("{checks} seeds, equal traces"), ..Passed::default() })
}

pub(crate) fn seed(gate: &mut Gate, seed: u64, test: Option<&str>) {
    let simulation = Simulation::of(gate.root.clone());
    gate.step(&format!("seed {seed}"), || {
        let mut command = simulation.test(PROFILE, &["-p", "staticfire-sim-tests", "--tests"]);
        command.env("SEED", seed.to_string()).args(["--", "--nocapture", "--test-threads=1"]);
        watch(command.args(test))
    });
}

/// A workspace to simulate and the flags that do it.
pub(crate) struct Simulation {
    root: PathBuf,
    /// Apart from the ordinary build's, so that neither waits for the other's lock.
    target: PathBuf,
    flags: Vec<String>,
}

impl Simulation {
    pub(crate) fn of(root: PathBuf) -> Simulation {
        let target = target_dir(&root).join("sim");
        Simulation { root, target, flags: FLAGS.map(str::to_owned).to_vec() }
    }

    /// How some seeds run in a build of this profile, by seed.
    fn traces(&self, profile: &str) -> Result<BTreeMap<u64, Trace>, Failed> {
        // The test of the swarm's own child processes: it prints one line of JSON for each seed of the batch.
        let mut command = self.one(profile, "swarm::tests::batch");
        command.env("SWARM_BATCH", ALIKE);
        let printed = capture(&mut command)?;
        let lines = printed.lines().filter_map(|line| line.split_once("@ran "));
        let traces = lines.map(|(_, json)| serde_json::from_str::<Trace>(json));
        let traces: Result<Vec<Trace>, _> = traces.collect();
        let traces =
            traces.map_err(|error| Failed::because(format!("{error} in what the batch said:\n{printed}")))?;
        Ok(traces.into_iter().map(|trace| (trace.seed, trace)).collect())
    }

    /// `cargo test` of one test of `sim-tests`, for what it prints.
    pub(crate) fn one(&self, profile: &str, test: &str) -> Command {
        let mut command = self.test(profile, &["-p", "staticfire-sim-tests", "--lib"]);
        command.args(["--", test, "--exact", "--nocapture"]);
        command
    }

    /// `cargo test` of a part.
    fn test(&self, profile: &str, part: &[&str]) -> Command {
        let mut command = cargo(&self.root);
        command.args(["test", "--profile", profile, "--target-dir"]).arg(&self.target);
        command.args(part);
        let encoded = env::var("CARGO_ENCODED_RUSTFLAGS").ok();
        let plain = env::var("RUSTFLAGS").ok();
        command.env_remove("RUSTFLAGS");
        command.env("CARGO_ENCODED_RUSTFLAGS", merge(encoded.as_deref(), plain.as_deref(), &self.flags));
        // The test crates refuse to compile when this is set and the flags did not reach them.
        command.env("STATICFIRE_SIMULATION", "1");
        command
    }
}

/// The user's flags and ours, as `CARGO_ENCODED_RUSTFLAGS` wants them. As in cargo, the encoded form outranks the other.
fn merge(encoded: Option<&str>, plain: Option<&str>, ours: &[String]) -> String {
    let theirs: Vec<&str> = match (encoded, plain) {
        (Some(encoded), _) => encoded.split('\x1f').filter(|flag| !flag.is_empty()).collect(),
        (None, Some(plain)) => plain.split_whitespace().collect(),
        (None, None) => Vec::new(),
    };
    theirs.into_iter().chain(ours.iter().map(String::as_str)).collect::<Vec<_>>().join("\x1f")
}

/// Refuses a success without a single test.
fn some(outcome: Outcome) -> Outcome {
    match outcome {
        Ok(passed) if passed.checks == 0 => Err(Failed::because(
            "the simulation compiled to nothing: not one simulation test was built and run. \
             Did `--cfg madsim` reach the build, and does the test filter still match?",
        )),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::step::Passed;

    #[test]
    fn flags_of_the_user_are_kept() {
        let ours = FLAGS.map(str::to_owned);
        assert_eq!(merge(None, None, &ours), "--cfg\x1fmadsim");
        assert_eq!(
            merge(None, Some("-C target-cpu=native "), &ours),
            "-C\x1ftarget-cpu=native\x1f--cfg\x1fmadsim"
        );
        assert_eq!(merge(Some("-Cx y"), Some("ignored"), &ours), "-Cx y\x1f--cfg\x1fmadsim");
        assert_eq!(merge(Some(""), None, &ours), "--cfg\x1fmadsim");
    }

    #[test]
    fn traces_that_differ_or_are_missing_are_told() {
        let trace = |seed, hash| (seed, Trace { seed, hash, events: 1 });
        let one = BTreeMap::from([trace(1, 7), trace(2, 8)]);
        assert_eq!(alike(&one, &one).expect("they are equal").checks, 2);
        for other in [BTreeMap::from([trace(1, 7), trace(2, 9)]), BTreeMap::from([trace(1, 7)])] {
            let failed = alike(&one, &other).expect_err("seed 2 differs");
            assert!(
                failed.output.contains("seed 2") && !failed.output.contains("seed 1"),
                "{}",
                failed.output
            );
        }
        assert!(alike(&BTreeMap::new(), &BTreeMap::new()).is_err(), "nothing ran");
    }

    #[test]
    fn no_tests_are_no_success() {
        let failed = some(Ok(Passed::default())).expect_err("nothing was tested");
        assert!(failed.output.contains("compiled to nothing"), "{}", failed.output);
        assert!(some(Ok(Passed { checks: 1, note: String::new(), ..Passed::default() })).is_ok());
    }

    /// A crate whose only test exists under the simulator, as those of `sim-tests` do.
    fn crate_with_a_simulation_test(dir: &Path) {
        let _ = fs::remove_dir_all(dir);
        fs::create_dir_all(dir.join("src")).unwrap();
        let manifest = "[package]\nname = \"staticfire-sim-tests\"\nedition = \"2024\"\n\
            [workspace]\n[profile.sim]\ninherits = \"release\"\n[lints.rust]\n\
            unexpected_cfgs = { level = \"warn\", check-cfg = [\"cfg(madsim)\"] }\n";
        fs::write(dir.join("Cargo.toml"), manifest).unwrap();
        fs::write(dir.join("src/lib.rs"), "//! Planted.\n#[cfg(madsim)]\n#[test]\nfn runs_simulated() {}\n")
            .unwrap();
    }

    #[test]
    fn a_build_that_lost_the_flag_fails_loudly() {
        let dir = env::temp_dir().join(format!("staticfire-ci-{}", std::process::id()));
        crate_with_a_simulation_test(&dir);
        let part = ["-p", "staticfire-sim-tests", "--tests"];
        let mut simulation = Simulation { target: dir.join("target"), ..Simulation::of(dir.clone()) };
        let passed = some(run_tests(&mut simulation.test(PROFILE, &part))).expect("one test is there");
        assert_eq!(passed.checks, 1);
        simulation.flags.clear();
        let failed = some(run_tests(&mut simulation.test(PROFILE, &part))).expect_err("no test is there");
        assert!(failed.output.contains("compiled to nothing"), "{}", failed.output);
        let _ = fs::remove_dir_all(&dir);
    }
}

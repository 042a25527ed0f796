//! The simulation: the same crates, built with `--cfg madsim`, optimised with every assertion on.
//!
//! Two things go wrong in silence elsewhere and must not here:
//! * an exported `RUSTFLAGS` replaces the flags of any configuration, so the simulation would compile to nothing and
//!   pass. The flags are therefore merged here and passed by the one variable that outranks the others;
//! * a renamed module or filter leaves zero tests, and zero tests pass. Each part must report at least one.
//!
//! Not here: what a seed does, how many a swarm runs by itself (`sim-tests`).

use std::env;
use std::path::PathBuf;
use std::process::Command;

use crate::cargo::{cargo, run_tests, target_dir};
use crate::step::{Failed, Gate, Outcome, watch};

/// The parts, in the order in which their failures explain each other: the name of the step, what cargo is told.
const PARTS: &[(&str, &[&str])] = &[
    ("sim: the simulator", &["-p", "staticfire", "--lib", "sim::"]),
    ("sim: the product", &["-p", "staticfire-sim-tests", "--tests"]),
    ("sim: scenarios", &["-p", "staticfire-chaos", "--tests"]),
];
/// What makes a build a simulation.
const FLAGS: [&str; 2] = ["--cfg", "madsim"];

pub(crate) fn sim(gate: &mut Gate, seeds: Option<u64>, from: Option<u64>) {
    let simulation = Simulation::of(gate.root.clone());
    for (name, part) in PARTS {
        gate.step(name, || {
            let mut command = simulation.test(part);
            for (variable, value) in [("SEEDS", seeds), ("FROM", from)] {
                if let Some(value) = value {
                    command.env(variable, value.to_string());
                }
            }
            some(run_tests(command.arg("--no-fail-fast")))
        });
    }
}

pub(crate) fn seed(gate: &mut Gate, seed: u64, test: Option<&str>) {
    let simulation = Simulation::of(gate.root.clone());
    gate.step(&format!("seed {seed}"), || {
        let mut command = simulation.test(&["-p", "staticfire-sim-tests", "--tests"]);
        command.env("SEED", seed.to_string()).args(["--", "--nocapture", "--test-threads=1"]);
        watch(command.args(test))
    });
}

/// A workspace to simulate and the flags that do it.
struct Simulation {
    root: PathBuf,
    /// Apart from the ordinary build's, so that neither waits for the other's lock.
    target: PathBuf,
    flags: Vec<String>,
}

impl Simulation {
    fn of(root: PathBuf) -> Simulation {
        let target = target_dir(&root).join("sim");
        Simulation { root, target, flags: FLAGS.map(str::to_owned).to_vec() }
    }

    /// `cargo test` of a part.
    fn test(&self, part: &[&str]) -> Command {
        let mut command = cargo(&self.root);
        command.args(["test", "--profile", "sim", "--target-dir"]).arg(&self.target);
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
    fn no_tests_are_no_success() {
        let failed = some(Ok(Passed::default())).expect_err("nothing was tested");
        assert!(failed.output.contains("compiled to nothing"), "{}", failed.output);
        assert!(some(Ok(Passed { checks: 1, note: String::new() })).is_ok());
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
        let passed = some(run_tests(&mut simulation.test(&part))).expect("one test is there");
        assert_eq!(passed.checks, 1);
        simulation.flags.clear();
        let failed = some(run_tests(&mut simulation.test(&part))).expect_err("no test is there");
        assert!(failed.output.contains("compiled to nothing"), "{}", failed.output);
        let _ = fs::remove_dir_all(&dir);
    }
}

//! What drives the release binary from outside: official clients, kills, the benchmark.
//!
//! The benchmark is a program, `ci/bench/run`. Contract: it is started in the repository with `STATICFIRE_BIN` naming the
//! release binary, prints its progress and ends with 0 if everything held.

use std::io;
use std::path::PathBuf;
use std::process::Command;

use crate::cargo::{cargo, target_dir};
use crate::compat::{self, Against, Client};
use crate::full_disk;
use crate::kill9;
use crate::step::{Failed, Gate, Outcome, Passed, capture, watch};
use crate::watermarks;

/// What `cargo ci compat` can be told.
#[derive(clap::Args, Debug, Default)]
pub(crate) struct CompatArguments {
    /// Whose servers: ours, or Apache's own, to prove drivers and rules
    #[arg(long, value_enum, default_value_t)]
    against: Against,
    /// This binary instead of a fresh release build
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Only this client
    #[arg(long, value_enum)]
    client: Vec<Client>,
    /// Only checks whose name contains this
    #[arg(long)]
    only: Option<String>,
}

pub(crate) fn compat(gate: &mut Gate, arguments: &CompatArguments) {
    let options = compat::Options {
        root: gate.root.clone(),
        binary: built(gate, arguments.against, arguments.binary.clone()),
        against: arguments.against,
        clients: arguments.client.clone(),
        only: arguments.only.clone(),
    };
    gate.step("compat", || {
        let report =
            compat::run(&options, &mut io::stderr()).map_err(|error| Failed::because(error.to_string()))?;
        if report.failed() == 0 {
            return Ok(Passed {
                checks: report.passed(),
                note: format!("{} checks", report.passed()),
                ..Passed::default()
            });
        }
        Err(Failed { passed: report.passed(), failed: report.failed(), output: report.to_string() })
    });
}

pub(crate) fn bench(gate: &mut Gate, store: bool) {
    build(gate);
    let root = gate.root.clone();
    gate.step("bench", || watch(program(&root, "bench")?.args(store.then_some("store"))));
}

pub(crate) fn kill9(gate: &mut Gate, rounds: u32, against: Against, binary: Option<PathBuf>) {
    let binary = built(gate, against, binary);
    let root = gate.root.clone();
    gate.step("kill9", || kills(root, binary, rounds, against));
}

fn kills(root: PathBuf, binary: PathBuf, rounds: u32, against: Against) -> Outcome {
    let launch =
        compat::launch(&root, &binary, against).map_err(|error| Failed::because(error.to_string()))?;
    let options = kill9::Options { dir: root.join("target/kill9"), launch, rounds };
    match kill9::run(options, &mut io::stderr()) {
        Ok(report) => Ok(Passed { checks: u64::from(rounds), note: report.to_string(), ..Passed::default() }),
        Err(error) => Err(Failed::because(error.to_string())),
    }
}

pub(crate) fn full_disk(gate: &mut Gate, rounds: u32, binary: Option<PathBuf>) {
    let binary = built(gate, Against::Staticfire, binary);
    let dir = gate.root.join("target/full-disk");
    let marks = gate.root.join("target/watermarks");
    gate.step("full-disk", || {
        watermarks::run(&binary, &marks, &mut io::stderr()).map_err(|error| Failed::because(error.to_string()))?;
        let launch = compat::target::Launch::staticfire(&binary);
        let report = full_disk::run(kill9::Options { dir, launch, rounds }, &mut io::stderr())
            .map_err(|error| Failed::because(error.to_string()))?;
        let full_disk::Report { acknowledged, refused, said, mut resumed } = report;
        resumed.sort_unstable();
        let worst = resumed.last().copied().unwrap_or_default().as_millis();
        let note = format!(
            "each mark held; filled {rounds} times: {acknowledged} acknowledged, none lost; {refused} refused (`{said}`); served \
             again after {worst} ms at worst"
        );
        Ok(Passed { checks: u64::from(rounds), note, ..Passed::default() })
    });
}

/// The binary to drive, built unless one was given or none is needed.
fn built(gate: &mut Gate, against: Against, given: Option<PathBuf>) -> PathBuf {
    if let Some(binary) = given {
        return binary;
    }
    if against == Against::Staticfire {
        build(gate);
    }
    target_dir(&gate.root).join("release").join("staticfire")
}

fn build(gate: &mut Gate) {
    let root = gate.root.clone();
    gate.step("release build", || {
        capture(cargo(&root).args(["build", "--release", "--package", "staticfire", "--bins"]))?;
        Ok(Passed::default())
    });
}

fn program(root: &std::path::Path, name: &str) -> Result<Command, Failed> {
    let path = root.join("ci").join(name).join("run");
    if !path.is_file() {
        return Err(Failed::because(format!("{} is missing: there is no `{name}` to run", path.display())));
    }
    let mut command = Command::new(path);
    command.current_dir(root);
    command.env("STATICFIRE_BIN", target_dir(root).join("release").join("staticfire"));
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_missing_is_named() {
        let failed = program(std::path::Path::new("/nowhere"), "bench").expect_err("it is missing");
        assert!(failed.output.contains("/nowhere/ci/bench/run is missing"), "{}", failed.output);
    }
}

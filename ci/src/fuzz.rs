//! Coverage-guided fuzzing of the parsers, on the stable toolchain.
//!
//! `ci/fuzz` is a workspace of its own with one binary per target, linked with libFuzzer (which needs a C++ compiler).
//! The instrumentation is LLVM's own pass, asked for by flag, so neither a nightly compiler nor `cargo-fuzz` is needed.

use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::cargo::{cargo, target_dir};
use crate::step::{Failed, Gate, Passed, capture};

const FLAGS: &[&str] = &[
    "--cfg",
    "fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cdebug-assertions=yes",
    "-Coverflow-checks=yes",
];
/// Largest input, in bytes: a few records or a frame with a long header.
const INPUT_BYTES_MAX: u32 = 65_536;
/// Memory of one fuzzing process, in MiB: an allocation that follows a forged length exceeds it.
const MEMORY_MIB_MAX: u32 = 512;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

pub(crate) fn fuzz(gate: &mut Gate, minutes: u64, only: Option<&str>) {
    let root = gate.root.clone();
    let mut targets = Vec::new();
    gate.step("fuzz: build", || {
        targets = build(&root)?;
        targets.retain(|target| only.is_none_or(|only| only == target));
        if targets.is_empty() {
            return Err(Failed::because("no such fuzz target: see the binaries of ci/fuzz/Cargo.toml"));
        }
        Ok(Passed { checks: 1, note: targets.join(", "), ..Passed::default() })
    });
    for target in targets {
        gate.step(&format!("fuzz: {target}"), || {
            let printed = capture(&mut run(&root, &target, minutes)?)?;
            let last = printed.lines().rev().find(|line| line.starts_with("Done ")).unwrap_or_default();
            Ok(Passed { checks: 1, note: last.to_owned(), ..Passed::default() })
        });
    }
}

fn build(root: &Path) -> Result<Vec<String>, Failed> {
    let manifest = root.join("ci/fuzz/Cargo.toml");
    let metadata = ["metadata", "--quiet", "--format-version", "1", "--no-deps", "--manifest-path"];
    let printed = capture(cargo(root).args(metadata).arg(&manifest))?;
    let metadata: Metadata = serde_json::from_str(&printed)
        .map_err(|error| Failed::because(format!("{}: {error}", manifest.display())))?;
    let targets = metadata.packages.into_iter().flat_map(|package| package.targets);
    let binaries = targets.filter(|target| target.kind.iter().any(|kind| kind == "bin"));
    let mut build = cargo(root);
    // With a target named, build scripts and macros are not instrumented.
    build.args(["build", "--release", "--target", &host()?, "--manifest-path"]).arg(&manifest);
    build.arg("--target-dir").arg(target_dir(root).join("fuzz"));
    capture(build.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f")).env_remove("RUSTFLAGS"))?;
    Ok(binaries.map(|target| target.name).collect())
}

fn run(root: &Path, target: &str, minutes: u64) -> Result<Command, Failed> {
    let corpus = root.join("ci/fuzz/corpus").join(target);
    let seeds = root.join("ci/fuzz/seeds").join(target);
    let artifacts = root.join("ci/fuzz/artifacts");
    for dir in [&corpus, &artifacts] {
        // If it cannot be made, libFuzzer says so with its name.
        let _ = std::fs::create_dir_all(dir);
    }
    let binaries = target_dir(root).join("fuzz").join(host()?).join("release");
    assert!(minutes > 0, "libFuzzer takes 0 for a run without an end");
    let mut command = Command::new(binaries.join(target));
    command.current_dir(root);
    command.arg(format!("-max_total_time={}", minutes * 60));
    command.arg(format!("-max_len={INPUT_BYTES_MAX}")).arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"));
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.args(["-print_final_stats=1", "-timeout=10"]).arg(corpus);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    Ok(command)
}

/// The triple that the compiler builds for by itself.
fn host() -> Result<String, Failed> {
    let printed = capture(Command::new("rustc").args(["--print", "host-tuple"]))?;
    Ok(printed.trim().to_owned())
}

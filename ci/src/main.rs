//! The gate as code: what `cargo ci …` runs.
//!
//! ```text
//! check = format · tidy · lint · test · sim · deny            (+ compat, when asked for)
//!            each a step: a name, then "ok" and its seconds, or what it printed and a non-zero exit
//! ```
//!
//! The steps share what they build: one dev build for tests, one optimised build under `--cfg madsim` in `target/sim`
//! for everything simulated, one release build for what drives the binary.
//!
//! Not here: the simulation itself (`sim-tests`), the scenarios (`chaos`), what `bench` does (the program `ci/bench/run`),
//! the drivers of official clients (`ci/compat/`).

mod cargo;
mod check;
mod compat;
mod crash_images;
mod deny;
mod external;
mod full_disk;
mod fuzz;
mod kill9;
mod sim;
mod step;
mod tidy;
mod watermarks;
mod zoo;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::step::{Gate, Output};

#[derive(Parser)]
#[command(name = "cargo ci", bin_name = "cargo ci", about = "Runs the gate of this repository", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// How the outcome is printed; with json, progress goes to stderr and a summary to stdout
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Subcommand)]
enum Command {
    /// Everything that must hold before a change lands
    Check {
        /// Drive the release binary with official clients as well (needs java, mvn, go, python3)
        #[arg(long)]
        compat: bool,
    },
    /// The rules of the house: layers, sizes, names, docs, request table
    Tidy,
    /// rustfmt and clippy, warnings are errors
    Lint,
    /// Unit, property and story tests of every crate
    Test,
    /// Simulation tests, built with --cfg madsim
    Sim {
        /// How many seeds each swarm runs (the tests' own number if absent)
        #[arg(long)]
        seeds: Option<u64>,
        /// The first of them
        #[arg(long)]
        from: Option<u64>,
    },
    /// Replay one seed in a process of its own, with its story on the terminal
    Seed {
        seed: u64,
        /// Only tests whose name contains this
        #[arg(long)]
        test: Option<String>,
    },
    /// A loss of power at every sync of the store's workload, and every recovery from it
    CrashImages {
        /// Operations of the workload
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
        operations: u64,
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// The bug zoo: how many seeds each planted mistake of history costs
    Zoo {
        /// Seeds of the swarm for each row, at most
        #[arg(long, default_value_t = 1_000)]
        seeds: u64,
        /// Only rows with this id, or whose bug contains it
        #[arg(long)]
        row: Option<String>,
    },
    /// Licences, banned and duplicate crates, sources
    Deny,
    /// Official clients of several languages against the release binary (needs java, mvn, go, python3)
    Compat(external::CompatArguments),
    /// Hostile bytes against the parsers, guided by coverage
    Fuzz {
        /// Minutes for each target
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
        minutes: u64,
        /// Only this target
        #[arg(long)]
        target: Option<String>,
    },
    /// Messages per second beside what the machine can do at all
    Bench {
        /// The store alone: append, sync, many queues, recovery of 10 GB, memory
        #[arg(long)]
        store: bool,
    },
    /// kill -9 of the broker under load, again and again
    Kill9 {
        /// How many kills
        #[arg(long, default_value_t = 50)]
        rounds: u32,
        /// Whose servers: ours, or Apache's own, to prove the check itself
        #[arg(long, value_enum, default_value_t)]
        against: compat::Against,
        /// This binary instead of a fresh release build
        #[arg(long)]
        binary: Option<std::path::PathBuf>,
    },
    /// A file system filled past each mark, then to its last byte under load, again and again (needs root, or
    /// `unshare -rm`)
    FullDisk {
        /// How many times
        #[arg(long, default_value_t = 20)]
        rounds: u32,
        /// This binary instead of a fresh release build
        #[arg(long)]
        binary: Option<std::path::PathBuf>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let root = cargo::root();
    let mut gate = Gate::new(root, arguments.output);
    match arguments.command {
        Command::Check { compat } => check::check(&mut gate, compat),
        Command::Tidy => check::tidy(&mut gate),
        Command::Lint => check::lint(&mut gate),
        Command::Test => check::test(&mut gate),
        Command::Sim { seeds, from } => sim::sim(&mut gate, seeds, from),
        Command::Seed { seed, test } => sim::seed(&mut gate, seed, test.as_deref()),
        Command::CrashImages { operations, seed } => {
            crash_images::crash_images(&mut gate, operations, seed);
        }
        Command::Zoo { seeds, row } => zoo::zoo(&mut gate, seeds, row.as_deref()),
        Command::Deny => deny::deny(&mut gate),
        Command::Compat(arguments) => external::compat(&mut gate, &arguments),
        Command::Fuzz { minutes, target } => fuzz::fuzz(&mut gate, minutes, target.as_deref()),
        Command::Bench { store } => external::bench(&mut gate, store),
        Command::Kill9 { rounds, against, binary } => external::kill9(&mut gate, rounds, against, binary),
        Command::FullDisk { rounds, binary } => external::full_disk(&mut gate, rounds, binary),
    }
    gate.finish()
}

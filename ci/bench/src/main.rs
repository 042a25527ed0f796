//! The broker's speed beside what the machine can do at all, measured in the same seconds.
//!
//! ```text
//! round: echo, broker (async flush), echo + append + sync, broker (sync flush)     the next round runs them backwards
//!          each: one load process ── 64 sends of 1 KB in flight on one connection ──▶ one server process
//! ```
//!
//! A number of messages per second means nothing on a machine whose neighbours come and go; the ratio of two servers
//! under the same load within a round does. So the result is the ratios, with their spread. It is a measurement, not a
//! test: it prints the goals beside the numbers and never fails because of one.
//!
//! Server and client are pinned to a core each where there are two: an unpinned pair lands on one core or on two, which
//! are different machines.
//!
//! Not here: latency at a fixed rate, consumption, many connections.

mod frames;
mod load;
mod report;
mod rounds;
mod server;
mod store;

use std::io;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

#[derive(Parser)]
#[command(name = "cargo ci bench", about = "The broker beside a bare echo of the same frames")]
pub(crate) struct Options {
    #[command(subcommand)]
    part: Option<Part>,
    /// Rounds, each of all four servers
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Length of one measurement in milliseconds
    #[arg(long, default_value_t = 2_000)]
    millis: u64,
    /// Sends that wait for their answer at any time
    #[arg(long, default_value_t = 64)]
    in_flight: usize,
    /// Bytes of a message body
    #[arg(long, default_value_t = 1_024)]
    body: usize,
    /// Who runs where
    #[arg(long, value_enum, default_value_t = Placement::Split)]
    placement: Placement,
    /// The release binary [default: $STATICFIRE_BIN, or target/release/staticfire]
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Where stores and probe files go
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
    /// How the result is printed; it is also written to latest.json in the directory
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// What else there is to measure, and what this program starts itself as.
#[derive(Subcommand)]
enum Part {
    /// The store beside a bare copy, a bare sync, itself with one queue; its recovery and its memory
    Store(store::Options),
    /// A store that one measurement needs in a process of its own
    #[command(hide = true)]
    StoreChild(store::child::Options),
    /// A server that answers every frame with the same bytes
    #[command(hide = true)]
    Echo {
        /// Holds the answer
        #[arg(long)]
        reply: PathBuf,
        /// Append every drain to this file, and sync it, before the answers
        #[arg(long)]
        log: Option<PathBuf>,
    },
    /// A producer that never waits longer than for its window
    #[command(hide = true)]
    Load {
        #[arg(long)]
        port: u16,
        #[arg(long)]
        millis: u64,
        #[arg(long)]
        in_flight: usize,
        #[arg(long)]
        body: usize,
    },
}

impl Options {
    fn binary(&self) -> PathBuf {
        let named = self.binary.clone().or_else(|| std::env::var_os("STATICFIRE_BIN").map(PathBuf::from));
        named.unwrap_or_else(|| PathBuf::from("target/release/staticfire"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Placement {
    /// Servers on the second core, client on the first
    Split,
    /// Wherever the kernel puts them
    Free,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.part {
        Some(Part::Echo { reply, log }) => server::echo(reply, log.as_deref()),
        Some(Part::Load { port, millis, in_flight, body }) => load::run(*port, *millis, *in_flight, *body)
            .and_then(|load| print(&serde_json::json!(load).to_string())),
        Some(Part::Store(part)) => store::run(part).and_then(|text| print(&text)),
        Some(Part::StoreChild(part)) => store::child::run(part).and_then(|text| print(&text)),
        None => bench(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench(options: &Options) -> io::Result<()> {
    let result = rounds::run(options)?;
    let json = serde_json::to_string_pretty(&result)?;
    std::fs::write(options.dir.join("latest.json"), &json)?;
    match options.output {
        Output::Text => print(&report::table(&result)),
        Output::Json => print(&json),
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

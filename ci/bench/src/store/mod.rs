//! The store alone, beside what it is made of, in one run.
//!
//! ```text
//! append       store, async flush      against   copy + CRC into such a mapping
//! sustained    the same until durable  against   the same and one sync
//! sync         store, 64 waiting       against   copy + sync of the same batches
//! many queues  40,000 in turn          against   one queue, same store settings
//! recovery     a log killed in the middle of an append: bytes read, time from exec to the first pull
//! memory       100,000 queues with a message each: resident bytes, open files, time to open again
//! ```
//!
//! The first four are ratios of rounds that alternate; see the crate's head for why. The clock of `append` and of the
//! queues stops on both sides when the last record is copied; the store's flushes that fall into it are in its time.
//!
//! A burst is shorter than the log's window, `store::Config::window_bytes`, which is how far appends may run ahead of the
//! disk, as recovery has to read it: what is longer goes at the disk's speed, and has a row of its own.

pub(crate) mod child;
mod recovery;
mod speed;

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use crate::rounds::Spread;

/// What `cargo ci bench --store` can be told.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rounds of each comparison
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// Megabytes of records in a round of `append`
    #[arg(long, default_value_t = 64)]
    burst: u64,
    /// Megabytes of records in a round of the others
    #[arg(long, default_value_t = 256)]
    megabytes: u64,
    /// Queues that are written in turn
    #[arg(long, default_value_t = 40_000)]
    queues: usize,
    /// Megabytes of log to recover
    #[arg(long, default_value_t = 10_000)]
    log: u64,
    /// Queues held in memory
    #[arg(long, default_value_t = 100_000)]
    held: usize,
    /// Only these
    #[arg(long, value_enum)]
    only: Vec<What>,
    /// Where stores and probe files go
    #[arg(long, default_value = "target/bench/store")]
    dir: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum What {
    Append,
    Sustained,
    Sync,
    Queues,
    Recovery,
    Memory,
}

/// # Errors
/// A store or a child process fails.
pub(crate) fn run(options: &Options) -> io::Result<String> {
    if options.dir.exists() {
        std::fs::remove_dir_all(&options.dir)?;
    }
    std::fs::create_dir_all(&options.dir)?;
    let wanted = |what| options.only.is_empty() || options.only.contains(&what);
    let mut out = String::new();
    let _ = writeln!(out, "{:<52} {:>8} {:>8} {:>8}   goal", "", "min", "median", "max");
    if wanted(What::Append) {
        let ratio = speed::append(options)?;
        row(&mut out, "append, async / bare copy + CRC", ratio, ">= 0.60");
    }
    if wanted(What::Sustained) {
        let ratio = speed::sustained(options)?;
        row(&mut out, "append until durable / bare copy + CRC + one sync", ratio, "");
    }
    if wanted(What::Sync) {
        let ratio = speed::sync(options)?;
        row(&mut out, "append, 64 waiting for a sync / bare copy + sync", ratio, ">= 0.80");
    }
    if wanted(What::Queues) {
        let ratio = speed::queues(options)?;
        row(&mut out, &format!("{} queues in turn / one queue", options.queues), ratio, ">= 0.90");
    }
    if wanted(What::Recovery) {
        recovery::of_a_killed_log(options, &mut out)?;
    }
    if wanted(What::Memory) {
        recovery::of_many_queues(options, &mut out)?;
    }
    std::fs::remove_dir_all(&options.dir)?;
    Ok(out)
}

fn row(out: &mut String, name: &str, spread: Spread, goal: &str) {
    let Spread { min, median, max } = spread;
    let _ = writeln!(out, "{name:<52} {min:>8.2} {median:>8.2} {max:>8.2}   {goal}");
}

fn single(out: &mut String, name: &str, value: f64, goal: &str) {
    let _ = writeln!(out, "{name:<52} {:>8} {value:>8.1} {:>8}   {goal}", "", "");
}

//! The ordinary run, the long one that `cargo ci crash-images` asks for, and the bugs that both must find.

use std::io::Write;

use staticfire::sim::Seed;
use staticfire::sim::disk::Survival;
use staticfire::store::Config;
use staticfire::store::Flush;
use staticfire::store::planted;

use super::config;
use super::images::Sum;
use super::images::crash_everywhere;
use super::work::Plan;

const LAZY: Flush = Flush::Async { interval_ms: 5, least_pages: 1, thorough_ms: 50 };
/// Asks for the long run with so many operations.
const OPERATIONS: &str = "CRASH_OPERATIONS";
/// Marks the figures of the long run.
const MARK: &str = "@crash-images ";

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| Seed::parse(&text)).map(|seed| seed.0)
}

fn seeds(count: u64) -> std::ops::Range<u64> {
    if let Some(seed) = number("SEED") {
        return seed..seed + 1;
    }
    let from = number("FROM").unwrap_or(0);
    from..from + number("SEEDS").map_or(count, |seeds| seeds.min(count))
}

/// A short workload, crashed at each of its syncs under both flush modes, for bugs planted by name. The failure's text.
pub(crate) fn short(seed: u64, planted: &[&str]) -> Result<(), String> {
    for flush in [Flush::Sync, LAZY] {
        let outcome = crash_everywhere(seed, plan(40, 1, flush), planted);
        outcome.result.map_err(|failure| failure.message)?;
    }
    Ok(())
}

fn plan(operations: u64, every: usize, flush: Flush) -> Plan {
    Plan { operations, images: Survival::EACH.len(), every, config: config(flush) }
}

/// Segments of 64 KiB, as the long run has them.
fn large(flush: Flush) -> Config {
    let mut config = config(flush);
    config.segment_bytes = 64 * 1024;
    config.queue_file_units = 200;
    config.checkpoint_bytes = 32 * 1024;
    config.window_bytes = 128 * 1024;
    config.hot_bytes = 64 * 1024;
    config
}

fn assert_every_kind_of_loss(sum: &Sum) {
    for (kind, count) in sum.loss.kinds() {
        assert!(count > 0 || kind == "disk.pages_garbled", "no crash did {kind}: {sum:?}");
    }
}

#[test]
fn no_power_loss_bends_a_log_that_is_flushed_at_once() {
    for seed in seeds(2) {
        let sum = crash_everywhere(seed, plan(40, 2, Flush::Sync), &[]).expect_ok();
        assert!(sum.syncs > 15 && sum.recoveries > sum.images * 3, "{sum:?}");
        assert!(sum.segments > 2 && sum.interrupted > 0 && sum.rebuilt > 0, "{sum:?}");
        assert_every_kind_of_loss(&sum);
    }
}

#[test]
fn no_power_loss_bends_a_log_that_is_flushed_lazily() {
    for seed in seeds(2) {
        let sum = crash_everywhere(seed, plan(40, 2, LAZY), &[]).expect_ok();
        assert_every_kind_of_loss(&sum);
    }
}

#[test]
fn every_planted_bug_is_found() {
    let bugs = [
        planted::SKIP_SYNC,
        planted::ACK_BEFORE_SYNC,
        planted::NO_DIR_SYNC,
        planted::VISIBLE_BEFORE_DURABLE,
        planted::RECOVERY_SKIPS_CRC,
        planted::KEEP_TORN_TAIL,
        planted::CHECKPOINT_AHEAD,
        planted::RECOVERY_SKIPS_SYNC,
        planted::REPLAY_LAST_SEGMENT,
        planted::RECOVERY_CHECKPOINT_FIRST,
        planted::CUT_ONE_MORE,
        planted::SHORT_QUEUE_FILE_REFUSED,
    ];
    for bug in bugs {
        let seed = (0..20).find(|seed| short(*seed, &[bug]).is_err());
        let seed = seed.unwrap_or_else(|| panic!("{bug} was not found"));
        short(seed, &[]).unwrap_or_else(|what| panic!("seed {seed} fails without {bug}: {what}"));
    }
}

/// Clock ticks, a hundred a second, that this process has spent on a core.
fn cpu_ticks() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "about the test process, outside of any simulation")]
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux says what a process used");
    // Behind the name in brackets: state is field 3, utime 14, stime 15.
    let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
    let fields: Vec<&str> = fields.split_whitespace().collect();
    [11, 12].iter().map(|at| fields[*at].parse::<u64>().expect("a number")).sum()
}

/// `cargo ci crash-images`; nothing without its variable.
#[test]
fn exhaustive() {
    let Some(operations) = number(OPERATIONS) else { return };
    let seed = number("SEED").unwrap_or(0);
    for (mode, flush) in [("sync flush", Flush::Sync), ("async flush", LAZY)] {
        let plan = Plan { config: large(flush), ..plan(operations, 1, flush) };
        let before = cpu_ticks();
        let sum = crash_everywhere(seed, plan, &[]).expect_ok();
        let ticks = (cpu_ticks() - before).max(1);
        let Sum { operations, records, segments, syncs, images, recoveries, interrupted, rebuilt, loss } =
            sum;
        let per_hour = recoveries * 360_000 / ticks;
        let destroyed: Vec<String> =
            loss.kinds().iter().map(|(kind, count)| format!("\"{kind}\":{count}")).collect();
        let _ = writeln!(
            std::io::stdout().lock(),
            "\n{MARK}{{\"mode\":\"{mode}\",\"seed\":{seed},\"operations\":{operations},\"records\":{records},\
             \"segments\":{segments},\"syncs\":{syncs},\"images\":{images},\"recoveries\":{recoveries},\
             \"interrupted\":{interrupted},\"rebuilt\":{rebuilt},\"cpu_ms\":{},\"recoveries_per_core_hour\":{per_hour},\
             \"destroyed\":{{{}}}}}",
            ticks * 10,
            destroyed.join(",")
        );
    }
}

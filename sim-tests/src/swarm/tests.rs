//! The sweep, one seed on request, equal runs, and the planted bugs that the swarm must find.
//!
//! `SEED=n` runs one seed, verbose with `TRACE=1`, with bugs from `PLANT=a,b`; `SEEDS=count` and `FROM=start` choose the
//! sweep. `RUST_LOG=debug` shows what the product logs.

use std::io::Write;

use staticfire::sim::FaultKind;
use staticfire::sim::Seed;

use super::seed;
use super::seed::Ran;
use super::sweep;
use super::sweep::Batch;

/// Seeds of a sweep that nobody asked to be longer.
const SEEDS: u64 = 500;
/// Seeds within which a planted bug must be found.
const FIND_WITHIN: u64 = 200;
const PROCESSES: u64 = 2;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(Seed::parse(&text).unwrap_or_else(|| panic!("{variable}={text} is no number")).0)
}

fn say(text: &str) {
    // Past the capture: what a sweep is worth is for everybody to see.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// The work of a child process; nothing when run by hand.
#[test]
fn batch() {
    sweep::child();
}

#[test]
fn every_seed_keeps_every_promise() {
    if let Some(seed) = number("SEED") {
        let planted = std::env::var(sweep::PLANT).unwrap_or_default();
        let planted: Vec<&str> = planted.split(',').filter(|name| !name.is_empty()).collect();
        if std::env::var("RUST_LOG").is_ok() {
            let filter = tracing_subscriber::EnvFilter::from_default_env();
            let _ =
                tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).without_time().try_init();
        }
        let ran = seed::run(seed, &planted, std::env::var("TRACE").is_ok());
        say(&ran.story);
        say(&format!("seed {seed}: trace {:016x}, {} events, {:?}", ran.hash, ran.events, ran.premises));
        assert!(ran.broken.is_empty(), "seed {seed} broke {:?}", ran.broken);
        return;
    }
    let sum = sweep::sweep(number("FROM").unwrap_or(0), number("SEEDS").unwrap_or(SEEDS), PROCESSES);
    say(&sum.text());
    let faults = FaultKind::ALL.iter().filter(|kind| !kind.is_destructive()).map(|kind| kind.name());
    let faults = faults.chain(["disk.rot"]);
    say(&format!("probes never hit: {:?}", sum.probes_never_hit(faults)));
    assert!(sum.failures.is_empty(), "{} of {} seeds broke a promise", sum.failures.len(), sum.seeds);
    assert!(sum.unequal.is_empty(), "seeds {:?} ran differently the second time", sum.unequal);
    if sum.seeds >= 100 {
        assert!(sum.vacuous().is_empty(), "no seed put these promises to the test: {:?}", sum.vacuous());
        assert!(
            sum.excused_seeds() * 10 <= sum.seeds,
            "{} seeds lost something legally",
            sum.excused_seeds()
        );
    }
}

#[test]
fn equal_seeds_make_equal_runs_here_and_in_a_fresh_process() {
    if number("SEED").is_some() {
        return;
    }
    let fresh = sweep::run(Batch { from: 1_000, step: 1, count: 4 }, PROCESSES, &[], |_| false);
    assert_eq!(fresh.len(), 4, "every seed of a child comes back");
    for other in fresh {
        let here = seed::run(other.seed, &[], false);
        let again = seed::run(other.seed, &[], false);
        assert_eq!((here.hash, here.events), (again.hash, again.events), "seed {} here", other.seed);
        assert_eq!((here.hash, here.events), (other.hash, other.events), "seed {} elsewhere", other.seed);
    }
}

#[track_caller]
fn found(bug: &str) {
    if number("SEED").is_some() {
        return;
    }
    let from = 5_000;
    let batch = Batch { from, step: 1, count: FIND_WITHIN };
    // Only the bug's own doing counts: the same seed must pass without it.
    let by_bug = |ran: &Ran| !ran.broken.is_empty() && seed::run(ran.seed, &[], false).broken.is_empty();
    let mut first = None;
    let ran = sweep::run(batch, PROCESSES, &[bug], |ran| {
        first = by_bug(ran).then(|| ran.clone());
        first.is_some()
    });
    let first = first.unwrap_or_else(|| panic!("{bug} was not found within {FIND_WITHIN} seeds"));
    say(&format!("{bug}: found by seed {} after {} seeds, by {:?}", first.seed, ran.len(), first.broken));
}

macro_rules! planted {
    ($($test:ident $bug:literal)*) => {
        $(#[test] fn $test() { found($bug); })*
    };
}

planted! {
    a_deleted_sync_is_found "store.skip_sync"
    an_acknowledgement_before_the_sync_is_found "store.ack_before_sync"
    a_failed_sync_that_is_swallowed_is_found "store.ignore_sync_error"
    a_read_of_what_is_not_durable_is_found "store.visible_before_durable"
    damage_that_hides_its_neighbours_is_found "store.damage_hides_the_rest"
    metadata_rewritten_in_place_are_found "store.replace_in_place"
    a_queue_file_without_its_length_is_found "store.half_made_file"
    a_recovery_that_skips_the_crc_is_found "store.recovery_skips_crc"
    an_offset_committed_before_its_message_is_processed_is_found "client.commit_before_processed"
    a_lock_released_before_its_handler_is_done_is_found "client.unlock_before_handler_done"
    a_lost_op_record_is_found "broker.lose_op_record"
    counted_checks_that_nobody_got_are_found "broker.count_undelivered_checks"
}

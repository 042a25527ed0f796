//! The zoo without its stories: after how many seeds do the generic searches find each mistake?
//!
//! Three searches know nothing of the rows: the swarm (clusters, clients and faults from a seed), the crash images (a
//! workload of the store, crashed at each sync), and bits flipped somewhere in a log. A mistake counts as found by a seed that
//! fails with it and passes without.

use std::collections::BTreeSet;
use std::io::Write;

use staticfire::store::planted;

use super::z11_one_bit_hides_a_block::flipped_somewhere;
use crate::store_crash::tests::short;
use crate::swarm::seed;
use crate::swarm::sweep;
use crate::swarm::sweep::Batch;

/// How many seeds of the swarm each row gets. Without it there is no table.
const SEEDS: &str = "ZOO_SEEDS";
/// Only rows with this id, or whose bug contains it.
const ROW: &str = "ZOO_ROW";
const MARK: &str = "@zoo ";
/// Marks what tells somebody who waits how far it is.
const NEWS: &str = "@zoo-news ";
/// Seeds between two such lines.
const TOLD_EVERY: usize = 100;
const PROCESSES: u64 = 2;
/// The first seed of the swarm: other ones than those of the sweep.
const FROM: u64 = 20_000;
/// Seeds of the flipped bits, and of the crash images: thousands of recoveries each.
const FLIP_SEEDS: u64 = 100;
const IMAGE_SEEDS: u64 = 5;

struct Row {
    id: &'static str,
    bug: &'static str,
    what: &'static str,
}

const ROWS: &[Row] = &[
    Row { id: "Z1", bug: planted::IGNORE_SYNC_ERROR, what: "a failed sync is swallowed" },
    Row { id: "Z2", bug: planted::VISIBLE_BEFORE_DURABLE, what: "readers see what is not durable" },
    Row { id: "Z3", bug: planted::REPLAY_LAST_SEGMENT, what: "only the last segment is dispatched again" },
    Row { id: "Z4", bug: planted::CHECKPOINT_AHEAD, what: "the checkpoint is ahead of the queue files" },
    Row { id: "Z4", bug: planted::RECOVERY_CHECKPOINT_FIRST, what: "so it is inside recovery" },
    Row { id: "Z5", bug: planted::CUT_ONE_MORE, what: "each start cuts one record more" },
    Row { id: "Z6", bug: planted::SHORT_QUEUE_FILE_REFUSED, what: "an empty queue file forbids the start" },
    Row { id: "Z10", bug: planted::KEEP_TORN_TAIL, what: "a torn tail stays and comes back" },
    Row { id: "Z11", bug: planted::DAMAGE_HIDES_THE_REST, what: "one bit hides its neighbours" },
    Row { id: "Z14", bug: planted::REPLACE_IN_PLACE, what: "metadata are rewritten in place" },
    Row { id: "own", bug: planted::HALF_MADE_FILE, what: "a half-made queue file is believed" },
];

/// Seeds tried until one found it, and the promise that it broke.
type Found = Option<(u64, String)>;

/// The first seed of the swarm, on all cores: every one before it was tried.
fn by_swarm(id: &str, bug: &str, count: u64) -> Found {
    let mut tried = BTreeSet::new();
    let mut found: Option<(u64, Vec<String>)> = None;
    sweep::run(Batch { from: FROM, step: 1, count }, PROCESSES, &[bug], |ran| {
        tried.insert(ran.seed);
        let earlier = found.as_ref().is_none_or(|(seed, _)| ran.seed < *seed);
        if !ran.broken.is_empty() && earlier && seed::run(ran.seed, &[], false).broken.is_empty() {
            found = Some((ran.seed, ran.broken.clone()));
        }
        if tried.len().is_multiple_of(TOLD_EVERY) && found.is_none() {
            tell(&format!("{id} {bug}: not found by {} seeds of the swarm so far", tried.len()));
        }
        // Another process may still be at an earlier seed.
        found.as_ref().is_some_and(|(seed, _)| tried.range(..seed).count() as u64 == seed - FROM)
    });
    found.map(|(seed, broken)| (seed - FROM + 1, broken.join(" ")))
}

fn tell(news: &str) {
    let _ = writeln!(std::io::stdout().lock(), "\n{NEWS}{news}");
}

fn first(seeds: u64, run: impl Fn(u64, bool) -> Result<(), String>) -> Found {
    (0..seeds).find_map(|seed| {
        let what = run(seed, true).err()?;
        run(seed, false).ok()?;
        // Failures begin with the promise they are about.
        let promise = what.split([':', '\n']).map(str::trim).find(|part| part.starts_with('O'));
        Some((seed + 1, promise.unwrap_or("panic").to_owned()))
    })
}

fn by_crash_images(bug: &str) -> Found {
    first(IMAGE_SEEDS, |seed, with| if with { short(seed, &[bug]) } else { short(seed, &[]) })
}

fn by_flipped_bits(bug: &str) -> Found {
    first(FLIP_SEEDS, |seed, with| {
        let outcome = flipped_somewhere(seed, with.then_some(bug));
        outcome.result.map_err(|failure| failure.message)
    })
}

/// `cargo ci zoo`; nothing without its variable.
#[test]
fn table() {
    let Some(seeds) = std::env::var(SEEDS).ok().and_then(|text| text.parse().ok()) else { return };
    let wanted = std::env::var(ROW).unwrap_or_default();
    let asked = |row: &&Row| row.id == wanted || row.bug.contains(&wanted);
    for Row { id, bug, what } in ROWS.iter().filter(asked) {
        let found = [
            ("swarm", by_swarm(id, bug, seeds)),
            ("crash_images", by_crash_images(bug)),
            ("flipped_bits", by_flipped_bits(bug)),
        ];
        let found: serde_json::Map<String, serde_json::Value> = found
            .into_iter()
            .filter_map(|(search, found)| {
                let (seeds, promise) = found?;
                Some((search.to_owned(), serde_json::json!({ "seeds": seeds, "promise": promise })))
            })
            .collect();
        tell(&format!("{id} {bug}: {}", serde_json::Value::Object(found.clone())));
        let row = serde_json::json!({ "row": id, "bug": bug, "what": what, "of": seeds, "found": found });
        let _ = writeln!(std::io::stdout().lock(), "\n{MARK}{row}");
    }
}

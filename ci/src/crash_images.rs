//! A loss of power at every sync of a workload of the store, and every recovery from it: how many, and how fast.
//!
//! The work is a test of `sim-tests`, which prints one line of JSON for each flush mode. Here: starting it alone and
//! optimised, reading the figures, holding them against what a gate needs.

use serde_json::Value;

use crate::sim::{PROFILE, Simulation};
use crate::step::{Failed, Gate, Outcome, Passed, capture};

/// With which the test marks its figures.
const MARK: &str = "@crash-images ";
/// Slower than this, and nobody would run it.
const PER_CORE_HOUR_MIN: u64 = 100_000;

pub(crate) fn crash_images(gate: &mut Gate, operations: u64, seed: u64) {
    let simulation = Simulation::of(gate.root.clone());
    gate.step("crash images", || {
        let mut command = simulation.one(PROFILE, "store_crash::tests::exhaustive");
        command.env("CRASH_OPERATIONS", operations.to_string()).env("SEED", seed.to_string());
        judge(&capture(&mut command)?)
    });
}

fn judge(printed: &str) -> Outcome {
    let lines = printed.lines().filter_map(|line| line.strip_prefix(MARK));
    let figures: Vec<Value> = lines.filter_map(|line| serde_json::from_str(line).ok()).collect();
    if figures.len() != 2 {
        return Err(Failed::because(format!(
            "{} of 2 flush modes said what they found; was the test renamed?\n{printed}",
            figures.len()
        )));
    }
    let number = |mode: &Value, name: &str| mode.get(name).and_then(Value::as_u64).unwrap_or(0);
    let mut note = String::new();
    for mode in &figures {
        let rate = number(mode, "recoveries_per_core_hour");
        if rate < PER_CORE_HOUR_MIN {
            let why = format!("{rate} recoveries per core-hour, {PER_CORE_HOUR_MIN} are wanted: {mode}");
            return Err(Failed::because(why));
        }
        note.push_str(&format!(
            "\n  {}: {} operations, {} syncs, {} crash images, {} recoveries ({} interrupted by another crash, {} \
             without queue files) in {} s of one core: {rate} per core-hour",
            mode.get("mode").and_then(Value::as_str).unwrap_or("?"),
            number(mode, "operations"),
            number(mode, "syncs"),
            number(mode, "images"),
            number(mode, "recoveries"),
            number(mode, "interrupted"),
            number(mode, "rebuilt"),
            number(mode, "cpu_ms") / 1_000,
        ));
    }
    let checks = figures.iter().map(|mode| number(mode, "recoveries")).sum();
    Ok(Passed { checks, note, figures })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(rate: u64) -> String {
        format!("{MARK}{{\"mode\":\"m\",\"recoveries\":7,\"recoveries_per_core_hour\":{rate}}}\n")
    }

    #[test]
    fn two_modes_that_are_fast_enough_pass() {
        let passed = judge(&format!("x\n{}{}", line(200_000), line(100_000))).expect("fast enough");
        assert_eq!((passed.checks, passed.figures.len()), (14, 2));
    }

    #[test]
    fn a_missing_mode_and_a_slow_one_fail() {
        assert!(judge(&line(200_000)).is_err());
        let slow = judge(&format!("{}{}", line(200_000), line(99_999))).expect_err("slow");
        assert!(slow.output.contains("99999"), "{}", slow.output);
    }
}

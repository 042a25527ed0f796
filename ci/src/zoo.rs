//! The bug zoo as a table: how many seeds each planted mistake of history costs the generic searches.
//!
//! The search is a test of `sim-tests`, which prints one line of JSON for each row. Here: starting it, and the table that
//! `docs/ZOO.md` publishes.

use std::io;
use std::io::Write as _;

use serde_json::Value;

use crate::sim::{PROFILE, Simulation};
use crate::step::{Failed, Gate, Outcome, Passed, capture_telling};

/// With which the test marks its rows.
const MARK: &str = "@zoo ";
/// With which it marks how far it has come, for people who wait.
const NEWS: &str = "@zoo-news ";
const SEARCHES: [&str; 3] = ["swarm", "crash_images", "flipped_bits"];

pub(crate) fn zoo(gate: &mut Gate, seeds: u64, row: Option<&str>) {
    let simulation = Simulation::of(gate.root.clone());
    gate.step("zoo", || {
        let mut command = simulation.one(PROFILE, "zoo::table::table");
        command.env("ZOO_SEEDS", seeds.to_string()).env("ZOO_ROW", row.unwrap_or_default());
        judge(&capture_telling(&mut command, |line| {
            if let Some(news) = line.strip_prefix(NEWS) {
                // Whether anybody reads it is not the search's business.
                let _ = writeln!(io::stderr().lock(), "{news}");
            }
        })?)
    });
}

fn judge(printed: &str) -> Outcome {
    let lines = printed.lines().filter_map(|line| line.strip_prefix(MARK));
    let rows: Vec<Value> = lines.filter_map(|line| serde_json::from_str(line).ok()).collect();
    if rows.is_empty() {
        return Err(Failed::because(format!("no row was searched for; was the test renamed?\n{printed}")));
    }
    let found = |row: &Value, search: &str| row.get("found").and_then(|found| found.get(search)).cloned();
    let missed: Vec<&Value> =
        rows.iter().filter(|row| SEARCHES.iter().all(|search| found(row, search).is_none())).collect();
    let mut table = String::from(
        "\n| row | mistake | planted as | swarm | crash images | flipped bits |\n|---|---|---|---|---|---|\n",
    );
    for row in &rows {
        let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or("?").to_owned();
        let cells = SEARCHES.map(|search| match found(row, search) {
            None => "–".to_owned(),
            Some(found) => {
                let seeds = found.get("seeds").and_then(Value::as_u64).unwrap_or(0);
                format!("{seeds} ({})", found.get("promise").and_then(Value::as_str).unwrap_or("?"))
            }
        });
        let (id, what, bug) = (text("row"), text("what"), text("bug"));
        table.push_str(&format!("| {id} | {what} | `{bug}` | {} |\n", cells.join(" | ")));
    }
    if missed.is_empty() {
        Ok(Passed { checks: rows.len() as u64, note: table, figures: rows })
    } else {
        Err(Failed {
            passed: (rows.len() - missed.len()) as u64,
            failed: missed.len() as u64,
            output: format!("no search found {} of the mistakes\n{table}", missed.len()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_any_search_found_passes_and_another_fails() {
        let found = format!(
            "{MARK}{}\n",
            r#"{"row":"Z1","bug":"b","what":"w","of":9,"found":{"swarm":{"seeds":3,"promise":"O1"}}}"#
        );
        let passed = judge(&found).expect("it was found");
        assert!(passed.note.contains("| Z1 | w | `b` | 3 (O1) | – | – |"), "{}", passed.note);
        let missed = format!("{found}{MARK}{}\n", r#"{"row":"Z2","bug":"c","what":"w","of":9,"found":{}}"#);
        assert_eq!(judge(&missed).expect_err("one was not").failed, 1);
        assert!(judge("").is_err());
    }
}

//! What `cargo ci check` is made of, cheapest first: the first failure is on the screen after seconds.

use crate::cargo::{cargo, run_tests};
use crate::compat::Against;
use crate::deny;
use crate::external;
use crate::sim;
use crate::step::{Failed, Gate, Passed, capture};
use crate::tidy;

/// Kills of the broker in one run of the gate: half a minute.
const KILLS: u32 = 50;

pub(crate) fn check(gate: &mut Gate, compat: bool) {
    tidy(gate);
    lint(gate);
    deny::deny(gate);
    test(gate);
    sim::sim(gate, None, None);
    if compat {
        external::compat(gate, &external::CompatArguments::default());
        external::kill9(gate, KILLS, Against::Staticfire, None);
    }
}

pub(crate) fn tidy(gate: &mut Gate) {
    let root = gate.root.clone();
    gate.step("tidy", || {
        let report = tidy::run(&root).map_err(|error| Failed::because(error.to_string()))?;
        let note = format!("{} files, {} rules", report.files, report.rules);
        if report.findings.is_empty() {
            return Ok(Passed { checks: report.rules, note, ..Passed::default() });
        }
        let lines: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        Err(Failed {
            passed: report.rules.saturating_sub(report.rules_broken()),
            failed: report.rules_broken(),
            output: format!("{}\n{} findings", lines.join("\n"), lines.len()),
        })
    });
}

pub(crate) fn lint(gate: &mut Gate) {
    let root = gate.root.clone();
    gate.step("format", || {
        capture(cargo(&root).args(["fmt", "--all", "--check"]))?;
        Ok(Passed::default())
    });
    gate.step("lint", || {
        let clippy = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
        capture(cargo(&root).args(clippy))?;
        Ok(Passed::default())
    });
}

pub(crate) fn test(gate: &mut Gate) {
    let root = gate.root.clone();
    gate.step("test", || run_tests(cargo(&root).args(["test", "--workspace", "--no-fail-fast"])));
}

//! `staticfire store check`: what is there, what is damaged, what a start would do.

use std::io::{IsTerminal, stderr};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use staticfire::env::Env;
use staticfire::store::inspect::{Progress, Report};

use super::text::{bytes, count, instant};
use super::{failed, open};
use crate::args::{Check, Output};
use crate::failure::Failure;
use crate::say;

/// # Errors
/// There is no store, a broker runs it, or a file cannot be read.
pub(super) async fn run(env: &Env, options: Check) -> Result<ExitCode, Failure> {
    let closed = open(env, &options.store).await?;
    let mut bar = Bar::new();
    let report = closed.check(&mut |progress| bar.show(progress)).await;
    bar.clear();
    let report = report.map_err(failed(&options.store))?;
    match options.store.output {
        Output::Json => {
            let mut document = serde_json::to_value(&report).unwrap_or_default();
            document["whole"] = report.is_whole().into();
            say::json(&document);
        }
        Output::Text => say::line(&words(&report)),
    }
    Ok(if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A bar on standard error while that is a terminal; nothing otherwise.
pub(super) struct Bar(Option<ProgressBar>);

impl Bar {
    pub(super) fn new() -> Bar {
        Bar(stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(8));
            let form = "{msg:>8} [{bar:40}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
            match ProgressStyle::with_template(form) {
                Ok(style) => bar.with_style(style.progress_chars("=> ")),
                Err(_) => bar,
            }
        }))
    }

    pub(super) fn show(&mut self, progress: Progress) {
        if let Some(bar) = &self.0 {
            bar.set_length(progress.all);
            bar.set_message(progress.doing);
            bar.set_position(progress.done);
        }
    }

    pub(super) fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// The report for a person.
pub(super) fn words(report: &Report) -> String {
    let mut lines = vec![report.root.display().to_string(), String::new()];
    let mut row = |name: &str, text: String| lines.push(format!("  {name:<12} {text}"));
    let Report { first, end, segment_bytes, .. } = report;
    row(
        "log",
        format!(
            "{first} to {end}: {}, {} of {}",
            count(report.records, "record"),
            count(report.segments, "segment"),
            bytes(*segment_bytes)
        ),
    );
    if let (Some(oldest), Some(newest)) = (report.oldest_stored_at, report.newest_stored_at) {
        row("stored", format!("{} to {}", instant(oldest), instant(newest)));
    }
    let mut queues = format!(
        "{} of {}: {} compared with their records",
        count(report.queues, "queue"),
        count(report.topics, "topic"),
        count(report.units, "unit")
    );
    let others = [
        (report.units_to_come, "to be written by the next start"),
        (report.unqueued, "half or rolled-back messages, which have no place in a queue"),
        (report.orphans, "records of removed topics"),
        (report.known_gaps, "offsets known to have no message"),
    ];
    for (number, what) in others.into_iter().filter(|(number, _)| *number > 0) {
        queues.push_str(&format!("\n{:15}{number} {what}", ""));
    }
    row("queues", queues);
    row(
        "checkpoint",
        report.checkpoint.map_or("none of this store's own".to_owned(), |at| format!("at {at}")),
    );
    row(
        "last end",
        if report.clean { "clean" } else { "not clean: the process ended without a stop" }.to_owned(),
    );
    row("tables", format!("{} readable", count(report.tables, "file")));
    row("next start", report.recovery.join(&format!("\n{:15}", "")));
    lines.push(String::new());
    if report.is_whole() {
        lines.push("whole: nothing is damaged".to_owned());
        return lines.join("\n");
    }
    let findings = report.findings.len() as u64 + report.more_findings;
    let invalid = report.first_invalid.map(|at| format!("; the log's first invalid position is {at}"));
    lines.push(format!("damaged: {}{}", count(findings, "finding"), invalid.unwrap_or_default()));
    for finding in &report.findings {
        let path = finding.path.strip_prefix(&report.root).unwrap_or(&finding.path).display();
        let at = finding.at.map(|at| format!(" at {at}")).unwrap_or_default();
        lines.push(format!("  {path}{at}\n    {}", finding.what));
    }
    if report.more_findings > 0 {
        lines.push(format!("  and {} more", report.more_findings));
    }
    lines.join("\n")
}

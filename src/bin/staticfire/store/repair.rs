//! `staticfire store repair`: what would be mended; with `--yes`, mends it and checks again.

use std::process::ExitCode;

use serde_json::json;
use staticfire::env::Env;
use staticfire::store::inspect::Repair;

use super::check::{Bar, words};
use super::{failed, open};
use crate::args::{Output, Repair as Options};
use crate::failure::Failure;
use crate::say;

/// Exit code 0: nothing is left to mend; 1: something is, or stays damaged.
///
/// # Errors
/// There is no store, a broker runs it, or a file cannot be read or written.
pub(super) async fn run(env: &Env, options: Options) -> Result<ExitCode, Failure> {
    let closed = open(env, &options.store).await?;
    let mut bar = Bar::new();
    let report = closed.check(&mut |progress| bar.show(progress)).await;
    bar.clear();
    let report = report.map_err(failed(&options.store))?;
    let repair = Repair::of(&report, &closed);
    let (mut aside, mut after) = (None, report.clone());
    if options.yes && !repair.steps.is_empty() {
        let mended = closed.repair(&report, &repair).await;
        aside = Some(mended.map_err(|error| Failure::Repair { error })?.0);
        let again = open(env, &options.store).await?;
        after = again.check(&mut |_| {}).await.map_err(failed(&options.store))?;
    }
    match options.store.output {
        Output::Json => say::json(&json!({
            "steps": repair.steps, "stays": repair.stays, "done": aside.is_some(), "aside": aside,
            "whole": after.is_whole(), "report": after,
        })),
        Output::Text => {
            let tell = |head: &str, lines: &[String]| {
                lines.iter().for_each(|line| say::line(&format!("{head} {line}")));
            };
            tell(if aside.is_some() { "done: " } else { "would:" }, &repair.steps);
            tell("stays:", &repair.stays);
            match &aside {
                Some(aside) => say::line(&format!("kept:  {}\n\n{}", aside.display(), words(&after))),
                None if repair.steps.is_empty() => say::line("nothing to mend"),
                None => say::line("nothing was changed; `--yes` does it"),
            }
        }
    }
    Ok(if after.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

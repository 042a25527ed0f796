//! What a failing seed prints: the promise, the story of the message, the faults of the run, how to replay it.

use std::fmt::Write as _;

use staticfire_chaos::history::Event;
use staticfire_chaos::history::What;

use crate::oracle::Case;
use crate::oracle::Oracle;
use crate::oracle::Verdict;
use crate::oracle::Violation;

/// Lines of one story.
const STORY_MAX: usize = 40;
/// How a line says what would be too long in full.
const SHORTER: &[(&str, &str)] = &[
    ("MessageKey ", ""),
    ("Delivery ", ""),
    ("Queue ", ""),
    ("QueueId", ""),
    ("QueueOffset", ""),
    ("producer: ", "p"),
    ("shard: ", "key="),
    ("seq: ", "#"),
];
/// Violations of one promise that are told in full.
const TOLD_MAX: usize = 2;

/// One promise that was broken.
pub(crate) fn broken(oracle: &Oracle, verdict: &Verdict, case: &Case, mode: &str) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "\n  Broken promise   {} {}  ·  mode: {mode}  ·  {} times  ·  excused? no ({} others were)",
        oracle.id,
        oracle.name,
        verdict.violations.len(),
        verdict.excused.len()
    );
    for violation in verdict.violations.iter().take(TOLD_MAX) {
        let _ = writeln!(out, "  What happened    {}  {}", at(violation.at), violation.what);
        for event in story(case, violation) {
            let _ = writeln!(out, "    {}", line(case, event));
        }
    }
    out
}

/// The faults of the run and its hash.
pub(crate) fn tail(case: &Case, hash: u64) -> String {
    let mut out = String::from("\n  Faults of the run\n");
    for fault in &case.faults {
        let until = if fault.until == u64::MAX || fault.until == fault.at {
            String::new()
        } else {
            format!(" until {}", at(fault.until))
        };
        let _ = writeln!(
            out,
            "    #{:<3} {}  {:<14} {}{until}",
            fault.number,
            at(fault.at),
            case.text(fault.node),
            fault.text
        );
    }
    let _ = writeln!(
        out,
        "\n  Healed {}, second look {}, trace {hash:016x}",
        at(case.contract.healed_at),
        at(case.contract.second_look_at)
    );
    out
}

/// The whole history.
pub(crate) fn everything(case: &Case) -> String {
    case.record.events.iter().fold(String::new(), |mut out, event| {
        let _ = writeln!(out, "H {}", line(case, event));
        out
    })
}

/// The last line: how to see it again.
pub(crate) fn replay(seed: u64, planted: &[&str]) -> String {
    match planted {
        [] => format!("  Replay  cargo ci seed {seed}\n"),
        bugs => format!("  Replay  PLANT={} cargo ci seed {seed}\n", bugs.join(",")),
    }
}

/// Everything that a violation's message or place saw, and what was committed beyond it.
fn story<'a>(case: &'a Case, violation: &Violation) -> Vec<&'a Event> {
    let fits = |event: &&Event| {
        let about = violation.about.is_some() && event.what.key() == violation.about;
        let here = violation.place.is_some_and(|(queue, offset)| {
            let there = match event.what {
                What::HandlerStarted(d) | What::HandlerEnded(d, _) => Some((d.queue, d.offset.0)),
                What::Read { queue, offset, .. } | What::Damaged { queue, offset, .. } => {
                    Some((queue, offset.0))
                }
                _ => None,
            };
            there == Some((queue, offset))
        });
        about || here
    };
    let mut events: Vec<&Event> = case.record.events.iter().filter(fits).collect();
    if events.len() > STORY_MAX {
        let end = events.split_off(events.len() - STORY_MAX / 2);
        events.truncate(STORY_MAX / 2);
        events.extend(end);
    }
    events
}

fn line(case: &Case, event: &Event) -> String {
    let mut what = format!("{:?}", event.what);
    // Numbers of names mean nothing to a reader.
    for (number, name) in case.record.names.iter().enumerate() {
        what = what.replace(&format!("Name({number})"), name);
    }
    for (long, short) in SHORTER {
        what = what.replace(long, short);
    }
    format!("{}  {:<12} life {}  {what}", at(event.at), case.text(event.node), event.life)
}

fn at(ns: u64) -> String {
    let ms = ns / 1_000_000;
    format!("{:02}:{:02}.{:03}", ms / 60_000, ms / 1_000 % 60, ms % 1_000)
}

//! The story of one message, or of what went wrong without one: lines of time, place and event.
//!
//! Text is made only here, from a [`Record`], when somebody will read it.

use std::fmt::Write as _;

use crate::history::Delivery;
use crate::history::Event;
use crate::history::Record;
use crate::history::SendOutcome;
use crate::history::What;
use crate::identity::MessageKey;

/// Lines at most; the last ones are kept.
const LINES_MAX: usize = 60;

/// What happened to `about`, or to everybody: one line per event, faults marked.
pub fn told(record: &Record, about: Option<MessageKey>) -> String {
    let told: Vec<&Event> = record.events.iter().filter(|event| belongs(record, event, about)).collect();
    let skipped = told.len().saturating_sub(LINES_MAX);
    let mut text = String::from("    #  time          where           what\n");
    if skipped > 0 {
        let _ = writeln!(text, "       … {skipped} earlier events");
    }
    for (nth, event) in told.iter().enumerate().skip(skipped) {
        let mark = if matches!(event.what, What::FaultStarted(_) | What::FaultHealed(_)) { '!' } else { ' ' };
        let life = if event.life > 1 { format!(" ({})", event.life) } else { String::new() };
        let place = format!("{}{life}", record.text(event.node));
        let at = Time(event.at);
        let _ = writeln!(text, "  {mark} {:<2} {at}  {place:<15} {}", nth + 1, words(record, &event.what));
    }
    text
}

fn belongs(record: &Record, event: &Event, about: Option<MessageKey>) -> bool {
    match (&event.what, about) {
        (What::FaultStarted(_) | What::FaultHealed(_) | What::Serving, _) => true,
        (What::MemberJoined { .. } | What::MemberLeft { .. } | What::Noted(..), _) => true,
        (What::Read { .. } | What::Bounds { .. }, None) => false,
        (_, None) => true,
        (What::CommitObserved { queue, .. } | What::Bounds { queue, .. }, Some(key)) => record
            .events
            .iter()
            .any(|other| other.what.key() == Some(key) && other.what.queue() == Some(*queue)),
        (what, Some(key)) => what.key() == Some(key),
    }
}

struct Time(u64);

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let us = self.0 / 1_000;
        let (ms, s) = (us / 1_000, us / 1_000_000);
        write!(f, "{:02}:{:02}.{:03}_{:03}", s / 60, s % 60, ms % 1_000, us % 1_000)
    }
}

fn words(record: &Record, what: &What) -> String {
    let place = |queue, offset| format!("{}@{offset}", record.queue_text(queue));
    let of = |group| record.text(group).to_owned();
    let delivered = |delivery: &Delivery| {
        let Delivery { group, key, queue, offset, attempt } = *delivery;
        let again = if attempt > 0 { format!(", attempt {}", attempt + 1) } else { String::new() };
        format!("{key} of {} for {}{again}", place(queue, offset), of(group))
    };
    match *what {
        What::SendInvoked { key, topic, intent, len, .. } => {
            format!("sends {key} to {}, {intent:?}, {len} bytes", of(topic))
        }
        What::SendEnded { key, outcome } => match outcome {
            SendOutcome::Ok { queue, offset, promise } => {
                format!("{key} is acknowledged as {}, promised: {promise:?}", place(queue, offset))
            }
            SendOutcome::Weak { queue, offset } => {
                format!("{key} is stored as {}, not synced", place(queue, offset))
            }
            SendOutcome::Fail => format!("{key} is refused"),
            SendOutcome::Info { attempts } => format!("{key} may be stored, {attempts} attempts"),
        },
        What::Executing { key } => format!("half of {key} is stored, its transaction runs"),
        What::HalfSent { key, queue, half_offset } => {
            format!("half of {key} is done with, for {}, half offset {half_offset}", record.queue_text(queue))
        }
        What::Decision { key, verdict, asked } => {
            format!("says {verdict:?} of {key}{}", if asked { ", asked" } else { "" })
        }
        What::CheckAsked { key, group } => format!("is asked about {key} for {}", of(group)),
        What::HandlerStarted(delivery) => format!("begins {}", delivered(&delivery)),
        What::HandlerEnded(delivery, how) => format!("ends {}: {how:?}", delivered(&delivery)),
        What::Damaged { queue, offset, len } => {
            format!("reads {len} damaged bytes at {}", place(queue, offset))
        }
        What::CommitObserved { group, queue, offset } => {
            format!("sees that {} has committed {}", of(group), place(queue, offset))
        }
        What::Assigned { group, queue } => format!("gets {} for {}", record.queue_text(queue), of(group)),
        What::Revoked { group, queue } => format!("gives up {} for {}", record.queue_text(queue), of(group)),
        What::Locked { group, queue } => format!("locks {} for {}", record.queue_text(queue), of(group)),
        What::Unlocked { group, queue } => format!("unlocks {} for {}", record.queue_text(queue), of(group)),
        What::Read { queue, offset, key, .. } => format!("reads {key} at {}", place(queue, offset)),
        What::Bounds { queue, min, max } => format!("sees {} from {min} to {max}", record.queue_text(queue)),
        What::MemberJoined { group } => format!("is a member of {}", of(group)),
        What::MemberLeft { group } => format!("has left {}", of(group)),
        What::Serving => "serves".to_owned(),
        What::FaultStarted(number) => format!("FAULT {}", fault(record, number)),
        What::FaultHealed(number) => format!("healed: {}", fault(record, number)),
        What::Noted(name, 0) => of(name),
        What::Noted(name, word) => format!("{} {word}", of(name)),
    }
}

fn fault(record: &Record, number: u32) -> &str {
    usize::try_from(number).ok().and_then(|at| record.faults.get(at)).map_or("?", |(_, words)| words)
}

//! Runs the stories in `scripts/`: golden scripts whose output is read in review (`UPDATE_GOLDENFILES=1` writes it).
//!
//! Time is in seconds. A check is `sent` over a connection, and then `told`, `heard` or `undeliverable`. `half`, `end`, `carried` take half-queue offsets; `log` prints what both queues hold, `restart`
//! replays them from the progress, with what is in flight lost.

use std::error::Error;

use goldenscript::Command;
use goldenscript::Context;

use super::*;
use crate::base::Mono;
use crate::base::Timestamp;

struct Story {
    machine: Transactions<String>,
    now: u64,
    halves: Vec<HalfRecord>,
    ops: Vec<Op>,
    op_in_flight: Option<Op>,
}

impl Story {
    fn new() -> Story {
        let limits = TransactionLimits { checks_max: 2, ..TransactionLimits::default() };
        Story {
            machine: Transactions::new(limits),
            now: 0,
            halves: Vec::new(),
            ops: Vec::new(),
            op_in_flight: None,
        }
    }

    fn now(&self) -> Mono {
        Mono(self.now * 1_000_000_000)
    }

    fn store(&mut self, origin: Option<QueueOffset>, checks: u32) -> HalfRecord {
        let offset = QueueOffset(self.halves.len() as u64);
        let half = HalfRecord {
            offset,
            physical: PhysicalOffset(offset.0 * 100),
            origin: origin.unwrap_or(offset),
            group: "pay".to_owned(),
            stored_at: Timestamp(self.now as i64 * 1000),
            checks,
            immunity: None,
        };
        self.halves.push(half.clone());
        half
    }

    fn restart(&mut self) {
        let (half_start, op_start) = self.machine.progress();
        let ops = (0..).map(QueueOffset).zip(self.ops.iter().cloned());
        let history = History {
            half_start,
            half_end: QueueOffset(self.halves.len() as u64),
            halves: self.halves.iter().filter(|half| half.offset >= half_start).cloned().collect(),
            op_start,
            op_end: QueueOffset(self.ops.len() as u64),
            ops: ops.filter(|(offset, _)| *offset >= op_start).collect(),
            committed: Vec::new(),
        };
        let limits = TransactionLimits { checks_max: 2, ..TransactionLimits::default() };
        let wall = Timestamp(self.now as i64 * 1000);
        self.machine = Transactions::replay(limits, self.now(), wall, history);
        self.op_in_flight = None;
    }

    fn describe(&mut self, effects: Vec<Effect<String>>) -> String {
        let mut lines = String::new();
        for effect in effects {
            let line = match effect {
                Effect::AppendReal { origin, .. } => format!("append real message of {origin}"),
                Effect::AppendDiscard { origin, .. } => format!("append {origin} to the discard topic"),
                Effect::Carry { origin, checks, .. } => format!("carry {origin} forward, {checks} checks"),
                Effect::AppendOp { op } => {
                    let line = format!("append op {} `{}`", op.tag(), op.body());
                    self.op_in_flight = Some(op);
                    line
                }
                Effect::Check { origin, group, .. } => format!("ask group {group} about {origin}"),
                Effect::Confirm { origin, connection, .. } => {
                    format!(
                        "has connection {} been heard of since it was asked about {origin}?",
                        connection.0
                    )
                }
                Effect::Answer { token, result: Ok(ended) } => format!("answer {token}: {ended:?}"),
                Effect::Answer { token, result: Err(error) } => format!("answer {token}: {error}"),
                Effect::Advance { half, op } => format!("progress half {half}, op {op}"),
            };
            lines.push_str(&line);
            lines.push('\n');
        }
        lines
    }
}

impl goldenscript::Runner for Story {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        let mut effects = Vec::new();
        let now = self.now();
        let mut number =
            || -> Result<u64, Box<dyn Error>> { Ok(args.next_pos().ok_or("a number")?.parse()?) };
        match command.name.as_str() {
            "half" => {
                let half = self.store(None, 0);
                self.machine.on_half_appended(now, half, &mut effects);
            }
            "end" => {
                let record = number()?;
                let decision = match args.next_pos() {
                    Some("commit") => Decision::Commit,
                    Some("rollback") => Decision::Rollback,
                    _ => Decision::Unknown,
                };
                let physical = PhysicalOffset(record * 100);
                let end =
                    End { record: QueueOffset(record), physical, group: "pay", decision, checked: false };
                self.machine.end(now, end, args.next_pos().unwrap_or("producer").to_owned(), &mut effects);
            }
            "real" => self.machine.on_real_appended(QueueOffset(number()?), &mut effects),
            "discarded" => self.machine.on_discard_appended(QueueOffset(number()?), &mut effects),
            "sent" => {
                let origin = QueueOffset(number()?);
                self.machine.on_check_sent(now, origin, ConnectionId(number()?), &mut effects);
            }
            "told" => {
                let record = number()?;
                let (decision, physical) = (Decision::Unknown, PhysicalOffset(record * 100));
                let record = QueueOffset(record);
                let end = End { record, physical, group: "pay", decision, checked: true };
                self.machine.end(now, end, "who was asked".to_owned(), &mut effects);
            }
            "heard" => self.machine.on_check_delivered(now, QueueOffset(number()?), &mut effects),
            "closed" => self.machine.on_connection_closed(now, ConnectionId(number()?), &mut effects),
            "undeliverable" => self.machine.on_check_undeliverable(now, QueueOffset(number()?), &mut effects),
            "op" => {
                let offset = QueueOffset(self.ops.len() as u64);
                self.ops.push(self.op_in_flight.take().ok_or("no op record is in flight")?);
                self.machine.on_op_appended(now, offset, &mut effects);
            }
            "time" => {
                self.now = number()?;
                self.machine.on_timer(self.now(), &mut effects);
            }
            "restart" => self.restart(),
            "live" => {
                let line = |(origin, _, checks)| format!("{origin}: {checks} checks\n");
                return Ok(self.machine.unsettled().into_iter().map(line).collect());
            }
            name => return Err(format!("{name} is not a command").into()),
        }
        self.machine.check_invariants();
        Ok(self.describe(effects))
    }
}

fn tell(name: &str) {
    let path = format!("{}/src/machine/transaction/scripts/{name}", env!("CARGO_MANIFEST_DIR"));
    goldenscript::run(&mut Story::new(), path).expect("the story goes as written");
}

#[test]
fn a_check_answered_by_another_member_settles_the_half() {
    tell("check_back");
}

#[test]
fn the_first_decision_wins() {
    tell("first_decision_wins");
}

#[test]
fn checks_that_nobody_got_do_not_count() {
    tell("undelivered_checks");
}

#[test]
fn checks_that_were_lost_on_the_way_do_not_count() {
    tell("lost_checks");
}

#[test]
fn a_restart_remembers_halves_and_checks() {
    tell("restart");
}

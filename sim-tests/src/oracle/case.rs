//! A history, looked up by message, by place and by process: what every oracle starts from.

use std::collections::BTreeMap;

use staticfire_chaos::history::Delivery;
use staticfire_chaos::history::Handled;
use staticfire_chaos::history::Intent;
use staticfire_chaos::history::Name;
use staticfire_chaos::history::Promise;
use staticfire_chaos::history::Queue;
use staticfire_chaos::history::Record;
use staticfire_chaos::history::SendOutcome;
use staticfire_chaos::history::Verdict as Decided;
use staticfire_chaos::history::What;
use staticfire_chaos::identity::MessageKey;

use super::Contract;
use super::Group;
use super::Rotten;

/// RocketMQ syncs an async log at least so often: what is older than this when the power goes is safe.
const THOROUGH_NS: u64 = 10_000_000_000;
/// A little more than the longest way of a request that is not disturbed.
pub(crate) const SLACK_NS: u64 = 1_000_000_000;

/// Entries of the ledger that have a beginning and an end.
const LASTING: [&str; 8] =
    ["Stall", "ReadOnly", "Full", "Pause", "Partition", "ClockDrift", "ClockFrozen", "ClockJump"];

/// One send and what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) at: u64,
    pub(crate) topic: Name,
    pub(crate) intent: Intent,
    pub(crate) crc: u32,
    pub(crate) node: Name,
    pub(crate) life: u32,
    /// When and how it ended; absent when its process died over it.
    pub(crate) ended: Option<(u64, SendOutcome)>,
    pub(crate) half: Option<(u64, Queue)>,
    /// When a listener first said so.
    pub(crate) commit: Option<u64>,
    pub(crate) rollback: Option<u64>,
    pub(crate) checks: Vec<u64>,
    /// Checks that were answered by "unknown".
    pub(crate) unknown: usize,
}

/// A message was seen by somebody, somewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) at: u64,
    pub(crate) queue: Queue,
    pub(crate) offset: u64,
    pub(crate) key: MessageKey,
    /// Absent where a consumer saw it: its handler compared the bytes itself.
    pub(crate) crc: Option<u32>,
}

/// One call of a handler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) node: Name,
    pub(crate) life: u32,
    pub(crate) at: u64,
    pub(crate) ended: Option<(u64, Handled)>,
    /// When it was certainly over: it returned, or its process died.
    pub(crate) over_at: u64,
    pub(crate) delivery: Delivery,
}

/// An entry of the ledger.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) number: u32,
    pub(crate) at: u64,
    /// `u64::MAX` for what does not end by itself.
    pub(crate) until: u64,
    pub(crate) node: Name,
    pub(crate) text: String,
}

/// What oracles judge.
pub(crate) struct Case {
    pub(crate) record: Record,
    pub(crate) contract: Contract,
    pub(crate) sends: BTreeMap<MessageKey, Sent>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) runs: Vec<Run>,
    pub(crate) faults: Vec<Fault>,
    /// What the first look after everything had settled found.
    pub(crate) first_look: BTreeMap<(Queue, u64), MessageKey>,
    /// What the second one found, after a restart of all brokers.
    pub(crate) second_look: BTreeMap<(Queue, u64), MessageKey>,
}

impl Case {
    pub(crate) fn new(record: Record, contract: Contract) -> Case {
        let faults = faults(&record);
        let mut case = Case {
            sends: sends(&record),
            seen: Vec::new(),
            runs: Vec::new(),
            first_look: BTreeMap::new(),
            second_look: BTreeMap::new(),
            faults,
            contract,
            record,
        };
        case.look();
        case.run();
        case
    }

    fn look(&mut self) {
        for event in &self.record.events {
            match event.what {
                What::Read { queue, offset, key, crc } => {
                    self.seen.push(Seen { at: event.at, queue, offset: offset.0, key, crc: Some(crc) });
                    let look = if event.at >= self.contract.second_look_at {
                        &mut self.second_look
                    } else if event.at >= self.contract.healed_at {
                        &mut self.first_look
                    } else {
                        continue;
                    };
                    look.insert((queue, offset.0), key);
                }
                What::HandlerStarted(delivery) => self.seen.push(Seen {
                    at: event.at,
                    queue: delivery.queue,
                    offset: delivery.offset.0,
                    key: delivery.key,
                    crc: None,
                }),
                _ => {}
            }
        }
    }

    fn run(&mut self) {
        let mut open: BTreeMap<(Name, u32, Name, Queue, u64), usize> = BTreeMap::new();
        for event in &self.record.events {
            match event.what {
                What::HandlerStarted(d) => {
                    open.insert((event.node, event.life, d.group, d.queue, d.offset.0), self.runs.len());
                    self.runs.push(Run {
                        node: event.node,
                        life: event.life,
                        at: event.at,
                        ended: None,
                        over_at: u64::MAX,
                        delivery: d,
                    });
                }
                What::HandlerEnded(d, how) => {
                    if let Some(at) = open.remove(&(event.node, event.life, d.group, d.queue, d.offset.0)) {
                        self.runs[at].ended = Some((event.at, how));
                        self.runs[at].over_at = event.at;
                    }
                }
                _ => {}
            }
        }
        for run in self.runs.iter_mut().filter(|run| run.ended.is_none()) {
            let crash = self.faults.iter().find(|f| f.node == run.node && f.at >= run.at && f.is_death());
            let next_life =
                self.record.events.iter().find(|e| e.node == run.node && e.life > run.life).map(|e| e.at);
            run.over_at = crash.map(|f| f.at).into_iter().chain(next_life).min().unwrap_or(u64::MAX);
        }
    }

    /// What makes loss of what `broker` acknowledged from memory legal: it lost power, or a sync of it failed and threw
    /// pages away, within the longest time that an async log is left alone. Nothing excuses a promise of disk.
    pub(crate) fn memory_lost(&self, broker: Name, stored_at: u64) -> Vec<u32> {
        let stall: u64 = self
            .faults
            .iter()
            .filter(|f| f.node == broker && (f.is("Stall") || f.is("Pause")) && f.at >= stored_at)
            .map(|f| f.until.min(self.contract.healed_at).saturating_sub(f.at))
            .sum();
        let window = stored_at.saturating_add(THOROUGH_NS + 2 * SLACK_NS).saturating_add(stall);
        let fits = |f: &&Fault| {
            f.node == broker
                && f.at.saturating_add(SLACK_NS) >= stored_at
                && f.at <= window
                && (f.is("OsCrash") || f.is("SyncFailed"))
        };
        self.faults.iter().filter(fits).map(|f| f.number).collect()
    }

    /// What makes it legal, for a promise of memory, that readers of a queue skip what was stored at an offset: the broker
    /// lost what was there before, gave the offset out again, and who had read the lost message does not know.
    ///
    /// Somebody must have seen another message there, be it after the loss: one that was read before it is handled later.
    /// That message was there at some time since it was sent, so the loss came after that.
    pub(crate) fn given_out_again(&self, queue: Queue, offset: u64, key: MessageKey, at: u64) -> Vec<u32> {
        if self.contract.promise != Promise::Memory {
            return Vec::new();
        }
        let acked = self.sends.iter().filter_map(|(key, sent)| Some((*key, sent.acked()?)));
        let acked = acked.map(|(key, (_, queue, offset))| (queue, offset, key));
        let seen = self.seen.iter().map(|seen| (seen.queue, seen.offset, seen.key));
        let others = acked.chain(seen).filter(|(of, o, other)| (*of, *o) == (queue, offset) && *other != key);
        match others.filter_map(|(.., other)| Some(self.sends.get(&other)?.at)).min() {
            Some(sent) => self.faults_of(queue.broker, &["OsCrash", "SyncFailed"], sent, at),
            None => Vec::new(),
        }
    }

    /// What makes it legal that nobody can read what lies at an offset: this very record is rotten.
    pub(crate) fn rotten_at(&self, queue: Queue, offset: u64) -> Vec<u32> {
        self.rotten(|rotten| (rotten.queue, rotten.offset) == (queue, offset))
    }

    /// What makes it legal that a message does not reach a reader: a stored copy of it is rotten.
    pub(crate) fn rotten_copy(&self, key: MessageKey) -> Vec<u32> {
        self.rotten(|rotten| rotten.key == key)
    }

    fn rotten(&self, is: impl Fn(&Rotten) -> bool) -> Vec<u32> {
        self.contract.rotten.iter().filter(|rotten| is(rotten)).map(|rotten| rotten.entry).collect()
    }

    /// Entries of some kinds about a node that overlap a span.
    pub(crate) fn faults_of(&self, node: Name, kinds: &[&str], from: u64, to: u64) -> Vec<u32> {
        let fits =
            |f: &&Fault| f.node == node && f.at <= to && f.until >= from && kinds.iter().any(|k| f.is(k));
        self.faults.iter().filter(fits).map(|f| f.number).collect()
    }

    pub(crate) fn group(&self, name: Name) -> Option<&Group> {
        self.contract.groups.iter().find(|group| group.name == name)
    }

    pub(crate) fn text(&self, name: Name) -> &str {
        self.record.text(name)
    }

    pub(crate) fn place(&self, queue: Queue, offset: u64) -> String {
        format!("{}@{}/{}#{offset}", self.text(queue.topic), self.text(queue.broker), queue.id.0)
    }

    /// Whether a topic holds what producers sent, and not copies of it.
    pub(crate) fn is_plain(&self, topic: Name) -> bool {
        self.contract.groups.iter().any(|group| group.topic == topic)
    }
}

impl Sent {
    /// When the broker said that it has it, as promised.
    pub(crate) fn acked(&self) -> Option<(u64, Queue, u64)> {
        match self.ended? {
            (at, SendOutcome::Ok { queue, offset, .. }) => Some((at, queue, offset.0)),
            _ => None,
        }
    }
}

impl Fault {
    pub(crate) fn is(&self, kind: &str) -> bool {
        self.text.starts_with(kind)
    }

    pub(crate) fn is_death(&self) -> bool {
        self.is("Kill") || self.is("OsCrash") || self.is("Loss")
    }
}

fn faults(record: &Record) -> Vec<Fault> {
    let mut faults: Vec<Fault> = Vec::new();
    for event in &record.events {
        match event.what {
            What::FaultStarted(number) => {
                let Some((node, text)) = record.faults.get(number as usize) else { continue };
                let lasts = LASTING.iter().any(|kind| text.starts_with(kind));
                let until = if lasts { u64::MAX } else { event.at };
                faults.push(Fault { number, at: event.at, until, node: *node, text: text.clone() });
            }
            What::FaultHealed(number) => {
                if let Some(fault) = faults.iter_mut().find(|fault| fault.number == number) {
                    fault.until = event.at;
                }
            }
            _ => {}
        }
    }
    faults
}

fn sends(record: &Record) -> BTreeMap<MessageKey, Sent> {
    let mut sends: BTreeMap<MessageKey, Sent> = BTreeMap::new();
    for event in &record.events {
        if let What::SendInvoked { key, topic, intent, crc, .. } = event.what {
            let sent = Sent {
                at: event.at,
                topic,
                intent,
                crc,
                node: event.node,
                life: event.life,
                ended: None,
                half: None,
                commit: None,
                rollback: None,
                checks: Vec::new(),
                unknown: 0,
            };
            sends.insert(key, sent);
            continue;
        }
        let Some(sent) = event.what.key().and_then(|key| sends.get_mut(&key)) else { continue };
        match event.what {
            What::SendEnded { outcome, .. } => sent.ended = Some((event.at, outcome)),
            What::HalfSent { queue, .. } => sent.half = Some((event.at, queue)),
            What::Decision { verdict: Decided::Commit, .. } => _ = sent.commit.get_or_insert(event.at),
            What::Decision { verdict: Decided::Rollback, .. } => _ = sent.rollback.get_or_insert(event.at),
            What::Decision { verdict: Decided::Unknown, asked: true, .. } => sent.unknown += 1,
            What::CheckAsked { .. } => sent.checks.push(event.at),
            _ => {}
        }
    }
    sends
}

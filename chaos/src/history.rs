//! What happened, as far as a promise speaks of it: a typed log in one total order, with true time.
//!
//! ```text
//! a process's Recorder ─▶ History ─ seal ─▶ Record { events by time, names } ─▶ judges, story
//!                                    ▲
//!            the simulator's ledger ─┘ (faults and healings, merged in by their times)
//! ```
//!
//! An event is a few words; names of topics, brokers and groups are numbers of a table. Each event goes into the trace's
//! hash the moment it is noted, so equal hashes mean equal histories.
//!
//! Invariant: a dead process notes nothing. A [`Recorder`] belongs to one life of one node.
//!
//! Not here: what is a violation.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::hash::Hasher;
use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHasher;
use serde::Deserialize;
use serde::Serialize;
use staticfire::base::QueueId;
use staticfire::base::QueueOffset;
use staticfire::client::MessageQueue;
use staticfire::sim::Damage;
use staticfire::sim::Entry;
use staticfire::sim::Node;
use staticfire::sim::NodeId;
use staticfire::sim::World;

use crate::identity::MessageKey;

/// The number of a name in [`Record::names`]: of a topic, a broker, a group or a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Name(pub u16);

/// One queue of a topic on one broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Queue {
    pub topic: Name,
    pub broker: Name,
    pub id: QueueId,
}

/// What a sender wants to become of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Intent {
    Plain,
    /// Delivered after this level's delay.
    Delay(u8),
    /// Visible only after a commit.
    Half,
    /// One of a batch that is stored together: (index, of).
    Batch(u16, u16),
    /// Sent without waiting for an answer.
    Oneway,
}

/// What an acknowledgement promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Promise {
    /// In the page cache of one machine: survives its process.
    Memory,
    /// On the disk of one machine: survives its power.
    Disk,
}

/// How a send ended for its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SendOutcome {
    Ok {
        queue: Queue,
        offset: QueueOffset,
        promise: Promise,
    },
    /// Stored, but the disk or a slave did not confirm in time: in memory of one machine.
    Weak {
        queue: Queue,
        offset: QueueOffset,
    },
    /// Refused before anything was stored: must never become visible.
    Fail,
    /// Unknown: visible at most `attempts` times.
    Info {
        attempts: u32,
    },
}

/// What became of a transaction, by whoever says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verdict {
    Commit,
    Rollback,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Handled {
    Success,
    Later,
}

/// Where a message was read, and how often it had come before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Delivery {
    pub group: Name,
    pub key: MessageKey,
    /// The queue it was read from: of a retry topic, when it came back.
    pub queue: Queue,
    pub offset: QueueOffset,
    pub attempt: u32,
}

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum What {
    SendInvoked {
        key: MessageKey,
        topic: Name,
        intent: Intent,
        len: u32,
        crc: u32,
    },
    SendEnded {
        key: MessageKey,
        outcome: SendOutcome,
    },
    /// The half message is stored; its place is in the queue where the message will be.
    HalfSent {
        key: MessageKey,
        queue: Queue,
        half_offset: QueueOffset,
    },
    /// The half message is stored, and its sender's listener was called.
    Executing {
        key: MessageKey,
    },
    /// A listener decided, and the decision was handed to the network.
    Decision {
        key: MessageKey,
        verdict: Verdict,
        asked: bool,
    },
    /// A broker asked this process about a transaction.
    CheckAsked {
        key: MessageKey,
        group: Name,
    },
    HandlerStarted(Delivery),
    HandlerEnded(Delivery, Handled),
    /// A body reached a reader that is not what anybody sent.
    Damaged {
        queue: Queue,
        offset: QueueOffset,
        len: u32,
    },
    /// A group's offset, as the broker has it.
    CommitObserved {
        group: Name,
        queue: Queue,
        offset: QueueOffset,
    },
    Assigned {
        group: Name,
        queue: Queue,
    },
    Revoked {
        group: Name,
        queue: Queue,
    },
    Locked {
        group: Name,
        queue: Queue,
    },
    Unlocked {
        group: Name,
        queue: Queue,
    },
    /// Somebody who is no consumer read this.
    Read {
        queue: Queue,
        offset: QueueOffset,
        key: MessageKey,
        crc: u32,
    },
    /// Somebody who is no consumer saw these bounds.
    Bounds {
        queue: Queue,
        min: QueueOffset,
        max: QueueOffset,
    },
    MemberJoined {
        group: Name,
    },
    MemberLeft {
        group: Name,
    },
    /// A process of the cluster serves.
    Serving,
    /// The number of an entry in the simulator's ledger.
    FaultStarted(u32),
    FaultHealed(u32),
    /// A scenario's own note: the number of a name, and a word.
    Noted(Name, u64),
}

/// One event of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// True time in nanoseconds since the start of the run.
    pub at: u64,
    pub node: Name,
    /// Which life of the node, from 1; 0 for the world itself.
    pub life: u32,
    pub what: What,
}

/// Gathers events. Cheap to clone.
#[derive(Clone)]
pub struct History(Arc<Inner>);

struct Inner {
    world: World,
    notes: Notes,
}

/// What was noted, without the world it was noted in: it may outlive it.
#[derive(Clone, Default)]
pub struct Notes(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    names: Vec<String>,
    numbers: BTreeMap<String, Name>,
    events: Vec<Event>,
    producers: u16,
}

/// Notes what one life of one process does.
#[derive(Clone)]
pub struct Recorder {
    history: History,
    node: Node,
    name: Name,
    life: u64,
}

/// A history that is over: what judges get.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub names: Vec<String>,
    /// By time; among equals, in the order in which they were noted.
    pub events: Vec<Event>,
    /// What each fault was, by its number in the ledger: the node it befell, and words.
    pub faults: Vec<(Name, String)>,
}

impl History {
    pub fn new(world: &World) -> History {
        History(Arc::new(Inner { world: world.clone(), notes: Notes::default() }))
    }

    pub fn world(&self) -> &World {
        &self.0.world
    }

    /// The number of a name, given at its first use.
    pub fn name(&self, text: &str) -> Name {
        self.0.notes.0.lock().name(text)
    }

    pub fn text(&self, name: Name) -> String {
        self.0.notes.0.lock().names[usize::from(name.0)].clone()
    }

    pub fn queue(&self, queue: &MessageQueue) -> Queue {
        let mut state = self.0.notes.0.lock();
        Queue { topic: state.name(&queue.topic), broker: state.name(&queue.broker), id: queue.id }
    }

    /// A number for a producer that no other life of any process has.
    pub fn next_producer(&self) -> u16 {
        let mut state = self.0.notes.0.lock();
        state.producers = state.producers.checked_add(1).expect("fewer than 65536 producers in a run");
        state.producers
    }

    /// A recorder for the process that runs on `node` now.
    pub fn recorder(&self, node: &Node) -> Recorder {
        let name = self.name(node.name());
        Recorder { history: self.clone(), life: node.incarnation(), node: node.clone(), name }
    }

    /// Notes something that the world itself saw or did.
    pub fn note(&self, what: What) {
        let name = self.name("world");
        self.add(name, 0, what);
    }

    pub fn len(&self) -> usize {
        self.0.notes.0.lock().events.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Looks at all events so far, without the faults.
    pub fn with_events<T>(&self, look: impl FnOnce(&[Event]) -> T) -> T {
        look(&self.0.notes.0.lock().events)
    }

    pub fn count(&self, wanted: impl Fn(&What) -> bool) -> usize {
        self.with_events(|events| events.iter().filter(|event| wanted(&event.what)).count())
    }

    /// Everything so far, with the faults of the ledger at their times.
    pub fn seal(&self) -> Record {
        let world = &self.0.world;
        let mut names = vec!["world".to_owned()];
        names.extend(world.nodes().iter().map(|node| node.name().to_owned()));
        self.0.notes.seal(&world.ledger(), &names)
    }

    pub fn notes(&self) -> Notes {
        self.0.notes.clone()
    }

    fn add(&self, node: Name, life: u64, what: What) {
        let at = u64::try_from(self.0.world.now().as_nanos()).unwrap_or(u64::MAX);
        let life = u32::try_from(life).unwrap_or(u32::MAX);
        let event = Event { at, node, life, what };
        let mut hasher = FxHasher::default();
        what.hash(&mut hasher);
        let hash = hasher.finish();
        self.0.world.mark("history", (u64::from(node.0) << 32) | u64::from(life), hash);
        self.0.notes.0.lock().events.push(event);
    }
}

impl Notes {
    /// What was noted, with the faults of a ledger. `nodes` are the names of all nodes, by their numbers.
    pub fn seal(&self, ledger: &[Entry], nodes: &[String]) -> Record {
        let mut state = self.0.lock();
        let mut events = state.events.clone();
        let mut faults = Vec::new();
        for (number, entry) in ledger.iter().enumerate() {
            let number = u32::try_from(number).expect("a ledger has fewer than 2^32 entries");
            let node = state.name(name_of(entry.node, nodes));
            faults.push((node, describe(&entry.damage, nodes)));
            events.push(Event { at: entry.at, node, life: 0, what: What::FaultStarted(number) });
            if let Some(at) = healed(entry.at, &entry.damage) {
                events.push(Event { at, node, life: 0, what: What::FaultHealed(number) });
            }
        }
        events.sort_by_key(|event| event.at);
        Record { names: state.names.clone(), events, faults }
    }
}

impl State {
    fn name(&mut self, text: &str) -> Name {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = Name(u16::try_from(self.names.len()).expect("fewer than 65536 names in a run"));
        self.names.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        number
    }
}

impl Recorder {
    /// Notes it, unless this process is no more.
    pub fn note(&self, what: What) {
        if self.is_alive() {
            self.history.add(self.name, self.life, what);
        }
    }

    pub fn is_alive(&self) -> bool {
        self.node.is_up() && self.node.incarnation() == self.life
    }

    pub fn history(&self) -> &History {
        &self.history
    }

    pub fn node(&self) -> &Node {
        &self.node
    }

    pub fn life(&self) -> u64 {
        self.life
    }
}

impl Record {
    pub fn text(&self, name: Name) -> &str {
        self.names.get(usize::from(name.0)).map_or("?", String::as_str)
    }

    /// The number of a name, if anything has it.
    pub fn find(&self, text: &str) -> Option<Name> {
        let at = self.names.iter().position(|name| name == text)?;
        u16::try_from(at).ok().map(Name)
    }

    /// For files and for comparing runs.
    pub fn encode(&self) -> Vec<u8> {
        bincode::serde::encode_to_vec(self, bincode::config::standard())
            .expect("a record holds nothing that cannot be encoded")
    }

    /// A record that [`Record::encode`] wrote. Only for files of this program's own.
    pub fn decode(bytes: &[u8]) -> Result<Record, bincode::error::DecodeError> {
        bincode::serde::decode_from_slice(bytes, bincode::config::standard()).map(|(record, _)| record)
    }
}

impl What {
    /// The message that this is about.
    pub fn key(&self) -> Option<MessageKey> {
        match *self {
            What::SendInvoked { key, .. }
            | What::SendEnded { key, .. }
            | What::HalfSent { key, .. }
            | What::Executing { key }
            | What::Decision { key, .. }
            | What::CheckAsked { key, .. }
            | What::Read { key, .. } => Some(key),
            What::HandlerStarted(delivery) | What::HandlerEnded(delivery, _) => Some(delivery.key),
            _ => None,
        }
    }

    /// The queue that this is about.
    pub fn queue(&self) -> Option<Queue> {
        match *self {
            What::SendEnded {
                outcome: SendOutcome::Ok { queue, .. } | SendOutcome::Weak { queue, .. },
                ..
            }
            | What::HalfSent { queue, .. }
            | What::CommitObserved { queue, .. }
            | What::Assigned { queue, .. }
            | What::Revoked { queue, .. }
            | What::Locked { queue, .. }
            | What::Unlocked { queue, .. }
            | What::Read { queue, .. }
            | What::Bounds { queue, .. }
            | What::Damaged { queue, .. } => Some(queue),
            What::HandlerStarted(delivery) | What::HandlerEnded(delivery, _) => Some(delivery.queue),
            _ => None,
        }
    }
}

fn healed(at: u64, damage: &Damage) -> Option<u64> {
    match damage {
        Damage::Partition { until, .. } => *until,
        Damage::Stall { ns } | Damage::Pause { ns } | Damage::ReadOnly { ns } | Damage::Full { ns }
            if *ns != u64::MAX =>
        {
            Some(at.saturating_add(*ns))
        }
        _ => None,
    }
}

fn name_of(node: NodeId, nodes: &[String]) -> &str {
    usize::try_from(node.0).ok().and_then(|at| nodes.get(at)).map_or("?", String::as_str)
}

fn describe(damage: &Damage, nodes: &[String]) -> String {
    match damage {
        Damage::Partition { to, .. } => format!("Partition: nothing reaches {}", name_of(*to, nodes)),
        Damage::Reset { to } => format!("Reset of connections to {}", name_of(*to, nodes)),
        Damage::Flip { to } => format!("Flip of a bit on the way to {}", name_of(*to, nodes)),
        other => format!("{other:?}"),
    }
}

//! The promises, one per file: pure functions over the history of a run.
//!
//! ```text
//! Record (what happened, the ledger included) + Contract (what was promised) ─▶ Case ─▶ each oracle ─▶ Verdict
//! ```
//!
//! A verdict says how often the promise's premise held (an oracle whose premise never holds proves nothing), what broke
//! it, and what it excused. An excuse is code with tests, and names the entries of the damage ledger that justify it.
//!
//! Not here: how a history comes about (`swarm`, `workload`).

mod case;
mod o01_no_acked_loss;
mod o02_no_fabrication;
mod o03_no_corruption;
mod o04_offset_is_a_function;
mod o05_durable_before_visible;
mod o06_log_order;
mod o07_delivery_order;
mod o08_fifo;
mod o09_no_skip;
mod o10_offsets_monotone;
mod o13_transaction_atomicity;
mod o14_check_back;
mod o15_retry_and_dead_letters;
mod o21_recovery;
mod o24_liveness;
mod o26_legal_answers;
#[cfg(test)]
pub(crate) mod tale;

use serde::Deserialize;
use serde::Serialize;
use staticfire_chaos::history::Name;
use staticfire_chaos::history::Promise;
use staticfire_chaos::history::Queue;
use staticfire_chaos::identity::MessageKey;

pub(crate) use self::case::Case;
pub(crate) use self::o26_legal_answers::NONSENSE;

/// A consumer group, and what it subscribed to from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) name: Name,
    pub(crate) topic: Name,
    pub(crate) retry: Name,
    pub(crate) dead: Name,
    pub(crate) ordered: bool,
    /// Further attempts before a message becomes a dead letter.
    pub(crate) retries: u32,
}

/// A stored message that a fault damaged, known by the record that stood where a byte changed: nobody else may hide behind
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rotten {
    pub(crate) queue: Queue,
    pub(crate) offset: u64,
    pub(crate) key: MessageKey,
    /// Of the entry in the ledger.
    pub(crate) entry: u32,
}

/// What a run was promised, and its landmarks in true nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Contract {
    pub(crate) promise: Promise,
    pub(crate) groups: Vec<Group>,
    /// The topic of halves that were asked about often enough.
    pub(crate) discard: Name,
    pub(crate) checks_max: usize,
    /// The delay of a message that comes back for its n-th attempt, first one first.
    pub(crate) retry_ns: Vec<u64>,
    pub(crate) attempts_max: usize,
    /// When the last fault was healed.
    pub(crate) healed_at: u64,
    /// When everything had settled and the brokers were restarted for the second look.
    pub(crate) second_look_at: u64,
    /// Nothing but crashes of brokers happened: no excuse by disks or networks is possible.
    pub(crate) only_crashes: bool,
    /// What had not settled in time.
    pub(crate) not_live: Option<String>,
    /// Stored messages of which a byte changed on the disk.
    pub(crate) rotten: Vec<Rotten>,
    /// What a look at each broker's files found in the end: the broker, and the damages in words.
    pub(crate) files: Vec<(Name, Vec<String>)>,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Violation {
    pub(crate) what: String,
    pub(crate) about: Option<MessageKey>,
    pub(crate) place: Option<(Queue, u64)>,
    pub(crate) at: u64,
}

/// What an oracle says of a history.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    /// How often the premise held.
    pub(crate) premises: u64,
    pub(crate) violations: Vec<Violation>,
    /// What was excused, by the numbers of ledger entries.
    pub(crate) excused: Vec<(String, Vec<u32>)>,
}

/// One promise.
pub(crate) struct Oracle {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) judge: fn(&Case) -> Verdict,
}

pub(crate) const ORACLES: &[Oracle] = &[
    Oracle { id: "O1", name: "no acked loss", judge: o01_no_acked_loss::judge },
    Oracle { id: "O2", name: "no fabrication", judge: o02_no_fabrication::judge },
    Oracle { id: "O3", name: "no corruption", judge: o03_no_corruption::judge },
    Oracle { id: "O4", name: "an offset names one message", judge: o04_offset_is_a_function::judge },
    Oracle { id: "O5", name: "seen is as durable as promised", judge: o05_durable_before_visible::judge },
    Oracle { id: "O6", name: "log order is send order", judge: o06_log_order::judge },
    Oracle { id: "O7", name: "delivery order", judge: o07_delivery_order::judge },
    Oracle { id: "O8", name: "one key, one order", judge: o08_fifo::judge },
    Oracle { id: "O9", name: "no skip", judge: o09_no_skip::judge },
    Oracle { id: "O10", name: "offsets are monotone and bounded", judge: o10_offsets_monotone::judge },
    Oracle { id: "O13", name: "transactions are atomic", judge: o13_transaction_atomicity::judge },
    Oracle { id: "O14", name: "check-back", judge: o14_check_back::judge },
    Oracle { id: "O15", name: "retry and dead letters", judge: o15_retry_and_dead_letters::judge },
    Oracle { id: "O21", name: "recovery changes nothing", judge: o21_recovery::judge },
    Oracle { id: "O24", name: "everything drains", judge: o24_liveness::judge },
    Oracle { id: "O26", name: "answers are legal", judge: o26_legal_answers::judge },
];

impl Verdict {
    pub(crate) fn held(&mut self) {
        self.premises += 1;
    }

    pub(crate) fn broken(&mut self, at: u64, what: impl Into<String>) -> &mut Violation {
        self.violations.push(Violation { what: what.into(), about: None, place: None, at });
        self.violations.last_mut().expect("one was just added")
    }

    pub(crate) fn excuse(&mut self, what: impl Into<String>, ledger: Vec<u32>) {
        assert!(!ledger.is_empty(), "an excuse names the entries of the ledger that justify it");
        self.excused.push((what.into(), ledger));
    }
}

impl Violation {
    pub(crate) fn about(&mut self, key: MessageKey) -> &mut Violation {
        self.about = Some(key);
        self
    }

    pub(crate) fn at_place(&mut self, queue: Queue, offset: u64) -> &mut Violation {
        self.place = Some((queue, offset));
        self
    }
}

#[cfg(test)]
#[test]
fn a_canary_is_seen_by_its_oracle() {
    // A history with nothing but a loss: if this passes, nothing else can be believed.
    let mut tale = tale::Tale::new(Promise::Disk);
    tale.sent(1_000, 1, 0);
    let case = tale.end();
    let broken: Vec<&str> = ORACLES
        .iter()
        .filter(|oracle| !(oracle.judge)(&case).violations.is_empty())
        .map(|oracle| oracle.id)
        .collect();
    assert_eq!(broken, ["O1"]);
}

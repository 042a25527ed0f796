//! The damage ledger: everything the simulator destroyed or disturbed, typed, with true time and node.
//!
//! A checker may excuse a loss only by naming entries of this list; so an entry is written at the moment of the damage
//! and never removed. Killing a process, crashing its operating system and losing its disk are three different entries,
//! because they break three different promises.

use crate::sim::NodeId;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// True virtual time in nanoseconds.
    pub at: u64,
    pub node: NodeId,
    pub damage: Damage,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The process died; the page cache lives.
    Kill,
    /// The machine lost power: any subset of what was not synced is gone.
    OsCrash {
        pages_lost: u64,
        pages_torn: u64,
        names_lost: u64,
    },
    /// A sync was acknowledged and not done.
    Lie {
        path: String,
    },
    /// Bytes changed on the platter or in the cache without anybody's writing.
    Rot {
        path: String,
        offset: u64,
        len: u64,
    },
    /// The whole disk is gone.
    Loss,
    /// An old image of the disk was put back.
    Rollback,
    /// A sync failed and dropped these pages.
    SyncFailed {
        path: String,
        pages: u64,
    },
    /// Reading, writing or making a name failed.
    IoError {
        what: &'static str,
    },
    /// The disk did not answer from `at` on, for so many nanoseconds (`u64::MAX`: until further notice).
    Stall {
        ns: u64,
    },
    /// The disk took no change from `at` on, for so many nanoseconds (`u64::MAX`: until further notice).
    ReadOnly {
        ns: u64,
    },
    /// The disk had little room left, or none, from `at` on, for so many nanoseconds (`u64::MAX`: until further notice).
    Full {
        ns: u64,
    },
    /// No process ran on the node since `at`, for so many nanoseconds.
    Pause {
        ns: u64,
    },
    /// Nothing from `node` reached `to` from `at` until `until`.
    Partition {
        to: NodeId,
        until: Option<u64>,
    },
    /// Connections cut by the network.
    Reset {
        to: NodeId,
    },
    /// A bit changed on the way, past every checksum of the network.
    Flip {
        to: NodeId,
    },
    ClockJump {
        ms: i64,
    },
    ClockDrift {
        ppm: i64,
    },
    ClockFrozen {
        frozen: bool,
    },
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: Vec<Entry>,
}

impl Ledger {
    pub(super) fn add(&mut self, at: u64, node: NodeId, damage: Damage) -> usize {
        self.entries.push(Entry { at, node, damage });
        self.entries.len() - 1
    }

    /// Closes an interval that [`Ledger::add`] opened.
    pub(super) fn close(&mut self, index: usize, now: u64) {
        let Some(entry) = self.entries.get_mut(index) else { return };
        match &mut entry.damage {
            Damage::Partition { until, .. } => *until = Some(now),
            Damage::Pause { ns } | Damage::Stall { ns } | Damage::ReadOnly { ns } | Damage::Full { ns } => {
                *ns = now.saturating_sub(entry.at)
            }
            _ => {}
        }
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

//! Records that the disk cannot read.
//!
//! A read that fails may be a loose cable: it is answered by an error, and the reader asks again. Where it goes on failing
//! for [`LASTING_MS`], while the same disk took a sync of the log, it is the sector: the record counts as damaged, and
//! readers pass over it as over any other, instead of standing before it for ever.

use std::collections::BTreeMap;
use std::ops::Range;

use parking_lot::Mutex;

use crate::base::Mono;

/// How long a record may be unreadable before it counts as damaged, in ms.
pub(super) const LASTING_MS: u128 = 60_000;
/// More of them are a dying disk: its readers are told errors.
const KNOWN_MAX: usize = 1024;

/// By position in the log.
#[derive(Default)]
pub(super) struct Unreadable(Mutex<BTreeMap<u64, Failing>>);

struct Failing {
    since: Mono,
    /// Syncs of the log by then.
    syncs: u64,
    told: bool,
}

/// What to make of a read that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outlook {
    /// It may be read another time.
    Open,
    /// It will not be; for the first time, or as before.
    Lost { first: bool },
}

impl Unreadable {
    /// A read of the record at `physical` failed; the log was synced `syncs` times so far.
    pub(super) fn failed(&self, physical: u64, now: Mono, syncs: u64) -> Outlook {
        let mut known = self.0.lock();
        if known.len() >= KNOWN_MAX && !known.contains_key(&physical) {
            return Outlook::Open;
        }
        let failing = known.entry(physical).or_insert(Failing { since: now, syncs, told: false });
        if now.since(failing.since).as_millis() < LASTING_MS || syncs <= failing.syncs {
            return Outlook::Open;
        }
        Outlook::Lost { first: !std::mem::replace(&mut failing.told, true) }
    }

    /// What lies there was read.
    pub(super) fn read(&self, there: Range<u64>) {
        let mut known = self.0.lock();
        if !known.is_empty() {
            known.retain(|physical, _| !there.contains(physical));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono(ms * 1_000_000)
    }

    #[test]
    fn a_record_is_lost_when_it_fails_for_long_on_a_disk_that_works() {
        let records = Unreadable::default();
        assert_eq!(records.failed(7, at(0), 3), Outlook::Open);
        assert_eq!(records.failed(7, at(59_999), 4), Outlook::Open);
        assert_eq!(records.failed(7, at(60_000), 4), Outlook::Lost { first: true });
        assert_eq!(records.failed(7, at(60_001), 4), Outlook::Lost { first: false });
        assert_eq!(records.failed(8, at(60_001), 4), Outlook::Open);
    }

    #[test]
    fn a_disk_that_takes_nothing_loses_nothing() {
        let records = Unreadable::default();
        records.failed(7, at(0), 3);
        assert_eq!(records.failed(7, at(600_000), 3), Outlook::Open);
    }

    #[test]
    fn what_was_read_again_begins_anew() {
        let records = Unreadable::default();
        records.failed(7, at(0), 3);
        records.read(0..7);
        records.read(7..8);
        assert_eq!(records.failed(7, at(60_000), 4), Outlook::Open);
    }

    #[test]
    fn a_dying_disk_is_not_remembered_sector_by_sector() {
        let records = Unreadable::default();
        for physical in 0..KNOWN_MAX as u64 {
            records.failed(physical, at(0), 0);
        }
        records.failed(5_000, at(0), 0);
        assert_eq!(records.failed(5_000, at(60_000), 1), Outlook::Open);
        assert_eq!(records.failed(0, at(60_000), 1), Outlook::Lost { first: true });
    }
}

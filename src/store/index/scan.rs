//! Reading keys out of a stretch of log.

use super::keys;
use crate::protocol::record::Entry;
use crate::protocol::record::RecordView;

/// The messages of a stretch and their numbers.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    numbers: Vec<u32>,
    /// Position, store time, and where in `numbers` its own end.
    messages: Vec<(u64, i64, usize)>,
}

/// Where a scan stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Everything before was read.
    At(u64),
    /// The record there has so many bytes; not all of them are at hand.
    Short(u64, usize),
    /// What stands there is no record; its size, if that much is believable.
    Damaged(u64, Option<usize>),
}

impl Scanned {
    /// Reads what `bytes` holds of the log from position `at` on, up to the end of `at`'s segment at most.
    pub(super) fn scan(&mut self, bytes: &[u8], at: u64, segment_bytes: u64) -> Stop {
        let mut read = 0;
        while let Some(rest) = bytes.get(read..).filter(|rest| !rest.is_empty()) {
            let here = at + read as u64;
            let room = segment_bytes - here % segment_bytes;
            let total = match Entry::classify(rest) {
                Ok(Entry::Record { total }) if total as u64 <= room => total,
                Ok(Entry::Filler { remaining }) if remaining as u64 == room => return Stop::At(here + room),
                // At its end a stretch may cut even an entry's head; a whole head is at hand at its beginning.
                Err(_) if rest.len() < 8 && read > 0 => return Stop::At(here),
                _ => return Stop::Damaged(here, None),
            };
            let Some(record) = rest.get(..total) else { return Stop::Short(here, total) };
            match RecordView::decode(record) {
                Ok(view) if view.physical.0 == here => {
                    keys::numbers_of(&view, &mut self.numbers);
                    self.messages.push((here, view.store_at.0, self.numbers.len()));
                }
                _ => return Stop::Damaged(here, Some(total)),
            }
            read += total;
        }
        Stop::At(at + read as u64)
    }

    /// Each message with its numbers, in log order.
    pub(super) fn messages(&self) -> impl Iterator<Item = super::book::Keyed<'_>> {
        let starts = std::iter::once(0).chain(self.messages.iter().map(|message| message.2));
        self.messages.iter().zip(starts).map(|((physical, store_at, end), start)| super::book::Keyed {
            physical: *physical,
            store_at: *store_at,
            hashes: self.numbers.get(start..*end).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &[u8] = include_bytes!("fixtures/commitlog");

    #[test]
    fn a_log_is_read_in_pieces_of_any_size() {
        let mut whole = Scanned::default();
        assert_eq!(whole.scan(LOG, 0, 65_536), Stop::At(LOG.len() as u64));
        assert_eq!(whole.messages().count(), 10);
        for piece in 8..LOG.len() {
            let mut scanned = Scanned::default();
            let (mut at, mut len) = (0, piece);
            while at < LOG.len() {
                match scanned.scan(&LOG[at..LOG.len().min(at + len)], at as u64, 65_536) {
                    Stop::At(next) => (at, len) = (next as usize, piece),
                    Stop::Short(next, total) => (at, len) = (next as usize, total.max(piece)),
                    Stop::Damaged(..) => panic!("nothing is damaged"),
                }
            }
            assert!(scanned.messages().eq(whole.messages()), "in pieces of {piece}");
        }
    }

    #[test]
    fn a_filler_leads_to_the_next_segment_and_damage_is_told() {
        let mut log = LOG.to_vec();
        let end = log.len() as u64;
        log.extend_from_slice(&100u32.to_be_bytes());
        log.extend_from_slice(&crate::protocol::record::MAGIC_FILLER.to_be_bytes());
        assert_eq!(Scanned::default().scan(&log, 0, end + 100), Stop::At(end + 100));
        assert_eq!(Scanned::default().scan(&log, 0, end + 99), Stop::Damaged(end, None));
        assert_eq!(Scanned::default().scan(&log[1..], 0, 65_536), Stop::Damaged(0, None));
        // A whole record of another position.
        assert_eq!(Scanned::default().scan(LOG, 65_536, 65_536), Stop::Damaged(65_536, Some(259)));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_a_scan_panic(bytes: Vec<u8>, at in 0u64..1 << 40) {
            Scanned::default().scan(&bytes, at, 65_536);
        }
    }
}

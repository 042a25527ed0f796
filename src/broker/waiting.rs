//! Answers that wait for the disk, in log order.
//!
//! One entry per turn of a connection, not per message. A sync that reaches an entry's end releases it; one that takes
//! longer than `syncFlushTimeout` releases it with FLUSH_DISK_TIMEOUT, which says: stored, not yet on disk.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::base::Mono;
use crate::base::PhysicalOffset;
use crate::broker::unit::Owed;
use crate::remoting::Connection;
use crate::remoting::Replies;

#[derive(Default)]
pub(crate) struct Waiting {
    entries: Mutex<VecDeque<Entry>>,
}

struct Entry {
    end: PhysicalOffset,
    since: Mono,
    connection: Arc<Connection>,
    owed: Vec<Owed>,
}

impl Waiting {
    /// Owes `connection` answers for everything below `end`.
    pub(crate) fn push(&self, now: Mono, end: PhysicalOffset, connection: &Arc<Connection>, owed: Vec<Owed>) {
        let mut entries = self.entries.lock();
        let entry = Entry { end, since: now, connection: Arc::clone(connection), owed };
        // Appends of different connections come in log order; an answer that waits for an older record goes before.
        let at = entries.iter().rposition(|earlier| earlier.end <= end).map_or(0, |last| last + 1);
        entries.insert(at, entry);
    }

    /// Sends every answer whose end is at or below `durable`.
    pub(crate) fn release(&self, durable: PhysicalOffset) {
        let mut replies = Replies::default();
        loop {
            let entry = {
                let mut entries = self.entries.lock();
                match entries.front() {
                    Some(front) if front.end <= durable => entries.pop_front(),
                    _ => None,
                }
            };
            let Some(entry) = entry else { return };
            for owed in entry.owed {
                owed.to.answer(owed.response, &mut replies);
            }
            entry.connection.send(&mut replies);
        }
    }

    /// Sends every answer that waits since `before` or longer, as late, naming `cause`.
    pub(crate) fn expire(&self, before: Mono, cause: &str) -> usize {
        let expired: Vec<Entry> = {
            let mut entries = self.entries.lock();
            let (late, kept): (Vec<Entry>, Vec<Entry>) =
                entries.drain(..).partition(|entry| entry.since <= before);
            *entries = kept.into();
            late
        };
        let mut replies = Replies::default();
        let mut count = 0;
        for entry in expired {
            for mut owed in entry.owed {
                count += 1;
                owed.response.code = owed.late;
                owed.response.remark = Some(cause.to_owned().into());
                owed.to.answer(owed.response, &mut replies);
            }
            entry.connection.send(&mut replies);
        }
        count
    }

    /// When the oldest entry began to wait.
    pub(crate) fn oldest(&self) -> Option<Mono> {
        self.entries.lock().iter().map(|entry| entry.since).min()
    }
}

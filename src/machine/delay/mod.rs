//! Delay levels: messages that wait in SCHEDULE_TOPIC_XXXX, one queue per level, until their time.
//!
//! ```text
//!        queue of a level      cursor          read            end
//!   ──── delivered ──────────────┤── window ─────┤── not read ──┤
//!                                 ▲ in flight, delivered out of turn, or waiting for their time
//!
//!   on_extended ─▶ Read ─▶ on_read ─▶ waiting ──due──▶ Deliver ─▶ on_delivered ─▶ cursor moves
//!                                        ▲────────────────┴─ on_failed: again, a little later
//! ```
//!
//! Invariants:
//!
//! * no delivery starts before its message has waited its level's delay;
//! * deliveries of a level start in the order of its queue; a failed one goes before those not started;
//! * everything below a cursor is delivered, so a restart from the cursor repeats at most what was in flight or
//!   delivered out of turn, and loses nothing;
//! * what a level holds in memory is bounded: `window_max` units.
//!
//! **Clocks.** A unit carries its deliver time by the wall clock of when it was stored. It is turned into a span when
//! the unit is read, at least nothing and at most the level's delay, and from then on only the monotonic clock counts:
//! a clock set forward does not make anything early, one set back does not make anything wait longer than its level
//! (RocketMQ's `correctDeliverTimestamp` delivers such a message at once, which is early). The bound also covers a
//! level made shorter by configuration.
//!
//! Not here: the timer wheel of arbitrary delays; reading queue units and messages, appending.

mod form;
mod levels;

pub use form::DeliverError;
pub use form::Delivered;
pub use form::SCHEDULE_TOPIC;
pub use form::Scheduled;
pub use form::deliver_form;
pub use form::schedule_form;
pub use levels::DEFAULT_LEVELS;
pub use levels::Levels;
pub use levels::LevelsError;

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::base::Mono;
use crate::base::PhysicalOffset;
use crate::base::QueueOffset;
use crate::base::Timestamp;

#[derive(Clone, Copy, Debug)]
pub struct DelayLimits {
    /// Units of one level read ahead.
    pub window_max: usize,
    /// Deliveries of one level started and not reported.
    pub in_flight_max: usize,
    /// Wait before a failed delivery is tried again.
    pub retry_after: Duration,
}

impl Default for DelayLimits {
    fn default() -> DelayLimits {
        DelayLimits { window_max: 4096, in_flight_max: 64, retry_after: Duration::from_millis(100) }
    }
}

#[derive(Debug)]
pub struct Delay {
    limits: DelayLimits,
    levels: Levels,
    /// By level, from 1: `lanes[0]` is level 1.
    lanes: Vec<Lane>,
    changes: u64,
    persisted: u64,
}

#[derive(Debug, Default)]
struct Lane {
    /// Everything below is delivered.
    cursor: QueueOffset,
    /// The next offset to read.
    read: QueueOffset,
    /// The queue's end, as far as known.
    end: QueueOffset,
    reading: bool,
    /// From `cursor` on, in order; a gap in offsets means that retention took the units in between.
    window: VecDeque<Waiting>,
    in_flight: usize,
}

#[derive(Debug)]
struct Waiting {
    unit: Unit,
    due: Mono,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    InFlight,
    Delivered,
}

/// A unit of a level's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    pub offset: QueueOffset,
    pub physical: PhysicalOffset,
    /// Size of the record, in bytes.
    pub size: u32,
    /// The unit's tags code: wall clock, ms.
    pub deliver_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Read at most `max` units of a level's queue from `from` on, then call [`Delay::on_read`].
    Read { level: u32, from: QueueOffset, max: usize },
    /// Append this message in its deliver form, then call [`Delay::on_delivered`] once it is durable, or
    /// [`Delay::on_failed`].
    Deliver { level: u32, unit: Unit },
}

/// `delayOffset.json`, but for the file's data version: level → cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DelayTable {
    pub offset_table: BTreeMap<u32, i64>,
}

impl Delay {
    pub fn new(levels: Levels, limits: DelayLimits) -> Delay {
        assert!(limits.window_max > 0 && limits.in_flight_max > 0, "a level has room for one message");
        let lanes = (1..=levels.max()).map(|_| Lane::default()).collect();
        Delay { limits, levels, lanes, changes: 0, persisted: 0 }
    }

    /// After a restart: cursors as written down. Levels no longer configured and negative offsets are dropped. Follow
    /// with [`Delay::cut`] for every level, before anything is appended.
    pub fn replay(levels: Levels, limits: DelayLimits, table: &DelayTable) -> Delay {
        let mut delay = Delay::new(levels, limits);
        for (&level, &offset) in &table.offset_table {
            let Ok(offset) = u64::try_from(offset) else { continue };
            if let Some(lane) = delay.lane(level) {
                lane.cursor = QueueOffset(offset);
                lane.read = QueueOffset(offset);
            }
        }
        delay
    }

    /// After a restart the queue of a level ends here, at 0 if a crash took all of it. A cursor beyond it speaks of messages
    /// that the log has lost: new ones that get their offsets would never be delivered.
    pub fn cut(&mut self, level: u32, end: QueueOffset) {
        let Some(lane) = self.lane(level) else { return };
        assert!(lane.window.is_empty() && !lane.reading, "a cursor is cut before anything is read");
        let cut = end < lane.cursor;
        lane.cursor = lane.cursor.min(end);
        lane.read = lane.cursor;
        lane.end = lane.cursor;
        self.changes += u64::from(cut);
    }

    pub fn levels(&self) -> &Levels {
        &self.levels
    }

    /// The queue of a level now spans `min..end`: after an append, and once for each level after a restart.
    pub fn on_extended(&mut self, level: u32, min: QueueOffset, end: QueueOffset, effects: &mut Vec<Effect>) {
        let window_max = self.limits.window_max;
        let Some(lane) = self.lane(level) else { return };
        lane.end = lane.end.max(end);
        if lane.window.is_empty() && !lane.reading {
            // Retention took the cursor's units.
            lane.read = lane.read.max(min).min(lane.end);
            lane.cursor = lane.read;
        }
        lane.read_more(level, window_max, effects);
    }

    /// What a [`Effect::Read`] found, in order; `next` is where reading goes on. An empty answer means that nothing is
    /// left below the end that was known.
    pub fn on_read(
        &mut self,
        now: Mono,
        wall: Timestamp,
        level: u32,
        units: &[Unit],
        next: QueueOffset,
        effects: &mut Vec<Effect>,
    ) {
        let Some(delay) = self.levels.delay(level) else { return };
        let limits = self.limits;
        let Some(lane) = self.lane(level) else { return };
        assert!(lane.reading, "a read is answered once");
        lane.reading = false;
        for unit in units.iter().filter(|unit| unit.offset >= lane.read) {
            assert!(
                lane.window.back().is_none_or(|last| last.unit.offset < unit.offset),
                "units come in order"
            );
            let left = u64::try_from(unit.deliver_at.ms_since(wall)).unwrap_or(0);
            let due = now.plus(Duration::from_millis(left).min(delay));
            lane.window.push_back(Waiting { unit: *unit, due, state: State::Waiting });
        }
        let seen = lane.window.back().map_or(lane.read, |last| last.unit.offset.plus(1));
        lane.read = lane.read.max(next).max(seen);
        lane.end = lane.end.max(lane.read);
        if units.is_empty() && lane.read < lane.end && next <= lane.read {
            // Nothing to be had where something was promised: wait for the next append rather than ask for ever.
            lane.end = lane.read;
        }
        let moved = lane.settle();
        lane.start_due(now, level, &limits, effects);
        lane.read_more(level, limits.window_max, effects);
        self.changes += moved;
    }

    /// Starts what is due. Calling it early or often is harmless.
    pub fn on_timer(&mut self, now: Mono, effects: &mut Vec<Effect>) {
        let limits = self.limits;
        for (lane, level) in self.lanes.iter_mut().zip(1..) {
            lane.start_due(now, level, &limits, effects);
        }
        assert!(self.next_deadline().is_none_or(|at| now < at), "nothing due is left behind");
    }

    /// A delivery is durable, or there is nothing to deliver: its message is unreadable, its topic deleted.
    pub fn on_delivered(&mut self, now: Mono, level: u32, offset: QueueOffset, effects: &mut Vec<Effect>) {
        let limits = self.limits;
        let Some(lane) = self.lane(level) else { return };
        lane.report(offset, State::Delivered);
        let moved = lane.settle();
        lane.start_due(now, level, &limits, effects);
        lane.read_more(level, limits.window_max, effects);
        self.changes += moved;
    }

    /// A delivery could not be appended; it is tried again.
    pub fn on_failed(&mut self, now: Mono, level: u32, offset: QueueOffset) {
        let due = now.plus(self.limits.retry_after);
        let Some(lane) = self.lane(level) else { return };
        lane.report(offset, State::Waiting).due = due;
    }

    /// When [`Delay::on_timer`] next has something to do.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.lanes.iter().filter_map(|lane| lane.next_due(self.limits.in_flight_max)).min()
    }

    /// Everything below is delivered. Nothing for a level that does not exist.
    pub fn cursor(&self, level: u32) -> Option<QueueOffset> {
        let index = usize::try_from(level.checked_sub(1)?).ok()?;
        self.lanes.get(index).map(|lane| lane.cursor)
    }

    /// The cursors as they are written down, and the count of changes they contain: hand the count to
    /// [`Delay::on_persisted`] once the file is safe.
    pub fn snapshot(&self) -> (DelayTable, u64) {
        let mut table = DelayTable::default();
        for (lane, level) in self.lanes.iter().zip(1..) {
            if lane.cursor > QueueOffset(0) {
                let offset = i64::try_from(lane.cursor.0).expect("a queue offset fits Java's long");
                table.offset_table.insert(level, offset);
            }
        }
        (table, self.changes)
    }

    /// There are cursor moves that no file has.
    pub fn is_dirty(&self) -> bool {
        self.persisted != self.changes
    }

    pub fn on_persisted(&mut self, changes: u64) {
        assert!(changes <= self.changes, "only what has happened is written down");
        self.persisted = self.persisted.max(changes);
    }

    pub fn check_invariants(&self) {
        for lane in &self.lanes {
            assert!(lane.window.len() <= self.limits.window_max, "a window is bounded");
            assert!(
                lane.cursor <= lane.read && lane.read <= lane.end,
                "delivered, read and stored are nested"
            );
            let in_flight = lane.window.iter().filter(|waiting| waiting.state == State::InFlight).count();
            assert_eq!(lane.in_flight, in_flight, "the count of deliveries is their number");
            assert!(in_flight <= self.limits.in_flight_max, "deliveries in flight are bounded");
            let undelivered = lane.window.iter().find(|waiting| waiting.state != State::Delivered);
            let least = undelivered.map_or(lane.read, |waiting| waiting.unit.offset);
            assert!(lane.cursor <= least, "a cursor does not pass what is undelivered");
        }
    }

    fn lane(&mut self, level: u32) -> Option<&mut Lane> {
        let index = usize::try_from(level.checked_sub(1)?).ok()?;
        self.lanes.get_mut(index)
    }
}

impl Lane {
    fn read_more(&mut self, level: u32, window_max: usize, effects: &mut Vec<Effect>) {
        // Half a window at least: reading one unit for each delivered one would be a read per message.
        let room = window_max - self.window.len();
        if !self.reading && self.read < self.end && room >= window_max.div_ceil(2) {
            self.reading = true;
            effects.push(Effect::Read { level, from: self.read, max: room });
        }
    }

    fn start_due(&mut self, now: Mono, level: u32, limits: &DelayLimits, effects: &mut Vec<Effect>) {
        let mut room = limits.in_flight_max - self.in_flight;
        for waiting in self.window.iter_mut().filter(|waiting| waiting.state == State::Waiting) {
            if room == 0 || now < waiting.due {
                break;
            }
            waiting.state = State::InFlight;
            self.in_flight += 1;
            room -= 1;
            effects.push(Effect::Deliver { level, unit: waiting.unit });
        }
    }

    fn report(&mut self, offset: QueueOffset, state: State) -> &mut Waiting {
        let index = self.window.binary_search_by_key(&offset, |waiting| waiting.unit.offset);
        let index = index.expect("what is reported was to be delivered");
        let waiting = self.window.get_mut(index).expect("a found index is in the window");
        assert_eq!(waiting.state, State::InFlight, "a delivery is reported once, while in flight");
        waiting.state = state;
        self.in_flight -= 1;
        waiting
    }

    /// Drops the delivered head; returns 1 if the cursor moved.
    fn settle(&mut self) -> u64 {
        let before = self.cursor;
        while self.window.front().is_some_and(|waiting| waiting.state == State::Delivered) {
            self.window.pop_front();
        }
        self.cursor = self.window.front().map_or(self.read, |waiting| waiting.unit.offset);
        assert!(before <= self.cursor, "a cursor never goes back");
        u64::from(before < self.cursor)
    }

    fn next_due(&self, in_flight_max: usize) -> Option<Mono> {
        if self.in_flight == in_flight_max {
            return None;
        }
        let next = self.window.iter().find(|waiting| waiting.state == State::Waiting)?;
        Some(next.due)
    }
}

#[cfg(test)]
mod tests;

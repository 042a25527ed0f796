//! The clock of one node, and the timers of all of them.
//!
//! ```text
//! true time (madsim's) ── rate: 1 + drift ppm ──▶ host time ── minus the process's zero ──▶ Clock::now
//!                                                     └────── plus the wall offset ───────▶ Clock::wall
//! ```
//!
//! Changing the drift keeps host time continuous, so the monotonic clock never goes back. Jumps move the wall only.
//!
//! A sleep arms one timer in the world's queue, at its first poll, and takes it out when dropped: madsim's own `Sleep`
//! pushes a new entry at every poll, never removes one, and is clamped to a millisecond. The world's driver sleeps on
//! madsim for the earliest timer only.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use crate::base::Mono;
use crate::base::Timestamp;
use crate::env::BoxFuture;
use crate::env::Clock;
use crate::sim::NodeId;
use crate::sim::World;
use crate::sim::ledger::Damage;
use crate::sim::node::Life;
use crate::sim::node::NodeState;
use crate::sim::trace::Kind;

/// What a node's wall clock shows at true time zero, in milliseconds: 2023-11-14 22:13:20 UTC.
pub const WALL_START_MS: i64 = 1_700_000_000_000;

const PPM: i128 = 1_000_000;

/// Rate and offset of one host's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostClock {
    /// True time of the last change of rate, and host time then.
    true_base: u64,
    host_base: u64,
    drift_ppm: i64,
    wall_offset_ms: i64,
    frozen_wall: Option<i64>,
}

impl HostClock {
    pub(super) fn new() -> HostClock {
        HostClock { true_base: 0, host_base: 0, drift_ppm: 0, wall_offset_ms: 0, frozen_wall: None }
    }

    /// Host nanoseconds at true time `now`.
    pub(super) fn host(&self, now: u64) -> u64 {
        let since = i128::from(now.saturating_sub(self.true_base));
        let passed = since + (since * i128::from(self.drift_ppm)).div_euclid(PPM);
        self.host_base.saturating_add(u64::try_from(passed).unwrap_or(0))
    }

    /// The first true time at which [`HostClock::host`] is at or past `host`.
    fn true_time(&self, host: u64) -> u64 {
        let since = i128::from(host.saturating_sub(self.host_base));
        let rate = PPM + i128::from(self.drift_ppm);
        let passed = (since * PPM + rate - 1) / rate;
        self.true_base.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    fn wall(&self, now: u64) -> i64 {
        self.frozen_wall.unwrap_or_else(|| {
            let host_ms = i64::try_from(self.host(now) / 1_000_000).unwrap_or(i64::MAX);
            WALL_START_MS.saturating_add(host_ms).saturating_add(self.wall_offset_ms)
        })
    }

    fn set_drift(&mut self, now: u64, ppm: i64) {
        self.host_base = self.host(now);
        self.true_base = now;
        self.drift_ppm = ppm;
    }
}

/// The faults of one node's clock.
pub struct NodeClock<'a> {
    pub(super) world: &'a World,
    pub(super) node: &'a NodeState,
}

impl NodeClock<'_> {
    /// The host's clock runs `ppm` parts in a million fast (slow when negative) from now on.
    pub fn drift(&self, ppm: i64) {
        assert!(ppm > -900_000, "a clock that stands still or goes back is not a drift");
        let now = self.world.now_ns();
        self.node.clock.lock().set_drift(now, ppm);
        self.world.damage(self.node.id, Damage::ClockDrift { ppm });
        self.changed();
    }

    /// The wall clock jumps by `ms`, forward or back. The monotonic clock does not move.
    pub fn jump(&self, ms: i64) {
        let mut clock = self.node.clock.lock();
        clock.wall_offset_ms = clock.wall_offset_ms.saturating_add(ms);
        drop(clock);
        self.world.damage(self.node.id, Damage::ClockJump { ms });
        self.changed();
    }

    /// The wall clock shows this time now: a machine that boots at 1970, a step of NTP.
    pub fn set_wall(&self, to: Timestamp) {
        let shown = self.node.clock.lock().wall(self.world.now_ns());
        self.jump(to.0.saturating_sub(shown));
    }

    /// The wall clock stands still until it is thawed; then it shows the right time again.
    pub fn freeze(&self, frozen: bool) {
        let now = self.world.now_ns();
        let mut clock = self.node.clock.lock();
        if frozen == clock.frozen_wall.is_some() {
            return;
        }
        clock.frozen_wall = frozen.then(|| clock.wall(now));
        drop(clock);
        self.world.damage(self.node.id, Damage::ClockFrozen { frozen });
        self.changed();
    }

    /// No drift, no offset, not frozen.
    pub fn heal(&self) {
        let clock = *self.node.clock.lock();
        if clock.drift_ppm != 0 {
            self.drift(0);
        }
        self.freeze(false);
        if clock.wall_offset_ms != 0 {
            self.jump(-clock.wall_offset_ms);
        }
    }

    pub fn wall(&self) -> Timestamp {
        Timestamp(self.node.clock.lock().wall(self.world.now_ns()))
    }

    fn changed(&self) {
        let clock = *self.node.clock.lock();
        self.world.event(
            self.node.id,
            Kind::Clock,
            clock.drift_ppm.cast_unsigned(),
            clock.wall_offset_ms.cast_unsigned(),
        );
        // Sleepers compute their true deadline anew.
        let sleepers = self.world.timers.lock().take_of(self.node.id);
        for waker in sleepers {
            waker.wake();
        }
    }
}

/// A process's clock. Its zero is drawn anew for each life, so that nobody compares instants of two lives.
pub(super) struct SimClock {
    pub(super) world: World,
    pub(super) node: Arc<NodeState>,
    pub(super) life: Arc<Life>,
}

impl SimClock {
    fn mono(&self) -> Mono {
        let host = self.node.clock.lock().host(self.world.now_ns());
        Mono(host.saturating_sub(self.life.host_zero).saturating_add(self.life.mono_start))
    }
}

impl Clock for SimClock {
    fn now(&self) -> Mono {
        self.mono()
    }

    fn wall(&self) -> Timestamp {
        Timestamp(self.node.clock.lock().wall(self.world.now_ns()))
    }

    /// Simulated nodes live by UTC.
    fn zone_ms(&self, _: Timestamp) -> i64 {
        0
    }

    fn sleep_until(&self, deadline: Mono) -> BoxFuture<'static, ()> {
        let clock = SimClock {
            world: self.world.clone(),
            node: Arc::clone(&self.node),
            life: Arc::clone(&self.life),
        };
        Box::pin(HostSleep { clock, deadline, armed: None })
    }
}

struct HostSleep {
    clock: SimClock,
    deadline: Mono,
    armed: Option<TimerKey>,
}

impl Future for HostSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.deadline == Mono::NEVER || !self.clock.life.is_alive() {
            return Poll::Pending;
        }
        if self.clock.mono() >= self.deadline {
            return Poll::Ready(());
        }
        let life = &self.clock.life;
        let host = life.host_zero.saturating_add(self.deadline.0.saturating_sub(life.mono_start));
        let at = self.clock.node.clock.lock().true_time(host);
        let armed = self.clock.world.arm(self.clock.node.id, at, self.armed, cx.waker());
        self.armed = Some(armed);
        Poll::Pending
    }
}

impl Drop for HostSleep {
    fn drop(&mut self) {
        if let Some(key) = self.armed {
            self.clock.world.disarm(key);
        }
    }
}

/// Ends at a true time, whatever any node's clock says: latencies and faults.
pub(super) struct TrueSleep {
    pub(super) world: World,
    pub(super) node: NodeId,
    pub(super) at: u64,
    pub(super) armed: Option<TimerKey>,
}

impl Future for TrueSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.world.now_ns() >= self.at {
            return Poll::Ready(());
        }
        if self.at != u64::MAX {
            self.armed = Some(self.world.arm(self.node, self.at, self.armed, cx.waker()));
        }
        Poll::Pending
    }
}

impl Drop for TrueSleep {
    fn drop(&mut self) {
        if let Some(key) = self.armed {
            self.world.disarm(key);
        }
    }
}

/// True time, then node and the node's own count: never the order of insertion across nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TimerKey {
    pub(super) at: u64,
    node: NodeId,
    n: u64,
}

/// All timers of a world.
#[derive(Default)]
pub(super) struct Timers {
    queue: BTreeMap<TimerKey, Waker>,
    armed_by: Vec<u64>,
}

impl Timers {
    /// Arms a timer, or keeps `old` if it is still in the queue for the same time.
    pub(super) fn arm(&mut self, node: NodeId, at: u64, old: Option<TimerKey>, waker: &Waker) -> TimerKey {
        if let Some(old) = old {
            if old.at == at
                && let Some(kept) = self.queue.get_mut(&old)
            {
                kept.clone_from(waker);
                return old;
            }
            self.queue.remove(&old);
        }
        let index = node.index();
        if self.armed_by.len() <= index {
            self.armed_by.resize(index + 1, 0);
        }
        self.armed_by[index] += 1;
        let key = TimerKey { at, node, n: self.armed_by[index] };
        self.queue.insert(key, waker.clone());
        key
    }

    pub(super) fn disarm(&mut self, key: TimerKey) -> Option<Waker> {
        self.queue.remove(&key)
    }

    pub(super) fn next(&self) -> Option<u64> {
        self.queue.first_key_value().map(|(key, _)| key.at)
    }

    pub(super) fn pop_due(&mut self, now: u64) -> Option<Waker> {
        let first = self.queue.first_entry()?;
        (first.key().at <= now).then(|| first.remove())
    }

    fn take_of(&mut self, node: NodeId) -> Vec<Waker> {
        let keys: Vec<TimerKey> = self.queue.keys().filter(|key| key.node == node).copied().collect();
        keys.into_iter().filter_map(|key| self.queue.remove(&key)).collect()
    }

    pub(super) fn take_all(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.queue).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_clock_is_continuous_when_its_rate_changes() {
        let mut clock = HostClock::new();
        clock.set_drift(1_000_000_000, 500);
        let before = clock.host(5_000_000_000);
        clock.set_drift(5_000_000_000, -200_000);
        assert_eq!(clock.host(5_000_000_000), before);
        assert!(clock.host(5_000_000_001) >= before);
    }

    #[test]
    fn true_time_is_the_first_instant_at_which_the_host_shows_it() {
        for ppm in [-300_000, -7, 0, 3, 250_000] {
            let mut clock = HostClock::new();
            clock.set_drift(1_234, ppm);
            for host in [1_234u64, 1_235, 2_000, 1_000_000_007] {
                let at = clock.true_time(host);
                assert!(clock.host(at) >= host);
                assert!(at <= 1_234 || clock.host(at - 2) < host);
            }
        }
    }
}

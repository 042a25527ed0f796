//! Totals since the broker started, and rates made of them when somebody asks: relaxed atomics on the path of a message,
//! no clock, no tick.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;

use crate::base::Mono;
use crate::protocol::record::NewRecord;
use crate::store::Appended;

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) put_messages: AtomicU64,
    pub(crate) put_bytes: AtomicU64,
    pub(crate) put_failed: AtomicU64,
    pub(crate) got_messages: AtomicU64,
    pub(crate) got_bytes: AtomicU64,
    pub(crate) pulls_found: AtomicU64,
    pub(crate) pulls_empty: AtomicU64,
    samples: Mutex<VecDeque<Sample>>,
}

impl Counters {
    pub(crate) fn on_put(&self, records: &[NewRecord], appended: &[Appended]) {
        let bytes: u64 = appended.iter().map(|message| u64::from(message.bytes)).sum();
        self.put_messages.fetch_add(records.len() as u64, Ordering::Relaxed);
        self.put_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn on_put_failed(&self, requests: usize) {
        self.put_failed.fetch_add(requests as u64, Ordering::Relaxed);
    }

    pub(crate) fn on_pulled(&self, messages: usize, bytes: usize) {
        let pulls = if messages == 0 { &self.pulls_empty } else { &self.pulls_found };
        pulls.fetch_add(1, Ordering::Relaxed);
        self.got_messages.fetch_add(messages as u64, Ordering::Relaxed);
        self.got_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Messages per second as RocketMQ prints them: over ten seconds, a minute and ten minutes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rates {
    pub(crate) put: String,
    pub(crate) got: String,
    pub(crate) pulls: String,
    pub(crate) found: String,
    pub(crate) missed: String,
}

/// Totals at one instant.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    at: Mono,
    put: u64,
    got: u64,
    found: u64,
    missed: u64,
}

/// The windows of [`Rates`], in milliseconds.
const WINDOWS_MS: [u64; 3] = [10_000, 60_000, 600_000];
/// Samples kept; one is taken when somebody asks.
const SAMPLES_MAX: usize = 256;

impl Counters {
    /// Rates since the sample nearest to each window's start. Samples are taken when this is called and only then, so a
    /// window reaches back to the last question, or to the start, if nobody asked within it.
    pub(crate) fn rates(&self, now: Mono) -> Rates {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let current = Sample {
            at: now,
            put: load(&self.put_messages),
            got: load(&self.got_messages),
            found: load(&self.pulls_found),
            missed: load(&self.pulls_empty),
        };
        let mut samples = self.samples.lock();
        let bases = WINDOWS_MS.map(|window| {
            let inside = |sample: &&Sample| now.since(sample.at) <= Duration::from_millis(window);
            let oldest_inside = samples.iter().find(inside).copied();
            let before = samples.iter().rev().find(|sample| !inside(sample)).copied();
            before.or(oldest_inside).unwrap_or_default()
        });
        samples.push_back(current);
        if samples.len() > SAMPLES_MAX {
            samples.pop_front();
        }
        let print = |of: fn(&Sample) -> u64| {
            let rate = |base: &Sample| {
                let seconds = now.since(base.at).as_secs_f64().max(0.001);
                format!("{:.2}", of(&current).saturating_sub(of(base)) as f64 / seconds)
            };
            bases.iter().map(rate).collect::<Vec<_>>().join(" ")
        };
        Rates {
            put: print(|sample| sample.put),
            got: print(|sample| sample.got),
            pulls: print(|sample| sample.found + sample.missed),
            found: print(|sample| sample.found),
            missed: print(|sample| sample.missed),
        }
    }
}

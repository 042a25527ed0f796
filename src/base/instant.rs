//! Two clocks, two types: [`Mono`] for intervals and deadlines, [`Timestamp`] for what is written down.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A monotonic instant: nanoseconds since an arbitrary start of the process. Never goes back, never leaves the
/// process. Not `std`'s `Instant`, so that a simulated node can have a clock of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

/// Wall-clock time: milliseconds since the Unix epoch. May jump either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Mono {
    /// A deadline that never comes.
    pub const NEVER: Mono = Mono(u64::MAX);

    pub fn plus(self, span: Duration) -> Mono {
        Mono(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }

    pub fn plus_ms(self, ms: u64) -> Mono {
        self.plus(Duration::from_millis(ms))
    }

    /// Zero if `earlier` is in fact later.
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Timestamp {
    pub fn plus_ms(self, ms: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to here; negative when the clock went back.
    pub fn ms_since(self, earlier: Timestamp) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

//! Waiting in the real world. The gate drives real processes, so it is the one place beside `env/real` that reads the
//! machine's clock.

use std::time::{Duration, Instant, SystemTime};

/// A moment in real time after which patience ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// The moment `patience` from now.
    pub(crate) fn after(patience: Duration) -> Self {
        Self(Instant::now() + patience)
    }

    /// Is it over?
    pub(crate) fn passed(self) -> bool {
        Instant::now() >= self.0
    }
}

/// Measures from its creation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Yields the processor between two looks at a condition.
pub(crate) fn nap(time: Duration) {
    std::thread::sleep(time);
}

/// Milliseconds since 1970, by the machine's clock.
pub(crate) fn wall_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

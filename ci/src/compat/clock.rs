//! Waiting in the real world. The gate drives real processes, so it is the one place beside `env/real` that reads the
//! machine's clock.

use std::time::{Duration, Instant};

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

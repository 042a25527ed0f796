//! The machine's clocks. [`Mono`] counts from the first environment of the process.

#![expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clocks")]

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use crate::base::{Mono, Timestamp};
use crate::env::{BoxFuture, Clock};

static PROCESS_START: OnceLock<Instant> = OnceLock::new();

#[derive(Clone, Copy)]
pub(super) struct RealClock {
    start: Instant,
}

impl RealClock {
    pub(super) fn new() -> RealClock {
        RealClock { start: *PROCESS_START.get_or_init(Instant::now) }
    }
}

impl Clock for RealClock {
    fn now(&self) -> Mono {
        Mono::default().plus(self.start.elapsed())
    }

    fn wall(&self) -> Timestamp {
        let since = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => Timestamp(since(after)),
            Err(before) => Timestamp(-since(before.duration())),
        }
    }

    fn sleep_until(&self, deadline: Mono) -> BoxFuture<'static, ()> {
        let at = self.start.checked_add(Duration::from_nanos(deadline.0));
        match at {
            Some(at) if deadline != Mono::NEVER => Box::pin(tokio_real::time::sleep_until(at.into())),
            _ => Box::pin(std::future::pending()),
        }
    }
}

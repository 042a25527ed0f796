//! The machine's clocks. [`Mono`] counts from the first environment of the process.

#![expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clocks")]

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use jiff::tz::TimeZone;

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

    /// By `TZ`, else `/etc/localtime`, else UTC; a change of either is seen within minutes.
    fn zone_ms(&self, at: Timestamp) -> i64 {
        offset_ms(&TimeZone::system(), at)
    }

    fn sleep_until(&self, deadline: Mono) -> BoxFuture<'static, ()> {
        let at = self.start.checked_add(Duration::from_nanos(deadline.0));
        match at {
            Some(at) if deadline != Mono::NEVER => Box::pin(tokio_real::time::sleep_until(at.into())),
            _ => Box::pin(std::future::pending()),
        }
    }
}

/// UTC beyond the years -9999 to 9999.
fn offset_ms(zone: &TimeZone, at: Timestamp) -> i64 {
    jiff::Timestamp::from_millisecond(at.0).map_or(0, |at| i64::from(zone.to_offset(at).seconds()) * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_time_knows_summer_and_winter_and_both_sides_of_greenwich() {
        let zone = |rule| TimeZone::posix(rule).expect("a rule");
        // 2026-01-15 and 2026-07-15, noon in UTC.
        let (winter, summer) = (Timestamp(1_768_478_400_000), Timestamp(1_784_116_800_000));
        let berlin = zone("CET-1CEST,M3.5.0,M10.5.0/3");
        assert_eq!((offset_ms(&berlin, winter), offset_ms(&berlin, summer)), (3_600_000, 7_200_000));
        assert_eq!(offset_ms(&zone("IST-5:30"), winter), 19_800_000);
        assert_eq!(offset_ms(&zone("EST5"), summer), -18_000_000);
        for beyond in [i64::MIN, i64::MAX] {
            assert_eq!(offset_ms(&berlin, Timestamp(beyond)), 0);
        }
    }
}

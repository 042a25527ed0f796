//! How full the file system of the store may become, and what happens at each mark.
//!
//! ```text
//!    0 ─────── diskMaxUsedSpaceRatio ─────── diskSpaceCleanForciblyRatio ─────── diskSpaceWarningLevelRatio ─── 100 %
//!   at deleteWhen   expired segments go at once      the oldest go, expired or not        messages are refused
//! ```
//!
//! A mark holds above it, not at it; one of 100 never holds. Not here: measuring, removing.

use std::path::Path;

use crate::broker::config::Config;
use crate::env::Space;
use crate::store::OverMark;

/// What a measurement asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Whole percents in use, rounded down.
    pub(crate) used_percent: u8,
    pub(crate) remove_expired: bool,
    pub(crate) remove_oldest: bool,
    pub(crate) refuse: bool,
}

/// Judges `space` by the marks of `config`. Of a file system that tells no size, nothing is asked.
pub(crate) fn judge(config: &Config, space: Space) -> Wanted {
    let used = u128::from(space.total.saturating_sub(space.available)) * 100;
    let total = u128::from(space.total);
    let above = |percent: u8| used > total * u128::from(percent);
    Wanted {
        used_percent: u8::try_from(used.checked_div(total).unwrap_or(0)).unwrap_or(100),
        remove_expired: above(config.disk_used_percent_max),
        remove_oldest: config.clean_file_forcibly && above(config.disk_clean_forcibly_percent),
        refuse: above(config.disk_warning_percent),
    }
}

/// Why messages are refused, if they are.
pub(crate) fn over_mark(config: &Config, root: &Path, wanted: Wanted) -> Option<OverMark> {
    wanted.refuse.then(|| OverMark {
        dir: root.to_path_buf(),
        used_percent: wanted.used_percent,
        limit_percent: config.disk_warning_percent,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(used: u64) -> Wanted {
        judge(&Config::default(), Space { total: 10_000, available: 10_000 - used })
    }

    #[test]
    fn each_mark_holds_above_it_and_not_at_it() {
        let marks = |used| {
            let Wanted { remove_expired, remove_oldest, refuse, .. } = at(used);
            (remove_expired, remove_oldest, refuse)
        };
        assert_eq!(marks(7_500), (false, false, false));
        assert_eq!(marks(7_501), (true, false, false));
        assert_eq!(marks(8_500), (true, false, false));
        assert_eq!(marks(8_501), (true, true, false));
        assert_eq!(marks(9_000), (true, true, false));
        assert_eq!(marks(9_001), (true, true, true));
        assert_eq!(at(9_099).used_percent, 90);
    }

    #[test]
    fn a_mark_of_100_and_a_disk_without_a_size_ask_for_nothing() {
        let config =
            Config { disk_clean_forcibly_percent: 100, disk_warning_percent: 100, ..Config::default() };
        let full = judge(&config, Space { total: 10_000, available: 0 });
        assert!(full.remove_expired && !full.remove_oldest && !full.refuse);
        let unknown = judge(&Config::default(), Space { total: 0, available: 0 });
        assert!(!unknown.remove_expired && !unknown.refuse);
        let unforced = Config { clean_file_forcibly: false, ..Config::default() };
        assert!(!judge(&unforced, Space { total: 10_000, available: 0 }).remove_oldest);
    }

    #[test]
    fn a_refusal_says_what_was_measured_the_limit_and_the_next_step() {
        let said = over_mark(&Config::default(), Path::new("/data"), at(9_350)).unwrap().to_string();
        for part in ["/data", "93 %", "90 %", "diskSpaceWarningLevelRatio", "free space"] {
            assert!(said.contains(part), "{said}");
        }
        assert_eq!(over_mark(&Config::default(), Path::new("/data"), at(9_000)), None);
    }
}

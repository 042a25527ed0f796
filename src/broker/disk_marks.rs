//! How full the file system of the store may become, and what happens at each mark.
//!
//! ```text
//!    0 ─────── diskMaxUsedSpaceRatio ─────── diskSpaceCleanForciblyRatio ─────── diskSpaceWarningLevelRatio ─── 100 %
//!   at deleteWhen   expired segments go at once      cleanFileForciblyEnable:             messages are refused
//!                                                    the oldest go, expired or not
//! ```
//!
//! Without `cleanFileForciblyEnable`, our default and not RocketMQ's, nothing goes that has not expired: what was
//! acknowledged is not given up for what is to come.
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
    /// Looked at more often from here on.
    pub(crate) nearly_full: bool,
    /// The oldest would go by force, but for `cleanFileForciblyEnable=false`.
    pub(crate) keeps_though_full: bool,
}

/// Judges `space` by the marks of `config`. Of a file system that tells no size, nothing is asked.
pub(crate) fn judge(config: &Config, space: Space) -> Wanted {
    let used = u128::from(space.total.saturating_sub(space.available)) * 100;
    let total = u128::from(space.total);
    let above = |percent: u8| used > total * u128::from(percent);
    let full = above(config.disk_clean_forcibly_percent);
    Wanted {
        used_percent: u8::try_from(used.checked_div(total).unwrap_or(0)).unwrap_or(100),
        remove_expired: above(config.disk_used_percent_max),
        remove_oldest: config.clean_file_forcibly && full,
        refuse: above(config.disk_warning_percent),
        nearly_full: full || above(config.disk_warning_percent),
        keeps_though_full: !config.clean_file_forcibly && full,
    }
}

/// What a removal by force says: what was measured, the limit, and how to have it otherwise.
pub(crate) fn say_forced(config: &Config, root: &Path, wanted: Wanted) -> String {
    format!(
        "the oldest segment was removed, expired or not: {} % of the file system of {} is used, more than {} % \
         (diskSpaceCleanForciblyRatio); free space there, keep less (fileReservedTime, fileReservedBytes), or refuse \
         messages instead (cleanFileForciblyEnable=false)",
        wanted.used_percent,
        root.display(),
        config.disk_clean_forcibly_percent
    )
}

/// What is said, once, when the disk fills and nothing is removed by force.
pub(crate) fn say_kept(config: &Config, root: &Path, wanted: Wanted) -> String {
    let end = match config.disk_warning_percent {
        100 => "until no block is left".to_owned(),
        percent => format!("up to {percent} % (diskSpaceWarningLevelRatio)"),
    };
    format!(
        "the disk fills: {} % of the file system of {} is used, more than {} % (diskSpaceCleanForciblyRatio); messages \
         are taken {end}; free space there, keep less (fileReservedTime, fileReservedBytes), or give up the oldest \
         segments (cleanFileForciblyEnable=true)",
        wanted.used_percent,
        root.display(),
        config.disk_clean_forcibly_percent
    )
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

    fn space(used: u64) -> Space {
        Space { total: 10_000, available: 10_000 - used }
    }

    fn at(used: u64) -> Wanted {
        judge(&Config { clean_file_forcibly: true, ..Config::default() }, space(used))
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
    }

    #[test]
    fn nothing_that_has_not_expired_goes_unless_somebody_asked_for_it() {
        let full = judge(&Config::default(), space(8_501));
        assert!(full.remove_expired && !full.remove_oldest && full.keeps_though_full && !full.refuse);
        assert!(!at(8_501).keeps_though_full);
        assert!(judge(&Config::default(), space(10_000)).refuse);
    }

    #[test]
    fn a_nearly_full_disk_says_what_was_measured_the_limit_and_the_choice() {
        let config = Config::default();
        let root = Path::new("/data");
        let kept = say_kept(&config, root, judge(&config, space(8_712)));
        let forced = say_forced(&config, root, at(8_712));
        for part in ["/data", "87 %", "85 %", "diskSpaceCleanForciblyRatio", "cleanFileForciblyEnable"] {
            assert!(kept.contains(part) && forced.contains(part), "{kept}\n{forced}");
        }
        assert!(kept.contains("90 % (diskSpaceWarningLevelRatio)"), "{kept}");
        let never = Config { disk_warning_percent: 100, ..config };
        assert!(say_kept(&never, root, at(8_712)).contains("until no block is left"));
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

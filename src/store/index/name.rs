//! Names of index files: `yyyyMMddHHmmssSSS`, the time a file came into being. Files are in the order of their names.
//!
//! The time is UTC; RocketMQ takes the machine's time zone. Nothing reads the time back; only the order counts, and a
//! new name is always above the last one, whatever the clock says and whoever wrote that one.

use crate::base::Timestamp;

/// A name for a file made at `now` behind the one called `last` (0: there is none).
pub(super) fn next(last: u64, now: Timestamp) -> u64 {
    let name = of(now);
    if name > last { name } else { last + 1 }
}

fn of(time: Timestamp) -> u64 {
    let ms = u64::try_from(time.0).unwrap_or(0);
    let (days, ms_of_day) = (ms / 86_400_000, ms % 86_400_000);
    let (year, month, day) = date_of(days);
    let (hour, minute) = (ms_of_day / 3_600_000, ms_of_day / 60_000 % 60);
    let (second, milli) = (ms_of_day / 1_000 % 60, ms_of_day % 1_000);
    let date = (year * 100 + month) * 100 + day;
    let time = (hour * 100 + minute) * 100 + second;
    (date * 1_000_000 + time) * 1_000 + milli
}

/// Year, month and day of the proleptic Gregorian calendar, `days` after 1970-01-01. Years are counted from a March, so
/// that the leap day is the last of its year.
fn date_of(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// The number of a name of 17 digits; `None` for any other.
pub(super) fn parse(text: &str) -> Option<u64> {
    let digits = text.len() == 17 && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_time_to_the_millisecond() {
        assert_eq!(of(Timestamp(0)), 19_700_101_000_000_000);
        assert_eq!(of(Timestamp(1_709_164_800_000 - 1)), 20_240_228_235_959_999);
        assert_eq!(of(Timestamp(1_709_164_800_000)), 20_240_229_000_000_000);
        assert_eq!(of(Timestamp(1_709_251_200_000)), 20_240_301_000_000_000);
        assert_eq!(of(Timestamp(951_782_400_000)), 20_000_229_000_000_000);
        assert_eq!(of(Timestamp(1_795_266_121_007)), 20_261_121_130_201_007);
        assert_eq!(parse("19700101000000000"), Some(19_700_101_000_000_000));
        assert_eq!((parse("1970"), parse("1970010100000000x")), (None, None));
    }

    #[test]
    fn a_new_name_is_above_the_last_one_whatever_the_clock_says() {
        let late = next(0, Timestamp(1_709_251_200_000));
        assert_eq!(next(late, Timestamp(5)), late + 1);
        assert_eq!(next(late + 1, Timestamp(1_709_251_200_000)), late + 2);
        assert!(next(late, Timestamp(1_709_251_200_001)) > late);
    }
}

//! The table of delay levels: `messageDelayLevel` of the broker's configuration.
//!
//! Level 1 is the first entry; 0 is no delay; a level beyond the table is its last.

use std::time::Duration;

use thiserror::Error;

/// RocketMQ's eighteen levels.
pub const DEFAULT_LEVELS: &str = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h";
/// Levels a table may have: each is a queue.
const LEVELS_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    delays: Vec<Duration>,
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LevelsError {
    #[error("`{0}` is not a delay: write a number and one of s, m, h, d")]
    Entry(String),
    #[error("a delay table has 1 to {LEVELS_MAX} levels, not {0}")]
    Count(usize),
}

impl Levels {
    /// Numbers with a unit (`s`, `m`, `h`, `d`), separated by blanks.
    pub fn parse(text: &str) -> Result<Levels, LevelsError> {
        let delays = text.split_whitespace().map(parse_delay).collect::<Result<Vec<_>, _>>()?;
        if delays.is_empty() || delays.len() > LEVELS_MAX {
            return Err(LevelsError::Count(delays.len()));
        }
        Ok(Levels { delays })
    }

    /// The highest level.
    pub fn max(&self) -> u32 {
        u32::try_from(self.delays.len()).expect("a table has at most LEVELS_MAX levels")
    }

    /// The level a message gets that asks for `level`: none for 0 and less, the last for more than there are.
    pub fn effective(&self, level: i64) -> Option<u32> {
        let level = u32::try_from(level.min(i64::from(self.max()))).ok()?;
        (level > 0).then_some(level)
    }

    /// How long a level waits. Nothing for a level that does not exist.
    pub fn delay(&self, level: u32) -> Option<Duration> {
        self.delays.get(usize::try_from(level.checked_sub(1)?).ok()?).copied()
    }
}

impl Default for Levels {
    fn default() -> Levels {
        Levels::parse(DEFAULT_LEVELS).expect("the default table is well formed")
    }
}

fn parse_delay(entry: &str) -> Result<Duration, LevelsError> {
    let wrong = || LevelsError::Entry(entry.to_owned());
    let unit = entry.chars().last().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number = entry.strip_suffix(unit).and_then(|number| number.parse::<u32>().ok()).ok_or_else(wrong)?;
    Ok(Duration::from_secs(seconds * u64::from(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_table_is_rocketmqs() {
        let levels = Levels::default();
        assert_eq!(levels.max(), 18);
        let seconds: Vec<u64> = (1..=18).map(|level| levels.delay(level).unwrap().as_secs()).collect();
        let minutes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30, 60, 120].map(|minute| minute * 60);
        assert_eq!(seconds[..4], [1, 5, 10, 30]);
        assert_eq!(seconds[4..], minutes);
        assert_eq!((levels.delay(0), levels.delay(19)), (None, None));
    }

    #[test]
    fn a_level_beyond_the_table_is_its_last_and_none_is_none() {
        let levels = Levels::parse("1s 2d").unwrap();
        assert_eq!(levels.effective(1), Some(1));
        assert_eq!(levels.effective(3), Some(2));
        assert_eq!(levels.effective(i64::MAX), Some(2));
        assert_eq!((levels.effective(0), levels.effective(-1)), (None, None));
        assert_eq!(levels.delay(2), Some(Duration::from_secs(172_800)));
    }

    #[test]
    fn a_malformed_table_names_the_entry() {
        for entry in ["5", "s", "5x", "-1s", "1ss", "99999999999s", "5秒"] {
            assert_eq!(Levels::parse(&format!("1s {entry}")), Err(LevelsError::Entry(entry.to_owned())));
        }
        assert_eq!(Levels::parse("  "), Err(LevelsError::Count(0)));
        assert_eq!(Levels::parse(&"1s ".repeat(65)), Err(LevelsError::Count(65)));
    }
}

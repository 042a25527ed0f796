//! `reserve.time`, the topic attribute that says for how many hours its messages are kept.
//!
//! Apache RocketMQ 5.5.0 knows it (`TopicAttributes`: a long from -1, which is its default and says nothing) and heeds it
//! in tiered storage alone, in hours; a broker without that refuses it. Here it holds on every broker, up to
//! `fileReservedTime`: one log has the messages of all topics.

use std::collections::BTreeMap;

use thiserror::Error;

pub const RESERVE_TIME: &str = "reserve.time";

/// INVALID_PARAMETER.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "reserve.time is `{0}`: expected hours as a whole number from -1, and neither -1 nor 0 says anything"
)]
pub struct BadReserve(String);

/// The hours of a topic with these attributes; `None` when it has none of its own.
pub fn hours(attributes: &BTreeMap<String, String>) -> Result<Option<i64>, BadReserve> {
    let Some(text) = attributes.get(RESERVE_TIME) else { return Ok(None) };
    match text.parse::<i64>() {
        Ok(hours) if hours >= -1 => Ok(Some(hours).filter(|hours| *hours > 0)),
        _ => Err(BadReserve(text.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_read_as_apache_reads_them() {
        let of = |text: &str| hours(&BTreeMap::from([(RESERVE_TIME.to_owned(), text.to_owned())]));
        assert_eq!(hours(&BTreeMap::new()), Ok(None));
        assert_eq!((of("-1"), of("0"), of("24")), (Ok(None), Ok(None), Ok(Some(24))));
        assert_eq!(of("9223372036854775807"), Ok(Some(i64::MAX)));
        for bad in ["-2", "", "1d", "9223372036854775808", " 1"] {
            assert_eq!(of(bad), Err(BadReserve(bad.to_owned())));
        }
    }
}

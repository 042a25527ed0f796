//! One pass over a message's encoded properties: what the send path decides on, and the rewritten block.
//!
//! ```text
//! name 0x01 value 0x02  name 0x01 value 0x02 …      (the last separator may be missing)
//! ```
//!
//! A pair without 0x01 or with an empty name is dropped, as RocketMQ's decoder does.

use bytes::BufMut;
use bytes::BytesMut;

use crate::machine::edit::PropertyEdit;
use crate::protocol::record::PROPERTY_END;
use crate::protocol::record::PROPERTY_NAME_END;

/// What the broker looks at when a message comes in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Noted<'a> {
    pub(crate) unique_key: Option<&'a str>,
    pub(crate) tags: Option<&'a str>,
    pub(crate) delay_level: Option<i64>,
    pub(crate) transaction_prepared: bool,
    pub(crate) producer_group: Option<&'a str>,
    /// WAIT is not `false`.
    pub(crate) wait: bool,
    pub(crate) retry_topic: Option<&'a str>,
    pub(crate) origin_message_id: Option<&'a str>,
    pub(crate) immunity_seconds: Option<&'a str>,
}

impl<'a> Noted<'a> {
    pub(crate) fn of(properties: &'a str) -> Noted<'a> {
        let mut noted = Noted { wait: true, ..Noted::default() };
        for (name, value) in pairs(properties) {
            match name {
                "UNIQ_KEY" => noted.unique_key = Some(value).filter(|key| !key.is_empty()),
                "TAGS" => noted.tags = Some(value),
                "DELAY" => noted.delay_level = value.trim().parse().ok(),
                "TRAN_MSG" => noted.transaction_prepared = value.eq_ignore_ascii_case("true"),
                "PGROUP" => noted.producer_group = Some(value),
                "WAIT" => noted.wait = !value.eq_ignore_ascii_case("false"),
                "RETRY_TOPIC" => noted.retry_topic = Some(value),
                "ORIGIN_MESSAGE_ID" => noted.origin_message_id = Some(value),
                "CHECK_IMMUNITY_TIME_IN_SECONDS" => noted.immunity_seconds = Some(value),
                _ => {}
            }
        }
        noted
    }
}

/// Writes `properties` with `edits` applied behind what `out` holds. What is put comes last, in the order of the edits.
pub(crate) fn rewrite(properties: &str, edits: &[PropertyEdit], out: &mut BytesMut) {
    for (name, value) in pairs(properties) {
        if !edits.iter().any(|edit| edit.name() == name) {
            put(name, value, out);
        }
    }
    for (index, edit) in edits.iter().enumerate() {
        let overruled = edits.iter().skip(index + 1).any(|later| later.name() == edit.name());
        if let (PropertyEdit::Put(name, value), false) = (edit, overruled) {
            put(name, value, out);
        }
    }
}

pub(crate) fn put(name: &str, value: &str, out: &mut BytesMut) {
    out.reserve(name.len() + value.len() + 2);
    out.put_slice(name.as_bytes());
    out.put_u8(PROPERTY_NAME_END);
    out.put_slice(value.as_bytes());
    out.put_u8(PROPERTY_END);
}

/// The value of `name`.
pub(crate) fn property<'a>(properties: &'a str, name: &str) -> Option<&'a str> {
    pairs(properties).find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn pairs(properties: &str) -> impl Iterator<Item = (&str, &str)> {
    properties
        .split(char::from(PROPERTY_END))
        .filter_map(|pair| pair.split_once(char::from(PROPERTY_NAME_END)))
        .filter(|(name, _)| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_replace_remove_and_append_and_keep_the_rest_in_order() {
        let mut out = BytesMut::new();
        let edits = [
            PropertyEdit::Clear("WAIT"),
            PropertyEdit::put("DELAY", 3),
            PropertyEdit::put("REAL_QID", 7),
            PropertyEdit::put("DELAY", 4),
        ];
        rewrite(
            "a\u{1}1\u{2}WAIT\u{1}true\u{2}DELAY\u{1}1\u{2}broken\u{2}\u{1}x\u{2}b\u{1}2",
            &edits,
            &mut out,
        );
        assert_eq!(&out[..], b"a\x011\x02b\x012\x02REAL_QID\x017\x02DELAY\x014\x02");
    }

    #[test]
    fn one_pass_notes_what_the_send_path_decides_on() {
        let noted =
            Noted::of("UNIQ_KEY\u{1}k\u{2}WAIT\u{1}False\u{2}DELAY\u{1} 3 \u{2}TRAN_MSG\u{1}TRUE\u{2}");
        assert_eq!((noted.unique_key, noted.delay_level), (Some("k"), Some(3)));
        assert!(noted.transaction_prepared && !noted.wait);
        assert_eq!(Noted::of("DELAY\u{1}soon\u{2}").delay_level, None);
        assert!(Noted::of("").wait);
    }
}

//! What a message is found by, and under which number (`IndexService.buildIndex`).
//!
//! ```text
//! topic#<UNIQ_KEY>   topic#<word>, for each word of KEYS   topic#T#<TAGS>
//! ```
//!
//! In this order, a word that occurs twice twice; the number is Java's hash of such a text. A rolled-back transaction's
//! record is found by nothing. Different texts may have one number: who looks something up compares the message too.

use crate::protocol::properties::name;
use crate::protocol::properties::property;
use crate::protocol::record::RecordView;
use crate::protocol::sysflag;

/// What a message is looked up by (`indexType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// A word of KEYS, or the unique id: `K`.
    Key,
    /// The unique id alone: `U`.
    Unique,
    /// All of TAGS: `T`.
    Tags,
}

/// The hash of `topic#`, to be continued by a key's.
#[derive(Clone, Copy)]
pub(super) struct TopicHash(i32);

impl TopicHash {
    pub(super) fn of(topic: &str) -> TopicHash {
        TopicHash(extend(extend(0, topic), "#"))
    }

    /// The number that messages are found under. Made positive as RocketMQ does it: the hash that has no positive is 0.
    pub(super) fn number(self, kind: KeyKind, key: &str) -> u32 {
        let prefix = match kind {
            KeyKind::Key | KeyKind::Unique => self.0,
            KeyKind::Tags => extend(self.0, "T#"),
        };
        extend(prefix, key).checked_abs().unwrap_or(0).unsigned_abs()
    }
}

/// Appends the numbers of `record`, in the order of their entries.
pub(super) fn numbers_of(record: &RecordView<'_>, out: &mut Vec<u32>) {
    if sysflag::transaction(record.sys_flag) == sysflag::TRANSACTION_ROLLBACK {
        return;
    }
    let topic = TopicHash::of(record.topic);
    let unique = property(record.properties, name::UNIQ_KEY);
    out.extend(unique.map(|key| topic.number(KeyKind::Unique, key)));
    out.extend(words(record).map(|word| topic.number(KeyKind::Key, word)));
    let tags = property(record.properties, name::TAGS).filter(|tags| !tags.is_empty());
    out.extend(tags.map(|tags| topic.number(KeyKind::Tags, tags)));
}

/// Whether `record` is one of those that `key` stands for; the topic was compared.
pub(super) fn is_found_by(record: &RecordView<'_>, kind: KeyKind, key: &str) -> bool {
    if sysflag::transaction(record.sys_flag) == sysflag::TRANSACTION_ROLLBACK {
        return false;
    }
    let unique = || property(record.properties, name::UNIQ_KEY) == Some(key);
    match kind {
        KeyKind::Key => unique() || words(record).any(|word| word == key),
        KeyKind::Unique => unique(),
        KeyKind::Tags => property(record.properties, name::TAGS) == Some(key),
    }
}

fn words<'a>(record: &RecordView<'a>) -> impl Iterator<Item = &'a str> {
    let keys = property(record.properties, name::KEYS).unwrap_or_default();
    keys.split(name::KEY_SEPARATOR).filter(|word| !word.is_empty())
}

fn extend(hash: i32, text: &str) -> i32 {
    let add = |hash: i32, unit: u16| hash.wrapping_mul(31).wrapping_add(i32::from(unit));
    if text.is_ascii() {
        return text.bytes().fold(hash, |hash, byte| add(hash, u16::from(byte)));
    }
    text.encode_utf16().fold(hash, add)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::java_string_hash;

    proptest! {
        #[test]
        fn a_key_hash_is_javas_of_topic_and_key(topic in "[a-zA-Z%_-]{1,12}", key in "\\PC{0,12}") {
            let java = java_string_hash(&format!("{topic}#{key}"));
            prop_assert_eq!(TopicHash::of(&topic).number(KeyKind::Key, &key), java.unsigned_abs() & 0x7fff_ffff);
            let java = java_string_hash(&format!("{topic}#T#{key}"));
            prop_assert_eq!(TopicHash::of(&topic).number(KeyKind::Tags, &key), java.unsigned_abs() & 0x7fff_ffff);
        }
    }

    #[test]
    fn the_hash_without_a_positive_is_zero() {
        assert_eq!(TopicHash(0).number(KeyKind::Unique, "polygenelubricants"), 0);
        assert_eq!(java_string_hash("polygenelubricants"), i32::MIN);
    }
}

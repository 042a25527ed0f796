//! Message properties: `name 0x01 value 0x02`, repeated.
//!
//! On a hot path they stay encoded: [`property`] finds one in place, [`append`] adds one. [`Properties`] is the map for
//! everybody else. The last pair need not be closed (clients before 5.0 leave that out); a malformed pair is skipped, as
//! in Java. When a name repeats, the last one counts in the map, the first one in place: nobody repeats one.

use std::collections::BTreeMap;

const NAME_END: u8 = 1;
const PAIR_END: u8 = 2;

/// The names that RocketMQ itself gives a meaning.
pub mod name {
    pub const KEYS: &str = "KEYS";
    pub const TAGS: &str = "TAGS";
    pub const WAIT: &str = "WAIT";
    pub const DELAY: &str = "DELAY";
    pub const UNIQ_KEY: &str = "UNIQ_KEY";
    pub const INSTANCE_ID: &str = "INSTANCE_ID";
    pub const BUYER_ID: &str = "BUYER_ID";
    pub const CLUSTER: &str = "CLUSTER";
    pub const MSG_REGION: &str = "MSG_REGION";
    pub const TRACE_ON: &str = "TRACE_ON";
    pub const SHARDING_KEY: &str = "__SHARDINGKEY";
    pub const BORN_TIMESTAMP: &str = "BORN_TIMESTAMP";
    pub const BORN_HOST: &str = "__BORNHOST";

    pub const RETRY_TOPIC: &str = "RETRY_TOPIC";
    pub const REAL_TOPIC: &str = "REAL_TOPIC";
    pub const REAL_QUEUE_ID: &str = "REAL_QID";
    pub const ORIGIN_MESSAGE_ID: &str = "ORIGIN_MESSAGE_ID";
    pub const ORIGIN_GROUP: &str = "ORIGIN_GROUP";
    pub const RECONSUME_TIME: &str = "RECONSUME_TIME";
    pub const MAX_RECONSUME_TIMES: &str = "MAX_RECONSUME_TIMES";
    pub const CONSUME_START_TIME: &str = "CONSUME_START_TIME";
    pub const DLQ_ORIGIN_TOPIC: &str = "DLQ_ORIGIN_TOPIC";
    pub const DLQ_ORIGIN_MESSAGE_ID: &str = "DLQ_ORIGIN_MESSAGE_ID";
    /// Set by the client on delivery: the queue's bounds.
    pub const MIN_OFFSET: &str = "MIN_OFFSET";
    pub const MAX_OFFSET: &str = "MAX_OFFSET";

    pub const TRAN_MSG: &str = "TRAN_MSG";
    pub const PRODUCER_GROUP: &str = "PGROUP";
    pub const TRANSACTION_ID: &str = "__transactionId__";
    pub const TRANSACTION_CHECK_TIMES: &str = "TRANSACTION_CHECK_TIMES";
    pub const CHECK_IMMUNITY_TIME_IN_SECONDS: &str = "CHECK_IMMUNITY_TIME_IN_SECONDS";
    pub const TRAN_PREPARED_QUEUE_OFFSET: &str = "TRAN_PREPARED_QUEUE_OFFSET";

    pub const TIMER_DELAY_SEC: &str = "TIMER_DELAY_SEC";
    pub const TIMER_DELAY_MS: &str = "TIMER_DELAY_MS";
    pub const TIMER_DELIVER_MS: &str = "TIMER_DELIVER_MS";
    pub const TIMER_OUT_MS: &str = "TIMER_OUT_MS";
    pub const TIMER_ENQUEUE_MS: &str = "TIMER_ENQUEUE_MS";
    pub const TIMER_DEQUEUE_MS: &str = "TIMER_DEQUEUE_MS";
    pub const TIMER_ROLL_TIMES: &str = "TIMER_ROLL_TIMES";
    pub const TIMER_DEL_UNIQKEY: &str = "TIMER_DEL_UNIQKEY";
    pub const TIMER_DELAY_LEVEL: &str = "TIMER_DELAY_LEVEL";

    pub const CORRELATION_ID: &str = "CORRELATION_ID";
    pub const REPLY_TO_CLIENT: &str = "REPLY_TO_CLIENT";
    pub const TTL: &str = "TTL";
    pub const MSG_TYPE: &str = "MSG_TYPE";
    pub const ARRIVE_TIME: &str = "ARRIVE_TIME";
    pub const PUSH_REPLY_TIME: &str = "PUSH_REPLY_TIME";

    pub const POP_CK: &str = "POP_CK";
    pub const POP_CK_OFFSET: &str = "POP_CK_OFFSET";
    pub const FIRST_POP_TIME: &str = "1ST_POP_TIME";

    pub const INNER_NUM: &str = "INNER_NUM";
    pub const INNER_BASE: &str = "INNER_BASE";
    pub const DUP_INFO: &str = "DUP_INFO";
    pub const EXTEND_UNIQ_INFO: &str = "EXTEND_UNIQ_INFO";
    pub const TRANSFER_FLAG: &str = "TRANSFER_FLAG";
    pub const CORRECTION_FLAG: &str = "CORRECTION_FLAG";
    pub const MQ2_FLAG: &str = "MQ2_FLAG";
    pub const REDIRECT: &str = "REDIRECT";
    pub const INNER_MULTI_DISPATCH: &str = "INNER_MULTI_DISPATCH";
    pub const INNER_MULTI_QUEUE_OFFSET: &str = "INNER_MULTI_QUEUE_OFFSET";
    pub const TRACE_CONTEXT: &str = "TRACE_CONTEXT";
    pub const FORWARD_QUEUE_ID: &str = "PROPERTY_FORWARD_QUEUE_ID";

    /// What begins so is for one hop only and is dropped by the broker.
    pub const TRANSIENT_PREFIX: &str = "__RMQ.TRANSIENT.";
    /// The checksum of the other properties, when a broker is configured to append it.
    pub const CRC32: &str = "__CRC32#";

    /// Separates the keys in [`KEYS`].
    pub const KEY_SEPARATOR: char = ' ';

    /// Names that only RocketMQ may set: a client refuses a user's property of such a name.
    pub const RESERVED: &[&str] = &[
        KEYS,
        TAGS,
        WAIT,
        DELAY,
        RETRY_TOPIC,
        REAL_TOPIC,
        REAL_QUEUE_ID,
        TRAN_MSG,
        PRODUCER_GROUP,
        MIN_OFFSET,
        MAX_OFFSET,
        BUYER_ID,
        ORIGIN_MESSAGE_ID,
        TRANSFER_FLAG,
        CORRECTION_FLAG,
        MQ2_FLAG,
        RECONSUME_TIME,
        MSG_REGION,
        TRACE_ON,
        UNIQ_KEY,
        EXTEND_UNIQ_INFO,
        MAX_RECONSUME_TIMES,
        CONSUME_START_TIME,
        INNER_NUM,
        INNER_BASE,
        DUP_INFO,
        CHECK_IMMUNITY_TIME_IN_SECONDS,
        TRAN_PREPARED_QUEUE_OFFSET,
        TRANSACTION_ID,
        TRANSACTION_CHECK_TIMES,
        INSTANCE_ID,
        CORRELATION_ID,
        REPLY_TO_CLIENT,
        TTL,
        ARRIVE_TIME,
        PUSH_REPLY_TIME,
        CLUSTER,
        MSG_TYPE,
        POP_CK,
        POP_CK_OFFSET,
        FIRST_POP_TIME,
        FORWARD_QUEUE_ID,
        REDIRECT,
        INNER_MULTI_DISPATCH,
        INNER_MULTI_QUEUE_OFFSET,
        TRACE_CONTEXT,
        SHARDING_KEY,
        BORN_HOST,
        BORN_TIMESTAMP,
        TIMER_DELAY_SEC,
        TIMER_DELAY_MS,
        TIMER_DELIVER_MS,
        TIMER_OUT_MS,
        TIMER_ENQUEUE_MS,
        TIMER_DEQUEUE_MS,
        TIMER_ROLL_TIMES,
        TIMER_DEL_UNIQKEY,
        TIMER_DELAY_LEVEL,
        CRC32,
        DLQ_ORIGIN_TOPIC,
        DLQ_ORIGIN_MESSAGE_ID,
    ];
}

/// The value of `name` in encoded properties, found in place. `None` if it is absent or no UTF-8.
pub fn property<'a>(encoded: &'a [u8], name: &str) -> Option<&'a str> {
    pairs(encoded)
        .find(|(key, _)| *key == name.as_bytes())
        .and_then(|(_, value)| std::str::from_utf8(value).ok())
}

/// The well-formed pairs of encoded properties, in place.
pub fn pairs(encoded: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    encoded.split(|byte| *byte == PAIR_END).filter_map(|pair| {
        let at = pair.iter().position(|byte| *byte == NAME_END)?;
        let (name, value) = (pair.get(..at)?, pair.get(at + 1..)?);
        (!name.is_empty() && !value.contains(&NAME_END)).then_some((name, value))
    })
}

/// Appends a pair to encoded properties, closing the last one first if it was left open. The caller makes sure that the
/// name is not there yet.
pub fn append(encoded: &mut Vec<u8>, name: &str, value: &str) {
    if encoded.last().is_some_and(|byte| *byte != PAIR_END) {
        encoded.push(PAIR_END);
    }
    encoded.reserve(encoded_len(name, value));
    encoded.extend_from_slice(name.as_bytes());
    encoded.push(NAME_END);
    encoded.extend_from_slice(value.as_bytes());
    encoded.push(PAIR_END);
}

/// Bytes that a pair takes.
pub const fn encoded_len(name: &str, value: &str) -> usize {
    name.len() + value.len() + 2
}

/// Properties as a map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    pub fn decode(encoded: &[u8]) -> Properties {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Properties(pairs(encoded).map(|(name, value)| (text(name), text(value))).collect())
    }

    pub fn encode(&self) -> String {
        let mut encoded =
            String::with_capacity(self.0.iter().map(|(name, value)| encoded_len(name, value)).sum());
        for (name, value) in &self.0 {
            encoded.push_str(name);
            encoded.push(char::from(NAME_END));
            encoded.push_str(value);
            encoded.push(char::from(PAIR_END));
        }
        encoded
    }

    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    pub fn remove(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether name and value survive encoding: neither separator may occur in them, and the name is not empty.
    pub fn is_encodable(name: &str, value: &str) -> bool {
        !name.is_empty()
            && !name.bytes().chain(value.bytes()).any(|byte| byte == NAME_END || byte == PAIR_END)
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Properties {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(pairs: T) -> Properties {
        Properties(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(map in prop::collection::btree_map("[^\u{1}\u{2}]{1,8}", "[^\u{1}\u{2}]{0,8}", 0..8)) {
            let properties = Properties(map);
            let encoded = properties.encode();
            prop_assert_eq!(&Properties::decode(encoded.as_bytes()), &properties);
            for (name, value) in properties.iter() {
                prop_assert_eq!(property(encoded.as_bytes(), name), Some(value));
            }
            let mut appended = Vec::new();
            for (name, value) in properties.iter() {
                append(&mut appended, name, value);
            }
            prop_assert_eq!(appended, encoded.as_bytes());
        }

        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            Properties::decode(&bytes);
        }
    }

    #[test]
    fn malformed_pairs_are_skipped() {
        let encoded = b"A\x01a\x02nothing\x02\x01noname\x02B\x01b\x01c\x02C\x01c";
        let all: Vec<_> = pairs(encoded).collect();
        assert_eq!(all, [(&b"A"[..], &b"a"[..]), (b"C", b"c")]);
        let mut open = b"C\x01c".to_vec();
        append(&mut open, "D", "d");
        assert_eq!(open, b"C\x01c\x02D\x01d\x02");
    }
}

//! Enumerations of bodies: written by name, read by name or ordinal (the C++ and Go clients send numbers).

use std::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use serde::de::Visitor;

use crate::protocol::code::Language;

macro_rules! enums {
    ($($(#[$doc:meta])* pub enum $type:ident { $($(#[$attr:meta])* $variant:ident = $name:literal,)* })*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type { $($(#[$attr])* $variant,)* }

        impl $type {
            const ALL: &'static [$type] = &[$($type::$variant,)*];

            /// RocketMQ's name, as on the wire.
            pub const fn name(self) -> &'static str {
                match self { $($type::$variant => $name,)* }
            }

            /// By RocketMQ's name.
            pub fn from_name(name: &str) -> Option<$type> {
                Self::ALL.iter().copied().find(|value| value.name() == name)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                deserializer.deserialize_any(ByNameOrOrdinal { all: Self::ALL, name: |value: &$type| value.name() })
            }
        }
    )* };
}

enums! {
    /// How a group gets its messages.
    pub enum ConsumeType {
        /// By its own pulls.
        Actively = "CONSUME_ACTIVELY",
        #[default]
        Passively = "CONSUME_PASSIVELY",
        Pop = "CONSUME_POP",
    }

    /// Who of a group gets a message.
    pub enum MessageModel {
        /// Each member.
        Broadcasting = "BROADCASTING",
        /// One member.
        #[default]
        Clustering = "CLUSTERING",
    }

    /// Where a group without offsets starts.
    pub enum ConsumeFromWhere {
        #[default]
        LastOffset = "CONSUME_FROM_LAST_OFFSET",
        LastOffsetAndFromMinWhenBootFirst = "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
        MinOffset = "CONSUME_FROM_MIN_OFFSET",
        MaxOffset = "CONSUME_FROM_MAX_OFFSET",
        FirstOffset = "CONSUME_FROM_FIRST_OFFSET",
        Timestamp = "CONSUME_FROM_TIMESTAMP",
    }

    /// How one message fared that was pushed to a client by hand.
    pub enum DirectResult {
        #[default]
        Success = "CR_SUCCESS",
        Later = "CR_LATER",
        Rollback = "CR_ROLLBACK",
        Commit = "CR_COMMIT",
        ThrowException = "CR_THROW_EXCEPTION",
        ReturnNull = "CR_RETURN_NULL",
    }
}

struct ByNameOrOrdinal<T: 'static> {
    all: &'static [T],
    name: fn(&T) -> &'static str,
}

impl<T: Copy + Default> Visitor<'_> for ByNameOrOrdinal<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name or an ordinal")
    }

    /// A name nobody knows is the default: a newer client must not lose its heartbeat over it.
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        let by_name = self.all.iter().find(|value| (self.name)(value) == text);
        let by_ordinal = || text.parse::<usize>().ok().and_then(|ordinal| self.all.get(ordinal));
        Ok(by_name.or_else(by_ordinal).copied().unwrap_or_default())
    }

    fn visit_i64<E: serde::de::Error>(self, ordinal: i64) -> Result<T, E> {
        let value = usize::try_from(ordinal).ok().and_then(|ordinal| self.all.get(ordinal));
        Ok(value.copied().unwrap_or_default())
    }

    fn visit_u64<E: serde::de::Error>(self, ordinal: u64) -> Result<T, E> {
        self.visit_i64(i64::try_from(ordinal).unwrap_or(i64::MAX))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<T, E> {
        Ok(T::default())
    }
}

impl Serialize for Language {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Language {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Language, D::Error> {
        const ALL: &[Language] = &[
            Language::Java,
            Language::Cpp,
            Language::Dotnet,
            Language::Python,
            Language::Delphi,
            Language::Erlang,
            Language::Ruby,
            Language::Other,
            Language::Http,
            Language::Go,
            Language::Php,
            Language::Oms,
            Language::Rust,
            Language::NodeJs,
        ];
        deserializer.deserialize_any(ByNameOrOrdinal { all: ALL, name: |value: &Language| value.name() })
    }
}

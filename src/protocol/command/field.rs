//! How one ext field is read and written, and the `header!` macro that lists a header's fields.

use crate::base::PhysicalOffset;
use crate::base::Timestamp;
use crate::protocol::ext::Ext;
use crate::protocol::number;

/// A header field that is missing or does not read as what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// Worded as Java's `checkFields` does.
    #[error("the custom field <{field}> is null")]
    Missing { field: &'static str },
    #[error("the custom field <{field}> is `{value}`, expected {expected}")]
    Invalid { field: &'static str, value: String, expected: &'static str },
}

/// Longest value that an error repeats, in characters.
const SHOWN_MAX: usize = 64;

impl FieldError {
    pub(super) fn invalid(field: &'static str, raw: &[u8], expected: &'static str) -> FieldError {
        let value = String::from_utf8_lossy(raw).chars().take(SHOWN_MAX).collect();
        FieldError::Invalid { field, value, expected }
    }

    pub fn field(&self) -> &'static str {
        match self {
            FieldError::Missing { field } | FieldError::Invalid { field, .. } => field,
        }
    }
}

/// A type that a field can have.
pub(super) trait Field<'a>: Sized {
    /// What a value must be, for the error.
    const EXPECTED: &'static str;

    fn read(raw: &'a [u8]) -> Option<Self>;

    fn write(&self, name: &str, ext: &mut Ext);

    /// The value of an absent field, if it may be absent.
    fn absent() -> Option<Self> {
        None
    }
}

pub(super) fn read<'a, T: Field<'a>>(field: &'static str, raw: Option<&'a [u8]>) -> Result<T, FieldError> {
    match raw {
        Some(raw) => T::read(raw).ok_or_else(|| FieldError::invalid(field, raw, T::EXPECTED)),
        None => T::absent().ok_or(FieldError::Missing { field }),
    }
}

impl<'a> Field<'a> for &'a str {
    const EXPECTED: &'static str = "text";

    fn read(raw: &'a [u8]) -> Option<&'a str> {
        std::str::from_utf8(raw).ok()
    }

    fn write(&self, name: &str, ext: &mut Ext) {
        ext.push(name, self);
    }
}

impl Field<'_> for String {
    const EXPECTED: &'static str = "text";

    fn read(raw: &[u8]) -> Option<String> {
        std::str::from_utf8(raw).ok().map(str::to_owned)
    }

    fn write(&self, name: &str, ext: &mut Ext) {
        ext.push(name, self);
    }
}

impl Field<'_> for i32 {
    const EXPECTED: &'static str = "a 32-bit number";

    fn read(raw: &[u8]) -> Option<i32> {
        number::parse_i32(raw)
    }

    fn write(&self, name: &str, ext: &mut Ext) {
        ext.push_i64(name, i64::from(*self));
    }
}

impl Field<'_> for i64 {
    const EXPECTED: &'static str = "a 64-bit number";

    fn read(raw: &[u8]) -> Option<i64> {
        number::parse_i64(raw)
    }

    fn write(&self, name: &str, ext: &mut Ext) {
        ext.push_i64(name, *self);
    }
}

/// As Java's `parseBoolean`, except that `1` is true: the C++ client writes booleans as digits.
impl Field<'_> for bool {
    const EXPECTED: &'static str = "true or false";

    fn read(raw: &[u8]) -> Option<bool> {
        Some(raw == b"1" || raw.eq_ignore_ascii_case(b"true"))
    }

    fn write(&self, name: &str, ext: &mut Ext) {
        ext.push_bool(name, *self);
    }
}

impl Field<'_> for Timestamp {
    const EXPECTED: &'static str = "a time in milliseconds";

    fn read(raw: &[u8]) -> Option<Timestamp> {
        number::parse_i64(raw).map(Timestamp)
    }

    fn write(&self, name: &str, ext: &mut Ext) {
        ext.push_i64(name, self.0);
    }
}

impl Field<'_> for PhysicalOffset {
    const EXPECTED: &'static str = "a position in the commit log";

    fn read(raw: &[u8]) -> Option<PhysicalOffset> {
        u64::try_from(number::parse_i64(raw)?).ok().map(PhysicalOffset)
    }

    fn write(&self, name: &str, ext: &mut Ext) {
        ext.push_i64(name, i64::try_from(self.0).unwrap_or(i64::MAX));
    }
}

/// An absent field, and an empty one that is no text, is `None`.
impl<'a, T: Field<'a>> Field<'a> for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn read(raw: &'a [u8]) -> Option<Option<T>> {
        match T::read(raw) {
            Some(value) => Some(Some(value)),
            None if raw.is_empty() => Some(None),
            None => None,
        }
    }

    fn write(&self, name: &str, ext: &mut Ext) {
        if let Some(value) = self {
            value.write(name, ext);
        }
    }

    fn absent() -> Option<Option<T>> {
        Some(None)
    }
}

/// Declares typed headers: `field: Type = "wireName"`, with `or default` for a field that may be absent.
///
/// ```text
/// header! {
///     /// Doc.
///     pub struct SearchOffset { topic: String = "topic", queue_id: i32 = "queueId", upper: bool = "upper" or false, }
/// }
/// ```
macro_rules! header {
    ($($(#[$doc:meta])* pub struct $name:ident {
        $($(#[$field_doc:meta])* $field:ident: $type:ty = $wire:literal $(or $default:expr)?,)*
    })*) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        impl $name {
            /// The fields' names on the wire.
            pub const FIELDS: &'static [&'static str] = &[$($wire,)*];

            /// Reads the fields of `header`; fields it does not know are ignored.
            pub fn decode(
                header: &$crate::protocol::header::Header,
            ) -> Result<$name, $crate::protocol::command::FieldError> {
                $(let mut $field: Option<&[u8]> = None;)*
                for (key, value) in header.ext.iter_raw() {
                    match std::str::from_utf8(key).unwrap_or_default() {
                        $($wire => $field = Some(value),)*
                        _ => {}
                    }
                }
                Ok($name {
                    $($field: $crate::protocol::command::field::header!(@read $type, $wire, $field $(, $default)?),)*
                })
            }

            /// Appends the fields to `ext`; those that are `None` are left out.
            pub fn encode(&self, ext: &mut $crate::protocol::ext::Ext) {
                $($crate::protocol::command::field::Field::write(&self.$field, $wire, ext);)*
            }
        }
    )* };
    (@read $type:ty, $wire:literal, $raw:ident) => {
        $crate::protocol::command::field::read::<$type>($wire, $raw)?
    };
    (@read $type:ty, $wire:literal, $raw:ident, $default:expr) => {
        $crate::protocol::command::field::read::<Option<$type>>($wire, $raw)?.unwrap_or($default)
    };
}

pub(super) use header;

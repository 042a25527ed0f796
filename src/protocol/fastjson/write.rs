//! Types to text, exact to the byte: a serde serializer for fastjson's dialect.
//!
//! A struct's members come in the order of their declaration, which must be alphabetical; absent ones are left out.

use std::convert::Infallible;
use std::fmt::Display;
use std::io::Write;

use serde::Serialize;
use serde::Serializer;
use serde::ser::SerializeMap;
use serde::ser::SerializeSeq;
use serde::ser::SerializeStruct;

/// How keys that are no text are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keys {
    /// `{0:"a"}` and `{{…}:1}`, fastjson's own.
    #[default]
    Bare,
    /// `{"0":"a"}` and `{"{…}":1}`, for parsers of standard JSON.
    Quoted,
}

/// The JSON of `value`.
pub fn to_vec<T: Serialize + ?Sized>(value: &T, keys: Keys) -> Vec<u8> {
    let mut writer = Writer { out: Vec::new(), keys };
    value.serialize(&mut writer).unwrap_or_else(|Never(never)| match never {});
    writer.out
}

/// As [`to_vec`], as text.
pub fn to_string<T: Serialize + ?Sized>(value: &T, keys: Keys) -> String {
    String::from_utf8(to_vec(value, keys)).expect("JSON is written as UTF-8")
}

struct Writer {
    out: Vec<u8>,
    keys: Keys,
}

/// Writing into memory cannot fail; our types raise no errors of their own.
#[derive(Debug)]
struct Never(Infallible);

impl Display for Never {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {}
    }
}

impl std::error::Error for Never {}

impl serde::ser::Error for Never {
    fn custom<T: Display>(message: T) -> Never {
        unreachable!("a body refused to be written: {message}")
    }
}

impl Writer {
    fn raw(&mut self, text: impl Display) {
        write!(self.out, "{text}").expect("writing into memory does not fail");
    }

    fn text(&mut self, text: &str) {
        self.out.push(b'"');
        escape(text, &mut self.out);
        self.out.push(b'"');
    }

    /// Double.toString of Java: decimal between 10^-3 and 10^7, else with an exponent; always a fraction.
    fn double(&mut self, value: f64) {
        let magnitude = value.abs();
        if !value.is_finite() {
            self.raw("null");
        } else if magnitude == 0.0 || (1e-3..1e7).contains(&magnitude) {
            self.raw(format_args!("{value:?}"));
        } else {
            let text = format!("{value:e}");
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let fraction = if mantissa.contains('.') { "" } else { ".0" };
            self.raw(format_args!("{mantissa}{fraction}E{exponent}"));
        }
    }
}

fn escape(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
}

macro_rules! raw {
    ($($method:ident $type:ty,)*) => { $(
        fn $method(self, value: $type) -> Result<(), Never> {
            self.raw(value);
            Ok(())
        }
    )* };
}

impl<'a> Serializer for &'a mut Writer {
    type Ok = ();
    type Error = Never;
    type SerializeSeq = Sequence<'a>;
    type SerializeTuple = serde::ser::Impossible<(), Never>;
    type SerializeTupleStruct = serde::ser::Impossible<(), Never>;
    type SerializeTupleVariant = serde::ser::Impossible<(), Never>;
    type SerializeMap = Members<'a>;
    type SerializeStruct = Members<'a>;
    type SerializeStructVariant = serde::ser::Impossible<(), Never>;

    raw! {
        serialize_bool bool, serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64,
        serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64,
    }

    fn serialize_f32(self, value: f32) -> Result<(), Never> {
        self.double(f64::from(value));
        Ok(())
    }

    fn serialize_f64(self, value: f64) -> Result<(), Never> {
        self.double(value);
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), Never> {
        self.text(value.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), Never> {
        self.text(value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Never> {
        self.collect_seq(value)
    }

    fn serialize_none(self) -> Result<(), Never> {
        self.raw("null");
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Never> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Never> {
        self.serialize_none()
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Never> {
        self.serialize_none()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Never> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Never> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Never> {
        self.collect_map([(variant, value)])
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Sequence<'a>, Never> {
        self.out.push(b'[');
        Ok(Sequence { writer: self, first: true })
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Never> {
        unreachable!("no body has a tuple")
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Never> {
        unreachable!("no body has a tuple")
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Never> {
        unreachable!("no body has a tuple")
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Members<'a>, Never> {
        self.out.push(b'{');
        let start = self.out.len();
        Ok(Members { writer: self, start, member: start, last: "" })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Members<'a>, Never> {
        self.serialize_map(None)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Never> {
        unreachable!("no body has a variant with members")
    }
}

struct Sequence<'a> {
    writer: &'a mut Writer,
    first: bool,
}

impl SerializeSeq for Sequence<'_> {
    type Ok = ();
    type Error = Never;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Never> {
        if !std::mem::replace(&mut self.first, false) {
            self.writer.out.push(b',');
        }
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> Result<(), Never> {
        self.writer.out.push(b']');
        Ok(())
    }
}

struct Members<'a> {
    writer: &'a mut Writer,
    /// Where the first member starts.
    start: usize,
    /// Where the current member starts, its comma included.
    member: usize,
    /// The last member of a struct, to hold the order.
    last: &'static str,
}

impl Members<'_> {
    fn comma(&mut self) {
        self.member = self.writer.out.len();
        if self.member > self.start {
            self.writer.out.push(b',');
        }
    }

    /// Writes a value behind its key, or takes the key back if there is none.
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Never> {
        self.writer.out.push(b':');
        let start = self.writer.out.len();
        value.serialize(&mut *self.writer)?;
        if self.writer.out.get(start..) == Some(b"null") {
            self.writer.out.truncate(self.member);
        }
        Ok(())
    }
}

impl SerializeMap for Members<'_> {
    type Ok = ();
    type Error = Never;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Never> {
        self.comma();
        let start = self.writer.out.len();
        key.serialize(&mut *self.writer)?;
        let bare = self.writer.out.get(start) != Some(&b'"');
        if bare && self.writer.keys == Keys::Quoted {
            let key = self.writer.out.split_off(start);
            self.writer.text(&String::from_utf8_lossy(&key));
        }
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Never> {
        self.value(value)
    }

    fn end(self) -> Result<(), Never> {
        self.writer.out.push(b'}');
        Ok(())
    }
}

impl SerializeStruct for Members<'_> {
    type Ok = ();
    type Error = Never;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Never> {
        debug_assert!(
            self.last < key,
            "members are declared in alphabetical order: {} before {key}",
            self.last
        );
        self.last = key;
        self.comma();
        self.writer.text(key);
        self.value(value)
    }

    fn end(self) -> Result<(), Never> {
        self.writer.out.push(b'}');
        Ok(())
    }
}

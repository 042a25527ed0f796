//! The JSON form of a header.
//!
//! `{"code":0,"extFields":{"k":"v"},"flag":1,"language":"JAVA","opaque":7,"remark":"…","serializeTypeCurrentRPC":"JSON","version":513}`
//!
//! Read in one pass, as leniently as the clients of §1.2 need: keys in any order, unknown keys and nested values
//! skipped, numbers and booleans in `extFields` taken as their text, `null` as absent, numbers as strings, white space
//! and line ends anywhere. Escapes are undone in place: the result is never longer than the source.
//!
//! Written the way fastjson does: keys in alphabetical order, nulls omitted, every ext value a string, because the Go and
//! C++ clients read nothing else; `extFields` is always there, because the Java producer reads it without looking.

use bytes::BytesMut;

use crate::protocol::code::Language;
use crate::protocol::ext::Ext;
use crate::protocol::ext::FIELDS_MAX;
use crate::protocol::ext::Span;
use crate::protocol::ext::Spans;
use crate::protocol::header::Encoding;
use crate::protocol::header::Header;
use crate::protocol::header::HeaderError;
use crate::protocol::number;
use crate::protocol::plain;
use crate::protocol::text::Text;

pub(super) fn decode(bytes: BytesMut) -> Result<Header, HeaderError> {
    let mut bytes = match std::str::from_utf8(&bytes) {
        Ok(_) => bytes,
        Err(_) => BytesMut::from(String::from_utf8_lossy(&bytes).as_bytes()),
    };
    let mut scan = Scan { bytes: &mut bytes, at: 0 };
    let raw = scan.header()?;
    let wire = bytes.freeze();
    let remark = raw
        .remark
        .filter(|span| !span.range().is_empty())
        .map(|span| Text::from_utf8_lossy(wire.slice(span.range())));
    Ok(Header {
        code: raw.code,
        language: raw.language,
        version: raw.version,
        opaque: raw.opaque,
        flag: raw.flag,
        remark,
        ext: Ext::from_wire(wire, raw.fields),
        encoding: Encoding::Json,
    })
}

#[derive(Default)]
struct Raw {
    code: i32,
    language: Language,
    version: i32,
    opaque: i32,
    flag: i32,
    remark: Option<Span>,
    fields: Spans,
}

/// A value as far as a header cares.
enum Value {
    Text(Span),
    /// A number or a boolean, by its characters.
    Bare(Span),
    Null,
    /// An object or an array, skipped.
    Nested,
}

struct Scan<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Scan<'_> {
    fn header(&mut self) -> Result<Raw, HeaderError> {
        let mut raw = Raw::default();
        let mut first = true;
        self.open()?;
        while let Some(key) = self.next_key(&mut first)? {
            match key.of(self.bytes) {
                b"extFields" => self.fields(&mut raw.fields)?,
                b"code" => raw.code = self.int("code")?,
                b"version" => raw.version = self.int("version")?,
                b"opaque" => raw.opaque = self.int("opaque")?,
                b"flag" => raw.flag = self.int("flag")?,
                b"language" => raw.language = self.language()?,
                b"remark" => {
                    raw.remark = match self.value()? {
                        Value::Text(span) | Value::Bare(span) => Some(span),
                        Value::Null | Value::Nested => None,
                    }
                }
                _ => {
                    self.value()?;
                }
            }
        }
        Ok(raw)
    }

    fn fields(&mut self, fields: &mut Spans) -> Result<(), HeaderError> {
        self.blanks();
        if self.peek() != Some(b'{') {
            // `"extFields":null`, or something that is no map: nobody's fields.
            self.value()?;
            return Ok(());
        }
        let mut first = true;
        self.open()?;
        while let Some(key) = self.next_key(&mut first)? {
            if let Value::Text(value) | Value::Bare(value) = self.value()? {
                if fields.len() == FIELDS_MAX {
                    return Err(HeaderError::Fields { fields_max: FIELDS_MAX });
                }
                fields.push((key, value));
            }
        }
        Ok(())
    }

    fn int(&mut self, field: &'static str) -> Result<i32, HeaderError> {
        match self.value()? {
            Value::Null => Ok(0),
            Value::Nested => Err(HeaderError::Number { field }),
            Value::Text(span) | Value::Bare(span) => {
                number::parse_i32(span.of(self.bytes)).ok_or(HeaderError::Number { field })
            }
        }
    }

    /// By name; an ordinal is taken too.
    fn language(&mut self) -> Result<Language, HeaderError> {
        Ok(match self.value()? {
            Value::Text(span) => Language::from_name(span.of(self.bytes)),
            Value::Bare(span) => number::parse_i32(span.of(self.bytes))
                .and_then(|number| u8::try_from(number).ok())
                .map_or(Language::Other, Language::from_u8),
            Value::Null | Value::Nested => Language::Other,
        })
    }

    fn open(&mut self) -> Result<(), HeaderError> {
        self.blanks();
        self.expect(b'{', "an object")
    }

    /// The next key of the open object with its colon consumed; `None` once the object is closed.
    fn next_key(&mut self, first: &mut bool) -> Result<Option<Span>, HeaderError> {
        self.blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(None);
        }
        if !std::mem::replace(first, false) {
            self.expect(b',', "a comma or the end of the object")?;
            self.blanks();
        }
        let key = self.string()?;
        self.blanks();
        self.expect(b':', "a colon")?;
        Ok(Some(key))
    }

    fn value(&mut self) -> Result<Value, HeaderError> {
        self.blanks();
        match self.peek() {
            Some(b'"') => self.string().map(Value::Text),
            Some(b'{' | b'[') => self.skip_nested().map(|()| Value::Nested),
            Some(_) => {
                let start = self.at;
                while self
                    .peek()
                    .is_some_and(|byte| !matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r'))
                {
                    self.at += 1;
                }
                let span = Span::wire(start, self.at);
                match span.of(self.bytes) {
                    b"" => Err(self.syntax("a value")),
                    b"null" => Ok(Value::Null),
                    _ => Ok(Value::Bare(span)),
                }
            }
            None => Err(self.syntax("a value")),
        }
    }

    /// Skips an object or array. Depth is counted, not recursed into, so no input can exhaust the stack.
    fn skip_nested(&mut self) -> Result<(), HeaderError> {
        let mut depth = 0usize;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.string()?;
                    continue;
                }
                Some(b'{' | b'[') => depth += 1,
                Some(b'}' | b']') => depth -= 1,
                Some(_) => {}
                None => return Err(self.syntax("the end of a nested value")),
            }
            self.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// A quoted string, its escapes undone in place.
    fn string(&mut self) -> Result<Span, HeaderError> {
        self.expect(b'"', "a string")?;
        let start = self.at;
        self.at += plain::until_quote_or_backslash(self.rest());
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                Ok(Span::wire(start, self.at - 1))
            }
            Some(_) => self.escaped(start),
            None => Err(self.syntax("the end of a string")),
        }
    }

    /// The rest of a string from its first escape on; `write` never overtakes `self.at`.
    fn escaped(&mut self, start: usize) -> Result<Span, HeaderError> {
        let mut write = self.at;
        loop {
            let plain = plain::until_quote_or_backslash(self.rest());
            assert!(write <= self.at, "unescaping never overtakes the reader");
            self.bytes.copy_within(self.at..self.at + plain, write);
            write += plain;
            self.at += plain + 1;
            match self.bytes.get(self.at - 1) {
                Some(b'"') => return Ok(Span::wire(start, write)),
                Some(_) => {
                    let mut utf8 = [0; 4];
                    let escaped = self.escape()?.encode_utf8(&mut utf8).as_bytes();
                    let end = write + escaped.len();
                    assert!(end <= self.at, "an escape is never shorter than what it stands for");
                    self.bytes[write..end].copy_from_slice(escaped);
                    write = end;
                }
                None => return Err(self.syntax("the end of a string")),
            }
        }
    }

    /// The character behind a backslash. A surrogate without its other half becomes U+FFFD.
    fn escape(&mut self) -> Result<char, HeaderError> {
        let byte = self.peek().ok_or_else(|| self.syntax("an escape"))?;
        self.at += 1;
        Ok(match byte {
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'v' => '\u{b}',
            b'0' => '\0',
            b'u' => {
                let high = self.hex4()?;
                if (0xd800..0xdc00).contains(&high)
                    && self.bytes.get(self.at..self.at + 2) == Some(b"\\u".as_slice())
                {
                    let back = self.at;
                    self.at += 2;
                    let low = self.hex4()?;
                    if (0xdc00..0xe000).contains(&low) {
                        let point = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                        return Ok(char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER));
                    }
                    self.at = back;
                }
                char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            byte if byte.is_ascii() => char::from(byte),
            _ => return Err(self.syntax("an escape")),
        })
    }

    fn hex4(&mut self) -> Result<u32, HeaderError> {
        let digits = self.bytes.get(self.at..self.at + 4).ok_or_else(|| self.syntax("four hex digits"))?;
        let mut value = 0;
        for digit in digits {
            let digit = char::from(*digit).to_digit(16).ok_or_else(|| self.syntax("four hex digits"))?;
            value = value << 4 | digit;
        }
        self.at += 4;
        Ok(value)
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), HeaderError> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.syntax(expected))
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn syntax(&self, expected: &'static str) -> HeaderError {
        HeaderError::Syntax { expected, at: self.at }
    }
}

pub(super) fn write(header: &Header, out: &mut BytesMut) {
    let mut digits = number::Digits::new();
    out.extend_from_slice(b"{\"code\":");
    out.extend_from_slice(digits.i64(header.code.into()));
    out.extend_from_slice(b",\"extFields\":{");
    let mut separator: &[u8] = b"\"";
    for (key, value) in header.ext.iter_raw() {
        out.extend_from_slice(separator);
        separator = b",\"";
        escape_into(key, out);
        out.extend_from_slice(b"\":\"");
        escape_into(value, out);
        out.extend_from_slice(b"\"");
    }
    out.extend_from_slice(b"},\"flag\":");
    out.extend_from_slice(digits.i64(header.flag.into()));
    out.extend_from_slice(b",\"language\":\"");
    out.extend_from_slice(header.language.name().as_bytes());
    out.extend_from_slice(b"\",\"opaque\":");
    out.extend_from_slice(digits.i64(header.opaque.into()));
    if let Some(remark) = &header.remark {
        out.extend_from_slice(b",\"remark\":\"");
        escape_into(remark.as_bytes(), out);
        out.extend_from_slice(b"\"");
    }
    out.extend_from_slice(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
    out.extend_from_slice(digits.i64(header.version.into()));
    out.extend_from_slice(b"}");
}

/// Writes UTF-8 as the inside of a JSON string, escaped as fastjson does: quote, backslash and control characters only.
fn escape_into(text: &[u8], out: &mut BytesMut) {
    let mut rest = text;
    loop {
        let (clean, tail) = rest.split_at(plain::until_escaped(rest));
        out.extend_from_slice(clean);
        let Some((byte, tail)) = tail.split_first() else { return };
        rest = tail;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let code = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&code);
            }
        }
    }
}

//! [`Ext`]: the ordered (name, value) pairs of a header, as slices of the frame they came in.
//!
//! ```text
//! fields   [ (name span, value span), … ]      16 inline, more on the heap
//!              |            |
//! wire     …"topic":"T","queueId":"3"…         the header's bytes, unescaped in place, shared with the frame
//! pushed   offset42msgId7F00…                  what was added here, 128 bytes inline
//! ```
//!
//! Reading a frame or building an ordinary reply allocates nothing. Every span is UTF-8 on its own.
//!
//! Not here: which names a request has (`command`), JSON and binary syntax (`header`).

use bytes::Bytes;
use smallvec::SmallVec;

use crate::protocol::number;

/// Most fields a header may carry. RocketMQ's longest header has 22; the rest is room for hooks.
pub const FIELDS_MAX: usize = 512;

/// The ext fields of a header, in wire order. When a name repeats, the last one counts, as in Java's map.
#[derive(Clone, Default)]
pub struct Ext {
    wire: Bytes,
    pushed: SmallVec<[u8; 128]>,
    fields: Spans,
}

pub(super) type Spans = SmallVec<[(Span, Span); 16]>;

/// A range of `wire`, or of `pushed` when `len` carries the mark.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    start: u32,
    len: u32,
}

const PUSHED: u32 = 1 << 31;

impl Span {
    /// A range of the header's bytes.
    pub(super) fn wire(start: usize, end: usize) -> Span {
        assert!(start <= end && end < PUSHED as usize, "a span lies within a frame");
        Span { start: start as u32, len: (end - start) as u32 }
    }

    pub(super) fn of(self, wire: &[u8]) -> &[u8] {
        let start = self.start as usize;
        wire.get(start..start + self.len as usize).expect("a span lies within its header")
    }

    pub(super) fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

impl Ext {
    pub(super) fn from_wire(wire: Bytes, fields: Spans) -> Ext {
        Ext { wire, pushed: SmallVec::new(), fields }
    }

    pub fn len(&self) -> usize {
        self.fields.len()
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The value of `name`.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.raw(name).map(text)
    }

    /// The bytes of the value of `name`: numbers are read from them without a detour.
    pub fn raw(&self, name: &str) -> Option<&[u8]> {
        let name = name.as_bytes();
        self.fields
            .iter()
            .rev()
            .find(|(key, _)| self.bytes(*key) == name)
            .map(|(_, value)| self.bytes(*value))
    }

    /// All pairs, in wire order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(key, value)| (text(self.bytes(*key)), text(self.bytes(*value))))
    }

    /// All pairs as bytes, in wire order.
    pub fn iter_raw(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|(key, value)| (self.bytes(*key), self.bytes(*value)))
    }

    pub fn push(&mut self, name: &str, value: &str) {
        let key = self.keep(name.as_bytes());
        let value = self.keep(value.as_bytes());
        self.fields.push((key, value));
    }

    pub fn push_i64(&mut self, name: &str, value: i64) {
        let mut digits = number::Digits::new();
        let key = self.keep(name.as_bytes());
        let value = self.keep(digits.i64(value));
        self.fields.push((key, value));
    }

    pub fn push_bool(&mut self, name: &str, value: bool) {
        self.push(name, if value { "true" } else { "false" });
    }

    fn keep(&mut self, bytes: &[u8]) -> Span {
        let start = self.pushed.len();
        assert!(start + bytes.len() < PUSHED as usize, "pushed fields fit in a frame");
        self.pushed.extend_from_slice(bytes);
        Span { start: start as u32, len: bytes.len() as u32 | PUSHED }
    }

    fn bytes(&self, span: Span) -> &[u8] {
        if span.len & PUSHED == 0 {
            span.of(&self.wire)
        } else {
            Span { start: span.start, len: span.len & !PUSHED }.of(&self.pushed)
        }
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("every span is UTF-8 on its own")
}

impl PartialEq for Ext {
    fn eq(&self, other: &Ext) -> bool {
        self.iter_raw().eq(other.iter_raw())
    }
}

impl Eq for Ext {}

impl std::fmt::Debug for Ext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Ext {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(pairs: T) -> Ext {
        let mut ext = Ext::default();
        for (name, value) in pairs {
            ext.push(name, value);
        }
        ext
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_equal_names_counts() {
        let ext: Ext = [("a", "1"), ("b", "2"), ("a", "3")].into_iter().collect();
        assert_eq!(ext.field("a"), Some("3"));
        assert_eq!(ext.field("c"), None);
        assert_eq!(ext.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2"), ("a", "3")]);
    }

    #[test]
    fn pushed_numbers_are_decimal_text() {
        let mut ext = Ext::default();
        ext.push_i64("min", i64::MIN);
        ext.push_i64("zero", 0);
        ext.push_bool("yes", true);
        assert_eq!(ext.field("min"), Some("-9223372036854775808"));
        assert_eq!(ext.field("zero"), Some("0"));
        assert_eq!(ext.field("yes"), Some("true"));
    }
}

//! RocketMQ's binary form of a header, big-endian:
//!
//! ```text
//! i2 code | i1 language | i2 version | i4 opaque | i4 flag | i4 remarkLen + remark | i4 extLen + ext
//! ext: { i2 keyLen + key | i4 valueLen + value } …
//! ```
//!
//! An empty remark or value stands for an absent one.

use bytes::Buf;
use bytes::BufMut;
use bytes::Bytes;
use bytes::BytesMut;

use crate::protocol::code::Language;
use crate::protocol::ext::Ext;
use crate::protocol::ext::FIELDS_MAX;
use crate::protocol::ext::Span;
use crate::protocol::ext::Spans;
use crate::protocol::header::Encoding;
use crate::protocol::header::Header;
use crate::protocol::header::HeaderError;
use crate::protocol::text::Text;

const FIXED_BYTES: usize = 2 + 1 + 2 + 4 + 4;

pub(super) fn decode(mut bytes: Bytes) -> Result<Header, HeaderError> {
    if bytes.len() < FIXED_BYTES {
        return Err(HeaderError::Length {
            what: "the binary header",
            claimed: FIXED_BYTES as i64,
            left: bytes.len(),
        });
    }
    let code = i32::from(bytes.get_i16());
    let language = Language::from_u8(bytes.get_u8());
    let version = i32::from(bytes.get_i16());
    let opaque = bytes.get_i32();
    let flag = bytes.get_i32();
    let remark = section("the remark", &mut bytes)?;
    let ext = section("the ext fields", &mut bytes)?;
    Ok(Header {
        code,
        language,
        version,
        opaque,
        flag,
        remark: (!remark.is_empty()).then(|| Text::from_utf8_lossy(remark)),
        ext: decode_ext(ext)?,
        encoding: Encoding::Binary,
    })
}

/// A 32-bit length and that many bytes; nothing at all counts as empty.
fn section(what: &'static str, bytes: &mut Bytes) -> Result<Bytes, HeaderError> {
    let left = bytes.len();
    let Ok(claimed) = bytes.try_get_i32() else {
        return if left == 0 {
            Ok(Bytes::new())
        } else {
            Err(HeaderError::Length { what, claimed: 4, left })
        };
    };
    match usize::try_from(claimed) {
        Ok(len) if len <= bytes.len() => Ok(bytes.split_to(len)),
        // Java reads a negative length as zero.
        Err(_) => Ok(Bytes::new()),
        Ok(_) => Err(HeaderError::Length { what, claimed: claimed.into(), left: bytes.len() }),
    }
}

fn decode_ext(wire: Bytes) -> Result<Ext, HeaderError> {
    let mut fields = Spans::new();
    let mut at = 0;
    // Lengths below 128 are ASCII, so that the whole section is ordinarily UTF-8 and one pass tells.
    let whole = std::str::from_utf8(&wire).ok();
    let is_text = |span: Span| match whole {
        Some(whole) => whole.get(span.range()).is_some(),
        None => std::str::from_utf8(span.of(&wire)).is_ok(),
    };
    let mut utf8 = true;
    while at < wire.len() {
        let key_len = i64::from(take::<2>("an ext name", &wire, &mut at).map(i16::from_be_bytes)?);
        let key = span("an ext name", &wire, &mut at, key_len)?;
        let value_len = i64::from(take::<4>("an ext value", &wire, &mut at).map(i32::from_be_bytes)?);
        let value = span("an ext value", &wire, &mut at, value_len)?;
        utf8 &= is_text(key) && is_text(value);
        if fields.len() == FIELDS_MAX {
            return Err(HeaderError::Fields { fields_max: FIELDS_MAX });
        }
        if !value.range().is_empty() {
            fields.push((key, value));
        }
    }
    if utf8 {
        return Ok(Ext::from_wire(wire, fields));
    }
    let mut ext = Ext::default();
    for (key, value) in fields {
        ext.push(&String::from_utf8_lossy(key.of(&wire)), &String::from_utf8_lossy(value.of(&wire)));
    }
    Ok(ext)
}

fn take<const N: usize>(what: &'static str, wire: &[u8], at: &mut usize) -> Result<[u8; N], HeaderError> {
    let rest = wire.get(*at..).unwrap_or_default();
    let taken =
        rest.first_chunk::<N>().ok_or(HeaderError::Length { what, claimed: N as i64, left: rest.len() })?;
    *at += N;
    Ok(*taken)
}

fn span(what: &'static str, wire: &[u8], at: &mut usize, claimed: i64) -> Result<Span, HeaderError> {
    let left = wire.len() - *at;
    let len = usize::try_from(claimed).ok().filter(|len| *len <= left);
    let len = len.ok_or(HeaderError::Length { what, claimed, left })?;
    *at += len;
    Ok(Span::wire(*at - len, *at))
}

pub(super) fn write(header: &Header, code: i16, out: &mut BytesMut) {
    out.put_i16(code);
    out.put_u8(header.language.number());
    // The ordinal has 16 bits here; ours has ten.
    out.put_i16(i16::try_from(header.version).unwrap_or(i16::MAX));
    out.put_i32(header.opaque);
    out.put_i32(header.flag);
    let remark = header.remark.as_ref().map_or(&[][..], |remark| remark.as_bytes());
    out.put_u32(remark.len() as u32);
    out.put_slice(remark);
    let length_at = out.len();
    out.put_u32(0);
    for (key, value) in header.ext.iter_raw() {
        let key_len = i16::try_from(key.len()).expect("an ext name fits the 16-bit length of its field");
        out.put_i16(key_len);
        out.put_slice(key);
        out.put_u32(value.len() as u32);
        out.put_slice(value);
    }
    let ext_bytes = (out.len() - length_at - 4) as u32;
    out[length_at..length_at + 4].copy_from_slice(&ext_bytes.to_be_bytes());
}

//! The body of a batch: items one after the other.
//!
//! ```text
//! i4 size | i4 magic 0 | i4 body CRC 0 | i4 flag | i4 + n body | i2 + n properties
//! ```
//!
//! All items go to one queue and share the header's other fields. Size, magic and CRC are written for Java's eye and not
//! looked at: clients fill them differently.

use bytes::Buf;
use bytes::BufMut;
use bytes::Bytes;

/// One message of a batch; slices of the batch's body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchItem {
    /// The user's own.
    pub flag: i32,
    pub body: Bytes,
    /// Encoded properties.
    pub properties: Bytes,
}

/// Why a body is not a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("batch item {index}: {what} claims {claimed} bytes where {left} are left")]
    Length { index: usize, what: &'static str, claimed: i64, left: usize },
    #[error("batch item {index} ends within its first 20 bytes")]
    Short { index: usize },
    #[error("a batch of no messages")]
    Empty,
}

/// The items of a batch, cut as they are asked for. Ends at the first error; an empty body is one.
pub fn split(body: Bytes) -> impl Iterator<Item = Result<BatchItem, BatchError>> {
    let empty = body.is_empty().then_some(Err(BatchError::Empty));
    let mut rest = body;
    let mut index = 0;
    let items = std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let item = cut(&mut rest, index);
        index += 1;
        if item.is_err() {
            rest = Bytes::new();
        }
        Some(item)
    });
    empty.into_iter().chain(items)
}

/// Appends one item. Properties longer than a 16-bit length are the caller's error.
pub fn encode(item: &BatchItem, out: &mut impl BufMut) {
    let properties = i16::try_from(item.properties.len()).expect("properties fit a 16-bit length");
    let size = FIXED_BYTES + item.body.len() + 2 + item.properties.len();
    out.put_i32(i32::try_from(size).expect("an item fits a frame"));
    out.put_i32(0);
    out.put_i32(0);
    out.put_i32(item.flag);
    out.put_i32(item.body.len() as i32);
    out.put_slice(&item.body);
    out.put_i16(properties);
    out.put_slice(&item.properties);
}

/// Size, magic, CRC, flag and the body's length.
const FIXED_BYTES: usize = 20;

fn cut(rest: &mut Bytes, index: usize) -> Result<BatchItem, BatchError> {
    if rest.len() < FIXED_BYTES {
        return Err(BatchError::Short { index });
    }
    rest.advance(12);
    let flag = rest.get_i32();
    let body_len = i64::from(rest.get_i32());
    let body = take(rest, index, "the body", body_len)?;
    let properties_len = rest.try_get_i16().map_err(|_| BatchError::Length {
        index,
        what: "the properties' length",
        claimed: 2,
        left: rest.len(),
    })?;
    let properties = take(rest, index, "the property block", i64::from(properties_len))?;
    Ok(BatchItem { flag, body, properties })
}

fn take(rest: &mut Bytes, index: usize, what: &'static str, claimed: i64) -> Result<Bytes, BatchError> {
    let left = rest.len();
    match usize::try_from(claimed) {
        Ok(len) if len <= left => Ok(rest.split_to(len)),
        _ => Err(BatchError::Length { index, what, claimed, left }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            items in prop::collection::vec((any::<i32>(), any::<Vec<u8>>(), any::<Vec<u8>>()), 1..5),
        ) {
            let items: Vec<_> = items
                .into_iter()
                .map(|(flag, body, properties)| BatchItem { flag, body: body.into(), properties: properties.into() })
                .collect();
            let mut body = Vec::new();
            for item in &items {
                encode(item, &mut body);
            }
            let read: Result<Vec<_>, _> = split(body.into()).collect();
            prop_assert_eq!(read, Ok(items));
        }

        #[test]
        fn random_bytes_end_in_items_or_one_error(bytes: Vec<u8>) {
            let read: Vec<_> = split(bytes.into()).collect();
            prop_assert!(read.iter().rev().skip(1).all(Result::is_ok));
        }
    }

    #[test]
    fn errors_name_the_item_and_the_length() {
        assert_eq!(split(Bytes::new()).next(), Some(Err(BatchError::Empty)));
        let mut body = Vec::new();
        encode(&BatchItem { flag: 0, body: Bytes::from_static(b"one"), properties: Bytes::new() }, &mut body);
        body.extend_from_slice(&[0; 16]);
        body.extend_from_slice(&1000i32.to_be_bytes());
        let second = split(body.into()).nth(1).unwrap().unwrap_err();
        assert_eq!(second.to_string(), "batch item 1: the body claims 1000 bytes where 0 are left");
    }
}

//! How far a text needs no escape, eight bytes at a time: headers are read and written once per message.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Bytes in front of the first quote or backslash; all of them if there is none.
pub(super) fn until_quote_or_backslash(bytes: &[u8]) -> usize {
    until(
        bytes,
        |word| zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\'))),
        |byte| matches!(byte, b'"' | b'\\'),
    )
}

/// Bytes in front of the first one that JSON wants escaped: a quote, a backslash or a control character.
pub(super) fn until_escaped(bytes: &[u8]) -> usize {
    until(
        bytes,
        |word| {
            // A byte below 0x20 borrows from its high bit when 0x20 is taken away.
            let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
            control | zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\')))
        },
        |byte| byte < 0x20 || matches!(byte, b'"' | b'\\'),
    )
}

/// The high bit of each zero byte. Bytes above the first zero one may be marked wrongly; the first never is.
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

fn until(bytes: &[u8], marks: impl Fn(u64) -> u64, ends: impl Fn(u8) -> bool) -> usize {
    let mut at = 0;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let marks = marks(u64::from_le_bytes(*chunk));
        if marks != 0 {
            return at + marks.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let tail = bytes.get(at..).unwrap_or_default();
    at + tail.iter().position(|byte| ends(*byte)).unwrap_or(tail.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn eight_at_a_time_is_one_at_a_time(bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0x1fu8..0x24, 0x5bu8..0x5e], 0..40)) {
            let quote = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\'));
            prop_assert_eq!(until_quote_or_backslash(&bytes), quote.unwrap_or(bytes.len()));
            let escaped = bytes.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\'));
            prop_assert_eq!(until_escaped(&bytes), escaped.unwrap_or(bytes.len()));
        }
    }
}

//! Decimal numbers as text: read without a detour through `str`, written without allocation.

/// Room for one formatted integer.
pub struct Digits([u8; 20]);

impl Digits {
    pub const fn new() -> Digits {
        Digits([0; 20])
    }

    /// The decimal form of `value`.
    pub fn i64(&mut self, value: i64) -> &[u8] {
        let mut rest = value.unsigned_abs();
        let mut at = self.0.len();
        loop {
            at -= 1;
            self.0[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if value < 0 {
            at -= 1;
            self.0[at] = b'-';
        }
        &self.0[at..]
    }
}

impl Default for Digits {
    fn default() -> Digits {
        Digits::new()
    }
}

/// A signed decimal, with blanks around it allowed. `None` for anything else, or out of range.
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let text = text.trim_ascii();
    let (negative, digits) = match text.split_first()? {
        (b'-', digits) => (true, digits),
        (b'+', digits) => (false, digits),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value = 0i64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        let digit = i64::from(digit);
        let shifted = value.checked_mul(10)?;
        value = if negative { shifted.checked_sub(digit)? } else { shifted.checked_add(digit)? };
    }
    Some(value)
}

/// As [`parse_i64`], within 32 bits.
pub fn parse_i32(text: &[u8]) -> Option<i32> {
    i32::try_from(parse_i64(text)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(value: i64) {
            let mut digits = Digits::new();
            let text = digits.i64(value).to_vec();
            prop_assert_eq!(String::from_utf8(text.clone()).unwrap(), value.to_string());
            prop_assert_eq!(parse_i64(&text), Some(value));
        }
    }

    #[test]
    fn out_of_range_and_stray_characters_are_refused() {
        assert_eq!(parse_i64(b"9223372036854775808"), None);
        assert_eq!(parse_i64(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(parse_i32(b"2147483648"), None);
        for text in ["", "-", "+", "1x", "0x1", "1.0", "1 2"] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_i64(b" 7\n"), Some(7));
    }
}

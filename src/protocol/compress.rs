//! Zlib, with bounded output: a few kilobytes of a stranger's bytes may unfold into gigabytes.

use std::io::Read;
use std::io::Write;

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

/// What clients use by default.
pub const LEVEL_DEFAULT: u32 = 5;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    #[error("the compressed data is damaged")]
    Damaged,
    #[error("the data unfolds into more than {bytes_max} bytes")]
    TooLong { bytes_max: usize },
}

/// Unfolds a zlib stream into at most `bytes_max` bytes.
pub fn inflate(compressed: &[u8], bytes_max: usize) -> Result<Vec<u8>, InflateError> {
    let mut plain = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    ZlibDecoder::new(compressed).take(limit).read_to_end(&mut plain).map_err(|_| InflateError::Damaged)?;
    if plain.len() > bytes_max { Err(InflateError::TooLong { bytes_max }) } else { Ok(plain) }
}

/// A zlib stream of `plain`; `level` is 0 to 9.
pub fn deflate(plain: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::with_capacity(plain.len() / 2), Compression::new(level.min(9)));
    encoder.write_all(plain).and_then(|()| encoder.finish()).expect("writing into memory does not fail")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_folded_unfolds(plain: Vec<u8>, level in 0u32..10) {
            prop_assert_eq!(inflate(&deflate(&plain, level), plain.len()), Ok(plain));
        }

        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            let _ = inflate(&bytes, 1000);
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = deflate(&vec![0; 10_000_000], 9);
        assert!(bomb.len() < 20_000);
        assert_eq!(inflate(&bomb, 100_000), Err(InflateError::TooLong { bytes_max: 100_000 }));
        assert_eq!(inflate(&bomb[..100], 100_000_000), Err(InflateError::Damaged));
    }
}

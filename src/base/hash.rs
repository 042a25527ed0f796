//! Hashing with fixed functions: std's random hasher would make two runs of one seed differ.

use rustc_hash::FxBuildHasher;

/// For pure look-up on a hot path. Its order is fixed, but it is not an order: do not let an iteration over it
/// decide anything that leaves the process.
#[expect(
    clippy::disallowed_types,
    reason = "this is the hash map with a fixed hasher that the rule asks for"
)]
pub type FastMap<K, V> = std::collections::HashMap<K, V, FxBuildHasher>;

/// As [`FastMap`], for sets.
#[expect(
    clippy::disallowed_types,
    reason = "this is the hash set with a fixed hasher that the rule asks for"
)]
pub type FastSet<K> = std::collections::HashSet<K, FxBuildHasher>;

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// FNV-1a, 64 bits: labels of random streams and trace hashes.
pub fn fnv64(bytes: &[u8]) -> u64 {
    fnv64_extend(FNV_START, bytes)
}

/// Continues an FNV-1a hash.
pub fn fnv64_extend(mut hash: u64, bytes: &[u8]) -> u64 {
    for byte in bytes {
        hash ^= u64::from(*byte);
        hash = hash.wrapping_mul(FNV_PRIME);
    }
    hash
}

/// Java's `String.hashCode`: 31·h + UTF-16 unit, wrapping in 32 bits. Tags and index keys are stored as this.
pub fn java_string_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_java() {
        assert_eq!(java_string_hash(""), 0);
        assert_eq!(java_string_hash("TagA"), 2598919);
        assert_eq!(java_string_hash("polygenelubricants"), i32::MIN);
        assert_eq!(java_string_hash("é漢😀"), {
            let units = [0xe9i32, 0x6f22, 0xd83d, 0xde00];
            units.iter().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(*unit))
        });
    }
}

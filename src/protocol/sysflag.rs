//! Bits of a message's system flag.
//!
//! ```text
//! 0x001 body compressed        0x010 born host is IPv6      0x0c transaction: 0 none, 4 prepared, 8 commit, c rollback
//! 0x002 several tags           0x020 store host is IPv6     0x700 compression: 0 zlib (before 5.0), 1 LZ4, 2 Zstd, 3 zlib
//! 0x040 to be unwrapped        0x080 inner batch
//! ```

pub const COMPRESSED: i32 = 0x1;
pub const MULTI_TAGS: i32 = 0x2;
pub const TRANSACTION_MASK: i32 = 0xc;
pub const TRANSACTION_NONE: i32 = 0;
pub const TRANSACTION_PREPARED: i32 = 0x4;
pub const TRANSACTION_COMMIT: i32 = 0x8;
pub const TRANSACTION_ROLLBACK: i32 = 0xc;
pub const BORN_HOST_V6: i32 = 0x10;
pub const STORE_HOST_V6: i32 = 0x20;
pub const NEED_UNWRAP: i32 = 0x40;
pub const INNER_BATCH: i32 = 0x80;
const COMPRESSION_MASK: i32 = 0x700;

/// How a compressed body was compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Zlib,
    Lz4,
    Zstd,
}

/// The transaction type of `flag`.
pub const fn transaction(flag: i32) -> i32 {
    flag & TRANSACTION_MASK
}

/// `flag` with another transaction type.
pub const fn with_transaction(flag: i32, transaction: i32) -> i32 {
    flag & !TRANSACTION_MASK | transaction
}

/// `flag` of the same message with its body unfolded.
pub const fn without_compression(flag: i32) -> i32 {
    flag & !(COMPRESSED | COMPRESSION_MASK)
}

/// How the body is compressed; `None` if it is not, or by something nobody knows.
pub const fn compression(flag: i32) -> Option<Compression> {
    if flag & COMPRESSED == 0 {
        return None;
    }
    match (flag & COMPRESSION_MASK) >> 8 {
        0 | 3 => Some(Compression::Zlib),
        1 => Some(Compression::Lz4),
        2 => Some(Compression::Zstd),
        _ => None,
    }
}

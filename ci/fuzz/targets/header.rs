//! A header from a stranger, in both encodings. Its laws are `staticfire_fuzz::header`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| staticfire_fuzz::header(bytes));

//! A stream of bytes from a stranger, cut into frames. Its laws are `staticfire_fuzz::frame`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| staticfire_fuzz::frame(bytes));

//! Bodies from a stranger: JSON, property texts, compressed registrations. Its laws are `staticfire_fuzz::body`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| staticfire_fuzz::body(bytes));

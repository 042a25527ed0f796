//! Bytes of a disk, of a pull's answer or of a batch, read as records. Its laws are `staticfire_fuzz::record`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| staticfire_fuzz::record(bytes));

//! Any output of disk-image-builder's: its progress and what went wrong.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| image_manager::fuzzing::build_log(bytes));

//! Any output of disk-image-builder's: its progress, what went wrong, and how it is shown.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| image_manager::fuzzing::build_log(bytes));

//! Any text in the place of schedules.toml: it is read, or its mistakes are shown, and nothing else.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        image_manager::fuzzing::schedules(text);
    }
});

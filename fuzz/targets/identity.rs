//! Any instance metadata, and any package database: what the agent reads of a server.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        image_manager_agent::fuzzing::identity(text);
        image_manager_agent::fuzzing::packages(text);
    }
});

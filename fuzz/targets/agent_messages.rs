//! Any messages of an agent's, to a gateway with a build that waits for them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| image_manager::fuzzing::agent_messages(bytes));

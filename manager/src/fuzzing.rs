//! What the fuzz targets call; compiled for them only. Each takes whatever comes and must neither panic nor take
//! long; what must hold is asserted.

use std::path::Path;

pub use crate::gateway::fuzzing::agent_messages;
use crate::schedules::{describe, next_fires, parse};

/// Reads an output of disk-image-builder's, and shows it wherever text is shown.
pub fn build_log(bytes: &[u8]) {
    crate::builder::fuzzing::build_log(bytes);
    crate::untrusted::fuzzing::shown(bytes);
}

/// Reads a text as schedules.toml, and shows what comes of it.
pub fn schedules(text: &str) {
    let now = chrono::DateTime::from_timestamp(1_795_600_000, 0).unwrap_or_default();
    match parse(Path::new("schedules.toml"), text) {
        Ok(found) => {
            assert!(found.schedules.len() <= 500, "too many schedules");
            for schedule in &found.schedules {
                assert!(!schedule.image.elements.is_empty(), "a schedule without elements");
                assert!(next_fires(schedule, now, 3).is_sorted(), "fire times out of order");
            }
            assert!(!describe(&found, now).is_empty(), "nothing to show");
        }
        Err(error) => assert!(!error.render(false).is_empty(), "a mistake that is not shown"),
    }
}

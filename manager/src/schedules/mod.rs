//! `schedules.toml`: what to build, when, where to boot it, what it must prove.
//!
//! [`values`] holds the typed result, [`cron`] the five-field entries, [`planner`] what is due (pure).

pub mod cron;
pub mod planner;
pub mod values;

pub use values::{
    CheckKind, CheckSpec, Compression, ImageSpec, Publish, Schedule, Schedules, ServerSpec, Timeouts, User,
};

//! `schedules.toml`: what to build, when, where to boot it, what it must prove.
//!
//! [`values`] holds the typed result, [`cron`] the five-field entries, [`planner`] what is due (pure).

pub mod cron;
mod cron_field;
pub mod planner;
mod suggestions;
pub mod values;

pub use planner::{Due, due, next_fires};
pub use values::{
    CheckKind, CheckSpec, Compression, ImageSpec, Publish, Schedule, Schedules, ServerSpec, Timeouts, User,
};

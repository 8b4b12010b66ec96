//! Image Manager: rebuilds cloud images on a schedule and proves each one on a real server.
//!
//! Imports run downward only: `cli`, `operator` and `webhook` use `lifecycle`; that uses `builder`, `cloud`,
//! `gateway` and `history`; those use the values of `schedules` and the messages of `image-manager-proto`.
//! What time it is, what the stages are called, where a program is, how a refusal is logged and how connections are bounded, all of them may ask; what others said they show
//! through `untrusted`.
//!
//! A new part of the program is a module here, in its place in that order; `ARCHITECTURE.md` says what is
//! where, and `CONTRIBUTING.md` what belongs to a new check, cloud, distribution, verb, column or reason.

pub mod builder;
mod checks;
pub mod cli;
mod clock;
pub mod cloud;
mod connections;
pub mod finding;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod gateway;
pub mod history;
pub mod lifecycle;
pub mod operator;
pub mod programs;
pub mod readiness;
pub mod reason;
mod refusals;
pub mod schedules;
pub mod stage;
pub mod trust;
pub mod unchanged;
mod untrusted;
pub mod webhook;

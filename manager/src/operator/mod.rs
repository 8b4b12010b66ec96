//! What people and their programs use: the control gRPC service with reflection and health, and the web pages, all
//! on one port.

mod access;
pub(crate) mod charts;
mod control;
mod door;
mod exposition;
mod guard;
mod metrics;
mod server;
mod watch;
mod web;
pub(crate) mod when;

pub use access::{AccessError, ApiToken};
pub use server::{Operator, OperatorError, serve};
pub use watch::build_events;

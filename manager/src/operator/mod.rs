//! What people and their programs use: the control gRPC service with reflection and health, and HTTP, all on
//! one port.

mod access;
mod control;
mod server;
mod watch;

pub use access::{AccessError, ApiToken};
pub use server::{Operator, OperatorError, serve};
pub use watch::build_events;

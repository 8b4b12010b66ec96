//! What people and their programs use: the control gRPC service with reflection and health, and the web pages, all
//! on one port.
//!
//! A new RPC is a method of `control.proto` and `control`, with the role that it asks for in `rules`; one that
//! only reads has a path in `api`, too. Pages are in `web`, metrics in `metrics`.

mod access;
mod api;
pub(crate) mod attention;
pub(crate) mod charts;
mod control;
mod exposition;
mod gate;
mod guard;
pub(crate) mod json;
mod listener;
mod metrics;
mod publications;
pub(crate) mod quantity;
mod reflection;
mod rules;
mod server;
mod statuses;
mod watch;
mod web;
pub(crate) mod when;

pub use access::{Access, AccessError, ApiToken, Role, TokenError, guard_secret};
pub(crate) use access::{
    create as create_token, message as token_message, of_file as token_of_file, revoke as revoke_token,
};
pub(crate) use publications::{state_of as publication_state, status as change_status};
pub use server::{Operator, OperatorError, serve};
pub use watch::{Logs, build_events};

//! Whether the builds of a schedules file can work on this host: one look that `check`, `doctor`, `serve`, `run` and
//! reload share, so that they never say different things.
//!
//! ```text
//!  elements   what disk-image-builder's own resolver makes of each schedule's elements
//!  definition mistakes in that, shown at their place in the file: unknown elements, no operating system, no agent
//!  distribution which one they build; elements, releases and init systems that do not go with it
//!  own        elements directories, and the files that schedules name: there, and safe from others
//!  needs      what each schedule's elements call on this host
//!  machines   what images for other processors and firmware need
//!  host       programs, agent, room; only what these schedules need
//! ```
//!
//! A mistake in the definition refuses the file (exit code 64). What the host lacks is a [`Finding`] with the command
//! that mends it: the file is right, and builds will end ERRORED until it is there.
//!
//! What a new element calls on this host is a row of `needs`; a new distribution is a row of
//! `distribution/known.rs`.

mod definition;
mod distribution;
mod elements;
mod host;
mod machines;
mod needs;
mod own;

pub use crate::finding::{Finding, Problem};
pub use definition::{Definition, definition};
pub use host::findings;
pub use own::{check_what_runs, notes};

/// The distribution that a schedule builds, as far as the names of its elements tell.
pub(crate) fn distribution(schedule: &crate::schedules::Schedule) -> Option<&'static str> {
    distribution::by_names(schedule)
}

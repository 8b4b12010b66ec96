//! Whether the builds of a schedules file can work on this host: one look that `check`, `doctor`, `serve`, `run` and
//! reload share, so that they never say different things.
//!
//! ```text
//!  elements   what disk-image-builder's own resolver makes of each schedule's elements
//!  definition mistakes in that, shown at their place in the file: unknown elements, no operating system, no agent
//!  own        elements directories, and the files that schedules name: there, and safe from others
//!  host       programs, agent, room; only what these schedules need
//! ```
//!
//! A mistake in the definition refuses the file (exit code 64). What the host lacks is a [`Finding`] with the command
//! that mends it: the file is right, and builds will end ERRORED until it is there.

mod definition;
mod elements;
mod host;
mod machines;
mod own;

use crate::cloud::local;

pub use definition::{Definition, definition};
pub use host::findings;
pub use own::{check_what_runs, notes};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is, and where it was found.
    pub what: String,
    /// What is wrong with it; `None`: nothing.
    pub trouble: Option<Mending>,
}

/// What is wrong and what mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mending {
    /// What is wrong, a lower-case fragment.
    pub wrong: String,
    /// A command, or what else to do.
    pub mend: String,
}

impl Finding {
    /// Nothing is wrong with it.
    pub fn good(what: impl Into<String>) -> Self {
        Self { what: what.into(), trouble: None }
    }

    /// Something is wrong with it.
    pub fn bad(what: impl Into<String>, wrong: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.into(), trouble: Some(Mending { wrong: wrong.into(), mend: mend.into() }) }
    }
}

impl From<local::Need> for Finding {
    fn from(need: local::Need) -> Self {
        let trouble = need.lack.map(|lack| Mending { wrong: lack.wrong, mend: lack.mend });
        Self { what: need.what, trouble }
    }
}

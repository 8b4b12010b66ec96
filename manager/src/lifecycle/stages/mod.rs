//! The stages of builds and trials, one file each. A stage returns what the next one needs, or why the build ends.
//!
//! A new stage is a file here, a value of [`crate::stage::Stage`] with the state in which it is under way
//! (`lifecycle/state`), and its turn in `driver`, for a build, or in `trial`.

mod admission;
pub(super) mod boot;
pub(super) mod build;
mod claim;
pub(super) mod judgement;
mod kept_disk;
pub(super) mod observed;
mod own_clock;
mod own_identity;
pub(super) mod publish;
pub(super) mod second_opinion;
pub(super) mod upload;
pub(super) mod verify;

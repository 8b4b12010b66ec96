//! The whole life cycle on the local cloud, from the outside: the real program, the real agent, real QEMU, real
//! gRPC and SQLite. The image is the tiny one of `testbed/tiny-image`, made by a stand-in for
//! `disk-image-create`, so that a build takes seconds; `real_debian` does it once with the real one.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests: a surprise ends the test"
)]

mod api;
mod canaries;
mod clouds;
mod control;
mod crowd;
mod distributions;
mod documents;
mod durability;
mod foreground;
mod grpc;
#[path = "../harness/mod.rs"]
mod harness;
mod hostile;
mod keeping;
mod machines;
mod mistakes;
mod monitoring;
mod operators;
mod operators_flood;
mod orders;
mod own_checks;
mod own_elements;
mod past;
mod private_repository;
mod pruning;
mod publications;
mod readiness;
mod reading;
mod real_debian;
mod rebooting;
mod reconciling;
mod recovery;
mod reloading;
mod resumption;
mod retrying;
mod road;
mod rpm;
mod second_build;
mod serving;
mod several;
mod shell;
mod starting;
mod steering;
mod stopping;
mod targets;
mod unchanged;
mod untrusted;
mod usage;
mod verdicts;
mod verifying_again;
mod webhook;
mod whose_fault;

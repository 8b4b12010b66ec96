//! The whole life cycle on a real OpenStack: the real program, the real agent, the tiny image of
//! `testbed/tiny-image`. `IMAGE_MANAGER_TEST_CLOUDS` names the clouds.yaml of the lab that
//! `testbed/openstack/up` starts, with the clouds `lab` (a tenant), `lab-appcred` and `lab-admin`; without it
//! these tests are left out, and say so.
//!
//! Tests share the lab and build side by side, each with a gateway port of its own; those of `alone` break
//! services or quotas for everybody, and have the lab to themselves.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what went wrong by stopping there"
)]

mod account;
mod alone;
mod bad_day;
#[path = "../harness/debian.rs"]
mod debian;
#[path = "../harness/disk.rs"]
mod disk;
mod down;
mod lab;
mod large;
#[path = "../harness/left_out.rs"]
mod left_out;
mod proxy;
mod publications;
mod raw;
mod real_debian;
mod road;
mod silent;
mod sweeping;
mod targets;
mod under_way;
mod usage;
mod verifying_again;
mod whose_fault;

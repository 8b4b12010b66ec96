//! All kinds of checks. To add one: a module with its `CHECK`, and its line here.

use super::descriptor::Check;
use super::{
    cloud_init, commands, disk, dns, files, identity, internet, kernel, lease, metadata, network,
    package_manager, packages, reboot, script, services, ssh, time, users,
};

/// Those that the agent runs, in the order in which people see them.
pub static CHECKS: &[&Check] = &[
    &disk::CHECK,
    &dns::CHECK,
    &internet::CHECK,
    &cloud_init::CHECK,
    &network::CHECK,
    &lease::CHECK,
    &metadata::CHECK,
    &identity::CHECK,
    &ssh::CHECK,
    &users::CHECK,
    &services::CHECK,
    &time::CHECK,
    &kernel::CHECK,
    &package_manager::CHECK,
    &packages::CHECK,
    &files::CHECK,
    &commands::CHECK,
    &script::CHECK,
    &reboot::CHECK,
];

/// The check of this kind.
pub(super) fn find(kind: &str) -> Option<&'static Check> {
    CHECKS.iter().find(|check| check.kind == kind).copied()
}

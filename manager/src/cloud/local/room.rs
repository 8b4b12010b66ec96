//! Whether this host has room for another server.

use std::path::Path;

use sysinfo::{MemoryRefreshKind, System};

use super::{in_mib, io_error};
use crate::cloud::{CloudError, Trouble};

/// Refuses when fewer than `memory` bytes of memory, or `least` bytes of the state directory's disk, are free.
pub(super) fn require(state: &Path, least: u64, memory: u64) -> Result<(), CloudError> {
    enough("memory", "this host", available_memory()?, memory)?;
    let found = nix::sys::statvfs::statvfs(state)
        .map_err(|error| io_error("cannot examine", state, &error.into()))?;
    let free = found.blocks_available().saturating_mul(found.fragment_size());
    enough("disk space", &state.display().to_string(), free, least)
}

fn enough(what: &str, place: &str, there: u64, needed: u64) -> Result<(), CloudError> {
    if there >= needed {
        return Ok(());
    }
    let (there, needed) = (in_mib(there), in_mib(needed));
    let message = format!("{place} has {there} of free {what}, but {needed} is needed");
    Err(CloudError::new(Trouble::NoRoom, message))
}

/// Bytes of memory that a new process may take here, also by the limit of a container.
fn available_memory() -> Result<u64, CloudError> {
    let mut system = System::new().map_err(|error| {
        CloudError::new(Trouble::Fault, format!("cannot find out how much memory is free: {error}"))
    })?;
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    let free = system.available_memory();
    // Not its `free_memory`: that counts the page cache, full after every build, as taken.
    let within = |limits: sysinfo::CGroupLimits| limits.total_memory.saturating_sub(limits.rss);
    Ok(system.cgroup_limits().map_or(free, |limits| free.min(within(limits))))
}

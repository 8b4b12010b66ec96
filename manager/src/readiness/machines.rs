//! What images for certain machines need of this host: their agent, what runs foreign programs, what mounts an EFI system
//! partition.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Finding;
use super::host::names;
use super::needs::EFI;
use crate::cloud::CloudKind;
use crate::lifecycle::{NoAgent, Settings, agent_for};
use crate::programs::find;
use crate::schedules::{Arch, Firmware, Schedule};

/// What the schedules' servers need of this host, by the kind of their cloud; without schedules, what those need that name
/// no cloud.
pub(super) fn servers(needed: &[&Schedule]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for kind in CloudKind::ALL {
        let targets = needed.iter().flat_map(|schedule| &schedule.targets);
        let servers: Vec<_> =
            targets.filter(|target| target.kind() == kind).map(|target| &target.server).collect();
        let by_default = needed.is_empty() && kind == CloudKind::of(CloudKind::DEFAULT);
        if servers.is_empty() && !by_default {
            continue;
        }
        let there = names(needed, |schedule| schedule.targets.iter().any(|target| target.kind() == kind));
        findings.extend((kind.needs)(&servers).into_iter().map(|need| need.of(there.clone())));
    }
    findings
}

/// The agent for each architecture that images are built for.
pub(super) fn agents(needed: &[&Schedule], settings: &Settings) -> Vec<Finding> {
    let mut architectures: BTreeSet<Arch> = needed.iter().map(|schedule| schedule.image.arch).collect();
    if needed.is_empty() {
        architectures.insert(Arch::HOST);
    }
    architectures.into_iter().map(|arch| agent(arch, settings).of(for_arch(needed, arch))).collect()
}

fn agent(arch: Arch, settings: &Settings) -> Finding {
    let what =
        if arch == Arch::HOST { "agent binary".to_owned() } else { format!("agent binary for {arch}") };
    match agent_for(&settings.agent, arch) {
        Ok(file) => Finding::good(format!("{what} ({})", file.display())),
        Err(refusal) => {
            let wrong = match &refusal {
                NoAgent::Missing(file, _) => format!("not at {}", file.display()),
                NoAgent::OfAnotherMachine { .. } => refusal.to_string(),
            };
            Finding::bad(what, wrong, format!("{}, or name it with --agent", refusal.mend()))
        }
    }
}

/// What runs the programs of images that are for other processors than this host's.
pub(super) fn foreign(needed: &[&Schedule]) -> Vec<Finding> {
    let architectures: BTreeSet<Arch> = needed.iter().map(|schedule| schedule.image.arch).collect();
    let foreign = architectures.into_iter().filter(|arch| *arch != Arch::HOST);
    foreign.map(|arch| interpreter(arch).of(for_arch(needed, arch))).collect()
}

/// The schedules whose images are for these processors.
fn for_arch(needed: &[&Schedule], arch: Arch) -> Vec<String> {
    names(needed, |schedule| schedule.image.arch == arch)
}

fn interpreter(arch: Arch) -> Finding {
    let what = format!("programs for {arch} on this host");
    let machine = arch.machine();
    let name = format!("qemu-{machine}");
    // Only a registration with the flag F finds its interpreter from inside of the image's root.
    let registered = fs::read_to_string(Path::new("/proc/sys/fs/binfmt_misc").join(&name));
    let fixed = |text: &str| text.lines().any(|line| line.starts_with("flags:") && line.contains('F'));
    match registered {
        Ok(text) if text.starts_with("enabled") && fixed(&text) => {
            Finding::good(format!("{what} (binfmt_misc {name})"))
        }
        Ok(text) if text.starts_with("enabled") => Finding::bad(
            what,
            format!("{name} in binfmt_misc has no flag F, so it is not found from inside an image"),
            Finding::install("qemu-user-static"),
        ),
        Ok(_) => Finding::bad(
            what,
            format!("{name} is switched off in binfmt_misc"),
            "systemctl restart systemd-binfmt",
        ),
        Err(_) => Finding::bad(
            what,
            "no interpreter is registered for them; disk-image-builder runs the image's own programs here",
            Finding::install("qemu-user-static"),
        ),
    }
}

/// An image without an EFI system partition, as far as is known, for a server that starts from one.
pub(super) fn note(schedule: &Schedule, elements: &BTreeSet<String>) -> Option<String> {
    let made = EFI.iter().any(|name| elements.contains(*name))
        || schedule.image.environment.contains_key("DIB_BLOCK_DEVICE_CONFIG");
    let efi = schedule.targets.iter().any(|target| target.server.firmware() != Firmware::Bios);
    (efi && !made).then(|| {
        format!(
            "schedule {}: its server boots from an EFI system partition, and none of its elements from \
             disk-image-builder makes one: add \"block-device-efi\", unless an element of your own makes one",
            schedule.name
        )
    })
}

/// What writes the files of an EFI system partition.
pub(super) fn vfat() -> Finding {
    let what = "writing an EFI system partition";
    let systems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let known = systems.lines().any(|line| line.trim() == "vfat");
    let module = || {
        let mut modprobe = Command::new("modprobe");
        modprobe.args(["--dry-run", "--quiet", "vfat"]);
        modprobe.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        modprobe.status().is_ok_and(|status| status.success())
    };
    if known || module() {
        return Finding::good(format!("{what} (the kernel's vfat)"));
    }
    match find("mcopy") {
        Some(path) => Finding::good(format!("{what} (no vfat in the kernel; {})", path.display())),
        None => Finding::bad(
            what,
            "the kernel of this host has no vfat, and mtools, which is used instead, is not installed",
            Finding::install("mtools"),
        ),
    }
}

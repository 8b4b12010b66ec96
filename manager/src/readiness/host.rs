//! What this host lacks for the builds of the schedules.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Definition, Finding, machines, own};
use crate::builder::check_room;
use crate::cloud::local;
use crate::lifecycle::Settings;
use crate::programs::{find, is_executable};
use crate::schedules::{Schedule, Schedules};

/// A program that builds need.
struct Program {
    /// Any of these will do.
    names: &'static [&'static str],
    /// What it is for: "it ...".
    purpose: &'static str,
    /// The Debian package that has the first one.
    package: &'static str,
    when: When,
}

/// Which builds need it.
#[derive(Clone, Copy)]
enum When {
    Always,
    /// Those with one of these elements. Where nobody knows what the elements expand to, their names count.
    Elements(&'static [&'static str]),
}

const fn always(names: &'static [&'static str], purpose: &'static str, package: &'static str) -> Program {
    Program { names, purpose, package, when: When::Always }
}

const fn with(
    elements: &'static [&'static str],
    names: &'static [&'static str],
    purpose: &'static str,
    package: &'static str,
) -> Program {
    Program { names, purpose, package, when: When::Elements(elements) }
}

/// The elements that make an EFI system partition.
const EFI: [&str; 3] = ["block-device-efi", "block-device-efi-4k", "block-device-efi-lvm"];

/// The names are those that disk-image-builder and the scripts of its elements call outside of the image.
const PROGRAMS: [Program; 16] = [
    always(&["qemu-img"], "makes and converts disks", "qemu-utils"),
    always(&["sudo"], "is called by disk-image-builder, even as root", "sudo"),
    always(&["sgdisk"], "partitions images", "gdisk"),
    always(&["sfdisk"], "partitions images", "fdisk"),
    always(&["mkfs.ext4"], "makes file systems", "e2fsprogs"),
    always(&["kpartx"], "maps partitions", "kpartx"),
    always(&["losetup"], "attaches images as loop devices", "mount"),
    always(&["unshare"], "contains disk-image-builder", "util-linux"),
    with(
        &["debootstrap", "debian-minimal", "ubuntu-minimal"],
        &["debootstrap", "mmdebstrap"],
        "makes the root of a Debian or Ubuntu",
        "debootstrap",
    ),
    with(
        &["yum-minimal", "fedora-minimal", "centos-minimal", "openeuler-minimal"],
        &["dnf", "yum"],
        "makes the root of an rpm distribution",
        "dnf",
    ),
    with(&["zypper-minimal", "opensuse-minimal"], &["zypper"], "makes the root of an openSUSE", "zypper"),
    with(
        &[
            "containerfile",
            "almalinux-container",
            "fedora-container",
            "rocky-container",
            "ubuntu-systemd-container",
        ],
        &["podman", "docker"],
        "makes the root from a container image",
        "podman",
    ),
    with(&["source-repositories"], &["git"], "fetches sources", "git"),
    with(&["cache-url"], &["curl"], "downloads files", "curl"),
    with(&EFI, &["mkfs.vfat", "mkfs.fat"], "makes the EFI system partition", "dosfstools"),
    with(&["block-device-efi-lvm", "lvm"], &["lvm"], "makes logical volumes", "lvm2"),
];

/// All that the schedules that are `needed` need of this host, what is there and what is not.
pub fn findings(
    schedules: &Schedules,
    definition: &Definition,
    settings: &Settings,
    needed: &(dyn Fn(&Schedule) -> bool + Sync),
) -> Vec<Finding> {
    let needed: Vec<&Schedule> = schedules.schedules.iter().filter(|schedule| needed(schedule)).collect();
    let mut elements = BTreeSet::new();
    for schedule in &needed {
        match definition.elements.get(&schedule.name) {
            Some(expanded) => elements.extend(expanded.iter().map(String::as_str)),
            None => elements.extend(schedule.image.elements.iter().map(String::as_str)),
        }
    }
    let servers = machines::local(&needed);
    let wanted = |when| match when {
        When::Always => true,
        When::Elements(names) => names.iter().any(|name| elements.contains(name)),
    };
    let mut findings: Vec<Finding> =
        PROGRAMS.iter().filter(|program| wanted(program.when)).map(on_path).collect();
    if !servers.is_empty() {
        let of_the_cloud = local::needs(&servers).into_iter().map(Finding::from);
        // Both need some programs.
        findings.extend(of_the_cloud.filter(|need| !findings.contains(need)).collect::<Vec<_>>());
    }
    findings.push(dib(settings, definition.unknown.as_deref()));
    findings.extend(own::findings(&needed, settings));
    findings.extend(machines::agents(&needed, settings));
    findings.extend(machines::foreign(&needed));
    if EFI.iter().any(|element| elements.contains(element)) {
        findings.push(machines::vfat());
    }
    findings.push(root());
    findings.push(room(settings));
    findings
}

fn on_path(program: &Program) -> Finding {
    let name = program.names.join(" or ");
    match program.names.iter().find_map(|name| find(name)) {
        Some(path) => {
            let called = path.file_name().unwrap_or_default().display();
            Finding::good(format!("{called} ({})", path.display()))
        }
        None => Finding::bad(
            name,
            format!("not found; it {}", program.purpose),
            format!("apt-get install --no-install-recommends {}", program.package),
        ),
    }
}

fn dib(settings: &Settings, broken: Option<&str>) -> Finding {
    let program = settings.dib.display();
    let wrong = match (is_executable(&settings.dib), broken) {
        (true, None) => return Finding::good(format!("disk-image-builder ({program})")),
        (true, Some(why)) => format!("{program}: {why}"),
        (false, _) => format!("no disk-image-create on PATH, nor {program}"),
    };
    Finding::bad(
        "disk-image-builder",
        wrong,
        "python3 -m venv /opt/image-manager/dib && /opt/image-manager/dib/bin/pip install diskimage-builder setuptools",
    )
}

fn root() -> Finding {
    if nix::unistd::geteuid().is_root() {
        return Finding::good("runs as root, as disk-image-builder needs");
    }
    Finding::bad("root", "disk-image-builder mounts and uses loop devices", "run image-manager as root")
}

fn room(settings: &Settings) -> Finding {
    // The nearest directory that is there: the state directory may not be made yet.
    let there = settings.scratch.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    match check_room(there, settings.room) {
        Ok(()) => Finding::good(format!("room to build in {}", there.display())),
        Err(error) => {
            let mend = "free some, or name another place with --scratch and --state";
            Finding::bad("room", error.to_string(), mend)
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::gateway::GatewaySettings;
    use crate::schedules::parse;

    pub(in crate::readiness) fn settings() -> Settings {
        let nowhere = Path::new("/nowhere");
        Settings {
            state: nowhere.to_owned(),
            scratch: nowhere.to_owned(),
            dib: nowhere.join("disk-image-create"),
            elements: vec![nowhere.join("elements")],
            shipped: Vec::new(),
            private: Vec::new(),
            agent: nowhere.join("agent"),
            concurrent_builds: 1,
            gateway: GatewaySettings::default(),
            reattach: Duration::ZERO,
            agent_endpoint: None,
            room: 0,
        }
    }

    fn asked_for(text: &str, expanded: &[&str]) -> String {
        let schedules = parse(Path::new("schedules.toml"), text).unwrap();
        let mut definition = Definition::default();
        if !expanded.is_empty() {
            definition
                .elements
                .insert("a".to_owned(), expanded.iter().map(|name| (*name).to_owned()).collect());
        }
        let settings = settings();
        let findings = findings(&schedules, &definition, &settings, &|_| true);
        format!("{findings:?}")
    }

    #[test]
    fn only_what_the_schedules_need_is_looked_at() {
        let local = "[schedule.a]\nimage.elements = [\"x\"]\n";
        let far = "[schedule.a]\nimage.elements = [\"x\"]\ncloud = \"c\"\nserver.flavor = \"f\"\n";
        assert!(asked_for(local, &[]).contains("qemu-system-x86_64"));
        assert!(!asked_for(far, &[]).contains("qemu-system-x86_64"));
        for (element, program) in
            [("containerfile", "podman"), ("yum-minimal", "dnf"), ("zypper-minimal", "zypper")]
        {
            assert!(asked_for(local, &["x", element]).contains(program), "{element}");
            assert!(!asked_for(local, &["x"]).contains(program), "{element}");
        }
        let named = "[schedule.a]\nimage.elements = [\"opensuse-minimal\"]\n";
        assert!(asked_for(named, &[]).contains("zypper"), "without a resolver the names themselves count");
    }

    #[test]
    fn a_machine_that_is_asked_for_needs_its_own_programs() {
        let uefi = "[schedule.a]\nimage = { elements = [\"x\"], arch = \"amd64\" }\nserver.firmware = \"uefi-secure\"\n";
        let said = asked_for(uefi, &[]);
        assert!(said.contains("OVMF_CODE_4M.secboot.fd") && !said.contains("qemu-system-aarch64"), "{said}");
        let arm = "[schedule.a]\nimage = { elements = [\"x\"], arch = \"arm64\" }\n";
        let said = asked_for(arm, &[]);
        for piece in ["qemu-system-aarch64", "AAVMF_CODE.fd", "agent binary", "make agent"] {
            assert!(said.contains(piece), "{piece}: {said}");
        }
        if cfg!(target_arch = "x86_64") {
            assert!(
                said.contains("programs of arm64 on this host") && !said.contains("qemu-system-x86_64"),
                "{said}"
            );
        }
    }

    #[test]
    fn what_is_not_there_names_the_command_that_mends_it() {
        let said = asked_for("[schedule.a]\nimage.elements = [\"x\"]\n", &[]);
        for piece in ["pip install diskimage-builder", "make agent", "--elements"] {
            assert!(said.contains(piece), "{said}");
        }
    }
}

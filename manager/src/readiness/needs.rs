//! What the elements of a schedule call and read on this host, with what installs it. Pure but for [`Need::look`].

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::distribution::distribution;
use crate::finding::Finding;
use crate::programs::find;
use crate::schedules::Schedule;

/// Something that builds need on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Need {
    what: What,
    /// What it is for: "it ...".
    purpose: &'static str,
    /// The command that mends it, or what else to do.
    mend: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// Any of these programs will do.
    Program(&'static [&'static str]),
    /// Any of these files, which is called so.
    File(String, Vec<PathBuf>),
}

/// Programs of every build: the names are those that disk-image-builder calls outside of the image.
const ALWAYS: [(&[&str], &str, &str); 8] = [
    (&["qemu-img"], "makes and converts disks", "qemu-utils"),
    (&["sudo"], "is called by disk-image-builder, even as root", "sudo"),
    (&["sgdisk"], "partitions images", "gdisk"),
    (&["sfdisk"], "partitions images", "fdisk"),
    (&["mkfs.ext4"], "makes file systems", "e2fsprogs"),
    (&["kpartx"], "maps partitions", "kpartx"),
    (&["losetup"], "attaches images as loop devices", "mount"),
    (&["unshare"], "contains disk-image-builder", "util-linux"),
];

/// A program, for builds with one of these elements. Where nobody knows what the elements expand to, their names count.
type OfElements = (&'static [&'static str], &'static [&'static str], &'static str, &'static str);

/// The names are those that the elements' scripts call on the host: root.d, extra-data.d, pre-finalise.d, cleanup.d.
const BY_ELEMENT: [OfElements; 13] = [
    (
        DEBOOTSTRAP,
        &["debootstrap"],
        "makes the root of a Debian or Ubuntu image, or is asked for its version",
        "debootstrap",
    ),
    (YUM, &["dnf"], "makes the root of an rpm distribution", "dnf"),
    (YUM, &["rpm"], "makes the database of an rpm distribution", "rpm"),
    (&["zypper-minimal", "opensuse-minimal"], &["zypper"], "makes the root of an openSUSE image", "zypper"),
    (CONTAINER, &["podman"], "makes the root from a container image", "podman"),
    (
        CONTAINER,
        &["crun"],
        "runs podman's container without a control group, which would be left behind",
        "crun",
    ),
    (&["ubuntu", "ubuntu-signed"], &["unsquashfs"], "unpacks Ubuntu's cloud image", "squashfs-tools"),
    (&["source-repositories"], &["git"], "fetches sources", "git"),
    (
        &["cache-url", "centos", "fedora", "gentoo", "rhel", "opensuse", "ubuntu"],
        &["curl"],
        "downloads files",
        "curl",
    ),
    (&["fedora"], &["unxz"], "unpacks Fedora's cloud image", "xz-utils"),
    (&["gentoo"], &["gpgv"], "checks Gentoo's signature", "gpgv"),
    (EFI, &["mkfs.vfat", "mkfs.fat"], "makes the EFI system partition", "dosfstools"),
    (&["block-device-efi-lvm", "lvm"], &["lvm"], "makes logical volumes", "lvm2"),
];

const DEBOOTSTRAP: &[&str] = &["debootstrap", "debian-minimal", "ubuntu-minimal", "ubuntu-systemd-container"];
const YUM: &[&str] = &["yum-minimal", "fedora-minimal", "centos-minimal", "openeuler-minimal"];
const CONTAINER: &[&str] = &["containerfile", "almalinux-container", "fedora-container", "rocky-container"];
/// The elements that make an EFI system partition.
pub(super) const EFI: &[&str] = &["block-device-efi", "block-device-efi-4k", "block-device-efi-lvm"];

/// Where the plugin lies that `dnf download` is.
const DNF_DOWNLOAD: [&str; 2] =
    ["/usr/lib/python3/dist-packages/dnf-plugins/download.py", "/usr/bin/yumdownloader"];

/// What every build needs.
pub(super) fn of_every_build() -> Vec<Need> {
    ALWAYS.iter().map(|(names, purpose, package)| program(names, purpose, package)).collect()
}

/// What a schedule's builds need besides; `elements` is what its elements expand to.
pub(super) fn of(schedule: &Schedule, elements: &BTreeSet<String>) -> Vec<Need> {
    let has = |names: &[&str]| names.iter().any(|name| elements.contains(*name));
    let of_elements = BY_ELEMENT.iter().filter(|(of, ..)| has(of));
    let mut needs: Vec<Need> =
        of_elements.map(|(_, names, purpose, package)| program(names, purpose, package)).collect();
    if has(YUM) {
        needs.push(Need {
            what: What::File("dnf download".to_owned(), DNF_DOWNLOAD.map(PathBuf::from).to_vec()),
            purpose: "fetches the first packages of an rpm distribution",
            mend: Finding::install("dnf-plugins-core"),
        });
    }
    needs.extend(has(DEBOOTSTRAP).then(|| keyring(schedule, elements)).flatten());
    needs.extend(file_system(schedule));
    needs
}

fn program(names: &'static [&'static str], purpose: &'static str, package: &str) -> Need {
    Need { what: What::Program(names), purpose, mend: Finding::install(package) }
}

/// The key that the base system's archive is signed with.
fn keyring(schedule: &Schedule, elements: &BTreeSet<String>) -> Option<Need> {
    let set = |name: &str| schedule.image.environment.get(name).map(String::as_str);
    let arguments =
        ["DIB_DEBOOTSTRAP_EXTRA_ARGS", "DIB_MMDEBSTRAP_EXTRA_ARGS"].map(|name| set(name).unwrap_or_default());
    let own_check = ["--keyring", "--no-check-gpg", "--skip=check/signed-by", "signed-by"];
    if own_check.iter().any(|option| arguments.iter().any(|given| given.contains(option))) {
        return None;
    }
    if let Some(named) =
        set("DIB_APT_KEYRING").or_else(|| set("DIB_DEBIAN_KEYRING")).filter(|named| !named.is_empty())
    {
        return Some(Need {
            what: What::File(format!("keyring {named}"), vec![PathBuf::from(named)]),
            purpose: "is DIB_APT_KEYRING, which the archive's signature is checked with",
            mend: "put the archive's public key there, where builds can see it: not in a home directory"
                .to_owned(),
        });
    }
    let (name, package) = match distribution(elements)? {
        "Debian" => ("debian-archive-keyring", "debian-archive-keyring"),
        // In Debian since 13.
        "Ubuntu" => ("ubuntu-archive-keyring", "ubuntu-keyring"),
        _ => return None,
    };
    let files = ["gpg", "pgp"].map(|kind| PathBuf::from(format!("/usr/share/keyrings/{name}.{kind}")));
    let of_debian_12 = if package == "ubuntu-keyring" {
        "; Debian 12 has none: name Ubuntu's key with DIB_APT_KEYRING"
    } else {
        ""
    };
    Some(Need {
        what: What::File(format!("keyring {name}"), files.to_vec()),
        purpose: "has the key that the archive's signature is checked with",
        mend: format!("{}{of_debian_12}", Finding::install(package)),
    })
}

/// Another file system than ext4.
fn file_system(schedule: &Schedule) -> Option<Need> {
    match schedule.image.environment.get("FS_TYPE")?.as_str() {
        "xfs" => Some(program(&["mkfs.xfs"], "makes file systems", "xfsprogs")),
        "btrfs" => Some(program(&["mkfs.btrfs"], "makes file systems", "btrfs-progs")),
        _ => None,
    }
}

impl Need {
    /// Looks for it.
    pub(super) fn look(&self) -> Finding {
        match &self.what {
            What::Program(names) => match names.iter().find_map(|name| find(name)) {
                Some(path) => {
                    let called = path.file_name().unwrap_or_default().display();
                    Finding::good(format!("{called} ({})", path.display()))
                }
                None => self.missing(names.join(" or ")),
            },
            What::File(name, paths) => match paths.iter().find(|path| path.exists()) {
                Some(path) => Finding::good(format!("{name} ({})", path.display())),
                None => self.missing(name.clone()),
            },
        }
    }

    fn missing(&self, what: String) -> Finding {
        Finding::bad(what, format!("not found; it {}", self.purpose), self.mend.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::schedules::parse;

    fn needed(text: &str, expanded: &[&str]) -> String {
        let schedules = parse(Path::new("schedules.toml"), &format!("[schedule.a]\n{text}\n")).unwrap();
        let elements = expanded.iter().map(|name| (*name).to_owned()).collect();
        let needs = of(&schedules.schedules[0], &elements);
        needs.iter().map(|need| format!("{:?} {}", need.what, need.mend)).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn each_distribution_needs_its_own() {
        let cases = [
            (&["debian-minimal", "debootstrap"][..], &["debootstrap", "debian-archive-keyring"][..]),
            (&["ubuntu-minimal", "debootstrap"], &["debootstrap", "ubuntu-keyring", "Debian 12"]),
            (&["ubuntu", "cache-url"], &["unsquashfs", "squashfs-tools", "curl"]),
            (&["centos-minimal", "yum-minimal"], &["dnf", "rpm", "dnf-plugins-core"]),
            (&["opensuse-minimal", "zypper-minimal"], &["zypper"]),
            (&["rocky-container", "containerfile"], &["podman", "crun"]),
            (&["fedora", "cache-url"], &["curl", "xz-utils"]),
            (&["gentoo"], &["gpgv", "curl"]),
            (&["block-device-efi"], &["mkfs.vfat", "dosfstools"]),
        ];
        for (elements, pieces) in cases {
            let said = needed("image.elements = [\"x\"]", elements);
            assert!(pieces.iter().all(|piece| said.contains(piece)), "{elements:?}: {said}");
        }
        assert!(!needed("image.elements = [\"x\"]", &["ubuntu-systemd-container"]).contains("podman"));
        assert_eq!(needed("image.elements = [\"x\"]", &["vm"]), "");
    }

    #[test]
    fn what_the_environment_asks_for_is_needed() {
        let of = |variable: &str, elements: &[&str]| {
            needed(&format!("image.elements = [\"x\"]\nimage.environment = {{ {variable} }}"), elements)
        };
        let debian = &["debian-minimal", "debootstrap"];
        let own = of("DIB_APT_KEYRING = \"/srv/key.gpg\"", debian);
        assert!(own.contains("/srv/key.gpg") && !own.contains("debian-archive-keyring"), "{own}");
        assert!(!of("DIB_DEBOOTSTRAP_EXTRA_ARGS = \"--no-check-gpg\"", debian).contains("keyring"));
    }
}

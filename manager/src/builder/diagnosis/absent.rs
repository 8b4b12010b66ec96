//! What a script that runs on the host, not in the image, found missing there: programs and keyrings. Pure.

use super::{Exit, place};
use crate::builder::BuilderError;
use crate::builder::log_reader::Script;
use crate::finding::Finding;
use crate::reason::Reason;

/// The phases whose scripts run on the host.
const OUTSIDE: [&str; 6] = ["root", "extra-data", "post-root", "block-device", "pre-finalise", "cleanup"];

/// Lines from the end within which a missing program counts, where the exit code does not say it.
const LAST_LINES: usize = 6;

/// Debian's packages of the programs that DIB's elements call on the host, where the names differ.
const PACKAGES: [(&str, &str); 37] = [
    ("blkid", "util-linux"),
    ("btrfs", "btrfs-progs"),
    ("docker", "docker.io"),
    ("getfattr", "attr"),
    ("gpg", "gnupg"),
    ("growpart", "cloud-guest-utils"),
    ("grub-install", "grub2-common"),
    ("isoinfo", "genisoimage"),
    ("lvcreate", "lvm2"),
    ("lvremove", "lvm2"),
    ("lvs", "lvm2"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mkfs.fat", "dosfstools"),
    ("mkfs.vfat", "dosfstools"),
    ("mkfs.xfs", "xfsprogs"),
    ("mksquashfs", "squashfs-tools"),
    ("nslookup", "bind9-dnsutils"),
    ("partprobe", "parted"),
    ("pvcreate", "lvm2"),
    ("qemu-img", "qemu-utils"),
    ("qemu-nbd", "qemu-utils"),
    ("repoquery", "dnf-plugins-core"),
    ("resize2fs", "e2fsprogs"),
    ("rpm2cpio", "rpm"),
    ("rpmkeys", "rpm"),
    ("semanage", "policycoreutils-python-utils"),
    ("setfiles", "policycoreutils"),
    ("sgdisk", "gdisk"),
    ("ssh-keygen", "openssh-client"),
    ("unsquashfs", "squashfs-tools"),
    ("vgchange", "lvm2"),
    ("vgcreate", "lvm2"),
    ("xz", "xz-utils"),
    ("yum", "dnf"),
    ("yumdownloader", "dnf-plugins-core"),
    ("zstdcat", "zstd"),
];

/// Programs whose package has their name.
const SAME_NAME: [&str; 24] = [
    "buildah",
    "bzip2",
    "conmon",
    "cpio",
    "crun",
    "curl",
    "debootstrap",
    "dnf",
    "dosfstools",
    "git",
    "gzip",
    "jq",
    "kpartx",
    "mmdebstrap",
    "parted",
    "podman",
    "rpm",
    "rsync",
    "skopeo",
    "sudo",
    "unzip",
    "wget",
    "zstd",
    "zypper",
];

/// A program that the host lacks. In an element of the user's own it must be one that is known: another name there
/// may as well be misspelt.
pub(super) fn tool(exit: Exit, lines: &[&str], script: Option<&Script>) -> Option<BuilderError> {
    let script = script.filter(|script| on_host(script))?;
    let last = if exit == Exit::Code(127) { lines.len() } else { LAST_LINES };
    let (tool, package) = lines.iter().rev().take(last).find_map(|line| {
        let tool = not_found(line)?;
        let package = package_of(tool);
        (package.is_some() || script.of_dib).then_some((tool, package))
    })?;
    let element = script.element.as_deref().unwrap_or("?");
    let mend = match package {
        Some(package) => Finding::install(package),
        None => format!("install the package that contains it (apt-file search bin/{tool})"),
    };
    let text = format!(
        "{tool} is not installed on this host, but element {element} needs it ({}.d/{}): {mend}",
        script.phase, script.name
    );
    Some(BuilderError::new(Reason::DibMissing, text))
}

/// A key that the base system is signed with and that the host does not have.
pub(super) fn keyring(lines: &[&str], script: Option<&Script>) -> Option<BuilderError> {
    let root = script.filter(|script| script.phase == "root")?;
    let looks = [
        "NO_PUBKEY ",
        "EXPKEYSIG ",
        "Release signed by unknown key",
        "E: No keyring installed in ",
        // With --force-check-gpg; without it debootstrap warns, and goes on.
        "E: Keyring-based check was requested",
    ];
    let named = |line: &&&str| line.contains("keyring file (") && line.ends_with(") not found");
    let line = lines.iter().rev().find(|line| looks.iter().any(|look| line.contains(look)) || named(line))?;
    let quoted = line.split_once("keyring file (").and_then(|(_, rest)| rest.split(')').next());
    let warned = || lines.iter().find_map(|line| line.split_once("keyring file not available "));
    let file = quoted.or_else(|| warned().map(|(_, file)| file.trim()));
    let packaged = |file: &str| {
        let name = file.strip_prefix("/usr/share/keyrings/")?.strip_suffix(".gpg")?;
        name.ends_with("-keyring").then_some(if name == UBUNTU_KEY { UBUNTU } else { name }.to_owned())
    };
    let ubuntu = lines.iter().any(|line| line.contains("ubuntu"))
        || root.element.as_deref().is_some_and(|element| element.starts_with("ubuntu"));
    let usual = if ubuntu { UBUNTU } else { "debian-archive-keyring" };
    let package = file.and_then(packaged).unwrap_or_else(|| usual.to_owned());
    let text = format!(
        "this host does not have the key that the base system's archive is signed with{}: {}; an archive with a key \
         of its own needs DIB_APT_KEYRING: {line}",
        place(script),
        Finding::install(&package)
    );
    Some(BuilderError::new(Reason::DibMissing, text))
}

/// Debian's package with Ubuntu's key (in trixie and later), and the key's own name.
const UBUNTU: &str = "ubuntu-keyring";
const UBUNTU_KEY: &str = "ubuntu-archive-keyring";

fn on_host(script: &Script) -> bool {
    OUTSIDE.contains(&script.phase.as_str())
}

fn package_of(tool: &str) -> Option<&'static str> {
    let other = PACKAGES.iter().find(|(name, _)| *name == tool).map(|(_, package)| *package);
    other.or_else(|| SAME_NAME.iter().find(|name| **name == tool).copied())
}

/// The program that a shell, sudo or env did not find.
fn not_found(line: &str) -> Option<&str> {
    let bash = line.strip_suffix(": command not found");
    // dash: "sh: 1: debootstrap: not found".
    let dash = || {
        let said = line.strip_suffix(": not found")?;
        let number = said.rsplit(": ").nth(1)?;
        number.bytes().all(|byte| byte.is_ascii_digit()).then_some(said)
    };
    // A plugin of dnf, which yum's tool of this name comes with.
    if line.starts_with("No such command: download.") {
        return Some("yumdownloader");
    }
    // podman and the runtime that its settings name.
    if let Some((_, rest)) = line.split_once("OCI runtime \"") {
        return rest.split_once("\" not found").map(|(runtime, _)| runtime);
    }
    let env = || line.strip_prefix("env: ")?.strip_suffix(": No such file or directory");
    let said = bash.or_else(dash).or_else(env)?;
    let tool = said.rsplit(": ").next()?.trim_matches(['‘', '’', '\'', '"']);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+');
    let short = !tool.is_empty() && tool.len() <= 64;
    (short && tool.bytes().all(plain)).then_some(tool)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(phase: &str, of_dib: bool) -> Script {
        let (element, name) = (Some("containerfile".to_owned()), "08-containerfile".to_owned());
        Script { element, of_dib, phase: phase.to_owned(), name }
    }

    #[test]
    fn a_shell_says_what_it_did_not_find() {
        let cases = [
            ("/x/hooks/root.d/08-containerfile: line 129: podman: command not found", Some("podman")),
            ("sudo: mkfs.xfs: command not found", Some("mkfs.xfs")),
            ("sh: 1: debootstrap: not found", Some("debootstrap")),
            ("env: ‘podman’: No such file or directory", Some("podman")),
            ("No such command: download. Please use /usr/bin/dnf --help", Some("yumdownloader")),
            ("Error: default OCI runtime \"crun\" not found: invalid argument", Some("crun")),
            ("repository 'http://m/x' not found", None),
            ("Error: manifest: not found", None),
            ("gpg: keyserver: a b: command not found", None),
        ];
        for (line, tool) in cases {
            assert_eq!(not_found(line), tool, "{line}");
        }
    }

    #[test]
    fn a_missing_program_is_the_hosts_on_the_host_only() {
        let said = ["x: line 1: podman: command not found"];
        let error = tool(Exit::Code(127), &said, Some(&script("root", false))).unwrap();
        assert_eq!(error.reason, Reason::DibMissing);
        assert!(error.message.ends_with(": apt-get install --no-install-recommends podman"), "{error}");
        assert!(tool(Exit::Code(127), &said, Some(&script("install", true))).is_none());
        let other = ["x: line 1: frobnicate: command not found"];
        assert!(tool(Exit::Code(127), &other, Some(&script("extra-data", false))).is_none(), "misspelt?");
        let error = tool(Exit::Code(127), &other, Some(&script("extra-data", true))).unwrap();
        assert!(error.message.contains("apt-file search bin/frobnicate"), "{error}");
    }

    #[test]
    fn a_missing_key_names_the_package_that_has_it() {
        let root = script("root", true);
        let cases = [
            (
                vec!["W: GPG error: http://m/debian trixie: NO_PUBKEY 6ED0E7B82643E131"],
                "debian-archive-keyring",
            ),
            (
                vec!["E: Release signed by unknown key (key id 871920D1991BC93C)", "http://m/ubuntu noble"],
                "ubuntu-keyring",
            ),
            (
                vec!["E: specified keyring file (/usr/share/keyrings/ubuntu-archive-keyring.gpg) not found"],
                "ubuntu-keyring",
            ),
            (
                vec![
                    "W: Cannot check Release signature; keyring file not available /usr/share/keyrings/debian-archive-keyring.gpg",
                    "E: Keyring-based check was requested; aborting accordingly",
                ],
                "debian-archive-keyring",
            ),
            (
                vec!["E: specified keyring file (/usr/share/keyrings/kali-archive-keyring.gpg) not found"],
                "kali-archive-keyring",
            ),
        ];
        for (lines, package) in cases {
            let error = keyring(&lines, Some(&root)).unwrap();
            assert_eq!(error.reason, Reason::DibMissing);
            assert!(error.message.contains(&format!("--no-install-recommends {package};")), "{error}");
            assert!(keyring(&lines, Some(&script("pre-install", true))).is_none(), "the image's own sources");
        }
    }
}

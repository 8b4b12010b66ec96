//! What a finished image has in it that no server should start with: keys, passwords, histories and rests of its build.
//!
//! Only observed here; `crate::checks::artifact` says what of it is wrong.

use image_manager_agent::checks::identity::DBUS_MACHINE_ID;
use image_manager_agent::checks::packages::rpm::Trouble;
use serde::{Deserialize, Serialize};

use super::own;
use super::secrets::SecretKinds;
use super::volume::{self, Files, Next, Volume};

/// Most paths of each kind that are told of.
pub(super) const MOST: usize = 50;
/// Most entries of a directory that are looked at.
const MOST_ENTRIES: usize = 4096;
/// Deepest directory below one that is measured.
const DEPTH: usize = 4;
/// Of a file no more than this is read to find what it is.
const LARGEST_TEXT: usize = 1 << 20;
/// Measuring ends here: it is too much in any case.
const MOST_BYTES: u64 = 4 << 30;

/// What of the build and its host is in an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Inspection {
    /// Private keys of hosts and users, by their paths.
    pub private_keys: Vec<String>,
    /// Files with keys that let somebody in.
    pub authorized_keys: Vec<String>,
    /// Files that programs keep passwords and tokens in.
    pub credentials: Vec<String>,
    /// Histories of shells and the like.
    pub histories: Vec<String>,
    /// Settings of a proxy, `path: line`.
    pub proxies: Vec<String>,
    /// Users with an empty password.
    pub without_password: Vec<String>,
    /// Lines of fstab that name a device by a name that changes from host to host.
    pub unstable_mounts: Vec<String>,
    /// The machine id, where it has one already.
    pub machine_id: Option<String>,
    /// D-Bus's own machine id, where that is no link: systemd takes it for a server that has none yet.
    pub dbus_machine_id: Option<String>,
    /// There is a random seed of systemd's with something in it.
    pub random_seed: bool,
    /// The public host keys of SSH's server.
    pub host_keys: Vec<HostKey>,
    /// The values of the build's secrets, each with a file that has it.
    pub secrets: Vec<Leak>,
    /// The secrets that were not looked for: they are too short, or words that any file may have.
    pub secrets_not_sought: Vec<String>,
    /// There were too many files to look for them in all.
    pub secrets_cut_short: bool,
    /// Bytes in the caches of package managers.
    pub cache_bytes: u64,
    /// Bytes in /var/log.
    pub log_bytes: u64,
    /// It has QEMU's guest agent. `None`: an older manager did not look.
    pub guest_agent: Option<bool>,
    /// It has a boot loader's configuration, or a kernel that one can find.
    pub boots: bool,
}

/// A secret of the build in a file of the image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Leak {
    /// The file.
    pub path: String,
    /// The secret's name in `image.secrets`.
    pub secret: String,
}

/// A public host key of SSH's server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostKey {
    /// Name of the file with its private half, as the agent names it; outside of `/etc/ssh` its path.
    pub file: String,
    /// Its fingerprint, as OpenSSH prints it.
    pub fingerprint: String,
}

/// Files below a home directory.
const CREDENTIALS: [&str; 9] = [
    ".netrc",
    ".git-credentials",
    ".docker/config.json",
    ".config/containers/auth.json",
    ".aws/credentials",
    ".config/openstack/clouds.yaml",
    ".pypirc",
    ".npmrc",
    ".pgpass",
];
const HISTORIES: [&str; 6] =
    [".bash_history", ".zsh_history", ".ash_history", ".python_history", ".mysql_history", ".lesshst"];
const PROXIES: [&str; 4] = ["/etc/environment", "/etc/apt/apt.conf", "/etc/dnf/dnf.conf", "/etc/yum.conf"];
const PROXY_DIRECTORIES: [&str; 2] = ["/etc/apt/apt.conf.d", "/etc/profile.d"];
const CACHES: [&str; 5] =
    ["/var/cache/apt/archives", "/var/cache/dnf", "/var/cache/yum", "/var/cache/libdnf5", "/var/cache/zypp"];
const GUEST_AGENTS: [&str; 3] = ["/usr/sbin/qemu-ga", "/usr/bin/qemu-ga", "/usr/local/bin/qemu-ga"];
const LOADERS: [&str; 6] = [
    "/boot/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/boot/loader/entries",
    "/boot/extlinux/extlinux.conf",
    "/boot/efi/EFI",
    "/boot/syslinux/syslinux.cfg",
];

/// Looks at an image's file system, and through it for secrets.
pub(super) fn take(files: &Files<'_>, sought: &SecretKinds) -> Inspection {
    let mut seen = look(files.volume);
    sought.note(files, &mut seen);
    seen
}

fn look(volume: &dyn Volume) -> Inspection {
    let mut seen = Inspection::default();
    for home in homes(volume) {
        at_home(volume, &home, &mut seen);
    }
    own::look(volume, &mut seen);
    for path in PROXIES {
        proxies(volume, path, &mut seen);
    }
    for directory in PROXY_DIRECTORIES {
        for name in names(volume, directory) {
            proxies(volume, &format!("{directory}/{name}"), &mut seen);
        }
    }
    let shadow = text(volume, "/etc/shadow");
    let empty = shadow.lines().filter_map(|line| {
        let mut fields = line.split(':');
        fields.next().filter(|user| !user.is_empty() && fields.next() == Some(""))
    });
    seen.without_password = empty.map(str::to_owned).take(MOST).collect();
    let fstab = text(volume, "/etc/fstab");
    seen.unstable_mounts =
        fstab.lines().map(str::trim).filter(|line| is_unstable(line)).map(str::to_owned).take(MOST).collect();
    seen.machine_id = machine_id(volume, "/etc/machine-id");
    // Mostly a link to the other one.
    let is_link = volume.link(DBUS_MACHINE_ID).is_ok();
    seen.dbus_machine_id = if is_link { None } else { machine_id(volume, DBUS_MACHINE_ID) };
    seen.cache_bytes = CACHES.iter().map(|directory| measured(volume, directory, DEPTH)).sum();
    seen.log_bytes = measured(volume, "/var/log", DEPTH);
    seen.guest_agent = Some(GUEST_AGENTS.iter().any(|path| is_there(volume, path)));
    seen.boots = LOADERS.iter().any(|path| is_there(volume, path));
    seen
}

fn machine_id(volume: &dyn Volume, path: &str) -> Option<String> {
    let text = text(volume, path);
    let id = text.trim();
    (!id.is_empty() && id != "uninitialized").then(|| id.to_owned())
}

/// root's home directory, and those below /home.
fn homes(volume: &dyn Volume) -> Vec<String> {
    let users = names(volume, "/home").into_iter().map(|name| format!("/home/{name}"));
    ["/root".to_owned()].into_iter().chain(users).collect()
}

fn at_home(volume: &dyn Volume, home: &str, seen: &mut Inspection) {
    for name in names(volume, &format!("{home}/.ssh")) {
        let path = format!("{home}/.ssh/{name}");
        if name.starts_with("authorized_keys") {
            let has_key = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
            if text(volume, &path).lines().any(has_key) {
                note(&mut seen.authorized_keys, path);
            }
        } else {
            note_private_key(volume, path, seen);
        }
    }
    for (list, known) in [(&mut seen.credentials, &CREDENTIALS[..]), (&mut seen.histories, &HISTORIES[..])] {
        for name in known {
            let path = format!("{home}/{name}");
            if !text(volume, &path).trim().is_empty() {
                note(list, path);
            }
        }
    }
}

fn note(list: &mut Vec<String>, path: String) {
    if list.len() < MOST {
        list.push(path);
    }
}

pub(super) fn note_private_key(volume: &dyn Volume, path: String, seen: &mut Inspection) {
    // OpenSSH's own and those of PEM.
    if text(volume, &path).contains("PRIVATE KEY-----") {
        note(&mut seen.private_keys, path);
    }
}

fn proxies(volume: &dyn Volume, path: &str, seen: &mut Inspection) {
    for line in text(volume, path).lines().map(str::trim) {
        let lower = line.to_ascii_lowercase();
        let comment = ["#", "//"].iter().any(|mark| line.starts_with(mark));
        let names_one = lower.contains("proxy") && (lower.contains("://") || lower.contains(':'));
        if names_one && !comment && !lower.contains("\"false\"") && !lower.ends_with("::proxy;") {
            note(&mut seen.proxies, format!("{path}: {line}"));
        }
    }
}

/// Whether a line of fstab names a device as `/dev/sda1` does.
fn is_unstable(line: &str) -> bool {
    let device = line.split_whitespace().next().unwrap_or_default();
    let Some(name) = device.strip_prefix("/dev/") else { return false };
    ["sd", "vd", "xvd", "hd", "nvme", "mmcblk"].iter().any(|start| name.starts_with(start))
}

pub(super) fn names(volume: &dyn Volume, directory: &str) -> Vec<String> {
    let mut names = volume.names(directory).unwrap_or_default();
    names.retain(|name| name != "." && name != "..");
    names.truncate(MOST_ENTRIES);
    names
}

/// A text; empty when there is none, or it is too large to be one of people.
pub(super) fn text(volume: &dyn Volume, path: &str) -> String {
    volume::text(volume, path, LARGEST_TEXT).unwrap_or_default()
}

fn is_there(volume: &dyn Volume, path: &str) -> bool {
    volume.names(path).is_ok() || !matches!(volume.read(path, &mut |_| Next::Stop), Err(Trouble::Missing))
}

/// The bytes of all files below a directory.
fn measured(volume: &dyn Volume, directory: &str, depth: usize) -> u64 {
    let Some(depth) = depth.checked_sub(1) else { return 0 };
    let mut bytes: u64 = 0;
    for name in names(volume, directory) {
        let path = format!("{directory}/{name}");
        if volume.names(&path).is_ok() {
            bytes += measured(volume, &path, depth);
        } else {
            let _ = volume.read(&path, &mut |piece| {
                bytes += piece.len() as u64;
                if bytes > MOST_BYTES { Next::Stop } else { Next::Piece }
            });
        }
        if bytes > MOST_BYTES {
            break;
        }
    }
    bytes
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use image_manager_agent::checks::public_keys;

    use super::*;

    /// Files by their paths.
    pub(in super::super) struct Tree(pub(in super::super) BTreeMap<&'static str, &'static str>);

    impl Volume for Tree {
        fn names(&self, directory: &str) -> Result<Vec<String>, Trouble> {
            let mut names: Vec<String> = Vec::new();
            for path in self.0.keys() {
                let below = path
                    .strip_prefix(directory.trim_end_matches('/'))
                    .and_then(|rest| rest.strip_prefix('/'));
                names.extend(below.and_then(|rest| rest.split('/').next()).map(str::to_owned));
            }
            names.dedup();
            if names.is_empty() { Err(Trouble::Missing) } else { Ok(names) }
        }

        fn read(&self, path: &str, take: &mut dyn FnMut(&[u8]) -> Next) -> Result<(), Trouble> {
            let text = self.0.get(path).ok_or(Trouble::Missing)?;
            take(text.as_bytes());
            Ok(())
        }

        fn link(&self, _: &str) -> Result<Vec<u8>, Trouble> {
            Err(Trouble::Missing)
        }
    }

    #[test]
    fn a_clean_image_has_nothing() {
        let clean = Tree(BTreeMap::from([
            ("/etc/shadow", "root:*:19000:0:99999:7:::\ndaemon:!:19000::::::\n"),
            ("/etc/fstab", "LABEL=cloudimg-rootfs / ext4 defaults 0 1\n"),
            ("/etc/machine-id", "uninitialized\n"),
            (
                "/etc/apt/apt.conf.d/01keep",
                "# Acquire::http::Proxy \"http://a:1/\";\nAcquire::Retries \"3\";\n",
            ),
            ("/root/.bashrc", "alias ls='ls --color'\n"),
            ("/root/.ssh/authorized_keys", "\n# none\n"),
            ("/var/log/dpkg.log", "install"),
            ("/boot/grub/grub.cfg", "linux"),
        ]));
        let expected =
            Inspection { log_bytes: 7, guest_agent: Some(false), boots: true, ..Inspection::default() };
        assert_eq!(look(&clean), expected);
    }

    #[test]
    fn each_rest_is_found() {
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
        let seen = look(&Tree(BTreeMap::from([
            ("/etc/ssh/ssh_host_ed25519_key", key),
            ("/etc/ssh/ssh_host_ed25519_key.pub", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA root@builder\n"),
            ("/home/ops/.ssh/id_ed25519", key),
            ("/home/ops/.ssh/id_ed25519.pub", "ssh-ed25519 AAAA"),
            ("/root/.ssh/authorized_keys", "ssh-ed25519 AAAA me"),
            ("/root/.netrc", "machine a login b password c"),
            ("/home/ops/.bash_history", "ls"),
            ("/etc/environment", "http_proxy=http://proxy.example:3128\n"),
            ("/etc/apt/apt.conf.d/02proxy", "Acquire::http::Proxy \"http://proxy.example:3128\";\n"),
            ("/etc/shadow", "root::19000:0:99999:7:::\nops:!:1::::::\n"),
            ("/etc/fstab", "/dev/vda1 / ext4 defaults 0 1\n# /dev/sdb1\n/dev/mapper/a /a ext4\n"),
            ("/etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
            ("/var/lib/dbus/machine-id", "fedcba9876543210fedcba9876543210\n"),
            ("/var/cache/apt/archives/a.deb", "12345"),
            ("/usr/sbin/qemu-ga", "program"),
        ])));
        assert_eq!(seen.private_keys, ["/home/ops/.ssh/id_ed25519", "/etc/ssh/ssh_host_ed25519_key"]);
        let [host_key] = seen.host_keys.as_slice() else { panic!("{seen:?}") };
        assert_eq!(host_key.file, "ssh_host_ed25519_key");
        let expected = public_keys::fingerprint("AAAAC3NzaC1lZDI1NTE5AAAA");
        assert_eq!(host_key.fingerprint, expected);
        assert_eq!(seen.authorized_keys, ["/root/.ssh/authorized_keys"]);
        assert_eq!(seen.credentials, ["/root/.netrc"]);
        assert_eq!(seen.histories, ["/home/ops/.bash_history"]);
        assert_eq!(seen.proxies.len(), 2, "{:?}", seen.proxies);
        assert_eq!(seen.without_password, ["root"]);
        assert_eq!(seen.unstable_mounts, ["/dev/vda1 / ext4 defaults 0 1"]);
        assert_eq!(seen.machine_id.as_deref(), Some("0123456789abcdef0123456789abcdef"));
        assert_eq!(seen.dbus_machine_id.as_deref(), Some("fedcba9876543210fedcba9876543210"));
        assert_eq!((seen.cache_bytes, seen.boots, seen.guest_agent), (5, false, Some(true)));
    }

    /// Of an older manager, which knew less.
    #[test]
    fn what_an_older_manager_kept_can_be_read() {
        let older = r#"{ "machine_id": "12ab", "cache_bytes": 5, "boots": true }"#;
        let seen: Inspection = serde_json::from_str(older).unwrap();
        let expected = Inspection {
            machine_id: Some("12ab".to_owned()),
            cache_bytes: 5,
            boots: true,
            ..Inspection::default()
        };
        assert_eq!(seen, expected);
    }
}

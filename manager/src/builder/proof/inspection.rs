//! What a finished image has in it that no server should start with: keys, passwords, histories and rests of its build.
//!
//! Only observed here; `crate::checks::artifact` says what of it is wrong.

use image_manager_agent::checks::identity::DBUS_MACHINE_ID;
use image_manager_agent::checks::identity::known_files::{
    CREDENTIALS, FOLDERS_OF_CREDENTIALS, HISTORIES, PROXY_FILES, PROXY_FOLDERS, SYSTEM_CREDENTIALS, Syntax,
    holds_credentials, proxy_of,
};
use image_manager_agent::checks::packages::rpm::Trouble;
use serde::{Deserialize, Serialize};

use super::boot::{self, MissingMount};
use super::names::Names;
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
    /// Mounts of `fstab` from file systems that the image does not have.
    pub missing_mounts: Vec<MissingMount>,
    /// What the boot loader's menu starts and cannot, where none of its entries can be started.
    pub boot_fault: Option<String>,
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

/// Folders with private keys of servers, and how deep they are looked through.
const KEY_FOLDERS: [(&str, usize); 3] =
    [("/etc/ssl/private", 1), ("/etc/pki/tls/private", 1), ("/etc/letsencrypt/archive", 2)];
const CACHES: [&str; 5] =
    ["/var/cache/apt/archives", "/var/cache/dnf", "/var/cache/yum", "/var/cache/libdnf5", "/var/cache/zypp"];
const GUEST_AGENTS: [&str; 3] = ["/usr/sbin/qemu-ga", "/usr/bin/qemu-ga", "/usr/local/bin/qemu-ga"];
/// Looks at an image's file system, and through it for secrets. `names` are those of all of its file systems.
pub(super) fn take(files: &Files<'_>, names: &Names, sought: &SecretKinds) -> Inspection {
    let mut seen = look(files.volume, names);
    sought.note(files, &mut seen);
    seen
}

fn look(volume: &dyn Volume, of_disk: &Names) -> Inspection {
    let mut seen = Inspection::default();
    for home in homes(volume) {
        at_home(volume, &home, &mut seen);
    }
    own::look(volume, &mut seen);
    for (folder, depth) in KEY_FOLDERS {
        private_keys(volume, folder, depth, &mut seen);
    }
    let in_folders = FOLDERS_OF_CREDENTIALS.iter().flat_map(|folder| below(volume, folder));
    for path in SYSTEM_CREDENTIALS.iter().map(|path| (*path).to_owned()).chain(in_folders) {
        credentials(volume, path, &mut seen);
    }
    for (path, syntax) in PROXY_FILES {
        proxies(volume, path, syntax, &mut seen);
    }
    for (folder, syntax) in PROXY_FOLDERS {
        for path in below(volume, folder) {
            proxies(volume, &path, syntax, &mut seen);
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
    seen.missing_mounts = boot::missing_mounts(&fstab, of_disk);
    seen.boot_fault = boot::fault(volume, of_disk);
    seen
}

fn machine_id(volume: &dyn Volume, path: &str) -> Option<String> {
    let text = text(volume, path);
    let id = text.trim();
    (!id.is_empty() && id != "uninitialized").then(|| id.to_owned())
}

/// The home directories of all users, and those below /home.
fn homes(volume: &dyn Volume) -> Vec<String> {
    let users = text(volume, "/etc/passwd");
    let of_users =
        users.lines().filter_map(|line| line.split(':').nth(5)).map(|home| home.trim_end_matches('/'));
    let of_users =
        of_users.filter(|home| home.starts_with('/') && *home != "/nonexistent").map(str::to_owned);
    let folders = names(volume, "/home").into_iter().map(|name| format!("/home/{name}"));
    let mut homes = vec!["/root".to_owned(), "/etc/skel".to_owned()];
    for home in folders.chain(of_users) {
        if homes.len() < MOST && !homes.contains(&home) {
            homes.push(home);
        }
    }
    homes
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
    for name in CREDENTIALS {
        credentials(volume, format!("{home}/{name}"), seen);
    }
    for name in HISTORIES {
        let path = format!("{home}/{name}");
        if !text(volume, &path).trim().is_empty() {
            note(&mut seen.histories, path);
        }
    }
}

fn credentials(volume: &dyn Volume, path: String, seen: &mut Inspection) {
    if holds_credentials(&path, &text(volume, &path)) {
        note(&mut seen.credentials, path);
    }
}

/// Private keys below a folder.
fn private_keys(volume: &dyn Volume, folder: &str, depth: usize, seen: &mut Inspection) {
    for path in below(volume, folder) {
        if depth > 1 && volume.names(&path).is_ok() {
            private_keys(volume, &path, depth - 1, seen);
        } else {
            note_private_key(volume, path, seen);
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

/// Only who the proxy is, not a password in its line.
fn proxies(volume: &dyn Volume, path: &str, syntax: Syntax, seen: &mut Inspection) {
    for proxy in text(volume, path).lines().filter_map(|line| proxy_of(line, syntax)) {
        note(&mut seen.proxies, format!("{path}: {proxy}"));
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

/// The paths of what is in a folder.
fn below(volume: &dyn Volume, folder: &str) -> Vec<String> {
    names(volume, folder).into_iter().map(|name| format!("{folder}/{name}")).collect()
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
pub(super) mod tests;

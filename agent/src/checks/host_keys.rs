//! The keys by which the guest's SSH server is known.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde_json::{Value as Json, json};

use super::accounts::Accounts;
use super::public_keys;
use crate::guest::Guest;

const DIRECTORY: &str = "/etc/ssh";
/// Most keys that are looked at.
const MOST: usize = 16;
/// The group that may read them on Red Hat's distributions, for the sake of ssh-keysign.
const READERS: &str = "ssh_keys";

/// A host key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct HostKey {
    /// Name of the file with its private half.
    pub(super) name: String,
    /// The public half in base64. Empty: there is no file with it.
    pub(super) key: String,
    /// It was there before this boot.
    pub(super) baked: bool,
    /// What is wrong with its owner or mode.
    pub(super) exposed: Option<String>,
}

impl HostKey {
    /// As OpenSSH prints it. Empty: there is no file with the public half.
    pub(super) fn fingerprint(&self) -> String {
        if self.key.is_empty() { String::new() } else { public_keys::fingerprint(&self.key) }
    }
}

/// Those of the guest, by name.
pub(super) fn look(guest: &Guest) -> Vec<HostKey> {
    let readers = Accounts::read(guest).ok().and_then(|accounts| accounts.group(READERS));
    let entries = fs::read_dir(guest.path(DIRECTORY)).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> =
        names.filter(|name| name.starts_with("ssh_host_") && name.ends_with("_key")).take(MOST).collect();
    names.sort_unstable();
    names.into_iter().map(|name| of(guest, name, readers)).collect()
}

fn of(guest: &Guest, name: String, readers: Option<u32>) -> HostKey {
    let path = format!("{DIRECTORY}/{name}");
    let public = guest.read_plain(format!("{path}.pub")).unwrap_or_default();
    let exposed = fs::metadata(guest.path(&path)).ok().and_then(|file| {
        let mode = file.mode() & 0o7777;
        let allowed = if readers == Some(file.gid()) { 0o640 } else { 0o600 };
        if file.uid() != 0 {
            return Some(format!("host key {name} is owned by uid {}, not by root", file.uid()));
        }
        (mode & !allowed != 0).then(|| format!("host key {name} has mode {mode:04o}, not {allowed:04o}"))
    });
    HostKey {
        key: public_keys::key_of(&public).unwrap_or_default().to_owned(),
        baked: guest.came_with_the_image(&path),
        exposed,
        name,
    }
}

/// What to say of keys that are no server's own.
pub(super) fn came_with_the_image(keys: &[HostKey]) -> Option<String> {
    let first = keys.iter().find(|key| key.baked)?;
    Some(format!("host key {} was made before this boot: it came with the image", first.name))
}

pub(super) fn as_json(keys: &[HostKey]) -> Json {
    let key = |key: &HostKey| json!({ "file": key.name, "fingerprint": key.fingerprint(), "made_before_boot": key.baked, "exposed": key.exposed });
    keys.iter().map(key).collect()
}

//! The keys by which the guest's SSH server is known.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde_json::{Value as Json, json};

use super::accounts::Accounts;
use super::public_keys;
use crate::guest::Guest;
use crate::text;

const DIRECTORY: &str = "/etc/ssh";
/// Most keys that are looked at.
const MOST: usize = 16;
/// The group that may read them on Red Hat's distributions, for the sake of ssh-keysign.
const READERS: &str = "ssh_keys";

/// A host key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct HostKey {
    /// Name of the file with its private half; outside of `/etc/ssh` its path.
    pub(super) name: String,
    /// The public half in base64. Empty: it cannot be read.
    pub(super) key: String,
    /// It was there before this boot.
    pub(super) baked: bool,
    /// What is wrong with its owner or mode.
    pub(super) exposed: Option<String>,
}

impl HostKey {
    /// As OpenSSH prints it. Empty: the public half cannot be read.
    pub(super) fn fingerprint(&self) -> String {
        if self.key.is_empty() { String::new() } else { public_keys::fingerprint(&self.key) }
    }
}

/// Those of the guest, by name: those that every sshd looks for, and those that this one is `configured` to use, where they
/// are there.
pub(super) fn look(guest: &Guest, configured: &[String]) -> Vec<HostKey> {
    let readers = Accounts::read(guest).ok().and_then(|accounts| accounts.group(READERS));
    let entries = fs::read_dir(guest.path(DIRECTORY)).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let usual = names.filter(|name| name.starts_with("ssh_host_") && name.ends_with("_key"));
    let configured = configured.iter().filter(|path| guest.path(path).is_file()).take(MOST);
    let paths: BTreeSet<String> =
        usual.take(MOST).map(|name| format!("{DIRECTORY}/{name}")).chain(configured.cloned()).collect();
    paths.into_iter().map(|path| of(guest, &path, readers)).collect()
}

fn of(guest: &Guest, path: &str, readers: Option<u32>) -> HostKey {
    // Where they usually are, the name alone tells which it is.
    let name = path.strip_prefix("/etc/ssh/").filter(|name| !name.contains('/')).unwrap_or(path);
    let name = text::one_line(name);
    let exposed = fs::metadata(guest.path(path)).ok().and_then(|file| {
        let mode = file.mode() & 0o7777;
        let allowed = if readers == Some(file.gid()) { 0o640 } else { 0o600 };
        if file.uid() != 0 {
            return Some(format!("host key {name} is owned by uid {}, not by root", file.uid()));
        }
        (mode & !allowed != 0).then(|| format!("host key {name} has mode {mode:04o}, not {allowed:04o}"))
    });
    HostKey { key: public_half(guest, path), baked: guest.came_with_the_image(path), exposed, name }
}

/// In base64. The private half has it, but for those of PEM; sshd itself may do without the file beside it.
fn public_half(guest: &Guest, path: &str) -> String {
    let own = guest.read(path).unwrap_or_default();
    public_keys::of_private(&own).unwrap_or_else(|| {
        let beside = guest.read_plain(format!("{path}.pub")).unwrap_or_default();
        public_keys::key_of(&beside).or_else(|| public_keys::key_of(&own)).unwrap_or_default().to_owned()
    })
}

/// Which kind of keys it is, in the words of `ssh-keyscan -t`. None: it cannot be told.
pub(super) fn kind_of(key: &str) -> Option<&'static str> {
    match public_keys::algorithm(key).as_str() {
        "ssh-ed25519" => Some("ed25519"),
        "ssh-rsa" => Some("rsa"),
        name if name.starts_with("ecdsa-sha2-") => Some("ecdsa"),
        _ => None,
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIAahf7rsoEYFjVL2NnieGIVH743HyWYf4qJoOuj6Djy7";
    /// As much of a private key as is not private.
    const PRIVATE: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\n\
                           b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n\
                           QyNTUxOQAAACAGoX+67KBGBY1S9jZ4nhiFR++Nx8lmH+KiaDro+g48uwAAAIg=\n\
                           -----END OPENSSH PRIVATE KEY-----\n";

    #[test]
    fn a_key_elsewhere_is_found_where_sshd_is_told_of_it() {
        let root = tempfile::tempdir().unwrap();
        let guest = Guest::below(root.path());
        fs::create_dir_all(guest.path("/etc/ssh")).unwrap();
        fs::create_dir_all(guest.path("/srv")).unwrap();
        for (path, content) in [
            ("/etc/ssh/ssh_host_rsa_key", "x"),
            ("/etc/ssh/site_key", PRIVATE),
            ("/srv/other", "x"),
            ("/srv/other.pub", &format!("ssh-ed25519 {KEY} root@x\n")),
        ] {
            fs::write(guest.path(path), content).unwrap();
        }
        let old = SystemTime::now() - Duration::from_hours(1);
        fs::File::options()
            .write(true)
            .open(guest.path("/etc/ssh/site_key"))
            .unwrap()
            .set_modified(old)
            .unwrap();
        let configured =
            ["/etc/ssh/site_key", "/srv/other", "/etc/ssh/ssh_host_ecdsa_key"].map(str::to_owned);
        let seen: Vec<_> =
            look(&guest, &configured).into_iter().map(|key| (key.name, key.key, key.baked)).collect();
        let expected = [("site_key", KEY, true), ("ssh_host_rsa_key", "", false), ("/srv/other", KEY, false)];
        let expected = expected.map(|(name, key, baked)| (name.to_owned(), key.to_owned(), baked));
        assert_eq!(seen, expected);
        assert_eq!((kind_of(KEY), kind_of("AAAA")), (Some("ed25519"), None));
    }
}

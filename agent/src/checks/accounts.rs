//! Who may use the guest: `/etc/passwd`, `/etc/shadow` and `/etc/group`, and the keys that let them in.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use sha2::{Digest as _, Sha256};

use crate::guest::Guest;

/// Most accounts that are looked at.
const MOST_ACCOUNTS: usize = 4096;
/// Where sshd looks for a user's keys when nobody tells it otherwise.
pub(super) const AUTHORIZED_KEYS: [&str; 2] = [".ssh/authorized_keys", ".ssh/authorized_keys2"];

/// What stands in place of a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Password {
    /// Nothing: none is asked for.
    Empty,
    /// What no password fits.
    Locked,
    /// A password.
    Set,
}

/// One of the guest's accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) password: Password,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) home: String,
    pub(super) shell: String,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Accounts {
    pub(super) all: Vec<Account>,
    /// Name, number and members.
    groups: Vec<(String, u32, Vec<String>)>,
}

impl Accounts {
    /// Those of the guest's own files. The error says which cannot be read.
    pub(super) fn read(guest: &Guest) -> Result<Self, String> {
        let read = |path: &str| guest.read(path).map_err(|error| format!("{path} cannot be read: {error}"));
        let shadow = read("/etc/shadow").unwrap_or_default();
        Ok(Self::parse(&read("/etc/passwd")?, &shadow, &read("/etc/group")?))
    }

    pub(super) fn parse(passwd: &str, shadow: &str, group: &str) -> Self {
        let shadow: HashMap<&str, &str> = shadow
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, rest)| (name, rest.split(':').next().unwrap_or_default()))
            .collect();
        let account = |line: &str| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, password, uid, gid, _, home, shell] = fields.as_slice() else { return None };
            let field = if *password == "x" { shadow.get(name).copied().unwrap_or("*") } else { password };
            Some(Account {
                name: (*name).to_owned(),
                password: password_of(field),
                uid: uid.parse().ok()?,
                gid: gid.parse().ok()?,
                home: (*home).to_owned(),
                shell: (*shell).to_owned(),
            })
        };
        let members = |line: &str| {
            let mut fields = line.split(':');
            let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?.parse().ok()?);
            Some((name.to_owned(), gid, fields.next()?.split(',').map(str::to_owned).collect()))
        };
        Self {
            all: passwd.lines().filter_map(account).take(MOST_ACCOUNTS).collect(),
            groups: group.lines().filter_map(members).take(MOST_ACCOUNTS).collect(),
        }
    }

    /// The account of this name.
    pub(super) fn find(&self, name: &str) -> Option<&Account> {
        self.all.iter().find(|account| account.name == name)
    }

    /// Whether it is a member of the group, by the group's list or as its own.
    pub(super) fn is_in(&self, account: &Account, group: &str) -> bool {
        let is = |(name, gid, members): &(String, u32, Vec<String>)| {
            name == group && (*gid == account.gid || members.contains(&account.name))
        };
        self.groups.iter().any(is)
    }

    /// The number of a group.
    pub(super) fn group(&self, name: &str) -> Option<u32> {
        self.groups.iter().find(|(group, ..)| group == name).map(|(_, gid, _)| *gid)
    }
}

impl Account {
    /// The path of a file below its home directory; one that is absolute stays.
    pub(super) fn at_home(&self, path: &str) -> String {
        if path.starts_with('/') {
            return path.to_owned();
        }
        format!("{}/{path}", self.home.trim_end_matches('/'))
    }

    /// What is wrong with a file or directory that only the account, or root, may write: sshd's own rule.
    pub(super) fn others_write(&self, guest: &Guest, path: &str) -> Option<String> {
        let file = match fs::metadata(guest.path(path)) {
            Ok(file) => file,
            Err(error) => return Some(format!("{path}: {error}")),
        };
        if file.uid() != self.uid && file.uid() != 0 {
            return Some(format!("{path} is owned by uid {}, not by {}", file.uid(), self.name));
        }
        let mode = file.mode() & 0o7777;
        (mode & 0o022 != 0).then(|| format!("others may write {path}: its mode is {mode:04o}"))
    }
}

fn password_of(field: &str) -> Password {
    match field {
        "" => Password::Empty,
        _ if field.starts_with(['!', '*']) => Password::Locked,
        // No hash is so short: a word that nothing fits.
        _ if field.len() < 13 => Password::Locked,
        _ => Password::Set,
    }
}

/// The public keys in a text of lines as in `authorized_keys`: each in base64, with its line.
pub(super) fn keys(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| Some((key_of(line)?, line)))
}

/// The key of one line, in base64. Options may stand before it, and a comment behind it.
pub(super) fn key_of(line: &str) -> Option<&str> {
    if line.trim_start().starts_with('#') {
        return None;
    }
    let mut words = line.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let kind = ["ssh-", "ecdsa-", "sk-"].iter().any(|start| word.starts_with(start));
        if let Some(key) = words.next_if(|next| kind && next.starts_with("AAAA")) {
            return Some(key);
        }
    }
    None
}

/// A key's fingerprint as OpenSSH prints it.
pub(super) fn fingerprint(key: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut held, mut bits) = (0_u32, 0);
    for c in key.bytes() {
        let Some(value) = ALPHABET.iter().position(|letter| *letter == c) else { break };
        held = (held << 6) | u32::try_from(value).unwrap_or_default();
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((held >> bits) & 0xff).unwrap_or_default());
        }
    }
    let mut said = "SHA256:".to_owned();
    (held, bits) = (0, 0);
    for byte in Sha256::digest(&bytes) {
        held = (held << 8) | u32::from(byte);
        bits += 8;
        while bits >= 6 {
            bits -= 6;
            said.push(letter(ALPHABET, held >> bits));
        }
    }
    said.push(letter(ALPHABET, held << (6 - bits)));
    said
}

fn letter(alphabet: &[u8; 64], six: u32) -> char {
    usize::try_from(six & 63).ok().and_then(|index| alphabet.get(index)).map_or('?', |byte| char::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAINooEMMAMmLwDGf3porQ4DW+IHvcdizjwDD8G26p2bMC";

    #[test]
    fn accounts_are_read() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nbad line\nops::1001:1001:Ops,,,:/home/ops:/bin/sh\n\
                      debian:x:1000:1000::/home/debian:/bin/bash\nnobody:x:65534:65534::/:/usr/sbin/nologin\n";
        let shadow = "root:*:19000:0:99999:7:::\ndebian:$y$j9T$abcdefghijklmnop$x:19000::::::\n";
        let all = Accounts::parse(passwd, shadow, "adm:x:4:syslog,ops\nops:x:1001:\n");
        let password = |name: &str| all.find(name).unwrap().password;
        assert_eq!(password("root"), Password::Locked);
        assert_eq!(password("ops"), Password::Empty);
        assert_eq!(password("debian"), Password::Set);
        assert_eq!(password("nobody"), Password::Locked, "without a line in shadow nobody gets in");
        let ops = all.find("ops").unwrap();
        assert!(all.is_in(ops, "adm") && all.is_in(ops, "ops") && !all.is_in(ops, "sudo"));
        assert_eq!(ops.at_home(".ssh/authorized_keys"), "/home/ops/.ssh/authorized_keys");
        assert_eq!(all.find("nobody").unwrap().at_home(".netrc"), "/.netrc");
    }

    #[test]
    fn keys_stand_behind_options() {
        let text = format!(
            "# ssh-ed25519 {KEY} old\n\nssh-ed25519 {KEY} me@example\n\
             no-pty,command=\"echo 'log in as the user \\\"debian\\\".'\" ssh-rsa AAAAB3 x\nnonsense\n"
        );
        let found: Vec<&str> = keys(&text).map(|(key, _)| key).collect();
        assert_eq!(found, [KEY, "AAAAB3"]);
    }

    /// As `ssh-keygen -lf` says it.
    #[test]
    fn fingerprints_are_as_openssh_has_them() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key.pub");
        std::fs::write(&file, format!("ssh-ed25519 {KEY} me\n")).unwrap();
        let Ok(said) = std::process::Command::new("ssh-keygen").arg("-lf").arg(&file).output() else {
            return;
        };
        let said = String::from_utf8(said.stdout).unwrap();
        assert_eq!(said.split_whitespace().nth(1), Some(fingerprint(KEY).as_str()), "{said}");
    }
}

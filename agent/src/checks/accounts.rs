//! Users and groups of the guest, by `/etc/passwd`, `/etc/shadow` and `/etc/group`.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::guest::Guest;

/// Most accounts that are looked at.
const MOST_ACCOUNTS: usize = 4096;
/// Most groups that a user has; the kernel takes 65536.
const MOST_GROUPS: usize = 1024;

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

/// A user of `/etc/passwd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    /// Login name.
    pub(super) name: String,
    /// What stands in place of a password there or in `/etc/shadow`.
    pub(super) password: Password,
    /// User id.
    pub(super) uid: u32,
    /// Id of the first group.
    pub(super) gid: u32,
    /// Home directory.
    pub(super) home: String,
    /// Login shell.
    pub(super) shell: String,
    /// Ids of all its groups, the first one's among them: those that a login gives it.
    pub(super) groups: Vec<u32>,
}

/// All users and groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Accounts {
    pub(super) all: Vec<User>,
    /// Name, number and members.
    groups: Vec<(String, u32, Vec<String>)>,
}

impl Accounts {
    /// Those of the guest's own files. The error says which cannot be read.
    pub(super) fn read(guest: &Guest) -> Result<Self, String> {
        let read = |path: &str| guest.read(path).map_err(|error| format!("{path} cannot be read: {error}"));
        let shadow = read("/etc/shadow").unwrap_or_default();
        Ok(Self::parse(&read("/etc/passwd")?, &shadow, &read("/etc/group").unwrap_or_default()))
    }

    pub(super) fn parse(passwd: &str, shadow: &str, group: &str) -> Self {
        let shadow: HashMap<&str, &str> = shadow
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, rest)| (name, rest.split(':').next().unwrap_or_default()))
            .collect();
        let members = |line: &str| {
            let mut fields = line.split(':');
            let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?.parse().ok()?);
            Some((name.to_owned(), gid, fields.next()?.split(',').map(str::to_owned).collect()))
        };
        let groups: Vec<(String, u32, Vec<String>)> =
            group.lines().filter_map(members).take(MOST_ACCOUNTS).collect();
        let mut of_member: HashMap<&str, Vec<u32>> = HashMap::new();
        for (_, gid, members) in &groups {
            for member in members {
                of_member.entry(member).or_default().push(*gid);
            }
        }
        let account = |line: &str| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, password, uid, gid, _, home, shell] = fields.as_slice() else { return None };
            let field = if *password == "x" { shadow.get(name).copied().unwrap_or("*") } else { password };
            let gid = gid.parse().ok()?;
            let mut groups = vec![gid];
            groups.extend(of_member.get(name).into_iter().flatten().filter(|other| **other != gid));
            groups.truncate(MOST_GROUPS);
            Some(User {
                name: (*name).to_owned(),
                password: password_of(field),
                uid: uid.parse().ok()?,
                gid,
                home: (*home).to_owned(),
                shell: (*shell).to_owned(),
                groups,
            })
        };
        let all = passwd.lines().filter_map(account).take(MOST_ACCOUNTS).collect();
        Self { all, groups }
    }

    /// The account of this name.
    pub(super) fn find(&self, name: &str) -> Option<&User> {
        self.all.iter().find(|account| account.name == name)
    }

    /// Whether it is a member of the group, by the group's list or as its own.
    pub(super) fn is_in(&self, account: &User, group: &str) -> bool {
        let is = |(name, gid, members): &(String, u32, Vec<String>)| {
            name == group && (*gid == account.gid || members.contains(&account.name))
        };
        self.groups.iter().any(is)
    }

    /// The names of the groups that it is a member of.
    pub(super) fn groups_of<'a>(&'a self, account: &'a User) -> impl Iterator<Item = &'a str> {
        let its = |(_, gid, _): &&(String, u32, Vec<String>)| account.groups.contains(gid);
        self.groups.iter().filter(its).map(|(name, ..)| name.as_str())
    }

    /// The number of a group.
    pub(super) fn group(&self, name: &str) -> Option<u32> {
        self.groups.iter().find(|(group, ..)| group == name).map(|(_, gid, _)| *gid)
    }
}

impl User {
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
        (mode & 0o022 != 0).then(|| format!("{path} is writable by others: mode {mode:04o}"))
    }
}

/// The user of this name.
pub(super) fn find(guest: &Guest, name: &str) -> Option<User> {
    Accounts::read(guest).ok()?.find(name).cloned()
}

/// The names of a user and a group; their numbers where they have none.
pub(super) fn owner_of(guest: &Guest, uid: u32, gid: u32) -> (String, String) {
    let accounts = Accounts::read(guest).unwrap_or_default();
    let user = accounts.all.iter().find(|user| user.uid == uid).map(|user| user.name.clone());
    let group = accounts.groups.iter().find(|(_, id, _)| *id == gid).map(|(name, ..)| name.clone());
    (user.unwrap_or_else(|| uid.to_string()), group.unwrap_or_else(|| gid.to_string()))
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

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(ops.groups, [1001, 4], "a login gives it both");
        assert_eq!(all.groups_of(ops).collect::<Vec<_>>(), ["adm", "ops"]);
        assert_eq!(all.find("debian").unwrap().groups, [1000]);
        assert_eq!(ops.at_home(".ssh/authorized_keys"), "/home/ops/.ssh/authorized_keys");
        assert_eq!(all.find("nobody").unwrap().at_home(".netrc"), "/.netrc");
    }
}

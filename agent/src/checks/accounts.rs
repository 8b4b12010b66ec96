//! Users and groups of the guest, by `/etc/passwd` and `/etc/group`.

use crate::guest::Guest;

/// A user of `/etc/passwd`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct User {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Id of the first group.
    pub gid: u32,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

/// All users, in the file's order.
pub(super) fn users(guest: &Guest) -> Vec<User> {
    let text = guest.read("/etc/passwd").unwrap_or_default();
    text.lines().filter_map(user).collect()
}

fn user(line: &str) -> Option<User> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let (_password, uid, gid) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let (_comment, home, shell) = (fields.next()?, fields.next()?.to_owned(), fields.next()?.to_owned());
    Some(User { name, uid, gid, home, shell })
}

/// The user of this name.
pub(super) fn find(guest: &Guest, name: &str) -> Option<User> {
    users(guest).into_iter().find(|user| user.name == name)
}

/// The names of a user and a group; their numbers where they have none.
pub(super) fn owner_of(guest: &Guest, uid: u32, gid: u32) -> (String, String) {
    let user = users(guest).into_iter().find(|user| user.uid == uid).map(|user| user.name);
    let groups = guest.read("/etc/group").unwrap_or_default();
    let named = |line: &&str| line.split(':').nth(2).is_some_and(|id| id.parse() == Ok(gid));
    let group = groups.lines().find(named).and_then(|line| line.split(':').next()).map(str::to_owned);
    (user.unwrap_or_else(|| uid.to_string()), group.unwrap_or_else(|| gid.to_string()))
}

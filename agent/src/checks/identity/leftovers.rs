//! What a build leaves behind of its builder's: credentials, private keys, histories and proxies.

use std::collections::BTreeSet;
use std::fs;

use super::known_files::{
    CREDENTIALS, FOLDERS_OF_CREDENTIALS, HISTORIES, PROXY_FILES, PROXY_FOLDERS, SYSTEM_CREDENTIALS, Syntax,
    holds_credentials, proxy_of,
};
use crate::checks::accounts::Accounts;
use crate::guest::Guest;
use crate::text;

/// Most home directories, files of one folder and findings.
const MOST: usize = 64;
/// What new users will have.
const SKELETON: &str = "/etc/skel";

/// All home directories, without a slash at their end, and what new ones are made of.
pub(super) fn homes(accounts: &Accounts) -> Vec<String> {
    let own = accounts.all.iter().map(|account| account.home.trim_end_matches('/').to_owned());
    let homes: BTreeSet<String> =
        own.chain([SKELETON.to_owned()]).filter(|home| home != "/nonexistent").collect();
    // Root's before those of services.
    let mut homes: Vec<String> = homes.into_iter().collect();
    homes.sort_by_key(|home| !["/root", "/home", SKELETON].iter().any(|place| home.starts_with(place)));
    homes.truncate(MOST);
    homes
}

/// What is left, each with its path, but for what is meant.
pub(super) fn look(guest: &Guest, accounts: &Accounts, keeps: impl Fn(&str) -> bool) -> Vec<String> {
    let mut search = Search { guest, keeps: &keeps, found: Vec::new() };
    for home in homes(accounts) {
        for name in CREDENTIALS {
            search.credentials(&format!("{home}/{name}"));
        }
        for name in files_in(guest, &format!("{home}/.ssh")) {
            search.private_key(&format!("{home}/.ssh/{name}"));
        }
        for name in HISTORIES {
            search.file("the shell history", &format!("{home}/{name}"));
        }
    }
    for path in SYSTEM_CREDENTIALS {
        search.file("the credentials", path);
    }
    for folder in FOLDERS_OF_CREDENTIALS {
        for name in files_in(guest, folder) {
            search.file("the credentials", &format!("{folder}/{name}"));
        }
    }
    for (path, syntax) in PROXY_FILES {
        search.proxy(path, syntax);
    }
    for (folder, syntax) in PROXY_FOLDERS {
        for name in files_in(guest, folder) {
            search.proxy(&format!("{folder}/{name}"), syntax);
        }
    }
    search.found.truncate(MOST);
    search.found
}

fn files_in(guest: &Guest, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(guest.path(folder)).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).take(MOST).collect();
    names.sort_unstable();
    names
}

struct Search<'a> {
    guest: &'a Guest,
    keeps: &'a dyn Fn(&str) -> bool,
    found: Vec<String>,
}

impl Search<'_> {
    /// The text of a file with something in it that came with the image and is not meant.
    fn read(&self, path: &str) -> Option<String> {
        let counts = self.guest.came_with_the_image(path) && !(self.keeps)(path);
        let text = counts.then(|| self.guest.read_plain(path)).flatten()?;
        (!text.trim().is_empty()).then_some(text)
    }

    fn add(&mut self, what: &str, path: &str) {
        self.found.push(text::one_line(&format!("{what} {path}")));
    }

    fn file(&mut self, what: &str, path: &str) {
        if self.read(path).is_some() {
            self.add(what, path);
        }
    }

    fn credentials(&mut self, path: &str) {
        if self.read(path).is_some_and(|text| holds_credentials(path, &text)) {
            self.add("the credentials", path);
        }
    }

    fn private_key(&mut self, path: &str) {
        if self.read(path).is_some_and(|text| text.contains("PRIVATE KEY-----")) {
            self.add("the private key", path);
        }
    }

    fn proxy(&mut self, path: &str, syntax: Syntax) {
        let text = self.read(path).unwrap_or_default();
        if let Some(proxy) = text.lines().find_map(|line| proxy_of(line, syntax)) {
            self.add(&format!("the proxy {proxy} in"), path);
        }
    }
}

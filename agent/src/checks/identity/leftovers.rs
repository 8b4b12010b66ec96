//! What a build leaves behind of its builder's: credentials, private keys, histories and proxies.

use std::collections::BTreeSet;
use std::fs;

use crate::checks::accounts::Accounts;
use crate::guest::Guest;
use crate::text;

/// Most home directories, files of one folder and findings.
const MOST: usize = 64;
/// What new users will have.
const SKELETON: &str = "/etc/skel";

/// Files below a home directory that hold credentials.
const CREDENTIALS: [&str; 16] = [
    ".netrc",
    ".git-credentials",
    ".docker/config.json",
    ".config/containers/auth.json",
    ".aws/credentials",
    ".azure/accessTokens.json",
    ".config/gcloud/credentials.db",
    ".config/openstack/clouds.yaml",
    ".config/openstack/secure.yaml",
    ".config/rclone/rclone.conf",
    ".kube/config",
    ".pypirc",
    ".pgpass",
    ".my.cnf",
    ".vault-token",
    ".s3cfg",
];
/// What was typed.
const HISTORIES: [&str; 9] = [
    ".bash_history",
    ".ash_history",
    ".sh_history",
    ".zsh_history",
    ".history",
    ".python_history",
    ".mysql_history",
    ".psql_history",
    ".sqlite_history",
];
/// Elsewhere.
const SYSTEM_CREDENTIALS: [&str; 4] = [
    "/etc/openstack/clouds.yaml",
    "/etc/openstack/secure.yaml",
    "/etc/apt/auth.conf",
    "/etc/dnf/credentials",
];
const FOLDERS_OF_CREDENTIALS: [&str; 1] = ["/etc/apt/auth.conf.d"];

/// How a line names a proxy.
#[derive(Clone, Copy)]
enum Syntax {
    /// `Acquire::http::Proxy "http://...";`
    Apt,
    /// `http_proxy=http://...`, with or without `export`.
    Shell,
    /// `proxy = http://...`
    Ini,
}

const PROXY_FILES: [(&str, Syntax); 6] = [
    ("/etc/apt/apt.conf", Syntax::Apt),
    ("/etc/environment", Syntax::Shell),
    ("/etc/profile", Syntax::Shell),
    ("/etc/sysconfig/proxy", Syntax::Shell),
    ("/etc/dnf/dnf.conf", Syntax::Ini),
    ("/etc/yum.conf", Syntax::Ini),
];
const PROXY_FOLDERS: [(&str, Syntax); 3] = [
    ("/etc/apt/apt.conf.d", Syntax::Apt),
    ("/etc/profile.d", Syntax::Shell),
    ("/etc/environment.d", Syntax::Shell),
];

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
            search.file("the credentials", &format!("{home}/{name}"));
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

/// The proxy that a line names.
fn proxy_of(line: &str, syntax: Syntax) -> Option<String> {
    let line = line.trim();
    let small = line.to_ascii_lowercase();
    if line.starts_with(['#', ';']) || line.starts_with("//") {
        return None;
    }
    let value = match syntax {
        Syntax::Apt => {
            let at = small.find("proxy")? + "proxy".len();
            // Not `Proxy-Auto-Detect` and the like; a proxy for one host may stand behind.
            let rest = line.get(at..)?;
            (rest.starts_with([' ', '\t', ':', '"'])).then(|| rest.split('"').nth(1))??
        }
        Syntax::Shell => {
            let (name, value) = small.strip_prefix("export ").unwrap_or(&small).trim().split_once('=')?;
            (name.ends_with("_proxy") && name != "no_proxy").then_some(value)?;
            line.split_once('=')?.1
        }
        Syntax::Ini => {
            let (name, value) = line.split_once('=')?;
            (name.trim() == "proxy").then_some(value)?
        }
    };
    let value = value.trim().trim_matches(['"', '\'', ';']).trim();
    let is_none = value.is_empty()
        || ["false", "direct", "none", "_none_"].contains(&value.to_ascii_lowercase().as_str());
    // Without what may be a password in it.
    let shown = value.rsplit('@').next().unwrap_or(value);
    (!is_none && !value.starts_with('$')).then(|| text::one_line(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_told_from_what_only_looks_like_them() {
        let apt = |line| proxy_of(line, Syntax::Apt);
        assert_eq!(
            apt("Acquire::http::Proxy \"http://192.0.2.10:3142\";").as_deref(),
            Some("http://192.0.2.10:3142")
        );
        assert_eq!(
            apt("  Proxy \"http://me:secret@proxy.example:80/\";").as_deref(),
            Some("proxy.example:80/")
        );
        assert_eq!(apt("Acquire::https::Proxy::mirror.example \"DIRECT\";"), None);
        assert_eq!(apt("Acquire::http::Proxy \"false\";"), None);
        assert_eq!(apt("// Acquire::http::Proxy \"http://192.0.2.10\";"), None);
        assert_eq!(apt("Acquire::http::Proxy-Auto-Detect \"/usr/bin/x\";"), None);
        let shell = |line| proxy_of(line, Syntax::Shell);
        assert_eq!(shell("export HTTPS_PROXY=\"http://p.example:1\"").as_deref(), Some("http://p.example:1"));
        assert_eq!(shell("http_proxy=http://192.0.2.10:3128").as_deref(), Some("http://192.0.2.10:3128"));
        assert_eq!(shell("no_proxy=localhost"), None);
        assert_eq!(shell("http_proxy="), None);
        assert_eq!(shell("http_proxy=$other"), None);
        assert_eq!(proxy_of("proxy = http://p.example", Syntax::Ini).as_deref(), Some("http://p.example"));
        assert_eq!(proxy_of("proxy=_none_", Syntax::Ini), None);
        assert_eq!(proxy_of("proxy_username=me", Syntax::Ini), None);
    }
}

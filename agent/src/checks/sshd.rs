//! What the guest's SSH server is configured to do: as `sshd -T` says it, for everybody or for one connection, and as its
//! files have it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::accounts::User;
use super::program::{self, Program};
use super::public_keys::AUTHORIZED_KEYS;
use crate::guest::Guest;
use crate::text;

mod addresses;
mod connections;
mod patterns;
mod written;

pub(super) use connections::{Connection, connections};
pub(super) use written::Written;

/// For one program, and for one answer.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// What `sshd -T` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configuration {
    /// Its lines, each a key in small letters and what it has.
    pub lines: Vec<(String, String)>,
    /// Why it is not valid. Empty: it is, or that is not known.
    pub error: String,
    /// Why that is not known: sshd gave no answer. Empty: it did.
    pub unknown: String,
}

impl Configuration {
    /// What a key has; empty when sshd does not know it.
    pub fn value(&self, key: &str) -> &str {
        self.lines.iter().find(|(name, _)| name == key).map_or("", |(_, value)| value)
    }

    /// What a key has that may be there more than once.
    pub(super) fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.lines.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Whether sshd has said what it is to do.
    pub(super) fn is_known(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Whether a password alone lets somebody in, in one way or the other.
    pub(super) fn takes_passwords(&self) -> bool {
        let has = |key| self.value(key) == "yes";
        let asks_pam = has("usepam")
            && ["kbdinteractiveauthentication", "challengeresponseauthentication"].into_iter().any(has);
        let is_password = |method: &str| match method.split(':').next() {
            Some("password") => has("passwordauthentication"),
            Some("keyboard-interactive") => asks_pam,
            _ => false,
        };
        // Each a list of methods that must all succeed.
        let ways: Vec<&str> = self.value("authenticationmethods").split_whitespace().collect();
        match ways.as_slice() {
            [] | ["any"] => has("passwordauthentication") || asks_pam,
            ways => ways.iter().any(|way| way.split(',').all(is_password)),
        }
    }

    /// Whether a password alone lets root in, by the answer for a connection of root's.
    pub(super) fn takes_roots_password(&self) -> bool {
        self.value("permitrootlogin") == "yes" && self.takes_passwords()
    }
}

/// Has sshd say what it is configured to do: for nobody in particular, or for one connection. `-T` makes all of the test
/// that `-t` makes.
pub(super) async fn ask(sshd: &Path, connection: Option<&Connection>, deadline: Instant) -> Configuration {
    let mut program = Program::at(sshd).with(["-T"]);
    if let Some(connection) = connection {
        program = program.with(["-C".to_owned(), connection.specification()]);
    }
    let ran = program.run(deadline.min(Instant::now() + PATIENCE)).await;
    if ran.late {
        return Configuration { unknown: text::one_line(&ran.broken), ..Configuration::default() };
    }
    if !ran.is_good() {
        let error = text::or(&ran.complaint(), "sshd -T failed").to_owned();
        return Configuration { error, ..Configuration::default() };
    }
    let pair = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_ascii_lowercase(), value.to_owned()))
    };
    Configuration { lines: ran.out.lines().filter_map(pair).collect(), ..Configuration::default() }
}

/// Where sshd has the keys of its host and of its users, for checks that go by it. What sshd itself does not say, its files
/// and its own defaults do.
#[derive(Debug, Clone, Default)]
pub(super) struct KeyFiles {
    sshd: Option<PathBuf>,
    general: Configuration,
    written: Written,
}

impl KeyFiles {
    /// Asks.
    pub(super) async fn find(guest: &Guest, deadline: Instant) -> Self {
        let sshd = program::find(guest, "sshd");
        let general = match &sshd {
            Some(sshd) => ask(sshd, None, deadline).await,
            None => Configuration::default(),
        };
        Self { sshd, general, written: Written::find(guest).await }
    }

    /// What is known already.
    pub(super) fn of(sshd: Option<&Path>, general: &Configuration, written: &Written) -> Self {
        Self { sshd: sshd.map(Path::to_owned), general: general.clone(), written: written.clone() }
    }

    /// The host keys that sshd is told to use, beside those that every sshd looks for.
    pub(super) fn host_keys(&self) -> Vec<String> {
        let said = self.general.values("hostkey").map(str::to_owned);
        let mut all: Vec<String> = said.chain(self.written.all("hostkey")).collect();
        all.retain(|path| path.starts_with('/'));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Whether sshd asks a program for users' keys, beside the files.
    pub(super) fn has_command(&self) -> bool {
        !["", "none"].contains(&self.general.value("authorizedkeyscommand"))
    }

    /// The files in which sshd looks for a user's keys. The error says why that is not known: where they may be others for
    /// this user than for the rest, only sshd can tell.
    pub(super) async fn authorized_keys(
        &self,
        user: &User,
        deadline: Instant,
    ) -> Result<Vec<String>, String> {
        let of_user = Connection::from_abroad(&user.name).filter(|_| self.written.has_conditions());
        let said = match (&self.sshd, of_user) {
            (Some(sshd), Some(connection)) => ask(sshd, Some(&connection), deadline).await,
            _ => Configuration::default(),
        };
        if !said.unknown.is_empty() {
            return Err(said.unknown);
        }
        let said = if said.is_known() { &said } else { &self.general };
        let value = match said.value("authorizedkeysfile") {
            "" => self.written.first("authorizedkeysfile").unwrap_or_default(),
            value => value.to_owned(),
        };
        Ok(files_of(user, &value))
    }

    /// Whatever a user's keys may be looked for in, whether or not for this user: what sshd says, what is written for
    /// whomever, and where they are on all servers that say nothing of it.
    pub(super) fn all_patterns(&self) -> Vec<String> {
        let said = self.general.values("authorizedkeysfile").map(str::to_owned);
        let texts = said.chain(self.written.all("authorizedkeysfile")).collect::<Vec<_>>().join(" ");
        let mut all: Vec<String> = AUTHORIZED_KEYS.map(str::to_owned).to_vec();
        all.extend(texts.split_whitespace().filter(|file| *file != "none").map(str::to_owned));
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// The files that a value of `AuthorizedKeysFile` means for a user.
fn files_of(user: &User, value: &str) -> Vec<String> {
    let value = if value.trim().is_empty() { AUTHORIZED_KEYS.join(" ") } else { value.to_owned() };
    value.split_whitespace().filter(|file| *file != "none").map(|file| file_of(user, file)).collect()
}

/// The file that one pattern of `AuthorizedKeysFile` means for a user (TOKENS in sshd_config(5)).
pub(super) fn file_of(user: &User, pattern: &str) -> String {
    let mut file = String::new();
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            file.push(c);
            continue;
        }
        match rest.next() {
            Some('h') => file.push_str(&user.home),
            Some('u') => file.push_str(&user.name),
            Some('U') => file.push_str(&user.uid.to_string()),
            Some(other) => file.push(other),
            None => {}
        }
    }
    user.at_home(&file)
}

impl Written {
    /// Reads sshd's files.
    pub(super) async fn find(guest: &Guest) -> Self {
        let guest = guest.clone();
        spawn_blocking(move || Self::read(&guest)).await.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;

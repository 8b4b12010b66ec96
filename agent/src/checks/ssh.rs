//! Check `ssh`: its owner, and nobody else, can log in to the server.
//!
//! sshd is met over loopback, as a client would meet it. The real login goes by a key pair of the check's own, whose
//! public half stands in the user's own file for the moment (`borrowed`).

use std::net::SocketAddr;
use std::time::Duration;

use image_manager_proto::v1::ServerFacts;
use serde::Deserialize;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::accounts::{Accounts, User};
use super::descriptor::{BadSettings, Check, Examination, Key, Observer, Set, ValueType};
use super::host_keys::{self, HostKey};
use super::instance::{self, Instance};
use super::public_keys::{self, AUTHORIZED_KEYS};
use super::{Judgement, LONG_TIMEOUT, pause, program};
use crate::guest::Guest;

mod borrowed;
mod login;
mod server;
mod verdict;
pub(super) use borrowed::is_ours;
pub(crate) use borrowed::{NOTE_NAME, give_back};
pub(crate) use login::KEYS as LOGIN_KEYS;
pub use login::Login;
pub use server::Configuration;
pub use verdict::judge;

use login::Candidate;

/// So long sshd may take to come up when nothing else is under way.
const PATIENCE: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// Most users that log in, and keys of one that are told of.
const MOST_USERS: usize = 4;

/// The check.
pub static CHECK: Check = Check {
    kind: "ssh",
    proves: "sshd answers with host keys made in this boot, lets the schedule's users log in by key, with sudo where \
             granted, and lets nobody log in by password",
    details: "`sshd -T` must accept its configuration; passwords and root's login must be as the schedule says. The \
              keys of the schedule and of the server must be in the users' `authorized_keys`, with an owner and a \
              mode that sshd accepts. The default user and the schedule's users with keys (the first four) actually \
              log in over loopback, with a temporary key pair whose public half is a line in their `authorized_keys` \
              for that time. If the image has no SSH client, no login is tried, and the observations say so.",
    set: Set::Cloud,
    observer: Observer::Agent,
    timeout: LONG_TIMEOUT,
    cost: "waits for cloud-init to finish; then a login for each user",
    repeatable: false,
    keys: &[Key {
        name: "root_login",
        value: ValueType::Choice(&["prohibit", "no", "any"]),
        default: "\"prohibit\"",
        help: "root's login: `\"prohibit\"` never by password, `\"no\"` not at all, `\"any\"` in any way",
    }],
    examine: Some(|asked| Box::pin(examine(asked))),
};

/// Its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What sshd may let root do.
    pub root_login: RootLogin,
}

/// What sshd may let root do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RootLogin {
    /// Log in by key at most.
    #[default]
    Prohibit,
    /// Nothing.
    No,
    /// Anything.
    Any,
}

async fn examine(asked: Examination) -> Result<Judgement, BadSettings> {
    let settings = asked.settings()?;
    let seen = observe(&asked.server, &asked.guest, asked.deadline).await;
    Ok(judge(&settings, &asked.server, &seen))
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// The image has sshd.
    pub installed: bool,
    /// What it is configured to do.
    pub configuration: Configuration,
    /// Where an SSH server answers and what it calls itself.
    pub met: Option<(SocketAddr, String)>,
    /// Why none answers.
    pub unmet: String,
    /// What systemd says of it. Empty: nothing, or it answers.
    pub unit: String,
    /// Its keys.
    pub(super) host_keys: Vec<HostKey>,
    /// The key that it has proved to have, in base64; None: that was not tried.
    pub proved: Option<Result<String, String>>,
    /// Those who are to log in.
    pub users: Vec<UserSeen>,
    /// cloud-init had not ended when the time was up.
    pub unsettled: bool,
    /// How long it was waited for.
    pub waited: Duration,
}

/// What was seen of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserSeen {
    /// Its name.
    pub name: String,
    /// There is such a user.
    pub exists: bool,
    /// Where its keys are looked for. Empty: sshd takes none from files.
    pub file: String,
    /// Fingerprints of keys that it must have and has not.
    pub missing: Vec<String>,
    /// What is wrong with owners and modes.
    pub exposed: Option<String>,
    /// sudo is tried, too.
    pub sudo: bool,
    /// What came of the login.
    pub login: Login,
}

/// Meets sshd, once it is up, and logs in.
pub async fn observe(server: &ServerFacts, guest: &Guest, deadline: Instant) -> Observation {
    let started = Instant::now();
    let mut seen =
        Observation { unsettled: !instance::settled(guest, deadline).await, ..Observation::default() };
    let sshd = program::find(guest, "sshd");
    seen.installed = sshd.is_some();
    let last_look = deadline.min(Instant::now() + PATIENCE);
    let mut wait = FIRST_PAUSE;
    loop {
        if let Some(sshd) = &sshd {
            seen.configuration = server::configuration(sshd, deadline).await;
        }
        match server::meet(&seen.configuration, deadline).await {
            Ok(met) => seen.met = Some(met),
            Err(why) => (seen.met, seen.unmet) = (None, why),
        }
        // Users are kept out while the boot is on its way.
        let up = seen.met.is_some() && seen.configuration.error.is_empty() && !guest.has("/run/nologin");
        if up || sshd.is_none() || !pause(&mut wait, LONGEST_PAUSE, last_look).await {
            break;
        }
    }
    if seen.met.is_none() {
        seen.unit = server::unit(guest, deadline).await;
    }
    look(server, guest, &mut seen).await;
    if let Some((address, _)) = seen.met {
        let kind = seen.host_keys.iter().find_map(|key| kind_of(&key.name));
        let exchange = server::exchange(guest, address, kind.unwrap_or("ed25519"), deadline);
        let logins = log_in(guest, address, &mut seen.users, &seen.configuration, deadline);
        (seen.proved, ()) = tokio::join!(exchange, logins);
    }
    seen.waited = started.elapsed();
    seen
}

/// `ed25519` of `ssh_host_ed25519_key`; others than these three need a word more.
fn kind_of(name: &str) -> Option<&str> {
    let kind = name.strip_prefix("ssh_host_")?.strip_suffix("_key")?;
    ["ecdsa", "ed25519", "rsa"].contains(&kind).then_some(kind)
}

/// Host keys, and the users with their keys.
async fn look(server: &ServerFacts, guest: &Guest, seen: &mut Observation) {
    let (guest, server) = (guest.clone(), server.clone());
    let files = seen.configuration.value("authorizedkeysfile").to_owned();
    let looked = spawn_blocking(move || {
        let instance = Instance::read(&guest);
        let accounts = Accounts::read(&guest).unwrap_or_default();
        (host_keys::look(&guest), users(&server, &guest, &instance, &accounts, &files))
    });
    (seen.host_keys, seen.users) = looked.await.unwrap_or_default();
}

fn users(
    server: &ServerFacts,
    guest: &Guest,
    instance: &Instance,
    accounts: &Accounts,
    files: &str,
) -> Vec<UserSeen> {
    let default = instance.default_user(server);
    let mut wanted = Vec::new();
    if !default.is_empty() {
        wanted.push((default, instance.default_user_keys(server), instance.default_user_sudo));
    }
    for user in server.users.iter().filter(|user| !user.ssh_authorized_keys.is_empty()) {
        let keys = user.ssh_authorized_keys.iter().filter_map(|line| public_keys::key_of(line)).collect();
        wanted.push((&user.name, keys, user.sudo));
    }
    let look = |(name, keys, sudo): (&str, Vec<&str>, bool)| {
        let mut user = UserSeen { name: name.to_owned(), sudo, ..UserSeen::default() };
        if let Some(account) = accounts.find(name) {
            user.exists = true;
            keys_of(guest, account, &keys, files, &mut user);
        }
        user
    };
    wanted.into_iter().take(MOST_USERS).map(look).collect()
}

fn keys_of(guest: &Guest, account: &User, wanted: &[&str], files: &str, user: &mut UserSeen) {
    let files = files_of(account, files);
    let text = |file: &String| guest.read_plain(file).unwrap_or_default();
    let texts: Vec<String> = files.iter().map(text).collect();
    let has = |key: &str| texts.iter().any(|text| public_keys::keys(text).any(|(there, _)| there == key));
    user.missing = wanted.iter().filter(|key| !has(key)).map(|key| public_keys::fingerprint(key)).collect();
    user.file = files.iter().find(|file| guest.has(file)).or(files.first()).cloned().unwrap_or_default();
    let folder = user.file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let below_home = folder.starts_with(&account.home);
    let all = [account.home.as_str(), folder, &user.file];
    let mut strict =
        all.into_iter().filter(|path| below_home || *path == user.file).filter(|path| guest.has(path));
    user.exposed = strict.find_map(|path| account.others_write(guest, path));
}

/// The files in which sshd looks for a user's keys, by `AuthorizedKeysFile`.
fn files_of(account: &User, configured: &str) -> Vec<String> {
    let configured = if configured.is_empty() { AUTHORIZED_KEYS.join(" ") } else { configured.to_owned() };
    let fill = |file: &str| file.replace("%h", &account.home).replace("%u", &account.name).replace("%%", "%");
    configured
        .split_whitespace()
        .filter(|file| *file != "none")
        .map(|file| account.at_home(&fill(file)))
        .collect()
}

async fn log_in(
    guest: &Guest,
    address: SocketAddr,
    seen: &mut [UserSeen],
    configuration: &Configuration,
    deadline: Instant,
) {
    for last in [false, true] {
        let open = |user: &&mut UserSeen| matches!(user.login, Login::Unknown | Login::Refused(_));
        let mut users: Vec<&mut UserSeen> = seen.iter_mut().filter(open).collect();
        let candidate =
            |user: &UserSeen| Candidate { name: user.name.clone(), file: user.file.clone(), sudo: user.sudo };
        let (there, absent): (Vec<_>, Vec<_>) =
            users.drain(..).partition(|user| !user.file.is_empty() && guest.has(&user.file));
        for user in absent {
            user.login = Login::NotTried(match user.file.as_str() {
                "" => "there is no such user, or sshd reads no keys from files".to_owned(),
                file => format!("there is no {file}, and no key that should be in it"),
            });
        }
        let candidates: Vec<Candidate> = there.iter().map(|user| candidate(user)).collect();
        if candidates.is_empty() {
            return;
        }
        let logins = login::try_all(guest, address, candidates, configuration, deadline).await;
        let mut refused = false;
        for (user, login) in there.into_iter().zip(logins) {
            refused |= matches!(login, Login::Refused(_));
            user.login = login;
        }
        let mut wait = LONGEST_PAUSE;
        // Once more, in case something was still on its way; not oftener, for sshd shuts out who fails too often.
        if last || !refused || !pause(&mut wait, LONGEST_PAUSE, deadline).await {
            return;
        }
    }
}

#[cfg(test)]
mod tests;

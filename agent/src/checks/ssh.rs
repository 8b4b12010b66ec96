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
use super::sshd::{self, Connection, KeyFiles, Written};
use super::{Judgement, LONG_TIMEOUT, pause, program, public_keys};
use crate::guest::Guest;

mod borrowed;
mod login;
mod logins;
mod server;
mod verdict;
pub use super::sshd::Configuration;
pub(super) use borrowed::is_ours;
pub(crate) use borrowed::{NOTE_NAME, give_back};
pub(crate) use login::KEYS as LOGIN_KEYS;
pub use login::Login;
pub use server::{Exchange, Unmet};
pub use verdict::judge;

/// So long sshd may take to come up once the boot has ended.
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
    details: "`sshd -T` must accept its configuration. Passwords and root's login must be as the schedule says: for \
              everybody, for root and for each of the schedule's users coming from any address, and, since `Match` \
              makes exceptions, for a connection that meets the conditions of each of the first 16 `Match` blocks (on \
              users, groups, addresses, host names, ports and routing domains). The host keys are those that `sshd -T` \
              names and those in `/etc/ssh`; sshd must prove one of them in a key exchange, and the manager compares \
              that one with those in the artifact. The keys of the schedule and of the server must be in a file where \
              sshd looks for the users' keys (`AuthorizedKeysFile`), with an owner and a mode that sshd accepts. On the \
              cloud `local` every server has a key of its own, whose private half is thrown away.\n\nThe default user \
              and the schedule's users with keys (the first four) actually log in over loopback, with a temporary key \
              pair whose public half is a line in that file for the time. An image without `ssh` and `ssh-keygen`, or \
              with a file that cannot be added to, leaves it unknown whether they can: the check is inconclusive, and \
              `login = false` leaves the login out. A server that does not answer in time is asked again, and is \
              inconclusive in the end; one that refuses fails.",
    set: Set::Cloud,
    observer: Observer::Agent,
    timeout: LONG_TIMEOUT,
    cost: "waits for the boot to finish; then a login for each user",
    repeatable: false,
    keys: &[
        Key {
            name: "root_login",
            value: ValueType::Choice(&["prohibit", "no", "any"]),
            default: "\"prohibit\"",
            help: "root's login: `\"prohibit\"` never by password, `\"no\"` not at all, `\"any\"` in any way",
        },
        Key {
            name: "login",
            value: ValueType::Flag,
            default: "true",
            help: "the users log in over loopback; false for an image that is to have no SSH client, whose users' keys \
                   are then only looked at",
        },
    ],
    examine: Some(|asked| Box::pin(examine(asked))),
};

/// Its keys.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What sshd may let root do.
    pub root_login: RootLogin,
    /// Whether the users log in.
    pub login: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { root_login: RootLogin::default(), login: true }
    }
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
    let seen = observe(&settings, &asked.server, &asked.guest, asked.deadline).await;
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
    pub unmet: Option<Unmet>,
    /// What systemd says of it. Empty: nothing, or it answers.
    pub unit: String,
    /// Its keys.
    pub(super) host_keys: Vec<HostKey>,
    /// What it is configured to do for some connections.
    pub(super) exceptions: Vec<Asked>,
    /// The blocks of `Match` for which no connection could be made up.
    pub left_out: Vec<String>,
    /// What came of a key exchange; None: that was not tried.
    pub exchange: Option<Exchange>,
    /// Those who are to log in.
    pub users: Vec<UserSeen>,
    /// The boot had not ended when the time was up.
    pub unsettled: bool,
    /// How long it was waited for.
    pub waited: Duration,
}

/// What sshd says that it would do for a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) connection: Connection,
    pub(super) configuration: Configuration,
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
    /// sshd asks a program for keys, too.
    pub command: bool,
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
pub async fn observe(
    settings: &Settings,
    server: &ServerFacts,
    guest: &Guest,
    deadline: Instant,
) -> Observation {
    let started = Instant::now();
    let mut seen = come_up(guest, deadline).await;
    if seen.met.is_none() {
        seen.unit = server::unit(guest, deadline).await;
    }
    look(settings, server, guest, &mut seen, deadline).await;
    if let Some((address, _)) = seen.met {
        let kind = proved_kind(&seen.configuration, &seen.host_keys);
        let exchange = server::exchange(guest, address, kind.unwrap_or("ed25519"), deadline);
        let logins = logins::log_in(guest, address, &mut seen.users, &seen.configuration, deadline);
        (seen.exchange, ()) = tokio::join!(exchange, logins);
    }
    seen.waited = started.elapsed();
    seen
}

/// Meets sshd once the boot has ended: cloud-init makes host keys and users, and what is started without it is started by
/// then. It has some time to come up, and all that there is while nothing is known because something does not answer.
async fn come_up(guest: &Guest, deadline: Instant) -> Observation {
    let mut seen =
        Observation { unsettled: !instance::settled(guest, deadline).await, ..Observation::default() };
    let sshd = program::find(guest, "sshd");
    seen.installed = sshd.is_some();
    let latest = instance::last_look(deadline);
    let end = latest.min(Instant::now() + PATIENCE);
    let mut wait = FIRST_PAUSE;
    loop {
        if let Some(sshd) = &sshd {
            seen.configuration = sshd::ask(sshd, None, deadline).await;
        }
        (seen.met, seen.unmet) = match server::meet(&seen.configuration, deadline).await {
            Ok(met) => (Some(met), None),
            Err(unmet) => (None, Some(unmet)),
        };
        // Users are kept out while the boot is on its way.
        let known = sshd.is_none() || seen.configuration.is_known();
        let up = seen.met.is_some() && known && !guest.has("/run/nologin");
        let late =
            !seen.configuration.unknown.is_empty() || seen.unmet.as_ref().is_some_and(|unmet| unmet.late);
        let last_look = if late { latest } else { end };
        if up || (sshd.is_none() && !late) || !pause(&mut wait, LONGEST_PAUSE, last_look).await {
            return seen;
        }
    }
}

/// The kind of a key that sshd can prove to have: of those that it is told to use, and in an algorithm that it may use. The
/// others are there because cloud-init makes one of each kind.
fn proved_kind<'a>(configuration: &Configuration, keys: &'a [HostKey]) -> Option<&'a str> {
    let named: Vec<&str> = configuration.values("hostkey").collect();
    let algorithms = configuration.value("hostkeyalgorithms");
    let is_named = |key: &HostKey| {
        let file = |path: &&str| path.strip_prefix("/etc/ssh/").unwrap_or(path) == key.name;
        named.is_empty() || named.iter().any(file)
    };
    let may_be_used = |kind: &&str| {
        let name = match *kind {
            "rsa" => "rsa-sha2-",
            "ecdsa" => "ecdsa-sha2-",
            _ => "ssh-ed25519",
        };
        algorithms.is_empty() || algorithms.contains(name)
    };
    let usable = || keys.iter().filter(|key| is_named(key));
    let by_key = usable().filter_map(|key| host_keys::kind_of(&key.key)).find(may_be_used);
    by_key.or_else(|| usable().filter_map(|key| kind_of(&key.name)).find(may_be_used))
}

/// `ed25519` of `ssh_host_ed25519_key`; others than these three need a word more.
fn kind_of(name: &str) -> Option<&str> {
    let kind = name.strip_prefix("ssh_host_")?.strip_suffix("_key")?;
    ["ecdsa", "ed25519", "rsa"].contains(&kind).then_some(kind)
}

/// Host keys, the users with their keys, and what is for some connections only.
async fn look(
    settings: &Settings,
    server: &ServerFacts,
    guest: &Guest,
    seen: &mut Observation,
    deadline: Instant,
) {
    let (same, facts) = (guest.clone(), server.clone());
    let read = spawn_blocking(move || {
        let accounts = Accounts::read(&same).unwrap_or_default();
        (wanted(&facts, &Instance::read(&same)), accounts)
    });
    let (wanted, accounts) = read.await.unwrap_or_default();
    let sshd = program::find(guest, "sshd");
    let written = Written::find(guest).await;
    let files = KeyFiles::of(sshd.as_deref(), &seen.configuration, &written);
    for wanted in &wanted {
        let mut user = UserSeen {
            name: wanted.name.clone(),
            sudo: wanted.sudo,
            command: files.has_command(),
            login: if settings.login { Login::Unknown } else { Login::LeftOut },
            ..UserSeen::default()
        };
        if let Some(account) = accounts.find(&wanted.name) {
            user.exists = true;
            match files.authorized_keys(account, deadline).await {
                Ok(files) => keys_of(guest, account, wanted, &files, &mut user),
                Err(why) => user.login = Login::Late(why),
            }
        }
        seen.users.push(user);
    }
    seen.host_keys = host_keys::look(guest, &files.host_keys());
    let Some(sshd) = sshd.filter(|_| seen.configuration.is_known()) else { return };
    let names: Vec<String> = wanted.into_iter().map(|wanted| wanted.name).collect();
    let (connections, left_out) = sshd::connections(&written, &names, &accounts);
    seen.left_out = left_out;
    for connection in connections {
        let configuration = sshd::ask(&sshd, Some(&connection), deadline).await;
        seen.exceptions.push(Asked { connection, configuration });
    }
}

/// Who is to log in, with which keys in base64.
struct Wanted {
    name: String,
    keys: Vec<String>,
    sudo: bool,
}

fn wanted(server: &ServerFacts, instance: &Instance) -> Vec<Wanted> {
    let owned = |keys: Vec<&str>| keys.into_iter().map(str::to_owned).collect();
    let mut wanted = Vec::new();
    let default = instance.default_user(server);
    if !default.is_empty() {
        let (name, keys) = (default.to_owned(), owned(instance.default_user_keys(server)));
        wanted.push(Wanted { name, keys, sudo: instance.default_user_sudo });
    }
    for user in server.users.iter().filter(|user| !user.ssh_authorized_keys.is_empty()) {
        let keys = user.ssh_authorized_keys.iter().filter_map(|line| public_keys::key_of(line)).collect();
        wanted.push(Wanted { name: user.name.clone(), keys: owned(keys), sudo: user.sudo });
    }
    wanted.truncate(MOST_USERS);
    wanted
}

fn keys_of(guest: &Guest, account: &User, wanted: &Wanted, files: &[String], user: &mut UserSeen) {
    let text = |file: &String| guest.read_plain(file).unwrap_or_default();
    let texts: Vec<String> = files.iter().map(text).collect();
    let has = |key: &str| texts.iter().any(|text| public_keys::keys(text).any(|(there, _)| there == key));
    user.missing =
        wanted.keys.iter().filter(|key| !has(key)).map(|key| public_keys::fingerprint(key)).collect();
    user.file = files.iter().find(|file| guest.has(file)).or(files.first()).cloned().unwrap_or_default();
    let folder = user.file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let below_home = folder.starts_with(&account.home);
    let all = [account.home.as_str(), folder, &user.file];
    let mut strict =
        all.into_iter().filter(|path| below_home || *path == user.file).filter(|path| guest.has(path));
    user.exposed = strict.find_map(|path| account.others_write(guest, path));
}

#[cfg(test)]
mod tests;

//! Check `users`: those whom the schedule names are there and can do their work, and nobody else has more than that.
//!
//! What is for somebody who is not root is tried as such a user: by programs of the guest that run with its number and
//! groups.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use image_manager_proto::v1::{CheckOutcome, ServerFacts};
use nix::sys::statvfs::{FsFlags, statvfs};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::accounts::{Accounts, Password, User};
use super::descriptor::{BadSettings, Check, Examination, Key, Observer, Set, ValueType};
use super::instance::{self, Instance};
use super::sshd::KeyFiles;
use super::{Judgement, LONG_TIMEOUT, pause, program, public_keys};
use crate::guest::Guest;
use crate::text;

mod tries;

/// So long what is amiss may take to come right.
const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Most faults that are told of.
const MOST_FAULTS: usize = 16;
/// Ordinary users have numbers from here on, to that of nobody.
const FIRST_USER: u32 = 1000;
const NOBODY: u32 = 65534;

/// The check.
pub static CHECK: Check = Check {
    kind: "users",
    proves: "the schedule's users exist with their keys, groups, shells and sudo, nobody has an empty password, root \
             is locked, and a user who is not root can work",
    details: "The default user (the schedule's, or the one that cloud-init is configured to make) and the schedule's \
              users must have a home directory of their own, a shell that is installed, and their keys in a file \
              where sshd looks for them (`AuthorizedKeysFile`). Only root has uid 0. `/`, `/tmp` and `/var/tmp` must \
              have the owners and modes that everybody relies on, and `sudo` and `su` their setuid bits on a file \
              system that heeds them. sudo, writing to the home directory and writing to `/tmp` are tried as these \
              users, with all their groups; `su`, which asks for a password, is only looked at.",
    set: Set::Cloud,
    observer: Observer::Agent,
    timeout: LONG_TIMEOUT,
    cost: "waits for the boot to finish; then under a second",
    repeatable: false,
    keys: &[
        Key {
            name: "root_password",
            value: ValueType::Choice(&["locked", "set"]),
            default: "\"locked\"",
            help: "root's password: `\"locked\"` no password is accepted, `\"set\"` one is set; an empty password \
                   always fails",
        },
        Key {
            name: "default_user_sudo",
            value: ValueType::Flag,
            default: "true",
            help: "the default user may use sudo without a password",
        },
    ],
    examine: Some(|asked| Box::pin(examine(asked))),
};

/// Its keys.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What root's password is to be.
    pub root_password: RootPassword,
    /// The default user may use sudo without a password.
    pub default_user_sudo: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { root_password: RootPassword::Locked, default_user_sudo: true }
    }
}

/// What root's password is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RootPassword {
    /// None that fits.
    Locked,
    /// One that is set.
    Set,
}

async fn examine(asked: Examination) -> Result<Judgement, BadSettings> {
    let settings = asked.settings()?;
    Ok(judge(&observe(&settings, &asked.server, &asked.guest, asked.deadline).await))
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// What is wrong, the cause before what comes of it.
    pub faults: Vec<String>,
    /// Why the accounts could not be looked at.
    pub error: String,
    /// Those who must be there.
    pub users: Vec<String>,
    /// Those who were made use of: what was tried, by whom.
    pub tried: Vec<String>,
    /// What was tried, and had not ended when the time was up.
    pub unknown: Vec<String>,
    /// The boot had not ended when the time was up.
    pub unsettled: bool,
    /// How long it was waited for.
    pub waited: Duration,
}

/// A user who must be there.
#[derive(Debug, Clone, Default)]
struct Wanted {
    name: String,
    keys: Vec<String>,
    /// Where sshd looks for the keys, and whether it asks a program for them, too.
    files: Vec<String>,
    has_command: bool,
    groups: Vec<String>,
    shell: String,
    sudo: bool,
}

/// Looks at the users, once the boot has made them, until all is well or the time is up.
pub async fn observe(
    settings: &Settings,
    server: &ServerFacts,
    guest: &Guest,
    deadline: Instant,
) -> Observation {
    let started = Instant::now();
    let settled = instance::settled(guest, deadline).await;
    let last_look = deadline.min(Instant::now() + PATIENCE);
    let mut wait = FIRST_PAUSE;
    loop {
        let mut seen = look(settings, server, guest, deadline).await;
        seen.unsettled = !settled;
        seen.waited = started.elapsed();
        // A machine that is too slow for it has all the time that there is.
        let last_look = if seen.unknown.is_empty() { last_look } else { instance::last_look(deadline) };
        let well = seen.faults.is_empty() && seen.unknown.is_empty();
        if well || !pause(&mut wait, LONGEST_PAUSE, last_look).await {
            return seen;
        }
    }
}

async fn look(settings: &Settings, server: &ServerFacts, guest: &Guest, deadline: Instant) -> Observation {
    let (same, server, own) = (guest.clone(), server.clone(), settings.clone());
    let read =
        spawn_blocking(move || Ok((wanted(&own, &server, &Instance::read(&same)), Accounts::read(&same)?)));
    let (mut wanted, accounts) = match read.await.unwrap_or_else(|error| Err(error.to_string())) {
        Ok(read) => read,
        Err(error) => return Observation { error, ..Observation::default() },
    };
    let files = KeyFiles::find(guest, deadline).await;
    let mut unknown = Vec::new();
    for user in &mut wanted {
        let Some(account) = accounts.find(&user.name) else { continue };
        user.has_command = files.has_command();
        match files.authorized_keys(account, deadline).await {
            Ok(files) => user.files = files,
            Err(why) => {
                unknown.push(format!("where the keys of {} must be is not known: {why}", user.name));
                user.keys.clear();
            }
        }
    }
    let (same, settings) = (guest.clone(), settings.clone());
    let looked = spawn_blocking(move || {
        let mut faults = directories(&same);
        faults.extend(passwords(&settings, &accounts));
        for user in &wanted {
            faults.extend(user_faults(&same, &accounts, user));
        }
        faults.extend(homes(&same, &accounts));
        faults.extend(setuid(&same, wanted.iter().any(|user| user.sudo)));
        (accounts, wanted, faults)
    });
    let (accounts, wanted, faults) = match looked.await {
        Ok(looked) => looked,
        Err(error) => return Observation { error: error.to_string(), ..Observation::default() },
    };
    let mut seen = Observation { faults, unknown, ..Observation::default() };
    tries::try_as_users(guest, &accounts, &wanted, deadline, &mut seen).await;
    seen.users = wanted.into_iter().map(|user| user.name).collect();
    seen
}

fn wanted(settings: &Settings, server: &ServerFacts, instance: &Instance) -> Vec<Wanted> {
    let default = instance.default_user(server);
    let mut all = Vec::new();
    if !default.is_empty() {
        let keys = instance.default_user_keys(server).into_iter().map(str::to_owned).collect();
        let sudo = settings.default_user_sudo;
        all.push(Wanted { name: default.to_owned(), keys, sudo, ..Wanted::default() });
    }
    all.extend(server.users.iter().map(|user| {
        Wanted {
            name: user.name.clone(),
            keys: user
                .ssh_authorized_keys
                .iter()
                .filter_map(|line| public_keys::key_of(line))
                .map(str::to_owned)
                .collect(),
            groups: user.groups.clone(),
            shell: user.shell.clone(),
            sudo: user.sudo,
            ..Wanted::default()
        }
    }));
    all
}

/// Directories that everybody relies on. `/` may be read-only for root, as it is on Red Hat's distributions.
fn directories(guest: &Guest) -> Vec<String> {
    let fault = |(path, what): (&str, &str)| {
        let found = match fs::metadata(guest.path(path)) {
            Ok(found) => found,
            Err(error) => return Some(format!("{what} cannot be examined: {error}")),
        };
        let (mode, shared) = (found.mode() & 0o7777, path != "/");
        let right = if shared { mode == 0o1777 } else { mode & 0o7577 == 0o555 };
        if found.uid() != 0 {
            return Some(format!("{what} is owned by uid {}, not by root", found.uid()));
        }
        let expected = if shared { "1777" } else { "0755" };
        (!right).then(|| format!("{what} has mode {mode:04o}, not {expected}"))
    };
    [("/", "the root directory /"), ("/tmp", "/tmp"), ("/var/tmp", "/var/tmp")]
        .into_iter()
        .filter_map(fault)
        .collect()
}

fn passwords(settings: &Settings, accounts: &Accounts) -> Vec<String> {
    let mut faults = Vec::new();
    for account in &accounts.all {
        let name = text::one_line(&account.name);
        match account.password {
            Password::Empty => faults.push(format!("{name} has no password and can log in")),
            Password::Set if name == "root" && settings.root_password == RootPassword::Locked => {
                faults.push("root has a password, the same on all servers: it is not locked".to_owned());
            }
            Password::Locked if name == "root" && settings.root_password == RootPassword::Set => {
                faults.push("root is locked, but `checks.users.root_password` is \"set\"".to_owned());
            }
            _ => {}
        }
        if account.uid == 0 && name != "root" {
            faults.push(format!("{name} has uid 0, like root: all rights under another name"));
        }
    }
    faults
}

fn user_faults(guest: &Guest, accounts: &Accounts, user: &Wanted) -> Vec<String> {
    let name = &user.name;
    let Some(account) = accounts.find(name) else { return vec![format!("user {name} does not exist")] };
    let mut faults = Vec::new();
    let shell = text::one_line(&account.shell);
    if !user.shell.is_empty() && user.shell != account.shell {
        faults.push(format!("the shell of {name} is {shell}, not {}", user.shell));
    } else if !guest.path(&account.shell).is_file() {
        faults.push(format!("the shell of {name}, {shell}, is not installed"));
    }
    for group in user.groups.iter().filter(|group| !accounts.is_in(account, group)) {
        faults.push(format!("{name} is not in the group {group}"));
    }
    if !guest.path(&account.home).is_dir() {
        faults.push(format!("{name} has no home directory {}", text::one_line(&account.home)));
        return faults;
    }
    let texts: Vec<String> =
        user.files.iter().map(|file| guest.read_plain(file).unwrap_or_default()).collect();
    let has = |key: &String| texts.iter().any(|text| public_keys::keys(text).any(|(there, _)| there == key));
    let Some(key) = user.keys.iter().find(|key| !has(key)) else { return faults };
    let key = public_keys::fingerprint(key);
    match user.files.first() {
        Some(file) => faults.push(format!("{name} does not have its key {key} in {}", text::one_line(file))),
        // What a program says is for a login to show.
        None if user.has_command => {}
        None => faults.push(format!(
            "{name} does not have its key {key}: sshd reads no keys from files (AuthorizedKeysFile none)"
        )),
    }
    faults
}

/// Home directories of people, and root's.
fn homes(guest: &Guest, accounts: &Accounts) -> Vec<String> {
    let is_person = |account: &&User| account.uid == 0 || (FIRST_USER..NOBODY).contains(&account.uid);
    let fault = |account: &User| {
        let home = fs::metadata(guest.path(&account.home)).ok().filter(fs::Metadata::is_dir)?;
        let (name, path) = (text::one_line(&account.name), text::one_line(&account.home));
        if home.uid() != account.uid {
            return Some(format!("the home directory {path} of {name} is owned by uid {}", home.uid()));
        }
        let mode = home.mode() & 0o7777;
        (mode & 0o002 != 0)
            .then(|| format!("the home directory {path} of {name} is writable by everybody: mode {mode:04o}"))
    };
    accounts.all.iter().filter(is_person).filter_map(fault).take(MOST_FAULTS).collect()
}

/// Programs that are root's whoever calls them.
fn setuid(guest: &Guest, sudo: bool) -> Vec<String> {
    let mut faults = Vec::new();
    for name in ["sudo", "su"] {
        let path = program::find(guest, name);
        let Some((path, file)) = path.and_then(|path| fs::metadata(&path).ok().map(|file| (path, file)))
        else {
            if sudo && name == "sudo" {
                faults.push("sudo is not installed".to_owned());
            }
            continue;
        };
        if file.mode() & 0o4000 == 0 || file.uid() != 0 {
            let mode = file.mode() & 0o7777;
            faults.push(format!("{name} has lost its setuid bit: mode {mode:04o}, owner uid {}", file.uid()));
        } else if statvfs(&path).is_ok_and(|found| found.flags().contains(FsFlags::ST_NOSUID)) {
            faults.push(format!(
                "{name} is on a file system mounted with nosuid: its setuid bit has no effect"
            ));
        }
    }
    faults
}

/// What an observation means.
pub fn judge(seen: &Observation) -> Judgement {
    use CheckOutcome::{Fail, Inconclusive, Pass};
    let (outcome, summary) = match seen.faults.as_slice() {
        _ if !seen.error.is_empty() => (Inconclusive, seen.error.clone()),
        [] if !seen.unknown.is_empty() => (Inconclusive, seen.unknown.join("; ")),
        [] => {
            let users = if seen.users.is_empty() {
                "the schedule names no user".to_owned()
            } else {
                format!("{}: as the schedule says", text::list(&seen.users))
            };
            (Pass, format!("{users}; nobody has an empty password, and only root has uid 0"))
        }
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
            let summary = format!("{first}{more}");
            if seen.unsettled {
                (Inconclusive, format!("{summary}; {}", instance::UNSETTLED))
            } else {
                (Fail, summary)
            }
        }
    };
    Judgement::new(outcome, summary, &as_json(seen))
}

fn as_json(seen: &Observation) -> Json {
    let faults: Vec<&String> = seen.faults.iter().take(MOST_FAULTS).collect();
    json!({
        "faults": faults,
        "fault_count": seen.faults.len(),
        "users": seen.users,
        "tried": seen.tried,
        "unknown": seen.unknown,
        "boot_ended": !seen.unsettled,
        "waited_seconds": seen.waited.as_secs_f64(),
    })
}

#[cfg(test)]
mod tests;

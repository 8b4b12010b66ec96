//! Check `identity`: what makes this server another one than its brothers is its own, and nothing of its builder's is
//! left.
//!
//! What came with the image is what was there before this boot, by the file's date; systemd writes the random seed anew
//! in each boot, so there it is the date of the file's birth that counts. The manager compares machine id and host keys
//! with those in the artifact, and knows whether that has a random seed.

use std::collections::BTreeSet;
use std::time::Duration;
use std::{fs, slice};

use image_manager_proto::counted;
use image_manager_proto::v1::{CheckOutcome, ServerFacts};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::accounts::Accounts;
use super::descriptor::{BadSettings, Check, Examination, Key, Observer, Rule, Set, ValueType};
use super::host_keys::{self, HostKey};
use super::instance::{self, Instance};
use super::sshd::{self, KeyFiles};
use super::{Judgement, LONG_TIMEOUT, metadata, pause, public_keys, ssh};
use crate::guest::Guest;
use crate::text;

pub mod known_files;
mod leftovers;

pub(super) const MACHINE_ID: &str = "/etc/machine-id";
/// Of D-Bus, which had it first; mostly a link.
pub const DBUS_MACHINE_ID: &str = "/var/lib/dbus/machine-id";
/// Of systemd.
pub const RANDOM_SEED: &str = "/var/lib/systemd/random-seed";
pub(super) const HOST_NAME: &str = "/proc/sys/kernel/hostname";
/// What systemd and the kernel call a server that nobody has named.
const NO_NAMES: [&str; 3] = ["localhost", "(none)", "localhost.localdomain"];
/// So long what is amiss may take to come right.
const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Most things left that are told of.
const MOST_LEFT: usize = 16;

/// The check.
pub static CHECK: Check = Check {
    kind: "identity",
    proves: "machine id, host keys, random seed and host name are this server's own, and no keys, credentials, \
             proxies or shell history from the build are left",
    details: "The host name must be the one in the cloud's metadata, or the one that the server's user data sets \
              (`hostname`, `fqdn`; with `preserve_hostname` any is right). Only the keys of the schedule, of the server \
              and of its user data, also those of `ssh_import_id`, may be in a file where sshd looks for users' keys: \
              `.ssh/authorized_keys` and whatever `AuthorizedKeysFile` names, for whomever. Credentials (`.netrc`, private keys, \
              `clouds.yaml`, `auth.conf` and the like), proxies and shell histories count if they were there before \
              this boot; `keep` names those that are intended. The manager compares the machine id and the host keys \
              with those in the artifact, as they were before any server booted it: a server that has one of those \
              fails, whatever the date of the file says, and so does one whose artifact has a random seed. A `resolv.conf` that came with the image is left to the check \
              `dns`.",
    set: Set::Cloud,
    observer: Observer::Agent,
    timeout: LONG_TIMEOUT,
    cost: "waits for the boot to finish; then under a second",
    repeatable: false,
    keys: &[
        Key {
            name: "keep",
            value: ValueType::Texts(&PATH),
            default: "none",
            help: "files that are meant to be in the image, as in [\"/etc/apt/auth.conf.d/site.conf\"]",
        },
        Key {
            name: "fixed_host_name",
            value: ValueType::Flag,
            default: "false",
            help: "the host name in the image is intended, whatever the cloud calls the server",
        },
    ],
    examine: Some(|asked| Box::pin(examine(asked))),
};

static PATH: Rule = Rule {
    what: "an absolute path",
    help: "as in \"/etc/environment\"",
    holds: |path| path.starts_with('/') && path.len() <= 1024 && !path.contains(char::is_control),
};

/// Its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Files that are meant to be in the image.
    pub keep: Vec<String>,
    /// The host name in the image is meant.
    pub fixed_host_name: bool,
}

async fn examine(asked: Examination) -> Result<Judgement, BadSettings> {
    let settings = asked.settings()?;
    Ok(judge(&settings, &observe(&settings, &asked.server, &asked.guest, asked.deadline).await))
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// What `/etc/machine-id` has.
    pub machine_id: String,
    /// It was there before this boot.
    pub machine_id_baked: bool,
    /// What D-Bus has in a file of its own, where it has one.
    pub dbus_machine_id: Option<String>,
    pub(super) host_keys: Vec<HostKey>,
    /// There is a random seed in a file that came with the image.
    pub random_seed_baked: bool,
    /// What the kernel calls this server.
    pub host_name: String,
    /// What the cloud calls it. Empty: not known.
    pub host_name_expected: String,
    /// What the server's user data says of that.
    pub host_name_asked: HostNameAsked,
    /// Keys that let somebody in and that nobody asked for: each in base64, with its file.
    pub foreign_keys: Vec<(String, String)>,
    /// What else is left, each with its path.
    pub left: Vec<String>,
    /// The boot had not ended when the time was up.
    pub unsettled: bool,
    /// How long it was waited for.
    pub waited: Duration,
}

/// What a server's user data says of its host name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum HostNameAsked {
    /// Nothing: it is the cloud's.
    #[default]
    Nothing,
    /// It is to stay as it is.
    Any,
    /// It is one of these, the likeliest first.
    OneOf(Vec<String>),
}

/// Looks, once the boot has done its work, until all is well or the time is up.
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
        let files = KeyFiles::find(guest, deadline).await;
        let (same, server, own) = (guest.clone(), server.clone(), settings.clone());
        let looked = spawn_blocking(move || look(&own, &server, &same, &files)).await;
        let mut seen = looked.unwrap_or_default();
        if !seen.foreign_keys.is_empty() {
            // The server's own, which something else than cloud-init may have put there.
            let given = metadata::public_keys(guest).await;
            seen.foreign_keys.retain(|(key, _)| !given.contains(key));
        }
        seen.unsettled = !settled;
        seen.waited = started.elapsed();
        let well = fault(settings, &seen).is_none();
        if well || !pause(&mut wait, LONGEST_PAUSE, last_look).await {
            return seen;
        }
    }
}

fn look(settings: &Settings, server: &ServerFacts, guest: &Guest, files: &KeyFiles) -> Observation {
    let line = |path: &str| guest.read(path).ok().map(|text| text::one_line(&text));
    let instance = Instance::read(guest);
    let accounts = Accounts::read(guest).unwrap_or_default();
    let keeps = |path: &str| settings.keep.iter().any(|kept| kept == path);
    // A link to the other one is no second.
    let another = guest.read_plain(DBUS_MACHINE_ID).map(|text| text::one_line(&text));
    Observation {
        machine_id: line(MACHINE_ID).unwrap_or_default(),
        machine_id_baked: guest.came_with_the_image(MACHINE_ID),
        dbus_machine_id: another.filter(|id| !id.is_empty()),
        host_keys: host_keys::look(guest, &files.host_keys()),
        random_seed_baked: !keeps(RANDOM_SEED) && born_before_boot(guest, RANDOM_SEED),
        host_name: line(HOST_NAME).unwrap_or_default(),
        foreign_keys: foreign_keys(guest, server, &instance, &key_files(&accounts, files), keeps),
        host_name_asked: host_name_asked(&instance),
        host_name_expected: instance.host_name,
        left: leftovers::look(guest, &accounts, keeps),
        ..Observation::default()
    }
}

fn host_name_asked(instance: &Instance) -> HostNameAsked {
    let names = instance.asked.host_names();
    if instance.asked.preserve_hostname {
        HostNameAsked::Any
    } else if names.is_empty() {
        HostNameAsked::Nothing
    } else {
        HostNameAsked::OneOf(names)
    }
}

/// Whether a file with something in it was made before this boot, whoever has written to it since.
fn born_before_boot(guest: &Guest, path: &str) -> bool {
    let Ok(file) = fs::metadata(guest.path(path)) else { return false };
    let born = file.created().or_else(|_| file.modified());
    file.len() > 0 && born.is_ok_and(|born| guest.earliest_boot().is_some_and(|booted| born < booted))
}

/// The files in which sshd may look for anybody's keys, and what new users will have in theirs.
fn key_files(accounts: &Accounts, files: &KeyFiles) -> Vec<String> {
    let patterns = files.all_patterns();
    let is_below_home = |pattern: &&String| !pattern.starts_with('/') && !pattern.contains('%');
    let mut all = Vec::new();
    for home in leftovers::homes(accounts) {
        all.extend(patterns.iter().filter(is_below_home).map(|pattern| format!("{home}/{pattern}")));
    }
    for pattern in patterns.iter().filter(|pattern| !is_below_home(pattern)) {
        all.extend(accounts.all.iter().map(|user| sshd::file_of(user, pattern)));
    }
    let mut known = BTreeSet::new();
    all.retain(|path| known.insert(path.clone()));
    all
}

/// Keys that let somebody in whom neither the schedule nor the cloud names; also those that new users will have.
fn foreign_keys(
    guest: &Guest,
    server: &ServerFacts,
    instance: &Instance,
    files: &[String],
    keeps: impl Fn(&str) -> bool,
) -> Vec<(String, String)> {
    let users = server.users.iter().flat_map(|user| &user.ssh_authorized_keys);
    let mut asked = instance.default_user_keys(server);
    asked.extend(users.filter_map(|line| public_keys::key_of(line)));
    asked.extend(instance.given_keys.iter().map(String::as_str));
    let is_asked = |key: &str, line: &str| {
        asked.contains(&key) || instance.asked.imports(line) || ssh::is_ours(guest, line)
    };
    let mut found = Vec::new();
    for path in files.iter().filter(|path| !keeps(path)) {
        let text = guest.read_plain(path).unwrap_or_default();
        let foreign = public_keys::keys(&text).filter(|(key, line)| !is_asked(key, line));
        found.extend(foreign.take(MOST_LEFT).map(|(key, _)| (key.to_owned(), path.clone())));
    }
    found
}

/// What an observation means.
pub fn judge(settings: &Settings, seen: &Observation) -> Judgement {
    use CheckOutcome::{Fail, Inconclusive, Pass};
    let (outcome, summary) = match fault(settings, seen) {
        None => {
            let keys = counted(seen.host_keys.len(), "host key");
            (
                Pass,
                format!(
                    "{} has its own machine id and {keys}, and nothing is left of the build",
                    seen.host_name
                ),
            )
        }
        Some(why) if seen.unsettled => (Inconclusive, format!("{why}; {}", instance::UNSETTLED)),
        Some(why) => (Fail, why),
    };
    Judgement::new(outcome, summary, &as_json(seen))
}

fn fault(settings: &Settings, seen: &Observation) -> Option<String> {
    machine_id(seen)
        .or_else(|| host_keys::came_with_the_image(&seen.host_keys))
        .or_else(|| {
            let baked = seen.random_seed_baked;
            baked.then(|| {
                format!("the random seed {RANDOM_SEED} came with the image: all servers start with it")
            })
        })
        .or_else(|| host_name(settings, seen))
        .or_else(|| {
            let (key, path) = seen.foreign_keys.first()?;
            let key = public_keys::fingerprint(key);
            let path = text::one_line(path);
            Some(format!("a key that nobody asked for is left in authorized_keys: {key} in {path}"))
        })
        .or_else(|| {
            let first = seen.left.first()?;
            let more = if seen.left.len() > 1 {
                format!(" (and {} more)", seen.left.len() - 1)
            } else {
                String::new()
            };
            Some(format!(
                "{first} came with the image{more}; if it is intended, list it in checks.identity.keep"
            ))
        })
}

fn machine_id(seen: &Observation) -> Option<String> {
    let id = &seen.machine_id;
    if id.is_empty() {
        return Some(format!("this server has no machine id: {MACHINE_ID} is empty or missing"));
    }
    let well_formed = id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !well_formed {
        return Some(format!("{MACHINE_ID} contains {id:?}, not a machine id of 32 hexadecimal digits"));
    }
    if seen.machine_id_baked {
        return Some(format!("machine id {id} was there before this boot: it came with the image"));
    }
    let another = seen.dbus_machine_id.as_ref().filter(|another| *another != id)?;
    Some(format!(
        "machine id {another} in {DBUS_MACHINE_ID} is not this server's {id}: it came with the image"
    ))
}

/// The first label counts: some clouds and distributions have the domain with it. The kernel keeps 64 bytes.
fn host_name(settings: &Settings, seen: &Observation) -> Option<String> {
    let name = &seen.host_name;
    let (expected, who) = match &seen.host_name_asked {
        HostNameAsked::Any => return None,
        HostNameAsked::Nothing => (slice::from_ref(&seen.host_name_expected), "the cloud calls this server"),
        HostNameAsked::OneOf(names) => (names.as_slice(), "the server's user data calls it"),
    };
    let first = expected.first().filter(|first| !first.is_empty())?;
    if settings.fixed_host_name {
        return None;
    }
    let label = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let own = label(name);
    let is_own = |expected: &String| {
        let others = label(expected);
        own == others || (own.len() >= 63 && others.starts_with(&own))
    };
    if expected.iter().any(is_own) {
        return None;
    }
    let first = text::one_line(first);
    if NO_NAMES.contains(&name.as_str()) {
        return Some(format!("this server has no host name ({name}), but {who} {first}"));
    }
    Some(format!("the host name is {name}, but {who} {first}"))
}

fn as_json(seen: &Observation) -> Json {
    let foreign = |(key, path): &(String, String)| format!("{} in {path}", public_keys::fingerprint(key));
    let asked = match &seen.host_name_asked {
        HostNameAsked::Nothing => Json::Null,
        HostNameAsked::Any => "any".into(),
        HostNameAsked::OneOf(names) => names.clone().into(),
    };
    json!({
        "machine_id": seen.machine_id,
        "machine_id_before_boot": seen.machine_id_baked,
        "another_machine_id": seen.dbus_machine_id,
        "host_keys": host_keys::as_json(&seen.host_keys),
        "random_seed_before_boot": seen.random_seed_baked,
        "host_name": seen.host_name,
        "host_name_expected": seen.host_name_expected,
        "host_names_by_user_data": asked,
        "keys_nobody_asked_for": seen.foreign_keys.iter().map(foreign).collect::<Vec<_>>(),
        "left": seen.left,
        "boot_ended": !seen.unsettled,
        "waited_seconds": seen.waited.as_secs_f64(),
    })
}

#[cfg(test)]
mod tests;

//! Check `dns`: names resolve through the guest's own resolver.

use std::path::PathBuf;
use std::time::Duration;

use image_manager_proto::v1::CheckOutcome;
use prost_types::Struct;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::descriptor::{BadSettings, Check, Examination, Key, Observer, Rule, Set, ValueType, is_plain};
use super::{DEFAULT_TIMEOUT, Judgement, Mirrors, observations, pause};
use crate::guest::Guest;
use crate::resolver::{self, Lookup};
use crate::text;

mod name_servers;
pub(crate) use name_servers::NameServers;

/// Most names of one check.
const MOST_NAMES: usize = 16;
/// For one question. glibc gives each nameserver 5 seconds, twice.
const PATIENCE: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// In the observations: the names that did not resolve.
const UNRESOLVED: &str = "unresolved";

/// The check.
pub static CHECK: Check = Check {
    kind: "dns",
    proves: "names resolve through the image's own resolver, which asks the name servers that its network gave it",
    details: "A `resolv.conf` that came with the image and names another machine fails, because it does not fit the \
              next network. If there is no name to ask for, the check is skipped and says so.",
    set: Set::Minimal,
    observer: Observer::Agent,
    timeout: DEFAULT_TIMEOUT,
    cost: "a few queries to the name server",
    repeatable: true,
    keys: &[
        Key {
            name: "names",
            value: ValueType::Texts(&HOST_NAME),
            default: "the package mirrors",
            help: "names to resolve, as in [\"manager.internal\"]",
        },
        Key {
            name: "fixed_servers",
            value: ValueType::Flag,
            default: "false",
            help: "the name servers in the image's own `resolv.conf` are intended, wherever it runs",
        },
    ],
    examine: Some(|asked| Box::pin(examine(asked))),
};

/// A name that can be asked for.
pub static HOST_NAME: Rule = Rule {
    what: "a host name",
    help: "a name to resolve, as in \"mirror.example\"",
    holds: |text| is_plain(text, 253, ".-_", "-."),
};

/// Its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Names to resolve. Empty: the hosts of the guest's package mirrors, or of the proxies before them.
    pub names: Vec<String>,
    /// The image's own resolv.conf is meant, with name servers that the server's network did not give.
    pub fixed_servers: bool,
}

async fn examine(asked: Examination) -> Result<Judgement, BadSettings> {
    let settings = asked.settings()?;
    Ok(judge(&settings, &observe(&settings, &asked.guest, asked.deadline).await))
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// The guest's `getent`, without which nothing could be asked.
    pub getent: Option<PathBuf>,
    /// The last answer for each name.
    pub names: Vec<NameSeen>,
    /// The nameservers that the guest is configured to ask.
    pub nameservers: Vec<String>,
    /// They stand in a file that came with the image and was not written since the boot: they are not what this
    /// server's network gave it.
    pub baked: bool,
    /// How long all of it took.
    pub waited: Duration,
    /// Why there was no name.
    pub nothing: String,
}

/// What was seen of one name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NameSeen {
    /// The name.
    pub name: String,
    /// The last answer.
    pub lookup: Lookup,
    /// How many times it was asked for.
    pub tries: u32,
}

/// The same check for the names that did not resolve, to repeat it from another host.
/// `None`: there is none.
pub fn repetition(observations: &Struct) -> Option<Settings> {
    let names = observations::texts(observations, UNRESOLVED);
    (!names.is_empty()).then_some(Settings { names, fixed_servers: true })
}

/// Asks for the names until all resolve or the time is up.
pub async fn observe(settings: &Settings, guest: &Guest, deadline: Instant) -> Observation {
    let started = Instant::now();
    let (names, nothing) = if settings.names.is_empty() {
        let mirrors = Mirrors::settled(guest, deadline).await;
        (mirrors.hosts(), mirrors.nothing("checks.dns.names"))
    } else {
        (settings.names.iter().map(|name| vec![name.clone()]).collect(), String::new())
    };
    let mut seen = Observation { getent: resolver::find(guest), nothing, ..Observation::default() };
    if let Some(getent) = seen.getent.clone() {
        let mut tasks = JoinSet::new();
        for (index, name) in names.into_iter().take(MOST_NAMES).enumerate() {
            let getent = getent.clone();
            tasks.spawn(async move { (index, ask_any(getent, name, deadline).await) });
        }
        let mut all = tasks.join_all().await;
        all.sort_by_key(|(index, _)| *index);
        seen.names = all.into_iter().flat_map(|(_, names)| names).collect();
    }
    let servers = NameServers::of(guest, guest.booted());
    (seen.nameservers, seen.baked) = (servers.asked, servers.baked);
    seen.waited = started.elapsed();
    seen
}

/// Asks for alternatives side by side until one resolves: then that one is told of, else all are.
async fn ask_any(getent: PathBuf, names: Vec<String>, deadline: Instant) -> Vec<NameSeen> {
    let mut tasks = JoinSet::new();
    for (index, name) in names.into_iter().take(MOST_NAMES).enumerate() {
        let getent = getent.clone();
        tasks.spawn(async move { (index, ask(getent, name, deadline).await) });
    }
    let mut missed = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        match ended {
            // The others end with the set.
            Ok((_, name)) if !name.lookup.addresses.is_empty() => return vec![name],
            Ok(missing) => missed.push(missing),
            Err(error) => tracing::warn!("looking up a name failed: {error}"),
        }
    }
    missed.sort_by_key(|(index, _)| *index);
    missed.into_iter().map(|(_, name)| name).collect()
}

async fn ask(getent: PathBuf, name: String, deadline: Instant) -> NameSeen {
    let mut wait = FIRST_PAUSE;
    let mut tries = 0;
    loop {
        tries += 1;
        let left = deadline.saturating_duration_since(Instant::now());
        let lookup = resolver::look_up(&getent, &name, PATIENCE.min(left)).await;
        if !lookup.addresses.is_empty() || !pause(&mut wait, LONGEST_PAUSE, deadline).await {
            return NameSeen { name, lookup, tries };
        }
    }
}

/// What an observation means.
pub fn judge(settings: &Settings, seen: &Observation) -> Judgement {
    let baked = seen.baked && !settings.fixed_servers;
    let bad: Vec<&NameSeen> = seen.names.iter().filter(|name| name.lookup.addresses.is_empty()).collect();
    // Where the file is at fault there is nothing to be repeated elsewhere.
    let unresolved: Vec<String> = bad.iter().filter(|_| !baked).map(|name| name.name.clone()).collect();
    let observed = json!({
        "names": seen.names.iter().map(name_as_json).collect::<Vec<_>>(),
        UNRESOLVED: unresolved,
        "nameservers": seen.nameservers,
        "baked": seen.baked,
        "waited_seconds": seen.waited.as_secs_f64(),
    });
    let (outcome, summary) = if baked {
        let summary = format!(
            "/etc/resolv.conf with nameservers {} came with the image: they are not what this server's network gave it",
            text::list(&seen.nameservers)
        );
        (CheckOutcome::Fail, summary)
    } else if seen.getent.is_none() {
        let summary = "there is no getent to ask the guest's resolver with".to_owned();
        (CheckOutcome::Inconclusive, summary)
    } else if seen.names.is_empty() {
        (CheckOutcome::Skipped, seen.nothing.clone())
    } else if let Some(first) = bad.first() {
        (CheckOutcome::Fail, failure(seen, &unresolved, first))
    } else {
        (CheckOutcome::Pass, success(seen))
    };
    Judgement::new(outcome, summary, &observed)
}

fn name_as_json(name: &NameSeen) -> Json {
    json!({
        "name": name.name,
        "addresses": name.lookup.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "milliseconds": u64::try_from(name.lookup.took.as_millis()).unwrap_or(u64::MAX),
        "exit_code": name.lookup.exit_code,
        "error": name.lookup.error,
        "tries": name.tries,
    })
}

fn failure(seen: &Observation, unresolved: &[String], first: &NameSeen) -> String {
    let asked = match seen.nameservers.as_slice() {
        [] => "no nameserver is configured".to_owned(),
        servers => format!("nameservers {}", text::list(servers)),
    };
    let verb = if unresolved.len() == 1 { "does" } else { "do" };
    format!(
        "{} {verb} not resolve after {}: {} ({asked})",
        text::list(unresolved),
        text::seconds(seen.waited),
        text::or(&first.lookup.error, "no addresses"),
    )
}

fn success(seen: &Observation) -> String {
    match seen.names.as_slice() {
        [one] => {
            let addresses: Vec<String> = one.lookup.addresses.iter().map(ToString::to_string).collect();
            format!("{} resolves to {}", one.name, text::list(&addresses))
        }
        many => format!("all {} names resolve", many.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(names: &[(&str, &[&str], &str)]) -> Observation {
        let name = |(name, addresses, error): &(&str, &[&str], &str)| NameSeen {
            name: (*name).to_owned(),
            lookup: Lookup {
                addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
                exit_code: Some(if addresses.is_empty() { 2 } else { 0 }),
                error: (*error).to_owned(),
                took: Duration::from_millis(12),
            },
            tries: 1,
        };
        Observation {
            getent: Some(PathBuf::from("/usr/bin/getent")),
            names: names.iter().map(name).collect(),
            nameservers: vec!["10.0.2.3".to_owned()],
            baked: false,
            waited: Duration::from_secs(3),
            nothing: "nothing to ask for".to_owned(),
        }
    }

    fn judged(seen: &Observation) -> (CheckOutcome, String) {
        let judgement = judge(&Settings::default(), seen);
        (judgement.outcome, judgement.summary)
    }

    #[test]
    fn all_names_must_resolve() {
        let (outcome, summary) = judged(&seen(&[("a.example", &["192.0.2.1", "2001:db8::1"], "")]));
        assert_eq!(
            (outcome, summary.as_str()),
            (CheckOutcome::Pass, "a.example resolves to 192.0.2.1, 2001:db8::1")
        );
        let (outcome, summary) =
            judged(&seen(&[("a.example", &["192.0.2.1"], ""), ("b.example", &[], "name not found")]));
        assert_eq!(outcome, CheckOutcome::Fail);
        assert_eq!(summary, "b.example does not resolve after 3.0 s: name not found (nameservers 10.0.2.3)");
    }

    #[test]
    fn without_names_or_getent_there_is_no_verdict() {
        assert_eq!(judged(&seen(&[])).0, CheckOutcome::Skipped);
        let blind = Observation { getent: None, ..seen(&[]) };
        assert_eq!(judged(&blind).0, CheckOutcome::Inconclusive);
    }

    #[test]
    fn a_missing_nameserver_is_named() {
        let mut seen = seen(&[("a.example", &[], "name not found")]);
        seen.nameservers.clear();
        assert!(judged(&seen).1.contains("no nameserver is configured"));
    }

    #[test]
    fn nameservers_that_came_with_the_image_fail_though_they_answer() {
        let baked = Observation {
            baked: true,
            ..seen(&[("a.example", &["192.0.2.1"], ""), ("b.example", &[], "x")])
        };
        let judgement = judge(&Settings::default(), &baked);
        assert_eq!(judgement.outcome, CheckOutcome::Fail);
        assert!(judgement.summary.contains("10.0.2.3 came with the image"), "{}", judgement.summary);
        assert_eq!(
            repetition(&judgement.observations),
            None,
            "the file is at fault, whatever the network does"
        );
        let meant = Settings { fixed_servers: true, ..Settings::default() };
        assert_eq!(repetition(&judge(&meant, &baked).observations).unwrap().names, ["b.example"]);
        let baked = Observation { baked: true, ..seen(&[("a.example", &["192.0.2.1"], "")]) };
        assert_eq!(judge(&meant, &baked).outcome, CheckOutcome::Pass);
    }

    #[test]
    fn what_failed_can_be_repeated_elsewhere() {
        let judgement =
            judge(&Settings::default(), &seen(&[("a.example", &["192.0.2.1"], ""), ("b.example", &[], "x")]));
        assert_eq!(repetition(&judgement.observations).unwrap().names, ["b.example"]);
        let judgement = judge(&Settings::default(), &seen(&[("a.example", &["192.0.2.1"], "")]));
        assert_eq!(repetition(&judgement.observations), None);
    }

    #[tokio::test]
    async fn this_machine_is_asked() {
        let settings = Settings {
            names: vec!["localhost".to_owned(), "no.such.invalid".to_owned()],
            fixed_servers: true,
        };
        let deadline = Instant::now() + Duration::from_secs(3);
        let judgement = judge(&settings, &observe(&settings, &Guest::default(), deadline).await);
        assert_eq!(judgement.outcome, CheckOutcome::Fail);
        assert!(judgement.summary.starts_with("no.such.invalid does not resolve"), "{}", judgement.summary);
    }
}

//! A network check that failed inside the server is looked at once more from the manager's own host, with the agent's
//! own code: when the network is down, the image is not to blame.
//!
//! Nobody but the operator chooses whom the host calls. What the schedule names, what its `image.environment` names as
//! a mirror, and what the host's own package sources name is repeated; never an address of the host itself or of its
//! link, nor a name that leads to one. What only the image names is called by nobody else. It is the image's fault,
//! unless the network is dead: then the host's and the schedule's mirrors do not answer from here either.
//!
//! | what failed in the server | from the manager's host | the check |
//! | --- | --- | --- |
//! | something repeated | some of it works | stays failed |
//! | only what can be repeated | none of it works | inconclusive |
//! | something that only the image names | a trusted mirror works | stays failed |
//! | something that only the image names | no trusted mirror works, or there is none | inconclusive |
//! | a loopback address, which is the server itself | is not asked | stays failed |
//! | what answers, but not over IPv6 | answers over IPv6 | stays failed |
//! | what answers, but not over IPv6 | does not, or this host has no IPv6, or only the image names it | passes, noted |
//! | the image's own certificate authorities | is not asked | stays failed |
//! | nobody knows: the observations were cut | is not asked | inconclusive |

use std::time::Duration;

use image_manager_agent::Guest;
use image_manager_agent::checks::observations::{LONGEST_TEXT, TRUNCATED};
use image_manager_agent::checks::{dns, internet};
use image_manager_proto::v1::{self, CheckOutcome};
use tokio::time::{Instant, timeout};

use crate::checks;
use crate::history::observations;
use crate::schedules::{CheckSpec, Schedule};

mod addresses;
mod ipv6;
mod trusted;

use trusted::Trusted;

/// How long a repetition may take. The server had its check's whole time; here nothing is booting.
const PATIENCE: Duration = Duration::from_secs(15);
/// Why nothing, or not all, is known of what failed.
const CUT: &str =
    "the observations were cut short, so it is not known what else failed, or whose fault it is";
/// A check that can fail because of a network, with what the schedule names in it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum NetworkCheck {
    Dns { names: Vec<String> },
    Internet { targets: Vec<String> },
}

impl NetworkCheck {
    /// `None`: another kind.
    fn of(spec: &CheckSpec) -> Option<Self> {
        let texts = |key| {
            let list = spec.settings.get(key).and_then(serde_json::Value::as_array).into_iter().flatten();
            list.filter_map(|text| text.as_str().map(str::to_owned)).collect()
        };
        match spec.check.kind {
            "dns" => Some(Self::Dns { names: texts("names") }),
            "internet" => Some(Self::Internet { targets: texts("targets") }),
            _ => None,
        }
    }
}

/// Repeats what failed; returns the checks with the outcomes that count.
pub(super) async fn ask(
    (schedule, asked): (&Schedule, &[CheckSpec]),
    checks: Vec<v1::Check>,
) -> Vec<v1::Check> {
    let host = Guest::below("/");
    let trusted = Trusted::of(&host, &schedule.image.environment);
    let mut judged = Vec::with_capacity(checks.len());
    for mut check in checks {
        let spec = asked.iter().find(|spec| spec.name == check.name);
        if check.outcome() == CheckOutcome::Fail
            && let Some(kind) = spec.and_then(NetworkCheck::of)
            // What it asks with is large, and everything that waits for it would be.
            && let Some(opinion) = Box::pin(repeat(&kind, &check, &host, &trusted, PATIENCE)).await
        {
            opinion.note(&mut check);
        }
        judged.push(check);
    }
    judged
}

/// The checks that can be counted on when a build ends early: a network check that failed only once it was repeated
/// within `limit`, by the schedule that asked for it. Those that could not be repeated are left out.
pub(in crate::lifecycle) async fn settle(
    asked: Option<(&Schedule, &[CheckSpec])>,
    checks: Vec<v1::Check>,
    limit: Duration,
) -> Vec<v1::Check> {
    let specs = asked.map(|(_, specs)| specs).unwrap_or_default();
    let may_be_the_networks = |check: &v1::Check| {
        // Without the schedule most names are those of their kinds, and of others nobody knows what they asked for.
        let spec = specs.iter().find(|spec| spec.name == check.name).map(|spec| spec.check);
        spec.or_else(|| checks::find(&check.name)).is_none_or(|check| check.repeatable)
    };
    let (open, mut settled): (Vec<_>, Vec<_>) = checks
        .into_iter()
        .filter(|check| check.outcome() != CheckOutcome::Unspecified)
        .partition(|check| check.outcome() == CheckOutcome::Fail && may_be_the_networks(check));
    let Some((schedule, specs)) = asked else { return settled };
    let asked = |check: &v1::Check| specs.iter().any(|spec| spec.name == check.name);
    let open: Vec<v1::Check> = open.into_iter().filter(asked).collect();
    if let Ok(repeated) = timeout(limit, ask((schedule, specs), open)).await {
        settled.extend(repeated);
    }
    settled
}

/// What looking at it from here says of a failed check.
#[derive(Debug, PartialEq)]
struct Opinion {
    /// The image is not to blame, as far as is known.
    excused: bool,
    /// It has all that counts; what was seen is only noted.
    passes: bool,
    /// What was seen from here, to follow the check's own summary.
    summary: String,
}

impl Opinion {
    fn blamed(summary: impl Into<String>) -> Self {
        Self { excused: false, passes: false, summary: summary.into() }
    }

    fn excused(summary: impl Into<String>) -> Self {
        Self { excused: true, passes: false, summary: summary.into() }
    }

    fn noted(summary: impl Into<String>) -> Self {
        Self { excused: true, passes: true, summary: summary.into() }
    }

    /// Adds it to the check.
    fn note(&self, check: &mut v1::Check) {
        let (outcome, word) = match (self.passes, self.excused) {
            (true, _) => (CheckOutcome::Pass, "pass"),
            (false, true) => (CheckOutcome::Inconclusive, "inconclusive"),
            (false, false) => (CheckOutcome::Fail, "fail"),
        };
        let said = serde_json::json!({ "outcome": word, "summary": self.summary });
        let entry = observations::from_json(&serde_json::json!({ "from_the_managers_host": said }));
        check.observations.get_or_insert_default().fields.extend(entry.fields);
        check.summary = format!("{}; {}", check.summary, self.summary);
        check.set_outcome(outcome);
    }
}

/// What an examination from here gave.
struct Here {
    works: bool,
    summary: String,
}

/// `None`: not a network check, or it does not say what failed.
async fn repeat(
    kind: &NetworkCheck,
    check: &v1::Check,
    host: &Guest,
    trusted: &Trusted,
    patience: Duration,
) -> Option<Opinion> {
    let seen = check.observations.as_ref()?;
    if internet::is_of_the_image(seen) {
        return None;
    }
    let told = match kind {
        NetworkCheck::Dns { .. } => dns::repetition(seen).map(|again| again.names),
        NetworkCheck::Internet { .. } => internet::repetition(seen).map(|again| again.targets),
    };
    let told = told.unwrap_or_default();
    let count = told.len();
    let failed: Vec<String> = told.into_iter().filter(|what| !is_cut_short(what)).collect();
    let cut = failed.len() < count || was_cut(seen);
    if failed.is_empty() && cut {
        return Some(Opinion::excused(CUT));
    }
    if failed.is_empty() {
        let dead = internet::unreached_by_ipv6(seen);
        let asked = matches!(kind, NetworkCheck::Internet { .. }) && !dead.is_empty();
        return if asked { Some(ipv6::opinion(kind, dead, host, trusted, patience).await) } else { None };
    }
    let opinion = of_what_failed(kind, failed, host, trusted, patience).await;
    Some(if cut && opinion.excused {
        Opinion::excused(format!("{}; there may be more: {CUT}", opinion.summary))
    } else {
        opinion
    })
}

/// What looking from here says of what is known to have failed.
async fn of_what_failed(
    kind: &NetworkCheck,
    failed: Vec<String>,
    host: &Guest,
    trusted: &Trusted,
    patience: Duration,
) -> Opinion {
    let (mine, foreign) = trusted.divide(kind, failed, host).await;
    if let Some(own) = foreign.iter().find(|what| addresses::is_own(what)) {
        return Opinion::blamed(format!("{own} is the server itself, and cannot be asked from elsewhere"));
    }
    let mut nor = String::new();
    if !mine.is_empty() {
        let here = examine(kind, mine, host, patience).await;
        if here.works {
            return Opinion::blamed(format!("from the manager's host it works: {}", here.summary));
        }
        nor = format!("nor from the manager's host: {}", here.summary);
    }
    if foreign.is_empty() {
        return Opinion::excused(nor);
    }
    let why = trusted.why_not_asked(kind, &foreign);
    let here = trusted.examine(kind, host, patience).await;
    if here.works {
        return Opinion::blamed(format!(
            "the network works from the manager's host ({}), but {why}",
            here.summary
        ));
    }
    let [section, key] = key_of(kind);
    Opinion::excused(format!(
        "{why}, and the manager's host gets no answer that would prove that the network works: {}; name in \
         checks.{section}.{key} what the image must reach and this host can reach too",
        if nor.is_empty() { here.summary } else { nor }
    ))
}

/// Whether the agent left something out of these observations, or an image says so.
fn was_cut(seen: &prost_types::Struct) -> bool {
    let flag = seen.fields.get(TRUNCATED).and_then(|value| value.kind.as_ref());
    matches!(flag, Some(prost_types::value::Kind::BoolValue(true)))
}

/// Whether a text has the length at which the agent cuts: it cannot be compared with what the schedule names.
fn is_cut_short(text: &str) -> bool {
    text.chars().count() >= LONGEST_TEXT
}

fn key_of(kind: &NetworkCheck) -> [&'static str; 2] {
    if matches!(kind, NetworkCheck::Dns { .. }) { ["dns", "names"] } else { ["internet", "targets"] }
}

/// Asks from here for names or targets.
async fn examine(kind: &NetworkCheck, what: Vec<String>, host: &Guest, patience: Duration) -> Here {
    let deadline = Instant::now() + patience;
    if matches!(kind, NetworkCheck::Dns { .. }) {
        let settings = dns::Settings { names: what, fixed_servers: true };
        let found = dns::observe(&settings, host, deadline).await;
        let works = found.names.iter().any(|name| !name.lookup.addresses.is_empty());
        Here { works, summary: dns::judge(&settings, &found).summary }
    } else {
        let settings = internet::Settings::only(what);
        let found = internet::observe(&settings, host, deadline).await;
        let works = found.targets.iter().any(internet::TargetSeen::is_reached);
        Here { works, summary: internet::judge(&settings, &found).summary }
    }
}

#[cfg(test)]
mod tests;

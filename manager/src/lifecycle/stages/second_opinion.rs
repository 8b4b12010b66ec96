//! A network check that failed inside the server is repeated from the manager's own host, with the agent's
//! own code. When all of it fails here too, the fault is not the image's, and the outcome becomes
//! inconclusive. What works here and not in the server stays the image's failure.

use std::time::Duration;

use image_manager_agent::Guest;
use image_manager_agent::checks::{Judgement, dns, internet};
use image_manager_proto::v1::{self, CheckOutcome, DnsCheck, InternetCheck};
use tokio::time::Instant;

use crate::history::observations;
use crate::lifecycle::driver::Driver;
use crate::schedules::CheckKind;

/// How long a repetition may take. The server had its check's whole time; here nothing is booting.
const PATIENCE: Duration = Duration::from_secs(15);
/// Most names or targets that are repeated.
const MOST: usize = 16;

/// Repeats what failed; returns the checks with the outcomes that count.
pub(super) async fn ask(driver: &Driver, checks: Vec<v1::Check>) -> Vec<v1::Check> {
    let mut judged = Vec::with_capacity(checks.len());
    for mut check in checks {
        let spec = driver.schedule.checks.iter().find(|spec| spec.name == check.name);
        if check.outcome() == CheckOutcome::Fail
            && let Some(spec) = spec
            && let Some(here) = repeat(&spec.kind, &check).await
        {
            note(&mut check, &here);
        }
        judged.push(check);
    }
    judged
}

/// Adds to a check what the same examination gave here.
fn note(check: &mut v1::Check, here: &Repeated) {
    let mut observed = check.observations.take().unwrap_or_default();
    let said = serde_json::json!({ "outcome": if here.all_fail { "fail" } else { "pass" }, "summary": here.summary });
    let entry = observations::from_json(&serde_json::json!({ "from_the_managers_host": said }));
    observed.fields.extend(entry.fields);
    check.observations = Some(observed);
    if here.all_fail {
        check.summary = format!("{}; nor from the manager's host: {}", check.summary, here.summary);
        check.set_outcome(CheckOutcome::Inconclusive);
    } else {
        check.summary = format!("{} (from the manager's host it works)", check.summary);
    }
}

/// What the repetition gave.
struct Repeated {
    /// Nothing of what failed in the server works here.
    all_fail: bool,
    summary: String,
}

/// `None`: not a network check, or nothing that could be repeated.
async fn repeat(kind: &CheckKind, check: &v1::Check) -> Option<Repeated> {
    let seen = check.observations.as_ref()?;
    let here = Guest::below("/");
    let deadline = Instant::now() + PATIENCE;
    match kind {
        CheckKind::Dns { names } => {
            let asked = allowed(dns::repetition(seen)?.names, names, |_| true)?;
            let settings = DnsCheck { names: asked };
            let found = dns::observe(&settings, &here, deadline).await;
            let works = found.names.iter().any(|name| !name.lookup.addresses.is_empty());
            Some(repeated(works, dns::judge(&settings, &found)))
        }
        CheckKind::Internet { targets } => {
            let asked = allowed(internet::repetition(seen)?.targets, targets, is_web)?;
            let settings = InternetCheck { targets: asked };
            let found = internet::observe(&settings, &here, deadline).await;
            let judgement = internet::judge(&settings, &found);
            let works = judgement.outcome == CheckOutcome::Pass
                || internet::repetition(&judgement.observations)
                    .is_none_or(|left| left.targets.len() < settings.targets.len());
            Some(repeated(works, judgement))
        }
        CheckKind::Disk { .. } | CheckKind::CloudInit { .. } | CheckKind::Packages { .. } => None,
    }
}

fn repeated(works: bool, judgement: Judgement) -> Repeated {
    Repeated { all_fail: !works, summary: judgement.summary }
}

/// The image under test must not choose what the manager's host talks to: only what the schedule names is
/// repeated, or, when it names nothing, what passes `harmless`.
fn allowed(found: Vec<String>, named: &[String], harmless: impl Fn(&str) -> bool) -> Option<Vec<String>> {
    let mut kept: Vec<String> = found
        .into_iter()
        .filter(|item| if named.is_empty() { harmless(item) } else { named.contains(item) })
        .collect();
    kept.truncate(MOST);
    (!kept.is_empty()).then_some(kept)
}

/// A plain web address by name, as package mirrors have: no port of its own, no address in digits.
fn is_web(target: &str) -> bool {
    let rest = target.strip_prefix("http://").or_else(|| target.strip_prefix("https://"));
    let Some(host) = rest.and_then(|rest| rest.split('/').next()) else { return false };
    !host.contains([':', '@', '[']) && host.contains(|c: char| c.is_ascii_alphabetic()) && host != "localhost"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_does_not_choose_whom_the_host_calls() {
        let found = || vec!["http://mirror.example/debian".to_owned(), "tcp://10.0.0.1:22".to_owned()];
        assert_eq!(allowed(found(), &[], is_web), Some(vec!["http://mirror.example/debian".to_owned()]));
        assert_eq!(allowed(found(), &["tcp://a:1".to_owned()], is_web), None);
        let named = ["tcp://10.0.0.1:22".to_owned()];
        assert_eq!(allowed(found(), &named, is_web), Some(named.to_vec()));
        for bad in ["http://169.254.169.254/latest", "http://localhost/x", "http://a:8080/", "ftp://a.b/"] {
            assert!(!is_web(bad), "{bad}");
        }
    }
}

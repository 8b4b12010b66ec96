//! A network check that failed inside the server is repeated from the manager's own host, with the agent's
//! own code. When all of it fails here too, the fault is not the image's, and the outcome becomes
//! inconclusive. What works here and not in the server stays the image's failure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use image_manager_agent::Guest;
use image_manager_agent::checks::internet::{Scheme, Target};
use image_manager_agent::checks::{Judgement, Mirrors, dns, internet};
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
    let host = Guest::below("/");
    let trusted = Trusted::of(&host, &driver.schedule.image.environment);
    let mut judged = Vec::with_capacity(checks.len());
    for mut check in checks {
        let spec = driver.schedule.checks.iter().find(|spec| spec.name == check.name);
        if check.outcome() == CheckOutcome::Fail
            && let Some(spec) = spec
            && let Some(here) = repeat(&spec.kind, &check, &host, &trusted, Instant::now() + PATIENCE).await
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
async fn repeat(
    kind: &CheckKind,
    check: &v1::Check,
    host: &Guest,
    trusted: &Trusted,
    deadline: Instant,
) -> Option<Repeated> {
    let seen = check.observations.as_ref()?;
    match kind {
        CheckKind::Dns { names } => {
            let asked =
                allowed(dns::repetition(seen)?.names, |name| names.is_empty() || names.contains(name))?;
            let settings = DnsCheck { names: asked };
            let found = dns::observe(&settings, host, deadline).await;
            let works = found.names.iter().any(|name| !name.lookup.addresses.is_empty());
            Some(repeated(works, dns::judge(&settings, &found)))
        }
        CheckKind::Internet { targets } => {
            let asked = allowed(internet::repetition(seen)?.targets, |target| {
                trusted.may_be_called(target, targets)
            })?;
            let settings = InternetCheck { targets: asked };
            let found = internet::observe(&settings, host, deadline).await;
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

/// The image under test must not choose what the manager's host talks to: only what passes `may` is repeated.
fn allowed(found: Vec<String>, may: impl Fn(&String) -> bool) -> Option<Vec<String>> {
    let mut kept: Vec<String> = found.into_iter().filter(may).collect();
    kept.truncate(MOST);
    (!kept.is_empty()).then_some(kept)
}

/// Mirrors that the manager's host goes to by itself, or that the schedule builds from. An image has them when
/// its elements took them over, often with a port or an address in digits (a cache of packages on the site).
#[derive(Debug, Default)]
struct Trusted {
    mirrors: Vec<Target>,
}

impl Trusted {
    /// By the host's package sources and by the variables of the build that name mirrors.
    fn of(host: &Guest, environment: &BTreeMap<String, String>) -> Self {
        // DIB_DISTRIBUTION_MIRROR, DIB_DEBIAN_SECURITY_MIRROR, and what other elements call theirs.
        let named = environment.iter().filter(|(name, _)| name.contains("MIRROR")).map(|(_, value)| value);
        let hosts = Mirrors::of(host).addresses;
        let mirrors = hosts.iter().chain(named).filter_map(|address| Target::parse(address).ok());
        Self { mirrors: mirrors.filter(is_elsewhere).collect() }
    }

    /// What the schedule names may be called; or, when it names nothing, a plain web address, or a trusted
    /// mirror. Of a mirror the path does not count: the security archive is often beside the main one.
    fn may_be_called(&self, found: &str, named: &[String]) -> bool {
        let Ok(target) = Target::parse(found) else { return false };
        if !named.is_empty() {
            // Compared as read, for the agent says `https://a.example/` of `https://a.example`.
            return named.iter().any(|name| Target::parse(name).as_ref() == Ok(&target));
        }
        let same = |mirror: &Target| {
            (mirror.scheme, &mirror.host, mirror.port) == (target.scheme, &target.host, target.port)
        };
        is_web(found) || target.scheme != Scheme::Tcp && self.mirrors.iter().any(same)
    }
}

/// Not this very machine, which the same address means elsewhere: in the server it is the server itself.
fn is_elsewhere(target: &Target) -> bool {
    target.host != "localhost" && !target.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
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

    fn of(sources: &str, environment: &[(&str, &str)]) -> (tempfile::TempDir, Guest, Trusted) {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("etc/apt")).unwrap();
        std::fs::write(root.path().join("etc/apt/sources.list"), sources).unwrap();
        let host = Guest::below(root.path());
        let pairs = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let trusted = Trusted::of(&host, &pairs.collect());
        (root, host, trusted)
    }

    #[test]
    fn the_image_does_not_choose_whom_the_host_calls() {
        let nobody = Trusted::default();
        let may = |found: &str, named: &[&str]| {
            let named: Vec<String> = named.iter().map(|&name| name.to_owned()).collect();
            nobody.may_be_called(found, &named)
        };
        assert!(may("http://mirror.example/debian", &[]));
        assert!(!may("tcp://10.0.0.1:22", &[]));
        assert!(!may("http://mirror.example/debian", &["tcp://a:1"]));
        assert!(may("tcp://10.0.0.1:22", &["tcp://10.0.0.1:22"]));
        // As the agent writes what the schedule has without a path.
        assert!(may("https://a.example/", &["https://a.example"]));
        assert!(!may("https://a.example/other", &["https://a.example"]));
        for bad in ["http://169.254.169.254/latest", "http://localhost/x", "http://a:8080/", "ftp://a.b/"] {
            assert!(!may(bad, &[]), "{bad}");
        }
        let found = || vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(allowed(found(), |item| item == "b"), Some(vec!["b".to_owned()]));
        assert_eq!(allowed(found(), |_| false), None);
    }

    #[test]
    fn mirrors_of_the_host_and_of_the_schedule_may_be_called() {
        let (_root, _, trusted) = of(
            "deb http://10.0.0.5:3142/debian bookworm main\ndeb http://127.0.0.1:3142/debian bookworm main\n",
            &[
                ("DIB_DEBIAN_SECURITY_MIRROR", "http://user:secret@proxy:8081/security"),
                ("DIB_DISTRIBUTION_MIRROR_UBUNTU_IGNORE", "http://(security|archive)"),
                ("DIB_RELEASE", "http://10.0.0.9:1/"),
            ],
        );
        for good in
            ["http://10.0.0.5:3142/debian", "http://10.0.0.5:3142/debian-security", "http://proxy:8081/x"]
        {
            assert!(trusted.may_be_called(good, &[]), "{good}");
            assert!(
                !trusted.may_be_called(good, &["tcp://a:1".to_owned()]),
                "the schedule names others: {good}"
            );
        }
        for bad in [
            "http://10.0.0.5:22/debian",
            "https://10.0.0.5:3142/debian",
            "tcp://10.0.0.5:3142",
            "http://127.0.0.1:3142/debian",
            "http://10.0.0.9:1/",
        ] {
            assert!(!trusted.may_be_called(bad, &[]), "{bad}");
        }
    }

    /// A mirror of the site that is down, by digits and port.
    #[tokio::test]
    async fn a_mirror_of_the_host_that_is_down_is_not_the_images_fault() {
        // 0.0.0.0 is this machine, and yet not loopback; the port is closed by the time it is called.
        let closed = std::net::TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
        let mirror = format!("http://0.0.0.0:{closed}/debian");
        let (_root, host, trusted) = of(&format!("deb {mirror} bookworm main\n"), &[]);
        let observed = serde_json::json!({ "unreached": [mirror] });
        let mut check = v1::Check {
            name: "internet".to_owned(),
            required: true,
            observations: Some(observations::from_json(&observed)),
            ..v1::Check::default()
        };
        check.set_outcome(CheckOutcome::Fail);
        let kind = CheckKind::Internet { targets: Vec::new() };
        let soon = Instant::now() + Duration::from_secs(1);
        let nobody = Trusted::default();
        assert!(repeat(&kind, &check, &host, &nobody, soon).await.is_none(), "it is nobody's mirror");
        let here = repeat(&kind, &check, &host, &trusted, soon).await.unwrap();
        note(&mut check, &here);
        let removed = v1::RemovalReport { complete: true, ..v1::RemovalReport::default() };
        let failure = super::super::judgement::judge(&[check], &removed).unwrap_err();
        assert_eq!(failure.reason, "check_inconclusive", "{}", failure.message);
    }
}

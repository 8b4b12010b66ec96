//! Check `artifact`: nothing of its build is left in the image, before anything has booted it.

use std::time::Duration;

use image_manager_agent::checks::descriptor::{Check, Key, Observer, Rule, Set, ValueType};
use image_manager_proto::v1::CheckOutcome;
use serde::Deserialize;
use serde_json::json;

use super::Judged;
use crate::builder::{Inspection, bytes};

const MIB: u64 = 1 << 20;

/// The check.
pub(crate) static CHECK: Check = Check {
    kind: "artifact",
    proves: "no keys, passwords, histories, caches or logs of the build are in the image, and its mounts fit every host",
    details: "It is looked at by a library before the image is uploaded: no server has changed anything yet. Private keys, \
              authorized keys, files that programs keep passwords in (`.netrc`, `.docker/config.json` and the like), shell \
              histories, proxies, users with an empty password, a machine id, and lines of fstab that name a device as \
              `/dev/vda1` fail it. ext4 and XFS can be read.",
    set: Set::Cloud,
    observer: Observer::Manager,
    timeout: Duration::from_mins(2),
    cost: "nothing: the image is read for its packages' checksums in any case",
    repeatable: false,
    keys: &[
        Key {
            name: "allowed",
            value: ValueType::Texts(&PATH),
            default: "none",
            help: "files that may be there, as in [\"/root/.ssh/authorized_keys\"]",
        },
        Key {
            name: "max_caches",
            value: ValueType::Size { largest: 1 << 50 },
            default: "\"1 MiB\"",
            help: "most room that caches of package managers may take",
        },
        Key {
            name: "max_logs",
            value: ValueType::Size { largest: 1 << 50 },
            default: "\"16 MiB\"",
            help: "most room that logs may take",
        },
    ],
    examine: None,
};

static PATH: Rule = Rule {
    what: "a path in the image",
    help: "the whole path, as in \"/root/.ssh/authorized_keys\"",
    holds: |text| text.starts_with('/') && (2..=1024).contains(&text.len()),
};

/// Its keys.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    allowed: Vec<String>,
    max_caches: u64,
    max_logs: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { allowed: Vec::new(), max_caches: MIB, max_logs: 16 * MIB }
    }
}

/// What is in the image means this. `Err`: why it is not known.
pub(crate) fn judge(
    settings: &serde_json::Map<String, serde_json::Value>,
    seen: &Result<Inspection, String>,
) -> Judged {
    let settings: Settings = match super::typed(settings) {
        Ok(settings) => settings,
        Err(judged) => return judged,
    };
    let seen = match seen {
        Ok(seen) => seen,
        Err(why) => {
            let summary = format!("the image was not looked into: {why}");
            return Judged { outcome: CheckOutcome::Inconclusive, summary, observations: json!({}) };
        }
    };
    let wrong = wrong(&settings, seen);
    let (outcome, summary) = match wrong.split_first() {
        None => (CheckOutcome::Pass, "nothing of the build is left in the image".to_owned()),
        Some((first, [])) => (CheckOutcome::Fail, first.clone()),
        Some((first, others)) => (CheckOutcome::Fail, format!("{first} (and {} more)", others.len())),
    };
    let observations = json!({
        "wrong": wrong,
        "cache_bytes": seen.cache_bytes,
        "log_bytes": seen.log_bytes,
        "machine_id": seen.machine_id,
    });
    Judged { outcome, summary, observations }
}

/// What is wrong, the worst first.
fn wrong(settings: &Settings, seen: &Inspection) -> Vec<String> {
    let allowed = |line: &&String| {
        let path = line.split(": ").next().unwrap_or(line);
        !settings.allowed.iter().any(|allowed| allowed == path)
    };
    let each = |list: &[String], what: &str| -> Vec<String> {
        list.iter().filter(allowed).map(|path| format!("{what} {path}")).collect()
    };
    let mut wrong: Vec<String> =
        seen.without_password.iter().map(|user| format!("the user {user} has an empty password")).collect();
    wrong.extend(each(&seen.private_keys, "a private key came with the image:"));
    wrong.extend(each(&seen.authorized_keys, "keys that let somebody in came with the image:"));
    wrong.extend(each(&seen.credentials, "credentials came with the image:"));
    if let Some(machine_id) = seen.machine_id.as_ref().filter(|_| allowed(&&"/etc/machine-id".to_owned())) {
        wrong.push(format!("every server would have the machine id {machine_id}, which came with the image"));
    }
    wrong.extend(each(&seen.proxies, "a proxy of the build is set in"));
    wrong.extend(each(&seen.histories, "a history came with the image:"));
    wrong.extend(
        seen.unstable_mounts
            .iter()
            .map(|line| format!("fstab names a device by a name that changes from host to host: {line}")),
    );
    if seen.cache_bytes > settings.max_caches {
        let (are, may) = (bytes(seen.cache_bytes), bytes(settings.max_caches));
        wrong.push(format!("caches of package managers take {are}, {may} are allowed"));
    }
    if seen.log_bytes > settings.max_logs {
        let (are, may) = (bytes(seen.log_bytes), bytes(settings.max_logs));
        wrong.push(format!("logs of the build take {are}, {may} are allowed"));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(settings: serde_json::Value, seen: Inspection) -> (CheckOutcome, String) {
        let judged = judge(settings.as_object().unwrap(), &Ok(seen));
        (judged.outcome, judged.summary)
    }

    #[test]
    fn each_rest_of_a_build_fails_it_by_its_name() {
        use CheckOutcome::{Fail, Inconclusive, Pass};
        assert_eq!(judged(json!({}), Inspection::default()).0, Pass);
        assert_eq!(judge(&serde_json::Map::new(), &Err("LUKS".to_owned())).outcome, Inconclusive);
        let some = |path: &str| vec![path.to_owned()];
        let none = Inspection::default;
        for (seen, why) in [
            (Inspection { without_password: some("root"), ..none() }, "root has an empty password"),
            (Inspection { private_keys: some("/root/.ssh/id"), ..none() }, "/root/.ssh/id"),
            (Inspection { authorized_keys: some("/root/.ssh/a"), ..none() }, "let somebody in"),
            (Inspection { credentials: some("/root/.netrc"), ..none() }, "/root/.netrc"),
            (Inspection { machine_id: Some("12ab".to_owned()), ..none() }, "machine id 12ab"),
            (
                Inspection { proxies: some("/etc/environment: http_proxy=http://a"), ..none() },
                "/etc/environment",
            ),
            (Inspection { histories: some("/root/.bash_history"), ..none() }, "history"),
            (Inspection { unstable_mounts: some("/dev/vda1 / ext4"), ..none() }, "/dev/vda1"),
            (Inspection { cache_bytes: 2 * MIB, ..none() }, "caches"),
            (Inspection { log_bytes: 17 * MIB, ..none() }, "logs"),
        ] {
            let (outcome, summary) = judged(json!({}), seen);
            assert!(outcome == Fail && summary.contains(why), "{summary}");
        }
        let allowed = json!({ "allowed": ["/root/.ssh/a"], "max_logs": 32 * MIB });
        let seen = Inspection { authorized_keys: some("/root/.ssh/a"), log_bytes: 17 * MIB, ..none() };
        assert_eq!(judged(allowed, seen).0, Pass);
    }
}

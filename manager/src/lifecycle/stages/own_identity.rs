//! What the agent saw of its server's identity, beside what the artifact had before any server booted from it.
//!
//! The agent tells what came with the image by the dates of files, which a build can set as it likes. The artifact was read
//! before any boot: what is the same in both is no server's own.

use image_manager_agent::checks::identity::{self, RANDOM_SEED};
use image_manager_agent::checks::ssh;
use image_manager_proto::v1::{self, CheckOutcome};
use serde_json::{Value, json};

use crate::builder::{HostKey, Inspection};
use crate::history::observations;
use crate::schedules::CheckSpec;

/// Whether the schedule asks for the comparison.
pub(super) fn is_asked_for(specs: &[CheckSpec]) -> bool {
    specs.iter().any(is_compared)
}

fn is_compared(spec: &CheckSpec) -> bool {
    *spec.check == identity::CHECK || *spec.check == ssh::CHECK
}

/// The results of the checks, where a server that has the artifact's identity, or proves the artifact's host key, fails.
pub(super) fn compare(
    specs: &[CheckSpec],
    mut checks: Vec<v1::Check>,
    artifact: &Result<Inspection, String>,
) -> Vec<v1::Check> {
    for check in &mut checks {
        if let Some(spec) = specs.iter().find(|spec| spec.name == check.name && is_compared(spec)) {
            one(spec, check, artifact);
        }
    }
    checks
}

fn one(spec: &CheckSpec, check: &mut v1::Check, artifact: &Result<Inspection, String>) {
    let mut observed = check.observations.as_ref().map_or_else(|| json!({}), observations::to_json);
    let told = match artifact {
        Ok(artifact) => {
            let same = match check.outcome() {
                // What the agent says of it is more: that the file was there before the boot.
                CheckOutcome::Fail => None,
                CheckOutcome::Pass => machine_id(&observed, artifact)
                    .or_else(|| host_key(&observed, artifact))
                    .or_else(|| proved_key(&observed, artifact))
                    .or_else(|| random_seed(spec, artifact)),
                // cloud-init may still have been about to make other keys.
                _ => machine_id(&observed, artifact),
            };
            if let Some(same) = same {
                check.set_outcome(CheckOutcome::Fail);
                check.summary = same;
            }
            json!({ "machine_id": artifact.machine_id, "dbus_machine_id": artifact.dbus_machine_id,
                    "host_keys": artifact.host_keys, "random_seed": artifact.random_seed })
        }
        Err(why) => json!({ "not_known": why }),
    };
    if let Some(fields) = observed.as_object_mut() {
        fields.insert("artifact".to_owned(), told);
    }
    check.observations = Some(observations::from_json(&observed));
}

/// What to say of a machine id that is the artifact's.
fn machine_id(observed: &Value, artifact: &Inspection) -> Option<String> {
    let own = text(observed, "machine_id");
    let mut of_artifact = artifact.machine_id.iter().chain(&artifact.dbus_machine_id);
    let is_same = !own.is_empty() && of_artifact.any(|id| id.eq_ignore_ascii_case(own));
    is_same.then(|| format!("machine id {own} is the image's: all its servers have the same one"))
}

/// What to say of a host key that is the artifact's.
fn host_key(observed: &Value, artifact: &Inspection) -> Option<String> {
    let keys = observed.get("host_keys").and_then(Value::as_array);
    let fingerprints = keys.into_iter().flatten().map(|key| text(key, "fingerprint"));
    let mut known = fingerprints
        .filter(|own| !own.is_empty())
        .filter_map(|own| artifact.host_keys.iter().find(|key| key.fingerprint == own));
    known.next().map(same_key)
}

/// What to say of the host key that the server has proved to have, when it is the artifact's.
fn proved_key(observed: &Value, artifact: &Inspection) -> Option<String> {
    let own = text(observed, "proved_host_key");
    let known = artifact.host_keys.iter().find(|key| !own.is_empty() && key.fingerprint == own);
    known.map(same_key)
}

fn same_key(HostKey { file, fingerprint }: &HostKey) -> String {
    format!("host key {file} ({fingerprint}) is the image's: all its servers have the same one")
}

/// What to say of a random seed that the artifact has. The server writes another one in each boot, so there is nothing to
/// compare: what counts is that all servers begin with this one.
fn random_seed(spec: &CheckSpec, artifact: &Inspection) -> Option<String> {
    let kept = spec.settings.get("keep").and_then(Value::as_array);
    let is_meant = kept.into_iter().flatten().any(|path| path.as_str() == Some(RANDOM_SEED));
    let counts = *spec.check == identity::CHECK && artifact.random_seed && !is_meant;
    counts.then(|| format!("the random seed {RANDOM_SEED} is in the image: all its servers start with it"))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    fn spec(name: &str, kind: &str) -> CheckSpec {
        CheckSpec {
            name: name.to_owned(),
            check: crate::checks::find(kind).unwrap(),
            required: true,
            timeout: Duration::from_secs(1),
            settings: serde_json::Map::new(),
        }
    }

    /// A result of the check `mine`, of the kind `identity`.
    fn result(outcome: CheckOutcome, observed: &Value) -> v1::Check {
        v1::Check {
            name: "mine".to_owned(),
            outcome: outcome.into(),
            required: true,
            summary: "as the agent said".to_owned(),
            observations: Some(observations::from_json(observed)),
            ..v1::Check::default()
        }
    }

    fn server() -> Value {
        json!({ "machine_id": ID, "host_keys": [
            { "file": "ssh_host_rsa_key", "fingerprint": "" },
            { "file": "ssh_host_ed25519_key", "fingerprint": "SHA256:abc" },
        ] })
    }

    fn compared(specs: &[CheckSpec], check: v1::Check, artifact: Result<Inspection, &str>) -> v1::Check {
        compare(specs, vec![check], &artifact.map_err(str::to_owned)).remove(0)
    }

    fn artifact_with(fingerprint: &str) -> Inspection {
        let key = HostKey { file: "ssh_host_ed25519_key".to_owned(), fingerprint: fingerprint.to_owned() };
        Inspection { host_keys: vec![key], ..Inspection::default() }
    }

    #[test]
    fn what_is_the_artifacts_fails_by_its_name() {
        use CheckOutcome::{Fail, Inconclusive, Pass};
        let specs = [spec("mine", "identity")];
        let own = Inspection { machine_id: Some(ID.to_owned()), ..Inspection::default() };
        let of_dbus = Inspection { dbus_machine_id: Some(ID.to_uppercase()), ..Inspection::default() };
        for (artifact, why) in [
            (own, format!("machine id {ID} is the image's")),
            (of_dbus, format!("machine id {ID} is the image's")),
            (
                artifact_with("SHA256:abc"),
                "host key ssh_host_ed25519_key (SHA256:abc) is the image's".to_owned(),
            ),
        ] {
            let passed = compared(&specs, result(Pass, &server()), Ok(artifact.clone()));
            assert_eq!(passed.outcome(), Fail);
            assert!(passed.summary.starts_with(&why), "{}", passed.summary);
            let early = compared(&specs, result(Inconclusive, &server()), Ok(artifact.clone()));
            let is_key = why.starts_with("host key");
            assert_eq!(
                early.outcome(),
                if is_key { Inconclusive } else { Fail },
                "cloud-init makes host keys"
            );
            let failed = compared(&specs, result(Fail, &server()), Ok(artifact));
            assert_eq!(failed.summary, "as the agent said");
        }
    }

    #[test]
    fn what_is_the_servers_own_or_not_known_stays_as_it_was() {
        let specs = [spec("mine", "identity")];
        let other = Inspection { machine_id: Some("f".repeat(32)), ..artifact_with("SHA256:other") };
        for artifact in [Ok(other), Ok(artifact_with("")), Ok(Inspection::default()), Err("LUKS")] {
            let check = compared(&specs, result(CheckOutcome::Pass, &server()), artifact.clone());
            assert_eq!(check.outcome(), CheckOutcome::Pass, "{artifact:?}");
            assert_eq!(check.summary, "as the agent said");
            let observed = observations::to_json(check.observations.as_ref().unwrap());
            let why = observed.pointer("/artifact/not_known").and_then(Value::as_str);
            assert_eq!(why, artifact.err());
        }
        let own = Inspection { machine_id: Some(String::new()), ..Inspection::default() };
        let blind = compared(&specs, result(CheckOutcome::Pass, &json!({})), Ok(own));
        assert_eq!(blind.outcome(), CheckOutcome::Pass);
    }

    #[test]
    fn a_key_that_was_proved_and_a_seed_are_the_images_too() {
        use CheckOutcome::{Fail, Pass};
        let proved = json!({ "proved_host_key": "SHA256:abc" });
        let check = compared(&[spec("mine", "ssh")], result(Pass, &proved), Ok(artifact_with("SHA256:abc")));
        assert_eq!(check.outcome(), Fail);
        assert!(check.summary.starts_with("host key ssh_host_ed25519_key (SHA256:abc) is the image's"));
        let other = compared(&[spec("mine", "ssh")], result(Pass, &proved), Ok(artifact_with("SHA256:x")));
        assert_eq!(other.outcome(), Pass);
        let late = json!({ "proved_host_key": null });
        let none = compared(&[spec("mine", "ssh")], result(Pass, &late), Ok(artifact_with("")));
        assert_eq!(none.outcome(), Pass);

        let seed = Inspection { random_seed: true, ..Inspection::default() };
        let check = compared(&[spec("mine", "identity")], result(Pass, &server()), Ok(seed.clone()));
        assert_eq!(check.outcome(), Fail);
        let why =
            "the random seed /var/lib/systemd/random-seed is in the image: all its servers start with it";
        assert_eq!(check.summary, why);
        let mut meant = spec("mine", "identity");
        meant.settings.insert("keep".to_owned(), json!([RANDOM_SEED]));
        assert_eq!(compared(&[meant], result(Pass, &server()), Ok(seed.clone())).outcome(), Pass);
        let ssh = compared(&[spec("mine", "ssh")], result(Pass, &proved), Ok(seed));
        assert_eq!(ssh.outcome(), Pass, "that is not what ssh is about");
    }

    #[test]
    fn checks_of_other_kinds_are_not_touched() {
        let artifact = Inspection { machine_id: Some(ID.to_owned()), ..Inspection::default() };
        let check = result(CheckOutcome::Pass, &server());
        assert_eq!(compared(&[spec("mine", "files")], check.clone(), Ok(artifact)), check);
        assert!(is_asked_for(&[spec("disk", "disk"), spec("mine", "identity")]));
        assert!(!is_asked_for(&[spec("disk", "disk")]));
    }
}

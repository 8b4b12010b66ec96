//! Who may log in to an image, as the schedule said when it was built: an image that is verified again is judged by that,
//! and not by what the schedule says by then.

use std::io::ErrorKind;
use std::path::Path;

use image_manager_proto::v1;
use serde::{Deserialize, Serialize};

use super::{definition, files};
use crate::history::History;
use crate::schedules::{CheckSpec, ImageSpec, User};

/// The keys of `image` that checks compare with what they see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Accounts {
    pub(super) users: Vec<User>,
    pub(super) default_user: Option<String>,
    pub(super) ssh_authorized_keys: Vec<String>,
    pub(super) ssh_password_authentication: bool,
}

impl From<&ImageSpec> for Accounts {
    fn from(image: &ImageSpec) -> Self {
        Self {
            users: image.users.clone(),
            default_user: image.default_user.clone(),
            ssh_authorized_keys: image.ssh_authorized_keys.clone(),
            ssh_password_authentication: image.ssh_password_authentication,
        }
    }
}

/// Keeps them in the build's directory. What cannot be written is told of, and unknown afterwards.
pub(super) async fn keep(directory: &Path, image: &ImageSpec) {
    let file = directory.join(files::ACCOUNTS);
    let written = match serde_json::to_vec(&Accounts::from(image)) {
        Ok(json) => tokio::fs::write(&file, json).await,
        Err(error) => Err(error.into()),
    };
    if let Err(error) = written {
        tracing::warn!("{}: {error}", file.display());
    }
}

/// By what an image is judged: what was kept of the build `image_of` that made it; else what the schedule says now.
pub(super) fn that_count(state: &Path, image_of: Option<&str>, image: &ImageSpec) -> Accounts {
    image_of.and_then(|build| kept(state, build)).unwrap_or_else(|| Accounts::from(image))
}

/// Whether an image is judged by what the schedule says now, although it said something else when `image_of` made it.
/// `false` where it is not known what that was.
pub(super) async fn have_changed(
    state: &Path,
    history: &History,
    image_of: Option<&str>,
    image: &ImageSpec,
) -> bool {
    let Some(made_by) = image_of.filter(|build| kept(state, build).is_none()) else { return false };
    match history.build(made_by).await {
        Ok(build) => definition::is_of_another(&build.definition, image),
        Err(error) => {
            tracing::warn!("what build {made_by} was asked for is not known: {error}");
            false
        }
    }
}

/// What was kept of a build; builds of earlier managers kept nothing.
fn kept(state: &Path, build: &str) -> Option<Accounts> {
    let file = files::directory(state, build).join(files::ACCOUNTS);
    let read = std::fs::read(&file).and_then(|json| Ok(serde_json::from_slice(&json)?));
    let told = |error: &std::io::Error| {
        if error.kind() != ErrorKind::NotFound {
            tracing::warn!("{}: {error}", file.display());
        }
    };
    read.inspect_err(told).ok()
}

/// Kinds of checks that go by them.
const KINDS: [&str; 3] = ["identity", "ssh", "users"];

/// A failure by other keys of `image` than those that the image was built with says nothing about the image.
pub(super) fn doubt(specs: &[CheckSpec], results: &mut [v1::CheckResult]) {
    for result in results {
        let spec = specs.iter().find(|spec| spec.name == result.name);
        let goes_by_them = spec.is_some_and(|spec| KINDS.contains(&spec.check.kind));
        if goes_by_them && result.outcome() == v1::CheckOutcome::Fail {
            result.set_outcome(v1::CheckOutcome::Inconclusive);
            result.summary =
                format!("the schedule's `image` has changed since this image was built: {}", result.summary);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn image() -> ImageSpec {
        let text = "[schedule.a.image]\nelements = [\"debian-minimal\"]\n";
        crate::schedules::parse(Path::new("schedules.toml"), text).unwrap().schedules.remove(0).image
    }

    #[tokio::test]
    async fn an_image_is_judged_by_what_its_build_was_asked_for() {
        let state = tempfile::tempdir().unwrap();
        let directory = files::directory(state.path(), "build");
        std::fs::create_dir_all(&directory).unwrap();
        let before = image();
        keep(&directory, &before).await;
        let ops = User {
            name: "ops".into(),
            ssh_authorized_keys: vec!["ssh-ed25519 AAAA ops".into()],
            sudo: true,
            groups: vec!["adm".into()],
            shell: "/bin/bash".into(),
        };
        let now = ImageSpec {
            users: vec![ops],
            default_user: Some("web".into()),
            ssh_password_authentication: true,
            ..before.clone()
        };
        let judged = |image_of| that_count(state.path(), image_of, &now);
        assert_eq!(judged(Some("build")), Accounts::from(&before));
        assert_eq!(judged(None), Accounts::from(&now), "its own build");
        assert_eq!(judged(Some("earlier")), Accounts::from(&now), "nothing was kept of it");
        keep(&directory, &now).await;
        assert_eq!(
            that_count(state.path(), Some("build"), &before),
            Accounts::from(&now),
            "all of it is kept"
        );
        std::fs::write(directory.join(files::ACCOUNTS), "{").unwrap();
        assert_eq!(that_count(state.path(), Some("build"), &before), Accounts::from(&before));
    }

    #[test]
    fn only_a_failure_by_the_keys_of_another_time_is_doubted() {
        use v1::CheckOutcome::{Fail, Inconclusive, Pass};
        for (kind, outcome, expected) in [
            ("users", Fail, Inconclusive),
            ("ssh", Fail, Inconclusive),
            ("identity", Fail, Inconclusive),
            ("users", Pass, Pass),
            ("disk", Fail, Fail),
        ] {
            let spec = CheckSpec {
                name: "mine".into(),
                required: true,
                timeout: Duration::from_secs(1),
                check: crate::checks::find(kind).unwrap(),
                settings: serde_json::Map::new(),
            };
            let result = v1::CheckResult {
                name: "mine".into(),
                outcome: outcome.into(),
                summary: "no ops".into(),
                ..v1::CheckResult::default()
            };
            let mut results = [result];
            doubt(&[spec], &mut results);
            let [result] = results;
            assert_eq!(result.outcome(), expected, "{kind}");
            assert_eq!(result.summary.contains("has changed since"), outcome != expected, "{result:?}");
            assert!(result.summary.ends_with("no ops"), "{result:?}");
        }
    }
}

//! What differs between two builds: packages, checks, times.

use std::path::Path;
use std::time::Duration;

use image_manager_proto::v1;

use super::manifest::{Packages, packages};
use super::trials::{made_by, several};
use crate::history::{History, HistoryError};
use crate::stage::Stage;

/// Compares two builds by their whole ids; `state` is the state directory, where their lists of packages are.
pub async fn compare(
    history: &History,
    state: &Path,
    a: &str,
    b: &str,
) -> Result<v1::CompareBuildsResponse, HistoryError> {
    let (a, b) = (history.build(a).await?, history.build(b).await?);
    let mut notes = Vec::new();
    if a.schedule != b.schedule {
        notes.push(format!("the builds are of different schedules, {:?} and {:?}", a.schedule, b.schedule));
    }
    let (made_a, made_b) = (made(history, state, &a).await?, made(history, state, &b).await?);
    let list_a = noted(made_a.packages, &mut notes);
    let list_b = noted(made_b.packages, &mut notes);
    let changes = match (&list_a, &list_b) {
        (Some(a), Some(b)) => package_changes(a, b),
        _ => Vec::new(),
    };
    let (made_a, made_b) = (made_a.by, made_b.by);
    let known = !made_a.definition.is_empty() && !made_b.definition.is_empty();
    let definition = if known { definition_changes(&made_a, &made_b) } else { Vec::new() };
    for build in [&made_a, &made_b].into_iter().filter(|build| build.definition.is_empty()) {
        note(format!("the definition of build {} is not known", build.id), &mut notes);
    }
    let parts = |build: &v1::Build| {
        (!build.definition.is_empty()).then(|| u32::try_from(build.definition.len()).unwrap_or(u32::MAX))
    };
    let count = |list: Option<Packages>| list.map(|list| u32::try_from(list.len()).unwrap_or(u32::MAX));
    let ByTarget { trials, checks, stages } = by_target(&a, &b);
    Ok(v1::CompareBuildsResponse {
        packages: changes,
        checks,
        packages_a: count(list_a),
        packages_b: count(list_b),
        definition,
        definition_a: parts(&made_a),
        definition_b: parts(&made_b),
        notes,
        stages,
        trials,
        boot_a: boot_time(&a),
        boot_b: boot_time(&b),
        a: Some(a),
        b: Some(b),
    })
}

fn noted<T>(result: Result<T, String>, notes: &mut Vec<String>) -> Option<T> {
    result.map_err(|why| note(why, notes)).ok()
}

/// Says it once: a build and a verification of its image lack the same.
fn note(why: String, notes: &mut Vec<String>) {
    if !notes.contains(&why) {
        notes.push(why);
    }
}

/// Where a build's image comes from.
struct Made {
    /// The build that made it: of a verification another one, of which only the id is known once it is no longer there.
    by: v1::Build,
    packages: Result<Packages, String>,
}

async fn made(history: &History, state: &Path, build: &v1::Build) -> Result<Made, HistoryError> {
    let by = match made_by(build).as_slice() {
        [] | [""] => build.clone(),
        [of] => match history.build(of).await {
            Err(HistoryError::NoBuild(_)) => v1::Build { id: (*of).to_owned(), ..v1::Build::default() },
            found => found?,
        },
        of => {
            let why = format!(
                "build {} verified images of several builds: compare these, {}, to see their packages",
                build.id,
                of.join(" and ")
            );
            return Ok(Made { by: build.clone(), packages: Err(why) });
        }
    };
    let packages = packages(state, &by.id).await;
    Ok(Made { by, packages })
}

fn package_changes(a: &Packages, b: &Packages) -> Vec<v1::PackageChange> {
    let change = |(name, arch): &(String, String), version_a: &str, version_b: &str| {
        // Only where a name is there for two architectures does it need its own.
        let alike = [a, b].iter().any(|list| list.keys().any(|(other, its)| other == name && its != arch));
        let package = if alike { format!("{name}:{arch}") } else { name.clone() };
        v1::PackageChange { package, version_a: version_a.to_owned(), version_b: version_b.to_owned() }
    };
    let mut keys: Vec<_> = a.keys().chain(b.keys()).collect();
    keys.sort();
    keys.dedup();
    let version = |list: &Packages, key| list.get(key).cloned().unwrap_or_default();
    keys.into_iter()
        .filter(|key| a.get(*key) != b.get(*key))
        .map(|key| change(key, &version(a, key), &version(b, key)))
        .collect()
}

/// What of the two definitions differs, in the order of the second one; what only the first one has comes last.
fn definition_changes(a: &v1::Build, b: &v1::Build) -> Vec<v1::DefinitionChange> {
    let find = |build: &v1::Build, part: &v1::DefinitionPart| {
        build.definition.iter().find(|other| other.kind == part.kind && other.name == part.name).cloned()
    };
    let gone = a.definition.iter().filter(|part| find(b, part).is_none());
    let change = |part: &v1::DefinitionPart| {
        let (of_a, of_b) = (find(a, part), find(b, part));
        let (kind, name) = (part.kind.clone(), part.name.clone());
        (of_a != of_b).then_some(v1::DefinitionChange { kind, name, a: of_a, b: of_b })
    };
    b.definition.iter().chain(gone).filter_map(change).collect()
}

/// The beginning of a digest, for people; a version as it is.
pub fn short_digest(value: &str) -> &str {
    let is_digest = value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest { value.get(..12).unwrap_or(value) } else { value }
}

/// The checks of a target whose outcome differs; `target` is empty where both builds have one trial.
fn check_changes(a: &[v1::Check], b: &[v1::Check], target: &str) -> Vec<v1::CheckChange> {
    let outcome = |checks: &[v1::Check], name: &str| {
        let check = checks.iter().find(|check| check.name == name);
        check.map_or(v1::CheckOutcome::Unspecified, v1::Check::outcome)
    };
    let mut names: Vec<&str> = Vec::new();
    for check in a.iter().chain(b) {
        if !names.contains(&check.name.as_str()) {
            names.push(&check.name);
        }
    }
    let changes = names.into_iter().filter_map(|name| {
        let (of_a, of_b) = (outcome(a, name), outcome(b, name));
        (of_a != of_b).then(|| v1::CheckChange {
            name: name.to_owned(),
            outcome_a: of_a.into(),
            outcome_b: of_b.into(),
            target: target.to_owned(),
        })
    });
    changes.collect()
}

fn stage_changes(a: &[v1::Stage], b: &[v1::Stage], target: &str) -> Vec<v1::StageChange> {
    let took = |stages: &[v1::Stage], name: &str| {
        let stage = stages.iter().find(|stage| stage.name == name)?;
        difference(stage.started_at.as_ref()?, stage.finished_at.as_ref()?)
    };
    let change = |stage: &v1::Stage| v1::StageChange {
        name: stage.name.clone(),
        duration_a: took(a, &stage.name),
        duration_b: took(b, &stage.name),
        target: target.to_owned(),
    };
    if a.len() >= b.len() { a } else { b }.iter().map(change).collect()
}

/// What the trials of two builds have, target by target.
struct ByTarget {
    trials: Vec<v1::TrialChange>,
    checks: Vec<v1::CheckChange>,
    stages: Vec<v1::StageChange>,
}

/// Where both builds have one trial, those are compared, whatever their targets' names; else each with that of the same
/// target.
fn by_target(a: &v1::Build, b: &v1::Build) -> ByTarget {
    if several(a).is_empty() && several(b).is_empty() {
        return ByTarget {
            trials: Vec::new(),
            checks: check_changes(&a.checks, &b.checks, ""),
            stages: stage_changes(&a.stages, &b.stages, ""),
        };
    }
    let of_build = |build: &v1::Build| {
        let own = |stage: &&v1::Stage| !Stage::parse(&stage.name).is_some_and(Stage::is_of_trial_alone);
        build.stages.iter().filter(own).cloned().collect::<Vec<_>>()
    };
    let stages = stage_changes(&of_build(a), &of_build(b), "");
    let mut all = ByTarget { trials: Vec::new(), checks: Vec::new(), stages };
    let mut targets: Vec<&str> = Vec::new();
    for trial in b.trials.iter().chain(&a.trials) {
        if !targets.contains(&trial.target.as_str()) {
            targets.push(&trial.target);
        }
    }
    let none = v1::Trial::default();
    let find = |build: &'_ v1::Build, target: &str| {
        build.trials.iter().find(|trial| trial.target == target).cloned().unwrap_or_else(|| none.clone())
    };
    for target in targets {
        let (of_a, of_b) = (find(a, target), find(b, target));
        all.checks.extend(check_changes(&of_a.checks, &of_b.checks, target));
        all.stages.extend(stage_changes(&of_a.stages, &of_b.stages, target));
        all.trials.push(v1::TrialChange {
            target: target.to_owned(),
            state_a: of_a.state,
            state_b: of_b.state,
            boot_a: boot_of(&of_a.stages, of_a.agent.as_ref()),
            boot_b: boot_of(&of_b.stages, of_b.agent.as_ref()),
            reason_a: of_a.reason,
            reason_b: of_b.reason,
        });
    }
    all
}

/// From asking for the server to the agent's first word.
pub fn boot_time(build: &v1::Build) -> Option<prost_types::Duration> {
    boot_of(&build.stages, build.agent.as_ref())
}

fn boot_of(stages: &[v1::Stage], agent: Option<&v1::Agent>) -> Option<prost_types::Duration> {
    let booting = stages.iter().find(|stage| stage.name == Stage::Booting.word())?;
    difference(booting.started_at.as_ref()?, agent?.attached_at.as_ref()?)
}

fn difference(from: &prost_types::Timestamp, to: &prost_types::Timestamp) -> Option<prost_types::Duration> {
    let time = |stamp: &prost_types::Timestamp| {
        Some(Duration::new(u64::try_from(stamp.seconds).ok()?, u32::try_from(stamp.nanos).ok()?))
    };
    prost_types::Duration::try_from(time(to)?.checked_sub(time(from)?)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Defined, DefinitionPart, NewBuild, NewTrial, Principal};
    use crate::lifecycle::files;

    /// A build, or a verification of these builds' images, a target each.
    async fn made_build(history: &History, of: &[&str]) -> String {
        let id = uuid::Uuid::now_v7().to_string();
        let trial = |of: &&str| NewTrial {
            target: format!("on-{of}"),
            cloud: "local".into(),
            required: true,
            stages: Vec::new(),
            checks: Vec::new(),
            image: Some((v1::Image::default(), (*of).to_owned())),
        };
        let new = NewBuild {
            id: id.clone(),
            // A schedule has one build at a time that has not ended.
            schedule: id.clone(),
            trigger: v1::Trigger::Cli,
            requested_by: Principal::Manager,
            stages: (Vec::new(), Vec::new()),
            trials: of.iter().map(trial).collect(),
            fired_at: None,
            retry_of: None,
            forced: false,
            verification: (!of.is_empty()).then(|| "digest".into()),
        };
        history.create_build(new).await.unwrap();
        id
    }

    #[tokio::test]
    async fn a_verification_has_the_packages_and_the_definition_of_the_build_whose_image_it_is_about() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path();
        let history = History::open(&state.join("image-manager.db")).unwrap();
        let mut builds = Vec::new();
        for version in ["1", "2"] {
            let id = made_build(&history, &[]).await;
            let place = files::directory(state, &id);
            std::fs::create_dir_all(&place).unwrap();
            let list = format!(r#"{{"packages": [{{"package": "web", "version": "{version}"}}]}}"#);
            std::fs::write(place.join(files::MANIFEST), list).unwrap();
            let part = DefinitionPart {
                kind: "element".into(),
                name: "web".into(),
                value: version.into(),
                source: "own".into(),
            };
            let defined = Defined { digest: version.into(), parts: vec![part] };
            history.record_definition(&id, &defined, None).await.unwrap();
            builds.push(id);
        }
        let [old, new] = &builds[..] else { panic!("{builds:?}") };
        let again = made_build(&history, &[new]).await;
        let found = compare(&history, state, old, &again).await.unwrap();
        let [note] = &found.notes[..] else { panic!("{:?}", found.notes) };
        assert!(note.contains("of different schedules"), "{note}");
        assert_eq!((found.packages_b, found.definition_b), (Some(1), Some(1)));
        let versions = (found.packages[0].version_a.as_str(), found.packages[0].version_b.as_str());
        assert_eq!((versions, found.definition.len()), (("1", "2"), 1));
        assert_eq!(found.b.unwrap().id, again);

        let both = made_build(&history, &[old, new]).await;
        let notes = compare(&history, state, old, &both).await.unwrap().notes;
        let several = format!(
            "build {both} verified images of several builds: compare these, {old} and {new}, to see their packages"
        );
        assert!(notes.contains(&several), "{notes:?}");
        let nobodys = made_build(&history, &["gone"]).await;
        let notes = compare(&history, state, &nobodys, &nobodys).await.unwrap().notes;
        assert_eq!(notes.len(), 2, "each is said once: {notes:?}");
        assert!(notes.iter().all(|note| note.contains("of build gone")), "{notes:?}");
    }

    fn list(packages: &[(&str, &str, &str)]) -> Packages {
        let key = |name: &str, arch: &str| (name.to_owned(), arch.to_owned());
        packages.iter().map(|(name, arch, version)| (key(name, arch), (*version).to_owned())).collect()
    }

    #[test]
    fn what_differs_in_the_definitions_is_named() {
        let part = |kind: &str, name: &str, value: &str| v1::DefinitionPart {
            kind: kind.into(),
            name: name.into(),
            value: value.into(),
            source: "own".into(),
        };
        let build = |definition| v1::Build { definition, ..v1::Build::default() };
        let a =
            build(vec![part("element", "web", "1"), part("element", "vm", ""), part("file", "/etc/a", "3")]);
        let b =
            build(vec![part("element", "web", "2"), part("element", "vm", ""), part("element", "db", "4")]);
        let changes = definition_changes(&a, &b);
        let said: Vec<_> = changes.iter().map(|c| (c.name.as_str(), c.a.is_some(), c.b.is_some())).collect();
        assert_eq!(said, [("web", true, true), ("db", false, true), ("/etc/a", true, false)]);
        assert!(definition_changes(&a, &a).is_empty());
    }

    #[test]
    fn packages_are_added_removed_and_changed() {
        let a = list(&[("bash", "amd64", "5.2"), ("curl", "amd64", "8.1"), ("libc6", "amd64", "2.41")]);
        let b = list(&[
            ("bash", "amd64", "5.2"),
            ("libc6", "amd64", "2.42"),
            ("libc6", "i386", "2.42"),
            ("zsh", "amd64", "5.9"),
        ]);
        let changes = package_changes(&a, &b);
        let read: Vec<_> = changes
            .iter()
            .map(|c| (c.package.as_str(), c.version_a.as_str(), c.version_b.as_str()))
            .collect();
        assert_eq!(
            read,
            [
                ("curl", "8.1", ""),
                ("libc6:amd64", "2.41", "2.42"),
                ("libc6:i386", "", "2.42"),
                ("zsh", "", "5.9")
            ]
        );
        assert!(package_changes(&b, &b).is_empty());
    }
}

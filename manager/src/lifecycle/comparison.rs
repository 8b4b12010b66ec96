//! What differs between two builds: packages, checks, times.

use std::path::Path;
use std::time::Duration;

use image_manager_proto::v1;

use super::manifest::{Packages, packages};
use crate::history::{History, HistoryError};

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
        notes.push(format!("the builds are of two schedules, {:?} and {:?}", a.schedule, b.schedule));
    }
    let list_a = noted(packages(state, &a.id).await, &mut notes);
    let list_b = noted(packages(state, &b.id).await, &mut notes);
    let changes = match (&list_a, &list_b) {
        (Some(a), Some(b)) => package_changes(a, b),
        _ => Vec::new(),
    };
    let count = |list: Option<Packages>| list.map(|list| u32::try_from(list.len()).unwrap_or(u32::MAX));
    Ok(v1::CompareBuildsResponse {
        packages: changes,
        checks: check_changes(&a, &b),
        packages_a: count(list_a),
        packages_b: count(list_b),
        notes,
        stages: stage_changes(&a, &b),
        boot_a: boot_time(&a),
        boot_b: boot_time(&b),
        a: Some(a),
        b: Some(b),
    })
}

fn noted<T>(result: Result<T, String>, notes: &mut Vec<String>) -> Option<T> {
    result.map_err(|why| notes.push(why)).ok()
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

fn check_changes(a: &v1::Build, b: &v1::Build) -> Vec<v1::CheckChange> {
    let outcome = |build: &v1::Build, name: &str| {
        let check = build.checks.iter().find(|check| check.name == name);
        check.map_or(v1::CheckOutcome::Unspecified, v1::Check::outcome)
    };
    let mut names: Vec<&str> = Vec::new();
    for check in a.checks.iter().chain(&b.checks) {
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
        })
    });
    changes.collect()
}

fn stage_changes(a: &v1::Build, b: &v1::Build) -> Vec<v1::StageChange> {
    let took = |build: &v1::Build, name: &str| {
        let stage = build.stages.iter().find(|stage| stage.name == name)?;
        difference(stage.started_at.as_ref()?, stage.finished_at.as_ref()?)
    };
    let stages = if a.stages.len() >= b.stages.len() { &a.stages } else { &b.stages };
    let change = |stage: &v1::Stage| v1::StageChange {
        name: stage.name.clone(),
        duration_a: took(a, &stage.name),
        duration_b: took(b, &stage.name),
    };
    stages.iter().map(change).collect()
}

/// From asking for the server to the agent's first word.
pub fn boot_time(build: &v1::Build) -> Option<prost_types::Duration> {
    let booting = build.stages.iter().find(|stage| stage.name == "booting")?;
    difference(booting.started_at.as_ref()?, build.agent.as_ref()?.attached_at.as_ref()?)
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

    fn list(packages: &[(&str, &str, &str)]) -> Packages {
        let key = |name: &str, arch: &str| (name.to_owned(), arch.to_owned());
        packages.iter().map(|(name, arch, version)| (key(name, arch), (*version).to_owned())).collect()
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

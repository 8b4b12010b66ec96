//! What belongs to builds: trials, stages, checks, resources, the agent's paths. Read for a whole page of builds at once.

use std::collections::HashMap;

use image_manager_proto::v1;
use rusqlite::{Connection, Row};

use super::names::Named as _;
use super::queries::failure;
use super::{HistoryError, controls, observations};
use crate::clock::{span as duration, timestamp};
use crate::stage::Stage;

/// Reads the parts of builds and puts them in.
pub(super) fn add(connection: &Connection, builds: &mut [v1::Build]) -> Result<(), HistoryError> {
    let ids: Vec<&str> = builds.iter().map(|build| build.id.as_str()).collect();
    let ids = serde_json::json!(ids).to_string();
    let mut stages = of(
        connection,
        &ids,
        "SELECT build_id, name, state, started_at, finished_at, detail, trial FROM stage",
        "position",
        stage,
    )?;
    let mut checks = of(
        connection,
        &ids,
        "SELECT build_id, name, outcome, required, duration_ms, summary, observations, trial FROM check_result",
        "position",
        check,
    )?;
    let mut resources = of(
        connection,
        &ids,
        "SELECT build_id, kind, cloud, name, external_id, state FROM resource",
        "id",
        resource,
    )?;
    let mut paths = of(
        connection,
        &ids,
        "SELECT build_id, path, fate, detail, trial FROM removed_path",
        "position",
        path,
    )?;
    let mut controls = of(connection, &ids, controls::OF_BUILDS, "id", controls::row_of_build)?;
    let mut trials = of(connection, &ids, TRIAL, "position", trial)?;
    for build in builds {
        build.resources = resources.remove(&build.id).unwrap_or_default();
        build.trials = trials.remove(&build.id).unwrap_or_default();
        for (place, check) in checks.remove(&build.id).unwrap_or_default() {
            if let Some(trial) = build.trials.get_mut(place) {
                trial.checks.push(check);
            }
        }
        for (place, path) in paths.remove(&build.id).unwrap_or_default() {
            let agent = build.trials.get_mut(place).and_then(|trial| trial.agent.as_mut());
            let removal = agent.and_then(|agent| agent.removal.as_mut());
            if let Some(removal) = removal {
                removal.paths.push(path);
            }
        }
        for (place, attempt, control) in controls.remove(&build.id).unwrap_or_default() {
            if let Some(trial) = build.trials.get_mut(place).filter(|trial| trial.attempt == attempt) {
                trial.control = Some(control);
            }
        }
        put_stages(build, stages.remove(&build.id).unwrap_or_default());
        put_on_top(build);
    }
    Ok(())
}

/// Reads the trials alone, without their stages and checks: for lists.
pub(super) fn add_trials(connection: &Connection, builds: &mut [&mut v1::Build]) -> Result<(), HistoryError> {
    let ids: Vec<&str> = builds.iter().map(|build| build.id.as_str()).collect();
    let mut trials = of(connection, &serde_json::json!(ids).to_string(), TRIAL, "position", trial)?;
    for build in builds {
        build.trials = trials.remove(&build.id).unwrap_or_default();
        put_on_top(build);
    }
    Ok(())
}

/// Reads which required checks failed of the builds that did not pass; the first of each name, in the schedule's order.
pub(super) fn add_failed_checks(
    connection: &Connection,
    builds: &mut [v1::Build],
) -> Result<(), HistoryError> {
    let bad: Vec<&str> =
        builds.iter().filter(|build| !build.reason.is_empty()).map(|build| build.id.as_str()).collect();
    if bad.is_empty() {
        return Ok(());
    }
    let mut statement = connection.prepare_cached(
        "SELECT build_id, name FROM check_result
         WHERE build_id IN (SELECT value FROM json_each(?1)) AND outcome = 'fail' AND required
         ORDER BY build_id, position",
    )?;
    let rows = statement.query_map([serde_json::json!(bad).to_string()], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
    })?;
    let mut found: HashMap<String, Vec<String>> = HashMap::new();
    for row in rows {
        let (build, name) = row?;
        let names = found.entry(build).or_default();
        // Several targets may ask for a check of one name.
        if !names.contains(&name) {
            names.push(name);
        }
    }
    for build in builds {
        build.failed_checks = found.remove(&build.id).unwrap_or_default();
    }
    Ok(())
}

/// What an only trial has stands at its build's top too, so that what reads builds of one target stays simple.
fn put_on_top(build: &mut v1::Build) {
    if let [only] = build.trials.as_slice() {
        build.checks.clone_from(&only.checks);
        build.image.clone_from(&only.image);
        build.server.clone_from(&only.server);
        build.agent.clone_from(&only.agent);
    }
}

/// A trial's stages to the trial. Those of an only trial are among its build's too, but for its clean-up: the build has
/// one of its own.
fn put_stages(build: &mut v1::Build, stages: Vec<(Option<usize>, v1::Stage)>) {
    let only = build.trials.len() == 1;
    for (place, stage) in stages {
        let of_trial_alone = Stage::parse(&stage.name).is_some_and(Stage::is_of_trial_alone);
        // In builds from before trials those of the trial are among the build's own.
        let place = if place.is_none() && of_trial_alone { Some(0) } else { place };
        if let Some(trial) = place.and_then(|place| build.trials.get_mut(place)) {
            trial.stages.push(stage.clone());
        }
        if place.is_none() || (only && of_trial_alone) {
            build.stages.push(stage);
        }
    }
    if let [trial] = build.trials.as_slice() {
        let clean_up = |stage: &&v1::Stage| stage.name == Stage::CleaningUp.word();
        let of_trial =
            trial.stages.iter().find(clean_up).map(|stage| stage.detail.as_str()).unwrap_or_default();
        if let Some(own) =
            build.stages.iter_mut().find(|stage| clean_up(&&**stage) && !stage.detail.is_empty())
        {
            own.detail = both_details(of_trial, &own.detail);
        }
    }
}

/// How two clean-ups went, one after the other, as of one: what the trial made is taken away before the rest.
fn both_details(of_trial: &str, of_build: &str) -> String {
    if of_trial.starts_with(of_build) {
        of_trial.to_owned()
    } else if of_trial.is_empty() || of_build.starts_with(of_trial) {
        of_build.to_owned()
    } else {
        format!("{of_trial}; {of_build}")
    }
}

const TRIAL: &str = "SELECT build_id, target, cloud, required, state, verdict, attempt, retry_at,
        failure_reason, failure_stage, failure_message, failure_evidence,
        image_id, image_name, image_sha512, image_size, image_virtual_size, server_id, server_name, server_flavor,
        agent_version, agent_boot_id, agent_attached_at, removal_complete, image_of FROM trial";

fn trial(row: &Row<'_>) -> rusqlite::Result<v1::Trial> {
    let word = |index: usize| row.get::<_, Option<String>>(index).map(Option::unwrap_or_default);
    let failure = failure(row, 8)?;
    Ok(v1::Trial {
        target: word(1)?,
        cloud: word(2)?,
        required: row.get(3)?,
        state: v1::TrialState::from_word(&word(4)?).unwrap_or_default().into(),
        verdict: v1::Verdict::from_word(&word(5)?).unwrap_or_default().into(),
        reason: failure.as_ref().map(|failure| failure.reason.clone()).unwrap_or_default(),
        attempt: row.get(6)?,
        retry_at: row.get::<_, Option<i64>>(7)?.map(timestamp),
        failure,
        image: image(row, 12)?,
        server: match row.get::<_, Option<String>>(17)? {
            Some(id) => Some(v1::Server { id, name: word(18)?, flavor: word(19)? }),
            None => None,
        },
        agent: agent(row, 20)?,
        image_of: word(24)?,
        ..v1::Trial::default()
    })
}

fn image(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<v1::Image>> {
    let word = |index: usize| row.get::<_, Option<String>>(index).map(Option::unwrap_or_default);
    let bytes = |index: usize| {
        row.get::<_, Option<i64>>(index).map(|n| n.and_then(|n| u64::try_from(n).ok()).unwrap_or_default())
    };
    let Some(id) = row.get::<_, Option<String>>(first)? else { return Ok(None) };
    Ok(Some(v1::Image {
        id,
        name: word(first + 1)?,
        sha512: word(first + 2)?,
        size_bytes: bytes(first + 3)?,
        virtual_size_bytes: bytes(first + 4)?,
    }))
}

fn agent(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<v1::Agent>> {
    let Some(version) = row.get::<_, Option<String>>(first)? else { return Ok(None) };
    let removal = row.get::<_, Option<bool>>(first + 3)?;
    Ok(Some(v1::Agent {
        version,
        boot_id: row.get::<_, Option<String>>(first + 1)?.unwrap_or_default(),
        attached_at: row.get::<_, Option<i64>>(first + 2)?.map(timestamp),
        removal: removal.map(|complete| v1::Removal { complete, paths: Vec::new() }),
    }))
}

/// The parts of one kind, in their order, by the build's id. `ids` is a JSON list.
fn of<T>(
    connection: &Connection,
    ids: &str,
    select: &str,
    order: &str,
    read: fn(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<HashMap<String, Vec<T>>, HistoryError> {
    let sql =
        format!("{select} WHERE build_id IN (SELECT value FROM json_each(?1)) ORDER BY build_id, {order}");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([ids])?;
    let mut found: HashMap<String, Vec<T>> = HashMap::new();
    while let Some(row) = rows.next()? {
        found.entry(row.get(0)?).or_default().push(read(row)?);
    }
    Ok(found)
}

fn stage(row: &Row<'_>) -> rusqlite::Result<(Option<usize>, v1::Stage)> {
    let state: String = row.get(2)?;
    let stage = v1::Stage {
        name: row.get(1)?,
        state: v1::StageState::from_word(&state).unwrap_or_default().into(),
        started_at: row.get::<_, Option<i64>>(3)?.map(timestamp),
        finished_at: row.get::<_, Option<i64>>(4)?.map(timestamp),
        detail: row.get(5)?,
    };
    Ok((row.get::<_, Option<u32>>(6)?.map(place), stage))
}

fn check(row: &Row<'_>) -> rusqlite::Result<(usize, v1::Check)> {
    let outcome: Option<String> = row.get(2)?;
    let observations: String = row.get(6)?;
    let json = serde_json::from_str(&observations).unwrap_or_default();
    let check = v1::Check {
        name: row.get(1)?,
        outcome: v1::CheckOutcome::from_word(&outcome.unwrap_or_default()).unwrap_or_default().into(),
        required: row.get(3)?,
        duration: row.get::<_, Option<i64>>(4)?.map(duration),
        summary: row.get(5)?,
        observations: Some(observations::from_json(&json)),
    };
    Ok((place(row.get(7)?), check))
}

fn resource(row: &Row<'_>) -> rusqlite::Result<v1::Resource> {
    Ok(v1::Resource {
        kind: row.get(1)?,
        cloud: row.get(2)?,
        name: row.get(3)?,
        external_id: row.get::<_, Option<String>>(4)?.unwrap_or_default(),
        state: row.get(5)?,
    })
}

fn path(row: &Row<'_>) -> rusqlite::Result<(usize, v1::RemovedPath)> {
    let fate: String = row.get(2)?;
    let path = v1::RemovedPath {
        path: row.get(1)?,
        fate: v1::PathFate::from_word(&fate).unwrap_or_default().into(),
        detail: row.get(3)?,
    };
    Ok((place(row.get(4)?), path))
}

/// Nobody has more trials than there are numbers.
fn place(position: u32) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

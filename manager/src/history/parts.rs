//! What belongs to builds: stages, checks, resources, the agent's paths. Read for a whole page of builds at once.

use std::collections::HashMap;

use image_manager_proto::v1;
use rusqlite::{Connection, Row};

use super::names::Named as _;
use super::queries::{duration, timestamp};
use super::{HistoryError, observations};

/// Reads the parts of builds and puts them in.
pub(super) fn add(connection: &Connection, builds: &mut [v1::Build]) -> Result<(), HistoryError> {
    let ids: Vec<&str> = builds.iter().map(|build| build.id.as_str()).collect();
    let ids = serde_json::json!(ids).to_string();
    let mut stages = of(
        connection,
        &ids,
        "SELECT build_id, name, state, started_at, finished_at, detail FROM stage",
        "position",
        stage,
    )?;
    let mut checks = of(
        connection,
        &ids,
        "SELECT build_id, name, outcome, required, duration_ms, summary, observations FROM check_result",
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
    let mut paths =
        of(connection, &ids, "SELECT build_id, path, fate, detail FROM removed_path", "position", path)?;
    for build in builds {
        build.stages = stages.remove(&build.id).unwrap_or_default();
        build.checks = checks.remove(&build.id).unwrap_or_default();
        build.resources = resources.remove(&build.id).unwrap_or_default();
        if let Some(removal) = build.agent.as_mut().and_then(|agent| agent.removal.as_mut()) {
            removal.paths = paths.remove(&build.id).unwrap_or_default();
        }
    }
    Ok(())
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

fn stage(row: &Row<'_>) -> rusqlite::Result<v1::Stage> {
    let state: String = row.get(2)?;
    Ok(v1::Stage {
        name: row.get(1)?,
        state: v1::StageState::from_word(&state).unwrap_or_default().into(),
        started_at: row.get::<_, Option<i64>>(3)?.map(timestamp),
        finished_at: row.get::<_, Option<i64>>(4)?.map(timestamp),
        detail: row.get(5)?,
    })
}

fn check(row: &Row<'_>) -> rusqlite::Result<v1::Check> {
    let outcome: Option<String> = row.get(2)?;
    let observations: String = row.get(6)?;
    let json = serde_json::from_str(&observations).unwrap_or_default();
    Ok(v1::Check {
        name: row.get(1)?,
        outcome: v1::CheckOutcome::from_word(&outcome.unwrap_or_default()).unwrap_or_default().into(),
        required: row.get(3)?,
        duration: row.get::<_, Option<i64>>(4)?.map(duration),
        summary: row.get(5)?,
        observations: Some(observations::from_json(&json)),
    })
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

fn path(row: &Row<'_>) -> rusqlite::Result<v1::RemovedPath> {
    let fate: String = row.get(2)?;
    Ok(v1::RemovedPath {
        path: row.get(1)?,
        fate: v1::PathFate::from_word(&fate).unwrap_or_default().into(),
        detail: row.get(3)?,
    })
}

//! The builds of a schedule as samples.

use std::ops::Range;

use image_manager_proto::v1::BuildState;
use rusqlite::{Connection, Row, params};

use super::COUNTED;
use super::summary::Sample;
use crate::history::HistoryError;
use crate::history::names::Named as _;
use crate::stage::Stage;

/// Calls `each` for every build of a schedule that has ended and was created in a range of milliseconds,
/// oldest first.
pub(super) fn samples(
    connection: &Connection,
    schedule: &str,
    created: Range<i64>,
    mut each: impl FnMut(Sample),
) -> Result<(), HistoryError> {
    // While a build waited to be resumed no agent could come: how long its boot took then is not the image's doing.
    let mut builds = connection.prepare_cached(&format!(
        "SELECT b.id, b.created_at, b.state, b.finished_at - b.started_at,
            (SELECT max(t.image_size) FROM trial t WHERE t.build_id = b.id),
            CASE WHEN b.taken_up <= 0 THEN
                (SELECT min(t.agent_attached_at) FROM trial t WHERE t.build_id = b.id) END,
            CASE WHEN b.state = 'succeeded' THEN
                (SELECT p.state FROM build p INDEXED BY build_by_schedule
                 WHERE p.schedule = b.schedule AND p.id < b.id AND p.state IN ('succeeded', 'failed', 'errored')
                    AND p.verification IS NULL ORDER BY p.id DESC LIMIT 1) END
         FROM build b INDEXED BY build_by_schedule_time
         WHERE b.schedule = ?1 AND b.created_at >= ?2 AND b.created_at < ?3
         AND b.state IN {COUNTED} AND b.verification IS NULL ORDER BY b.created_at, b.id",
    ))?;
    // Of a stage that several trials have, the longest: they go side by side. What the trials made is taken away before the
    // rest is, so a clean-up took both together.
    let mut stages = connection.prepare_cached(
        "SELECT name, min(started_at), max(CASE WHEN state = 'done' THEN finished_at - started_at END) FROM stage
         WHERE build_id = ?1 AND started_at IS NOT NULL GROUP BY name, trial IS NULL",
    )?;
    let mut rows = builds.query(params![schedule, created.start, created.end])?;
    while let Some(row) = rows.next()? {
        let state = BuildState::from_word(row.get_ref(2)?.as_str().unwrap_or_default()).unwrap_or_default();
        let total = if state == BuildState::Succeeded { unsigned(row.get(3)?) } else { None };
        let mut sample = Sample {
            id: row.get(0)?,
            created_at: row.get(1)?,
            state,
            recovered: row.get::<_, Option<String>>(6)?.is_some_and(|before| before == "errored"),
            stages: [None; Stage::ALL.len()],
            total,
            boot: None,
            size: unsigned(row.get(4)?).filter(|bytes| *bytes > 0),
        };
        let attached: Option<i64> = row.get(5)?;
        let mut parts = stages.query([&sample.id])?;
        while let Some(part) = parts.next()? {
            take_stage(&mut sample, part, attached)?;
        }
        each(sample);
    }
    Ok(())
}

fn take_stage(sample: &mut Sample, row: &Row<'_>, attached: Option<i64>) -> rusqlite::Result<()> {
    let name = row.get_ref(0)?.as_str().unwrap_or_default();
    let began: i64 = row.get(1)?;
    if name == Stage::Booting.word() {
        sample.boot = unsigned(attached.map(|attached| attached - began));
    }
    let took = unsigned(row.get(2)?);
    if let Some((_, known)) =
        Stage::ALL.iter().zip(&mut sample.stages).find(|(stage, _)| stage.word() == name)
    {
        *known = match (*known, took) {
            (Some(known), Some(took)) => Some(known + took),
            (known, took) => known.or(took),
        };
    }
    Ok(())
}

/// Negative times come from a clock that was set back; they tell nothing.
fn unsigned(value: Option<i64>) -> Option<u64> {
    value.and_then(|value| u64::try_from(value).ok())
}

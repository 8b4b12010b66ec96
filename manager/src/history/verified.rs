//! When a published image was verified last, and how that ended: by the build that made it, or again.

use std::fmt::Write as _;

use image_manager_proto::v1;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::HistoryError;
use super::names::{ENDS, Named as _};
use crate::clock::timestamp;

/// What the trials of one cloud say together, of the newest that has ended of those that `$whose` finds. Required ones count
/// before others, and the worst verdict of them; one that was cancelled says nothing. Read from the trials to their builds
/// (`CROSS JOIN`, `+`): SQLite would go through all builds that have ended.
fn last(whose: &str) -> String {
    let mut query = String::from(
        "SELECT build.id, coalesce(build.finished_at, build.created_at),
            CASE WHEN max(trial.verdict = 'failed') THEN 'failed' WHEN max(trial.verdict = 'errored') THEN 'errored'
                ELSE 'passed' END
         FROM trial CROSS JOIN build ON build.id = trial.build_id",
    );
    // Writing to a string does not fail.
    let _ = write!(
        query,
        " WHERE {whose} = ?1 AND trial.cloud = ?2 AND +build.state IN {ENDS}
          GROUP BY build.id, trial.required HAVING count(trial.verdict) = count(*)
          ORDER BY build.id DESC, trial.required DESC LIMIT 1"
    );
    query
}

/// Says of each publication when its image was verified last.
pub(super) fn tell(
    connection: &Connection,
    publications: &mut [v1::Publication],
) -> Result<(), HistoryError> {
    let mut again = connection.prepare_cached(&last("trial.image_of"))?;
    let mut first = connection.prepare_cached(&last("trial.build_id"))?;
    for publication in publications {
        let read = |row: &rusqlite::Row<'_>| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?))
        };
        let of = params![publication.build_id, publication.cloud];
        let mut found = again.query_row(of, read).optional()?;
        if found.is_none() {
            found = first.query_row(of, read).optional()?;
        }
        let Some((by, at, verdict)) = found else { continue };
        publication.verified_by = by;
        publication.verified_at = Some(timestamp(at));
        publication.verified_verdict = v1::Verdict::from_word(&verdict).unwrap_or_default().into();
    }
    Ok(())
}

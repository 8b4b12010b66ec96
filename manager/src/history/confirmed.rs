//! When it was last known of a published image that a build would make the same: by its own build, or by the newest one
//! that was skipped because nothing has changed since.

use image_manager_proto::v1;
use rusqlite::{Connection, OptionalExtension as _};

use super::HistoryError;
use crate::clock::{self, timestamp, timestamp_of};

/// Says that of each publication.
pub(super) fn tell(
    connection: &Connection,
    publications: &mut [v1::Publication],
) -> Result<(), HistoryError> {
    let mut newest = connection.prepare_cached(
        "SELECT id, coalesce(finished_at, created_at) FROM build INDEXED BY build_by_unchanged
         WHERE unchanged_since = ?1 ORDER BY id DESC LIMIT 1",
    )?;
    for publication in publications {
        let of = &publication.build_id;
        let skipped: Option<(String, i64)> =
            newest.query_row([of], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let (by, at) = match skipped {
            Some((by, at)) => (by, Some(timestamp(at))),
            // What is in it is what the mirrors had when the build began.
            None => (of.clone(), clock::began(of).map(timestamp_of)),
        };
        if let Some(at) = at {
            publication.confirmed_at = Some(at);
            publication.confirmed_by = by;
        }
    }
    Ok(())
}

//! How much room builds took, for the decision whether there is room for the next one.

use rusqlite::{OptionalExtension as _, params};

use super::builds::signed;
use super::{History, HistoryError};

/// How many builds of a schedule are looked back at.
const LOOK_BACK: u32 = 5;

/// The room that a build took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomTaken {
    /// Most bytes in the scratch directory at one time.
    pub scratch: u64,
    /// Bytes of the image's file.
    pub image: u64,
}

impl History {
    /// Records the room that a build took.
    pub async fn record_room(&self, id: &str, taken: RoomTaken) -> Result<(), HistoryError> {
        let id = id.to_owned();
        self.writer()?
            .run("room", move |tx| {
                tx.execute(
                    "INSERT INTO build_room (build_id, scratch_bytes, image_bytes) VALUES (?1, ?2, ?3)
                     ON CONFLICT (build_id) DO UPDATE
                     SET scratch_bytes = excluded.scratch_bytes, image_bytes = excluded.image_bytes",
                    params![id, signed(taken.scratch), signed(taken.image)],
                )?;
                Ok(())
            })
            .await
    }

    /// The room that the last builds of a schedule took, newest first.
    pub async fn room_taken(&self, schedule: &str) -> Result<Vec<RoomTaken>, HistoryError> {
        let schedule = schedule.to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT scratch_bytes, image_bytes FROM build_room JOIN build ON build.id = build_id
                 WHERE schedule = ?1 ORDER BY build.id DESC LIMIT ?2",
            )?;
            let rows = statement.query_map(params![schedule, LOOK_BACK], |row| {
                Ok(RoomTaken { scratch: unsigned(row.get(0)?), image: unsigned(row.get(1)?) })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Bytes of the newest image of a schedule that passed.
    pub async fn last_good_size(&self, schedule: &str) -> Result<Option<u64>, HistoryError> {
        let schedule = schedule.to_owned();
        self.read(move |connection| {
            let size: Option<i64> = connection
                .query_row(
                    "SELECT image_bytes FROM build_room JOIN build ON build.id = build_id
                     WHERE schedule = ?1 AND state = 'succeeded' ORDER BY build.id DESC LIMIT 1",
                    [schedule],
                    |row| row.get(0),
                )
                .optional()?;
            Ok(size.map(unsigned))
        })
        .await
    }
}

fn unsigned(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or_default()
}

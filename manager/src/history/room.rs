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

/// The size of an image, and what it is compared with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageSizes {
    /// Bytes of its file; `None`: not known any more.
    pub own: Option<u64>,
    /// The newest good one before it, of the same schedule and format: its build, and the bytes of its file.
    pub last_good: Option<(String, u64)>,
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

    /// The size of the image that a build made, and that of the last good one before it: of a build that passed, which
    /// published what nobody has revoked since.
    pub async fn image_sizes(&self, id: &str) -> Result<ImageSizes, HistoryError> {
        let id = id.to_owned();
        self.read(move |connection| {
            let own: Option<i64> = connection
                .query_row("SELECT image_bytes FROM build_room WHERE build_id = ?1", [&id], |row| row.get(0))
                .optional()?;
            // A file's format is at the end of its name.
            let last_good: Option<(String, i64)> = connection
                .query_row(
                    "SELECT build.id, image_bytes FROM build
                     JOIN build_room ON build_room.build_id = build.id
                     JOIN artifact ON artifact.build_id = build.id
                     WHERE schedule = (SELECT schedule FROM build WHERE id = ?1) AND state = 'succeeded'
                       AND build.id < ?1
                       AND (file LIKE '%.raw') = (SELECT file LIKE '%.raw' FROM artifact WHERE build_id = ?1)
                       AND NOT EXISTS (SELECT 1 FROM publication
                                       WHERE publication.build_id = build.id AND revoked_at IS NOT NULL)
                     ORDER BY build.id DESC LIMIT 1",
                    [&id],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()?;
            let last_good = last_good.map(|(build, bytes)| (build, unsigned(bytes)));
            Ok(ImageSizes { own: own.map(unsigned), last_good })
        })
        .await
    }
}

fn unsigned(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or_default()
}

//! Which build somebody means.

use rusqlite::{Connection, OptionalExtension as _};

use super::{History, HistoryError};
use crate::schedules::nearest;

/// The build of the same schedule before another one.
const PREVIOUS: &str = "previous";
/// The newest build of the same schedule before another one that passed.
const LAST_GOOD: &str = "last-good";
/// Builds that are told of when several fit.
const CANDIDATES: usize = 5;
/// Least characters of a piece of an id that is not its beginning: fewer fit too many, and the indexes have as many.
const LEAST: usize = 4;
/// Schedules that are named when none is near.
const MOST_NAMES: usize = 10;
/// Schedules among which a name that was misspelt is looked for.
const SCHEDULES: u32 = 1000;

/// The builds whose id ends with a piece, or whose id's last part begins with it: a UUID's last part begins with its 25th
/// character. The indexes lead to those that share four characters with it.
pub(super) const CONTAINS: &str = "SELECT id FROM build INDEXED BY build_by_last_part
        WHERE substr(id, 25, 4) = substr(?1, 1, 4) AND substr(id, 25, length(?1)) = ?1
    UNION SELECT id FROM build INDEXED BY build_by_end
        WHERE substr(id, -4) = substr(?1, -4) AND substr(id, -length(?1)) = ?1
    ORDER BY id DESC LIMIT 6";

impl History {
    /// The id of the build that `text` names: `latest`; `previous`, which is the one of the same schedule before that; a
    /// schedule, for its newest build; an id, its beginning, its end, or the beginning of its last part, as the pages
    /// show it.
    pub async fn resolve(&self, text: &str) -> Result<String, HistoryError> {
        let text = text.trim().to_owned();
        self.read(move |connection| resolve(connection, &text)).await
    }

    /// The ids of two builds that are compared. `b` is one as [`Self::resolve`] takes it. So is `a`, except that `previous`
    /// is the build of the same schedule before `b`, and `last-good`, or nothing, the newest one of these that passed.
    pub async fn resolve_pair(&self, a: &str, b: &str) -> Result<(String, String), HistoryError> {
        let b = self.resolve(b).await?;
        let wanted = a.trim();
        if !["", PREVIOUS, LAST_GOOD].contains(&wanted) {
            return Ok((self.resolve(wanted).await?, b));
        }
        let schedule = self.schedule_of(&b).await?;
        let before = self.related_builds(&schedule, &b).await?;
        let (found, none) = if wanted == PREVIOUS {
            (before.previous, format!("of {schedule} came before {b}: give an id"))
        } else {
            let none = format!("of {schedule} before {b} passed: give the id of one to compare it with");
            (before.last_good.map(|good| good.id), none)
        };
        Ok((found.ok_or(HistoryError::NoBuild(none))?, b))
    }

    async fn schedule_of(&self, id: &str) -> Result<String, HistoryError> {
        let id = id.to_owned();
        self.read(move |connection| {
            let schedule = "SELECT schedule FROM build WHERE id = ?1";
            let found = connection.query_row(schedule, [&id], |row| row.get(0)).optional()?;
            found.ok_or(HistoryError::NoBuild(id))
        })
        .await
    }

    /// Refuses the name of a schedule that was never built and that no manager ever served, with the one that may be meant.
    pub async fn expect_schedule(&self, schedule: &str) -> Result<(), HistoryError> {
        let schedule = schedule.to_owned();
        self.read(move |connection| {
            let there = "SELECT EXISTS (SELECT 1 FROM build WHERE schedule = ?1)
                OR EXISTS (SELECT 1 FROM schedule_state WHERE schedule = ?1)";
            if connection.query_row(there, [&schedule], |row| row.get(0))? {
                return Ok(());
            }
            let names = schedules(connection)?;
            let hint = match nearest(&schedule, names.iter().map(String::as_str)) {
                Some(near) => format!("; did you mean {near:?}?"),
                None if names.is_empty() => String::new(),
                None => format!(
                    "; there are builds of {}",
                    names.iter().take(MOST_NAMES).cloned().collect::<Vec<_>>().join(", ")
                ),
            };
            Err(HistoryError::NoBuild(format!("of the schedule {schedule:?}{hint}")))
        })
        .await
    }
}

fn resolve(connection: &Connection, text: &str) -> Result<String, HistoryError> {
    let one = |sql: &str| -> Result<Option<String>, rusqlite::Error> {
        connection.query_row(sql, [], |row| row.get(0)).optional().map(Option::flatten)
    };
    match text {
        "latest" => {
            let newest = one("SELECT max(id) FROM build")?;
            return newest.ok_or_else(|| HistoryError::NoBuild("yet: the history is empty".to_owned()));
        }
        PREVIOUS => {
            let before = one(
                "SELECT max(id) FROM build WHERE verification IS NULL AND id < (SELECT max(id) FROM build)
                    AND schedule = (SELECT schedule FROM build ORDER BY id DESC LIMIT 1)",
            )?;
            let none = "before the latest one of its schedule";
            return before.ok_or_else(|| HistoryError::NoBuild(none.to_owned()));
        }
        _ => {}
    }
    let of_schedule = "SELECT max(id) FROM build WHERE schedule = ?1";
    if let Some(id) = connection.query_row(of_schedule, [text], |row| row.get::<_, Option<String>>(0))? {
        return Ok(id);
    }
    let piece = text.to_ascii_lowercase();
    // Only what can stand in an id reaches the pattern, so nothing needs escaping.
    if piece.is_empty() || !piece.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
        return Err(unknown(connection, text)?);
    }
    let begins = "SELECT id FROM build WHERE id >= ?1 AND id < ?1 || 'g' ORDER BY id DESC LIMIT 6";
    let mut found = ids(connection, begins, &piece)?;
    if found.is_empty() && piece.len() >= LEAST {
        found = ids(connection, CONTAINS, &piece)?;
    }
    match found.as_slice() {
        [] => Err(unknown(connection, text)?),
        [one] => Ok(one.clone()),
        several => Err(HistoryError::Ambiguous { text: piece, candidates: told(connection, several)? }),
    }
}

fn ids(connection: &Connection, sql: &str, piece: &str) -> Result<Vec<String>, rusqlite::Error> {
    connection.prepare_cached(sql)?.query_map([piece], |row| row.get(0))?.collect()
}

/// The builds that fit, with what tells them apart.
fn told(connection: &Connection, ids: &[String]) -> Result<String, rusqlite::Error> {
    let mut told = Vec::new();
    for id in ids.iter().take(CANDIDATES) {
        let say = |row: &rusqlite::Row<'_>| {
            Ok(format!("{id} ({}, {})", row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        };
        told.push(connection.query_row("SELECT schedule, state FROM build WHERE id = ?1", [id], say)?);
    }
    if ids.len() > CANDIDATES {
        told.push("...".to_owned());
    }
    Ok(told.join(", "))
}

/// The schedules that were ever built, by name.
fn schedules(connection: &Connection) -> Result<Vec<String>, rusqlite::Error> {
    // Name after name, each by the index: a scan would read every build.
    let names = format!(
        "WITH RECURSIVE name(n) AS (
            SELECT min(schedule) FROM build
            UNION ALL SELECT (SELECT min(schedule) FROM build WHERE schedule > n) FROM name WHERE n IS NOT NULL
        ) SELECT n FROM name WHERE n IS NOT NULL LIMIT {SCHEDULES}"
    );
    connection.prepare_cached(&names)?.query_map([], |row| row.get(0))?.collect()
}

fn unknown(connection: &Connection, text: &str) -> Result<HistoryError, rusqlite::Error> {
    let names = schedules(connection)?;
    let said = match nearest(text, names.iter().map(String::as_str)) {
        Some(name) => format!("{text:?}: did you mean the schedule {name:?}?"),
        None => {
            format!("{text:?}: expected an id, its beginning or end, a schedule, \"latest\" or \"previous\"")
        }
    };
    Ok(HistoryError::NoBuild(said))
}

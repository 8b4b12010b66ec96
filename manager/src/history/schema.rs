//! The tables and their migrations. `PRAGMA user_version` counts the migrations that have been applied.

use rusqlite::Connection;

use super::HistoryError;

/// One entry a schema version, oldest first. Never change an entry that has been released: append.
const MIGRATIONS: &[&str] = &[include_str!("migrations/0001_builds.sql")];

/// Brings the database to this program's schema.
///
/// # Errors
/// [`HistoryError::NewerSchema`] when a newer program has written it; SQLite's own errors.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), HistoryError> {
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(HistoryError::NewerSchema { found, known });
    }
    for (version, sql) in (1_i64..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

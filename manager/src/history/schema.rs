//! The tables and their migrations. `PRAGMA user_version` counts the migrations that have been applied.

use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::{HistoryError, reports};

/// One entry a schema version, oldest first. Never change an entry that has been released: append.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_builds.sql"),
    include_str!("migrations/0002_retries.sql"),
    include_str!("migrations/0003_day_sums.sql"),
    include_str!("migrations/0004_trails.sql"),
    include_str!("migrations/0005_outbox.sql"),
    include_str!("migrations/0006_room.sql"),
    include_str!("migrations/0007_week_sums.sql"),
    include_str!("migrations/0008_unseen.sql"),
    include_str!("migrations/0009_claims.sql"),
    include_str!("migrations/0010_definition.sql"),
    include_str!("migrations/0011_operators.sql"),
    include_str!("migrations/0012_definition_parts.sql"),
    include_str!("migrations/0013_warnings.sql"),
    include_str!("migrations/0014_trials.sql"),
    include_str!("migrations/0015_unchanged.sql"),
    include_str!("migrations/0016_publications.sql"),
    include_str!("migrations/0017_verifications.sql"),
    include_str!("migrations/0018_verified.sql"),
    include_str!("migrations/0019_held_skipped.sql"),
    include_str!("migrations/0020_controls.sql"),
    include_str!("migrations/0021_lookups.sql"),
    include_str!("migrations/0022_copies.sql"),
];

/// The version that brought the sums of days; they are made from the builds that are there.
const DAY_SUMS: i64 = 3;
/// The one that brought the sums of weeks.
const WEEK_SUMS: i64 = 7;

/// SQLite's cache of pages during a migration: below zero it is KiB (<https://www.sqlite.org/pragma.html#pragma_cache_size>).
/// With the usual 2 MB the pages of a million builds are read and written again and again.
const CACHE: i64 = -(128 << 10);

/// How long the write-ahead log is asked for after a migration.
const RETURN: Duration = Duration::from_secs(10);

/// Pause before the journal's mode is asked for again.
const PAUSE: Duration = Duration::from_millis(20);

/// Gives the database a write-ahead log; tries for `patience` while another program has it open.
///
/// The change needs the file for itself for an instant. SQLite answers "busy" to that at once, without asking
/// the connection's busy handler, because two connections that both wait to upgrade their lock would never end
/// (<https://www.sqlite.org/c3ref/busy_handler.html>). So it is asked again here.
pub(super) fn write_ahead(connection: &Connection, patience: Duration) -> Result<(), HistoryError> {
    let deadline = Instant::now() + patience;
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && Instant::now() < deadline =>
            {
                std::thread::park_timeout(PAUSE);
            }
            done => return Ok(done?),
        }
    }
}

/// Brings the database to this program's schema.
///
/// # Errors
/// [`HistoryError::NewerSchema`] when a newer program has written it; SQLite's own errors.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), HistoryError> {
    migrate_to(connection, known())
}

/// The same up to a version.
pub(super) fn migrate_to(connection: &mut Connection, last: i64) -> Result<(), HistoryError> {
    // A table that is made anew is dropped first, and takes nothing along that refers to it: the pragma has no effect
    // inside of a transaction (<https://www.sqlite.org/pragma.html#pragma_foreign_keys>).
    connection.pragma_update(None, "foreign_keys", false)?;
    let usual: i64 = connection.pragma_query_value(None, "cache_size", |row| row.get(0))?;
    connection.pragma_update(None, "cache_size", CACHE)?;
    let found = version(connection)?;
    let is_old = found > 0 && found < last;
    if is_old {
        // A migration writes most of the file anew. With a write-ahead log that is written twice; a rollback journal has only
        // what is overwritten. Where somebody reads meanwhile, the log stays.
        let _ = connection.pragma_update(None, "journal_mode", "DELETE");
    }
    let migrated = in_one_transaction(connection, last);
    let logged = if is_old { write_ahead(connection, RETURN) } else { Ok(()) };
    connection.pragma_update(None, "cache_size", usual)?;
    connection.execute_batch("PRAGMA shrink_memory")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    migrated.and(logged)
}

fn in_one_transaction(connection: &mut Connection, last: i64) -> Result<(), HistoryError> {
    // It begins as a writer: two programs that start at once do not migrate both.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = version(&transaction)?;
    check_version(found)?;
    let written = found > 0 && found < last;
    if written {
        // Whoever starts the manager is not to think that it hangs.
        tracing::info!(
            "migrating the history from schema version {found} to {last}; a million builds take about a minute"
        );
    }
    let began = Instant::now();
    for (version, sql) in
        (1_i64..).zip(MIGRATIONS).filter(|(version, _)| *version > found && *version <= last)
    {
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", version)?;
    }
    // By the tables as they are at the end: that is what the code reads.
    if last == known() && found < DAY_SUMS {
        reports::refresh_days(&transaction)?;
    }
    if last == known() && found < WEEK_SUMS {
        reports::refresh_weeks(&transaction)?;
    }
    transaction.commit()?;
    if written {
        let seconds = began.elapsed().as_secs_f64();
        tracing::info!("the history was migrated to schema version {last} in {seconds:.1} s");
    }
    Ok(())
}

/// The schema's version that a database has.
pub(super) fn version(connection: &Connection) -> Result<i64, HistoryError> {
    Ok(connection.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

/// Fails when a newer program has written it.
pub(super) fn check_version(found: i64) -> Result<(), HistoryError> {
    let known = known();
    if found > known { Err(HistoryError::NewerSchema { found, known }) } else { Ok(()) }
}

/// The version that this program writes.
pub(super) fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::History;
    use super::*;

    #[test]
    fn a_history_that_is_migrated_has_its_write_ahead_log_again_also_where_somebody_reads_meanwhile() {
        for reads in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("history.db");
            let mut old = Connection::open(&path).unwrap();
            write_ahead(&old, PAUSE).unwrap();
            migrate_to(&mut old, 13).unwrap();
            let reader = reads.then_some(old);
            if let Some(reader) = &reader {
                reader.execute_batch("BEGIN; SELECT count(*) FROM build").unwrap();
            }
            drop(History::open(&path).unwrap());
            let now = Connection::open(&path).unwrap();
            assert_eq!(version(&now).unwrap(), known(), "somebody reads: {reads}");
            let mode: String = now.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
            assert_eq!(mode, "wal", "somebody reads: {reads}");
        }
    }
}

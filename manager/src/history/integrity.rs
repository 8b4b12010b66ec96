//! Whether the file is whole, and copies of it.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{BUSY_TIMEOUT, History, HistoryError};

/// How long the look through the file may take at start. A history that is too large for it is used all the same.
const PATIENCE: Duration = Duration::from_secs(10);

impl History {
    /// Writes a consistent copy of the history at `from` to the new file `to`, whole and checked, also while a
    /// manager writes to it. Returns how many builds are in it.
    pub fn back_up(from: &Path, to: &Path) -> Result<u64, HistoryError> {
        let source = open_to_read(from)?;
        let target = to.to_str().ok_or_else(|| HistoryError::NotUtf8(to.to_owned()))?;
        source.execute("VACUUM INTO ?1", [target])?;
        check(to)?;
        let builds =
            open_to_read(to)?.query_row("SELECT count(*) FROM build", [], |row| row.get::<_, i64>(0))?;
        Ok(u64::try_from(builds).unwrap_or_default())
    }
}

/// Looks through the file without changing it.
///
/// # Errors
/// [`HistoryError::Damaged`] when it is not whole. What else may be wrong with it shows when it is opened.
pub(super) fn check(path: &Path) -> Result<(), HistoryError> {
    if !path.metadata().is_ok_and(|file| file.len() > 0) {
        return Ok(());
    }
    let Ok(connection) = open_to_read(path) else { return Ok(()) };
    let damaged = |what: String| HistoryError::Damaged { path: path.to_owned(), what };
    match within(&connection, PATIENCE, quick_check) {
        Ok(found) if found == "ok" => Ok(()),
        Ok(found) => Err(damaged(found)),
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Err(damaged(error.to_string())),
            Some(ErrorCode::OperationInterrupted) => {
                let seconds = PATIENCE.as_secs();
                tracing::warn!("{}: the check for damage did not finish within {seconds} s", path.display());
                Ok(())
            }
            _ => Ok(()),
        },
    }
}

fn quick_check(connection: &Connection) -> rusqlite::Result<String> {
    connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
}

/// Has SQLite work for so long at most.
fn within<T>(
    connection: &Connection,
    patience: Duration,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let handle = connection.get_interrupt_handle();
    let (done, waits) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if waits.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                handle.interrupt();
            }
        });
        let outcome = work(connection);
        drop(done);
        outcome
    })
}

fn open_to_read(path: &Path) -> Result<Connection, HistoryError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::*;

    #[test]
    fn a_damaged_file_is_refused_and_not_touched() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image-manager.db");
        // By a connection of its own: a history's writing thread may have the file open a little longer.
        let mut connection = Connection::open(&path).unwrap();
        schema::migrate(&mut connection).unwrap();
        drop(connection);
        let whole = std::fs::read(&path).unwrap();
        check(&path).unwrap();

        // A page in the middle is zeroes, as after a bad power cut; then the file is something else.
        let mut holed = whole.clone();
        holed[8192..12288].fill(0);
        for broken in [holed, b"this is no database, but long enough to be looked at as one".repeat(20)] {
            std::fs::write(&path, &broken).unwrap();
            let error = History::open(&path).err().unwrap();
            assert!(matches!(error, HistoryError::Damaged { .. }), "{error}");
            assert!(error.to_string().contains("image-manager.db"), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), broken);
        }
    }

    #[test]
    fn a_look_that_takes_too_long_is_broken_off() {
        let connection = Connection::open_in_memory().unwrap();
        let endless =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
        let outcome = within(&connection, Duration::from_millis(50), |connection| {
            connection.query_row(endless, [], |row| row.get::<_, i64>(0))
        });
        assert_eq!(outcome.unwrap_err().sqlite_error_code(), Some(ErrorCode::OperationInterrupted));
        assert_eq!(within(&connection, Duration::from_mins(1), quick_check).unwrap(), "ok");
    }

    #[tokio::test]
    async fn a_copy_is_whole_while_the_history_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image-manager.db");
        let history = History::open(&path).unwrap();
        let writing = tokio::spawn(async move {
            for number in 0..200 {
                let name = format!("schedule-{number}");
                history
                    .remember_schedules(vec![crate::history::Entries {
                        schedule: name,
                        ..Default::default()
                    }])
                    .await
                    .unwrap();
            }
        });
        for number in 0..3 {
            let copy = directory.path().join(format!("copy-{number}"));
            let (from, to) = (path.clone(), copy.clone());
            let builds = tokio::task::spawn_blocking(move || History::back_up(&from, &to)).await.unwrap();
            assert_eq!(builds.unwrap(), 0);
            assert!(History::back_up(&path, &copy).is_err(), "it overwrites nothing");
            History::open_to_read(&copy).unwrap();
        }
        writing.await.unwrap();
    }
}

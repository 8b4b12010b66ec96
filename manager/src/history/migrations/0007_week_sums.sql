-- The sums of a schedule's days, summed up once more, for reports over years. Weeks are counted from the epoch,
-- a Thursday. Written with the day's sum.
CREATE TABLE week_sum (
    schedule        TEXT NOT NULL,
    week            INTEGER NOT NULL,
    builds          INTEGER NOT NULL,
    passed          INTEGER NOT NULL,
    failed          INTEGER NOT NULL,
    errored         INTEGER NOT NULL,
    cancelled       INTEGER NOT NULL,
    flaky           INTEGER NOT NULL,
    first_failed_at INTEGER,
    last_failed_at  INTEGER,
    last_passed_at  INTEGER,
    distributions   BLOB NOT NULL,
    PRIMARY KEY (schedule, week)
) STRICT, WITHOUT ROWID;

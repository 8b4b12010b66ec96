-- The builds of a day (UTC, by when they were created) that have ended, summed up, so that a report over a
-- million builds reads thousands of rows. Written at a build's end, from all builds of its day.
CREATE TABLE day_sum (
    schedule        TEXT NOT NULL,
    -- Days since the epoch.
    day             INTEGER NOT NULL,
    builds          INTEGER NOT NULL,
    passed          INTEGER NOT NULL,
    failed          INTEGER NOT NULL,
    errored         INTEGER NOT NULL,
    cancelled       INTEGER NOT NULL,
    flaky           INTEGER NOT NULL,
    first_failed_at INTEGER,
    last_failed_at  INTEGER,
    last_passed_at  INTEGER,
    -- How the durations and sizes are distributed; see history/reports/distribution.rs.
    distributions   BLOB NOT NULL,
    PRIMARY KEY (schedule, day)
) STRICT, WITHOUT ROWID;
CREATE INDEX day_sum_by_day ON day_sum (day, schedule, builds);

CREATE INDEX build_by_schedule_time ON build (schedule, created_at);
CREATE INDEX build_by_schedule_state ON build (schedule, state, id);

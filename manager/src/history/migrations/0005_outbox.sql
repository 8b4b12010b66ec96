-- What the webhook must still be told. `build_id` for a build that ended, else `reason` for a schedule that
-- paused itself. Numbers are never used twice: the receiver knows a notice by its number.
CREATE TABLE outbox (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    schedule   TEXT NOT NULL,
    build_id   TEXT,
    reason     TEXT NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    tries      INTEGER NOT NULL DEFAULT 0,
    due_at     INTEGER NOT NULL
) STRICT;

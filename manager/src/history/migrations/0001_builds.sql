-- Times are milliseconds since the Unix epoch, UTC. Ids of builds are UUIDv7: their order is time's order.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE build (
    id                 TEXT PRIMARY KEY,
    schedule           TEXT NOT NULL,
    cloud              TEXT NOT NULL,
    state              TEXT NOT NULL,
    verdict            TEXT,
    trigger            TEXT NOT NULL,
    created_at         INTEGER NOT NULL,
    started_at         INTEGER,
    finished_at        INTEGER,
    image_id           TEXT,
    image_name         TEXT,
    image_sha512       TEXT,
    image_size         INTEGER,
    image_virtual_size INTEGER,
    server_id          TEXT,
    server_name        TEXT,
    server_flavor      TEXT,
    agent_token_hash   TEXT,
    agent_version      TEXT,
    agent_boot_id      TEXT,
    agent_attached_at  INTEGER,
    removal_complete   INTEGER,
    failure_reason     TEXT,
    failure_stage      TEXT,
    failure_message    TEXT,
    failure_evidence   TEXT
) STRICT;

-- At most one unfinished build of a schedule, whoever asks at the same time.
CREATE UNIQUE INDEX build_one_unfinished ON build (schedule)
    WHERE state NOT IN ('succeeded', 'failed', 'errored', 'cancelled');
CREATE INDEX build_by_schedule ON build (schedule, id);
CREATE INDEX build_by_state ON build (state, id);

CREATE TABLE stage (
    build_id    TEXT NOT NULL REFERENCES build (id) ON DELETE CASCADE,
    position    INTEGER NOT NULL,
    name        TEXT NOT NULL,
    state       TEXT NOT NULL,
    started_at  INTEGER,
    finished_at INTEGER,
    detail      TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (build_id, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE check_result (
    build_id     TEXT NOT NULL REFERENCES build (id) ON DELETE CASCADE,
    position     INTEGER NOT NULL,
    name         TEXT NOT NULL,
    outcome      TEXT,
    required     INTEGER NOT NULL,
    duration_ms  INTEGER,
    summary      TEXT NOT NULL DEFAULT '',
    observations TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (build_id, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE removed_path (
    build_id TEXT NOT NULL REFERENCES build (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    path     TEXT NOT NULL,
    fate     TEXT NOT NULL,
    detail   TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (build_id, position)
) STRICT, WITHOUT ROWID;

-- The ledger: everything that must be taken away again. `intended` is committed before the request leaves.
CREATE TABLE resource (
    id          INTEGER PRIMARY KEY,
    build_id    TEXT NOT NULL REFERENCES build (id) ON DELETE CASCADE,
    cloud       TEXT NOT NULL,
    kind        TEXT NOT NULL,
    name        TEXT NOT NULL,
    external_id TEXT,
    state       TEXT NOT NULL CHECK (state IN ('intended', 'created', 'deleting', 'gone', 'published')),
    note        TEXT NOT NULL DEFAULT '',
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX resource_by_build ON resource (build_id);
CREATE INDEX resource_open ON resource (id) WHERE state NOT IN ('gone', 'published');

CREATE TABLE schedule_state (
    schedule  TEXT PRIMARY KEY,
    cron      TEXT NOT NULL,
    -- Nothing before this instant is caught up: the entry was not there, or was another one.
    since     INTEGER NOT NULL,
    paused    INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Seconds that each phase of disk-image-builder took when the schedule was last built.
CREATE TABLE build_phase (
    schedule TEXT NOT NULL,
    phase    TEXT NOT NULL,
    seconds  REAL NOT NULL,
    PRIMARY KEY (schedule, phase)
) STRICT, WITHOUT ROWID;

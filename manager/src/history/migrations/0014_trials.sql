-- One build, many trials: what disk-image-builder made is an artifact, and each target that it is tried on a trial, with
-- what a build had of its own before: image, server, agent, attempts. Builds from before have one trial, on their cloud.
-- Runs with foreign keys off: the table `build` is made anew without the columns that move.

CREATE TABLE artifact (
    build_id        TEXT PRIMARY KEY REFERENCES build (id) ON DELETE CASCADE,
    file            TEXT NOT NULL,
    sha512          TEXT NOT NULL,
    -- Digest of the schedule that it was built by.
    schedule_digest TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO artifact (build_id, file, sha512, schedule_digest)
    SELECT id, artifact_file, artifact_sha512, schedule_digest FROM build
    WHERE artifact_file IS NOT NULL AND artifact_sha512 IS NOT NULL AND schedule_digest IS NOT NULL ORDER BY rowid;

CREATE TABLE trial (
    build_id           TEXT NOT NULL REFERENCES build (id) ON DELETE CASCADE,
    -- Place of its target in the schedule, from 0.
    position           INTEGER NOT NULL,
    target             TEXT NOT NULL,
    cloud              TEXT NOT NULL,
    required           INTEGER NOT NULL DEFAULT 1,
    state              TEXT NOT NULL,
    verdict            TEXT,
    -- From 1; `retry_at` while it waits for the next one.
    attempt            INTEGER NOT NULL DEFAULT 1,
    retry_at           INTEGER,
    failure_reason     TEXT,
    failure_stage      TEXT,
    failure_message    TEXT,
    failure_evidence   TEXT,
    image_id           TEXT,
    image_name         TEXT,
    image_sha512       TEXT,
    image_size         INTEGER,
    image_virtual_size INTEGER,
    server_id          TEXT,
    server_name        TEXT,
    server_flavor      TEXT,
    agent_token_hash   TEXT,
    agent_endpoint     TEXT,
    agent_fingerprint  TEXT,
    agent_version      TEXT,
    agent_boot_id      TEXT,
    agent_attached_at  INTEGER,
    agent_key          TEXT,
    agent_address      TEXT,
    removal_complete   INTEGER,
    PRIMARY KEY (build_id, position)
) STRICT, WITHOUT ROWID;

-- The trial of a build that came to its end before it, or in which there was nothing to try, was left out.
INSERT INTO trial
    SELECT id, 0, cloud, cloud, 1,
        CASE
            WHEN state IN ('queued', 'building') THEN 'waiting'
            WHEN state IN ('uploading', 'booting', 'verifying') THEN state
            WHEN state = 'publishing' OR verdict = 'passed' OR failure_stage = 'publishing' THEN 'succeeded'
            WHEN coalesce(failure_stage, 'queued') IN ('queued', 'building') THEN 'skipped'
            WHEN verdict IS NULL THEN 'cancelled'
            ELSE verdict
        END,
        CASE
            WHEN state = 'publishing' OR verdict = 'passed' OR failure_stage = 'publishing' THEN 'passed'
            WHEN failure_stage IN ('uploading', 'booting', 'verifying') THEN verdict
        END,
        1, NULL,
        CASE WHEN failure_stage IN ('uploading', 'booting', 'verifying') THEN failure_reason END,
        CASE WHEN failure_stage IN ('uploading', 'booting', 'verifying') THEN failure_stage END,
        CASE WHEN failure_stage IN ('uploading', 'booting', 'verifying') THEN failure_message END,
        CASE WHEN failure_stage IN ('uploading', 'booting', 'verifying') THEN failure_evidence END,
        image_id, image_name, image_sha512, image_size, image_virtual_size, server_id, server_name, server_flavor,
        agent_token_hash, agent_endpoint, agent_fingerprint, agent_version, agent_boot_id, agent_attached_at, agent_key,
        agent_address, removal_complete
    FROM build ORDER BY rowid;

CREATE TABLE build_without_trial (
    id                TEXT PRIMARY KEY,
    schedule          TEXT NOT NULL,
    -- The cloud of all its trials; empty when they are on several.
    cloud             TEXT NOT NULL,
    state             TEXT NOT NULL,
    verdict           TEXT,
    trigger           TEXT NOT NULL,
    created_at        INTEGER NOT NULL,
    started_at        INTEGER,
    finished_at       INTEGER,
    failure_reason    TEXT,
    failure_stage     TEXT,
    failure_message   TEXT,
    failure_evidence  TEXT,
    retry_of          TEXT,
    attempt           INTEGER NOT NULL DEFAULT 1,
    taken_up          INTEGER NOT NULL DEFAULT 0,
    definition_digest TEXT,
    unexplained       TEXT,
    requested_by      TEXT NOT NULL DEFAULT '',
    cancelled_by      TEXT NOT NULL DEFAULT '',
    warnings          TEXT
) STRICT;
INSERT INTO build_without_trial
    SELECT id, schedule, cloud, CASE WHEN state IN ('uploading', 'booting', 'verifying') THEN 'trying' ELSE state END,
        verdict, trigger, created_at, started_at, finished_at, failure_reason, failure_stage, failure_message,
        failure_evidence, retry_of, attempt, taken_up, definition_digest, unexplained, requested_by, cancelled_by, warnings
    -- Rows tell in which order they were written, also where the clock was wrong.
    FROM build ORDER BY rowid;
DROP TABLE build;
ALTER TABLE build_without_trial RENAME TO build;

-- `build_one_unfinished` is made by the next version, which has one more end.
CREATE INDEX build_by_schedule ON build (schedule, id);
CREATE INDEX build_by_state ON build (state, id);
CREATE INDEX build_by_schedule_time ON build (schedule, created_at);
CREATE INDEX build_by_schedule_state ON build (schedule, state, id);

-- Whose each row is: the place of the trial, or null for the build's own. Positions go on from trial to trial. The stages
-- of builds from before are all their build's own; those that a trial has are its only trial's.
ALTER TABLE stage ADD COLUMN trial INTEGER;
ALTER TABLE check_result ADD COLUMN trial INTEGER NOT NULL DEFAULT 0;
ALTER TABLE removed_path ADD COLUMN trial INTEGER NOT NULL DEFAULT 0;
ALTER TABLE resource ADD COLUMN trial INTEGER;

-- An image is given out once in each cloud, however often a manager that was killed says so.
DROP INDEX audit_published_once;
CREATE UNIQUE INDEX audit_published_once ON audit (build_id, detail) WHERE action = 'build.published';

-- How `distributions` is written: from 2 on with names, see history/reports/summary.rs.
ALTER TABLE day_sum ADD COLUMN format INTEGER NOT NULL DEFAULT 1;
ALTER TABLE week_sum ADD COLUMN format INTEGER NOT NULL DEFAULT 1;

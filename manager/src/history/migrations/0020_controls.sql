-- Another image that is booted on a trial's target, after the trial's own had ended there without a word.
CREATE TABLE control (
    id             INTEGER PRIMARY KEY,
    build_id       TEXT NOT NULL REFERENCES build (id) ON DELETE CASCADE,
    -- Place of the trial, and which attempt of it.
    trial          INTEGER NOT NULL,
    attempt        INTEGER NOT NULL,
    -- Whose target it is: it is asked once an hour at most.
    schedule       TEXT NOT NULL,
    target         TEXT NOT NULL,
    -- How the trial's own image had ended: where a later manager goes on from.
    first_reason   TEXT NOT NULL,
    first_stage    TEXT NOT NULL,
    first_message  TEXT NOT NULL,
    first_evidence TEXT NOT NULL,
    -- The build that had asked within the hour before, whose answer this is; null: it is this one's own.
    answer_of      TEXT,
    -- The build whose image is booted; null: one that the manager makes itself, or none yet.
    image_of       TEXT,
    started_at     INTEGER NOT NULL,
    finished_at    INTEGER,
    outcome        TEXT CHECK (outcome IN ('passed', 'failed', 'unknown')),
    detail         TEXT NOT NULL DEFAULT '',
    evidence       TEXT NOT NULL DEFAULT '',
    -- How the trial's own image ended when it was booted once more: a reason, or 'passed'.
    again          TEXT
) STRICT;
CREATE INDEX control_by_build ON control (build_id, trial);
CREATE INDEX control_by_target ON control (schedule, target, started_at);

-- The certificate that the agent in the image obeys: an image that obeys another manager says nothing to this one.
ALTER TABLE artifact ADD COLUMN fingerprint TEXT;

-- The errored build whose retry this one is, and its number in that row, from 1.
ALTER TABLE build ADD COLUMN retry_of TEXT;
ALTER TABLE build ADD COLUMN attempt INTEGER NOT NULL DEFAULT 1;

-- Why and since when a schedule is paused; how many builds in a row did not pass.
ALTER TABLE schedule_state ADD COLUMN pause_reason TEXT NOT NULL DEFAULT '';
ALTER TABLE schedule_state ADD COLUMN paused_at INTEGER;
ALTER TABLE schedule_state ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;

-- A retry that is owed. Its row comes with the commit that ends the errored build, and goes with the commit
-- that queues the next build of the schedule: so none is lost, and none is made twice.
CREATE TABLE retry (
    schedule TEXT PRIMARY KEY,
    build_id TEXT NOT NULL REFERENCES build (id) ON DELETE CASCADE,
    attempt  INTEGER NOT NULL,
    due_at   INTEGER NOT NULL
) STRICT;

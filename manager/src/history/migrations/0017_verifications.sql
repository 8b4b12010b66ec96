-- Of a build that makes no image, but verifies the published one again: a digest of the schedule by which it does. Null of
-- all others.
ALTER TABLE build ADD COLUMN verification TEXT;
-- Of such a build's trials: the build that made the image, which is nobody's in the ledger.
ALTER TABLE trial ADD COLUMN image_of TEXT;

-- The entry by which that is done, and up to when its fire times are dealt with.
ALTER TABLE schedule_state ADD COLUMN reverify TEXT NOT NULL DEFAULT '';
ALTER TABLE schedule_state ADD COLUMN reverify_since INTEGER NOT NULL DEFAULT 0;

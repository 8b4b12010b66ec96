-- A build may end without having made anything, because nothing has changed since the last one that passed.
ALTER TABLE build ADD COLUMN unchanged_since TEXT;
-- Whether it was to be made whether anything has changed or not.
ALTER TABLE build ADD COLUMN forced INTEGER NOT NULL DEFAULT 0;

-- SHA-256 of the file in the build's directory by which its mirrors are asked whether anything has changed; null when it
-- is not kept. Few rows have one: those of the last build of each schedule that passed.
ALTER TABLE artifact ADD COLUMN packages_sha256 TEXT;
CREATE INDEX artifact_with_packages ON artifact (build_id) WHERE packages_sha256 IS NOT NULL;

-- At most one unfinished build of a schedule, whoever asks at the same time.
DROP INDEX IF EXISTS build_one_unfinished;
CREATE UNIQUE INDEX build_one_unfinished ON build (schedule)
    WHERE state NOT IN ('succeeded', 'failed', 'errored', 'cancelled', 'skipped');

-- What a manager that starts anew needs in order to go on with a build: the artifact with its hash, the
-- schedule that the build began with (its digest), how the agent will introduce itself; and how often that
-- has been done.
ALTER TABLE build ADD COLUMN schedule_digest TEXT;
ALTER TABLE build ADD COLUMN artifact_file TEXT;
ALTER TABLE build ADD COLUMN artifact_sha512 TEXT;
ALTER TABLE build ADD COLUMN agent_endpoint TEXT;
ALTER TABLE build ADD COLUMN agent_fingerprint TEXT;
ALTER TABLE build ADD COLUMN taken_up INTEGER NOT NULL DEFAULT 0;

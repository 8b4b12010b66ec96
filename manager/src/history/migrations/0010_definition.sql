-- Digest of all that a build's image was defined by, once it is known which elements that is; and what a script failed
-- of when no cause is known: element, phase, script and exit code, by which two builds are compared. Builds from before
-- have neither.
ALTER TABLE build ADD COLUMN definition_digest TEXT;
ALTER TABLE build ADD COLUMN unexplained TEXT;

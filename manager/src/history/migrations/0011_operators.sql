-- Who asked for a build, who ended it, who paused a schedule: in words, as people read them.
ALTER TABLE build ADD COLUMN requested_by TEXT NOT NULL DEFAULT '';
ALTER TABLE build ADD COLUMN cancelled_by TEXT NOT NULL DEFAULT '';
ALTER TABLE schedule_state ADD COLUMN paused_by TEXT NOT NULL DEFAULT '';

-- Tokens that operators bring. Of a token only the SHA-256 is kept, in lower-case hexadecimal: it is random, so the
-- hash tells nothing of it. A revoked one is gone from here; the audit trail knows that it was there.
CREATE TABLE token (
    name       TEXT PRIMARY KEY,
    hash       TEXT NOT NULL UNIQUE,
    role       TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    expires_at INTEGER
) STRICT, WITHOUT ROWID;

-- Who did what. Each row is in the commit that does what it tells of, and stays as it is.
CREATE TABLE audit (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    at        INTEGER NOT NULL,
    principal TEXT NOT NULL,
    action    TEXT NOT NULL,
    subject   TEXT NOT NULL,
    build_id  TEXT,
    detail    TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX audit_by_time ON audit (at);
-- A build is given out once, however often a manager that was killed says so.
CREATE UNIQUE INDEX audit_published_once ON audit (build_id) WHERE action = 'build.published';
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN
    SELECT raise(ABORT, 'the audit trail is append-only');
END;
CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit BEGIN
    SELECT raise(ABORT, 'the audit trail is append-only');
END;

-- What a build's image was defined by, part by part: programs, agent, the schedule's settings, each element, and files
-- and repositories of one's own. The value is a version or a digest. Builds from before have none.
CREATE TABLE definition_part (
    build_id TEXT NOT NULL REFERENCES build (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    name     TEXT NOT NULL,
    value    TEXT NOT NULL,
    source   TEXT NOT NULL,
    PRIMARY KEY (build_id, position)
) STRICT, WITHOUT ROWID;

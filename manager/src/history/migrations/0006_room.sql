-- The room that a build took: the next one of its schedule is not begun where there is less.
CREATE TABLE build_room (
    build_id      TEXT PRIMARY KEY REFERENCES build (id) ON DELETE CASCADE,
    -- Most that was taken of the scratch directory's file system at one time.
    scratch_bytes INTEGER NOT NULL,
    -- The image's file.
    image_bytes   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Which image has, or had, which public name in which cloud. A row outlives the row of its build: nothing refers to that.
CREATE TABLE publication (
    id             INTEGER PRIMARY KEY,
    name           TEXT NOT NULL,
    cloud          TEXT NOT NULL,
    schedule       TEXT NOT NULL,
    build_id       TEXT NOT NULL,
    image_id       TEXT NOT NULL,
    -- Where a user finds it; empty when that is not known.
    location       TEXT NOT NULL DEFAULT '',
    sha512         TEXT NOT NULL,
    size_bytes     INTEGER NOT NULL,
    -- How it got the name last.
    kind           TEXT NOT NULL CHECK (kind IN ('published', 'rolled_back', 'promoted')),
    why            TEXT NOT NULL DEFAULT '',
    published_at   INTEGER NOT NULL,
    published_by   TEXT NOT NULL,
    -- `removed`: the image is not in the cloud any more.
    state          TEXT NOT NULL CHECK (state IN ('current', 'previous', 'revoked', 'removed')),
    revoked_at     INTEGER,
    revoked_by     TEXT NOT NULL DEFAULT '',
    revoked_reason TEXT NOT NULL DEFAULT '',
    UNIQUE (name, cloud, build_id)
) STRICT;

-- What was published before. Which of the older images are still there is not known: the next look at the cloud says so.
INSERT INTO publication (name, cloud, schedule, build_id, image_id, sha512, size_bytes, kind, published_at, published_by, state)
    SELECT trial.image_name, trial.cloud, build.schedule, build.id, trial.image_id, coalesce(trial.image_sha512, ''),
        coalesce(trial.image_size, 0), 'published',
        coalesce((SELECT min(at) FROM audit WHERE action = 'build.published' AND audit.build_id = build.id),
            build.finished_at, build.created_at),
        build.requested_by, 'previous'
    -- From the trials to their builds: they are in the order of builds, and nothing has to be sorted.
    FROM trial CROSS JOIN build ON build.id = trial.build_id
    WHERE build.verdict = 'passed' AND trial.image_id IS NOT NULL
        -- Until it is published it has the name that all of a build's has.
        AND substr(trial.image_name, 1, length(build.id) + 14) <> 'image-manager-' || build.id
        -- Trials in one cloud have one image.
        AND NOT EXISTS (SELECT 1 FROM trial AS earlier WHERE earlier.build_id = trial.build_id
            AND earlier.position < trial.position AND earlier.cloud = trial.cloud AND earlier.image_id IS NOT NULL)
    ORDER BY trial.build_id;
UPDATE publication SET state = 'current' WHERE id IN (SELECT max(id) FROM publication GROUP BY name, cloud);

CREATE UNIQUE INDEX publication_one_current ON publication (name, cloud) WHERE state = 'current';
CREATE INDEX publication_by_build ON publication (build_id);

-- A name that is about to go to another image, written down before the cloud is asked. A manager that starts finishes it.
CREATE TABLE handover (
    id        INTEGER PRIMARY KEY,
    name      TEXT NOT NULL,
    cloud     TEXT NOT NULL,
    kind      TEXT NOT NULL CHECK (kind IN ('rolled_back', 'promoted', 'revoked')),
    -- Whose image gets the name; null when the name stays where it is.
    to_build  TEXT,
    -- Whose image is revoked; null when none is.
    revoked   TEXT,
    why       TEXT NOT NULL,
    principal TEXT NOT NULL,
    at        INTEGER NOT NULL,
    UNIQUE (name, cloud)
) STRICT;

-- What the webhook is told of a publication, as JSON; null for a build's end and a pause.
ALTER TABLE outbox ADD COLUMN publication TEXT;

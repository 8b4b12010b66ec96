-- By the build that made it a published image is asked for the newest build that found nothing changed since.
CREATE INDEX build_by_unchanged ON build (unchanged_since, id) WHERE unchanged_since IS NOT NULL;

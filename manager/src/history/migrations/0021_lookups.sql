-- By the build that made it a published image is asked for the newest build that found nothing changed since.
CREATE INDEX build_by_unchanged ON build (unchanged_since, id) WHERE unchanged_since IS NOT NULL;

-- A build is found by the beginning of its id's last part, as the pages show it, and by the end of its id: four characters
-- of each leave a few builds of a million.
CREATE INDEX build_by_last_part ON build (substr(id, 25, 4));
CREATE INDEX build_by_end ON build (substr(id, -4));

-- The images that are there still, in the order in which they are listed. Those that are gone are many times as many.
CREATE INDEX publication_there ON publication (name, cloud, state <> 'current', build_id DESC) WHERE state <> 'removed';

-- Whether an image was given a name by promoting is asked of all that happened.
CREATE INDEX audit_promoted ON audit (subject, build_id) WHERE action = 'image.promoted';

-- The newest verification that did not pass, among builds that are many times as many.
CREATE INDEX build_by_verification ON build (schedule, state, id) WHERE verification IS NOT NULL;

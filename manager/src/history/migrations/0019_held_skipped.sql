-- Why an older image that nothing keeps any more is there still: in use, protected. Empty where it is kept, or is gone.
ALTER TABLE publication ADD COLUMN held TEXT NOT NULL DEFAULT '';

-- How many builds of a schedule were skipped in a time, without reading them.
CREATE INDEX build_skipped ON build (schedule, created_at) WHERE state = 'skipped';

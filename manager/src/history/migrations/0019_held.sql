-- Why an older image that nothing keeps any more is there still: in use, protected. Empty where it is kept, or is gone.
ALTER TABLE publication ADD COLUMN held TEXT NOT NULL DEFAULT '';

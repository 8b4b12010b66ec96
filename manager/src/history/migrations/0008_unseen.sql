-- What was asked for and never seen, and is therefore taken for never made: looked for once more, since a request may
-- have its effect after whoever sent it was killed.
CREATE INDEX resource_unseen ON resource (updated_at) WHERE state = 'gone' AND external_id IS NULL;

-- An image of Glance has one name. One that is to get a further name and must keep the one that it has is copied, and the
-- copy gets the further name. Of a change: whether it takes a copy; the copy's row in the ledger, which is nobody else's to
-- remove as long as it stands here; and whether the copy is about to be given the name, or has it already.
ALTER TABLE handover ADD COLUMN copied INTEGER NOT NULL DEFAULT 0;
ALTER TABLE handover ADD COLUMN copy INTEGER;
ALTER TABLE handover ADD COLUMN giving INTEGER NOT NULL DEFAULT 0;
-- Whether a row of the ledger is such a copy: its build has published before, and no stage of that build removes it.
ALTER TABLE resource ADD COLUMN copy INTEGER NOT NULL DEFAULT 0;

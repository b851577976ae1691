-- The mark of the event at `position`, which proves to the directory what this shard has taken in ('' before the first that was told).
ALTER TABLE domicile.shard ADD COLUMN mark text NOT NULL DEFAULT '';

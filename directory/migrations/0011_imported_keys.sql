-- The lookup keys that a subject was imported with stand in its own row, where whoever takes them away finds them. The index by subject, two
-- entries at random places for each imported person, holds the others alone (docs/decisions/0009-registry-and-bulk.md).

ALTER TABLE directory.subject ADD COLUMN keys text COLLATE "C";  -- 32 characters each, one after the other; NULL: none of them is left

ALTER TABLE directory.lookup_key ADD COLUMN imported boolean NOT NULL DEFAULT false;  -- its subject's row names it

CREATE INDEX lookup_key_alone_by_subject ON directory.lookup_key (subject_id) WHERE NOT imported;
DROP INDEX directory.lookup_key_by_subject;

-- An imported subject's row is written once. It says `active` under `changes` = 1 from the beginning, which nobody's own row does: until its
-- part is acknowledged such a subject is reserved, and then active (docs/decisions/0009-registry-and-bulk.md). A directory of the version
-- before reads such rows as active before their cell has acknowledged them, when a shard has no fence yet and refuses; it acknowledges
-- their parts without an event: upgrade directories before the next import.

ALTER TABLE directory.bulk_part
    ADD COLUMN expires_at timestamptz,                      -- NULL: its members' own rows say what they are
    ALTER COLUMN subject_ids SET STORAGE EXTERNAL,          -- random: compressing them is vain
    ALTER COLUMN epochs SET STORAGE EXTERNAL,
    ALTER COLUMN kinds SET STORAGE EXTERNAL;
CREATE INDEX bulk_part_open ON directory.bulk_part (part) WHERE acknowledged_at IS NULL;
CREATE INDEX bulk_part_by_expiry ON directory.bulk_part (expires_at) WHERE acknowledged_at IS NULL;

-- Members that something else has changed before their part was settled: what they are stands in their own rows.
CREATE TABLE directory.bulk_alone (
    part       bigint NOT NULL REFERENCES directory.bulk_part,
    subject_id uuid   NOT NULL REFERENCES directory.subject,
    PRIMARY KEY (part, subject_id)
);

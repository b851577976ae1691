-- Aliases that this cell claims for its subjects: what is wanted is written here before the directory is asked, so that a claim whose
-- lease ran out can be settled by what stands here. The alias itself is sealed under the cell's key; nothing here reads as a name.

CREATE TABLE domicile.alias (
    claim_id   uuid        PRIMARY KEY,
    subject_id uuid,                              -- NULL: of a sign-up that has placed nobody yet
    state      text        NOT NULL CHECK (state IN ('wanted', 'committed', 'unwanted')),
    sealed     bytea       NOT NULL,
    kids       text[]      NOT NULL,              -- blinding keys under which the directory has it
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (state <> 'committed' OR subject_id IS NOT NULL)
);
CREATE INDEX alias_by_subject ON domicile.alias (subject_id) WHERE subject_id IS NOT NULL;
CREATE INDEX alias_unsettled ON domicile.alias (changed_at) WHERE state <> 'committed';

GRANT SELECT, INSERT, UPDATE, DELETE ON domicile.alias TO domicile_cell;

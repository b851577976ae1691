-- Aliases: lookup keys claimed under a lease before they lead to anybody, and which blinding key each was made under.

CREATE TABLE directory.alias_claim (
    claim_id   uuid        PRIMARY KEY,                  -- the claiming cell's own
    cell       text        NOT NULL,
    subject_id uuid        REFERENCES directory.subject, -- NULL: of somebody who is not placed yet
    kinds      text[]      NOT NULL,
    asked      bytea       NOT NULL CHECK (length(asked) = 32),
    state      text        NOT NULL CHECK (state IN ('claimed', 'unresolved', 'confirmed', 'released')),
    changes    int         NOT NULL CHECK (changes > 0), -- how many entries its history has
    expires_at timestamptz,                              -- of the lease, by this database's clock
    CHECK ((state = 'claimed') = (expires_at IS NOT NULL)),
    CHECK (state <> 'confirmed' OR subject_id IS NOT NULL)
);
CREATE INDEX alias_claim_by_expiry ON directory.alias_claim (expires_at) WHERE state = 'claimed';
CREATE INDEX alias_claim_open ON directory.alias_claim (cell, claim_id) WHERE state IN ('claimed', 'unresolved');
CREATE INDEX alias_claim_by_subject ON directory.alias_claim (subject_id) WHERE state <> 'released';

CREATE TABLE directory.alias_history (
    claim_id   uuid        NOT NULL REFERENCES directory.alias_claim,
    number     int         NOT NULL,                     -- 1, 2, 3, … of this claim
    at         timestamptz NOT NULL,
    actor      text        NOT NULL,
    reason     text        NOT NULL,
    from_state text,
    to_state   text        NOT NULL,
    PRIMARY KEY (claim_id, number)
);

-- A claimed key leads to nobody yet, and the version before reads it as absent. `twin_of`: the same identifier under another blinding
-- key; NULL where it is the first of its kind. `kid`: which blinding key, NULL where the caller did not say.
ALTER TABLE directory.lookup_key
    ALTER COLUMN subject_id DROP NOT NULL,
    ADD COLUMN claim_id   uuid REFERENCES directory.alias_claim,
    ADD COLUMN unresolved boolean NOT NULL DEFAULT false,
    ADD COLUMN kid        text,
    ADD COLUMN twin_of    text COLLATE "C",
    ADD CHECK (subject_id IS NOT NULL OR claim_id IS NOT NULL);
CREATE INDEX lookup_key_by_claim ON directory.lookup_key (claim_id) WHERE claim_id IS NOT NULL;
CREATE INDEX lookup_key_by_twin ON directory.lookup_key (twin_of) WHERE twin_of IS NOT NULL;

-- How the population lies over the cells, as sign-in hints draw their decoys: changed seldom and for everybody at once.
CREATE TABLE directory.population (
    cell   text   PRIMARY KEY,
    weight float8 NOT NULL CHECK (weight > 0)
);

-- The directory's tables: who is placed where, under which epoch, by which lookup keys; what happened; and the one feed.
-- Lookup keys and ids only: nothing here names a person.

CREATE SCHEMA directory;

-- Every placement and change takes a newer number; NO CYCLE and bigint, so it never goes back.
CREATE SEQUENCE directory.epoch_seq AS bigint MINVALUE 1 NO CYCLE;

-- Sets of facts that rules need to know of a subject, few and shared.
CREATE TABLE directory.facts (
    facts_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    regimes   text[] NOT NULL,
    residence text   NOT NULL CHECK (residence ~ '^[A-Z]{2}$'),
    tags      text[] NOT NULL,
    terms     text,
    UNIQUE NULLS NOT DISTINCT (regimes, residence, tags, terms)
);

CREATE TABLE directory.subject (
    subject_id uuid        PRIMARY KEY,
    cell       text        NOT NULL,
    shard      text        NOT NULL,
    epoch      bigint      NOT NULL CHECK (epoch > 0),
    state      text        NOT NULL CHECK (state IN ('reserved', 'active', 'frozen', 'moving_in', 'moved', 'erased')),
    services   text[]      NOT NULL,
    facts_id   bigint      NOT NULL REFERENCES directory.facts,
    changes    int         NOT NULL CHECK (changes > 0),  -- how many entries its history has
    expires_at timestamptz,                               -- of a reservation, by this database's clock
    CHECK ((state = 'reserved') = (expires_at IS NOT NULL))
);
CREATE INDEX subject_by_cell ON directory.subject (cell, subject_id);
CREATE INDEX subject_by_rare_state ON directory.subject (state, subject_id) WHERE state <> 'active';
CREATE INDEX subject_by_expiry ON directory.subject (expires_at) WHERE state = 'reserved';

-- Uniqueness over all cells is this primary key.
CREATE TABLE directory.lookup_key (
    key        text COLLATE "C" PRIMARY KEY CHECK (length(key) = 32),
    kind       text NOT NULL,
    subject_id uuid NOT NULL REFERENCES directory.subject
);
CREATE INDEX lookup_key_by_subject ON directory.lookup_key (subject_id);

CREATE TABLE directory.history (
    subject_id uuid        NOT NULL REFERENCES directory.subject,
    number     int         NOT NULL,                      -- 1, 2, 3, … of this subject
    at         timestamptz NOT NULL,
    actor      text        NOT NULL,
    reason     text        NOT NULL,
    from_state text,
    to_state   text        NOT NULL,
    epoch      bigint      NOT NULL,
    PRIMARY KEY (subject_id, number)
);

-- The counter row: whoever appends holds it to commit, so numbers are dense and in commit order. Taken last in a transaction.
-- It also says which rules hold, so that a placement under other rules than these does not commit.
CREATE TABLE directory.feed_head (
    one          boolean PRIMARY KEY DEFAULT true CHECK (one),
    seq          bigint  NOT NULL,
    rules_digest text
) WITH (fillfactor = 10);
INSERT INTO directory.feed_head (seq) VALUES (0);

CREATE TABLE directory.feed (
    seq  bigint      PRIMARY KEY,
    at   timestamptz NOT NULL,
    body text        NOT NULL                             -- the event's JSON without seq and at
);

CREATE TABLE directory.rules (
    digest text PRIMARY KEY CHECK (digest ~ '^sha256:[0-9a-f]{64}$'),
    policy text NOT NULL
);

-- Each time rules were made to hold; the same rules may come back.
CREATE TABLE directory.rules_published (
    seq    bigint      PRIMARY KEY REFERENCES directory.feed,
    digest text        NOT NULL REFERENCES directory.rules,
    at     timestamptz NOT NULL,
    actor  text        NOT NULL,
    reason text        NOT NULL
);
CREATE INDEX rules_published_by_digest ON directory.rules_published (digest, seq DESC);

-- What an Idempotency-Key did. Written in the transaction of the effect, so a refusal leaves none.
CREATE TABLE directory.idempotency (
    actor      text        NOT NULL,
    key        text        NOT NULL,
    body       bytea       NOT NULL CHECK (length(body) = 32),
    subject_id uuid        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (actor, key)
);
CREATE INDEX idempotency_by_age ON directory.idempotency (created_at);

CREATE TABLE directory.outbox (
    position   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id         text NOT NULL UNIQUE,
    at         timestamptz NOT NULL,
    kind       text NOT NULL,
    actor      text NOT NULL,
    subject_id uuid,
    details    jsonb NOT NULL
);

-- Who is locked out of break-glass, as each cell tells it (docs/decisions/0019-break-glass.md), and what was told before. People by digests of
-- their issuer and sub: nothing here names a person.

CREATE TABLE directory.lock_cell (
    cell    text        PRIMARY KEY,
    number  bigint      NOT NULL CHECK (number > 0),    -- of what it told last; only grows
    locking bigint      NOT NULL CHECK (locking >= 0),  -- locks and liftings of the cell's own history by then
    at      timestamptz NOT NULL
);

CREATE TABLE directory.lock (
    cell     text   NOT NULL REFERENCES directory.lock_cell,
    person   text   COLLATE "C" NOT NULL CHECK (person ~ '^[0-9a-f]{64}$'),
    code     text   NOT NULL CHECK (code IN ('locked', 'review_overdue')),
    since_us bigint NOT NULL,
    event    text   NOT NULL,                           -- the entry of the cell's ledger
    PRIMARY KEY (cell, person, code)
);

CREATE TABLE directory.lock_history (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cell     text        NOT NULL,
    number   bigint      NOT NULL,
    person   text        NOT NULL,
    code     text        NOT NULL,
    since_us bigint      NOT NULL,
    event    text        NOT NULL,
    stands   boolean     NOT NULL,                      -- false: it was lifted
    at       timestamptz NOT NULL,
    actor    text        NOT NULL,
    reason   text        NOT NULL                       -- an operator's; empty where a cell told it
);

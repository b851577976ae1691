-- Jobs that place many existing users: batches numbered by the caller, and what of each lies on which shard.

CREATE TABLE directory.bulk_job (
    job_id uuid        PRIMARY KEY,
    at     timestamptz NOT NULL,
    actor  text        NOT NULL,
    reason text        NOT NULL
);

-- What became of a batch, for whoever repeats it. Written in the transaction of its effect.
CREATE TABLE directory.bulk_batch (
    job_id       uuid   NOT NULL REFERENCES directory.bulk_job,
    number       int    NOT NULL CHECK (number >= 0),
    body         bytea  NOT NULL CHECK (length(body) = 32),
    placed       int    NOT NULL,
    known        int    NOT NULL,
    refused      int    NOT NULL,
    acknowledged int    NOT NULL DEFAULT 0,
    outcome      text   NOT NULL,
    PRIMARY KEY (job_id, number)
);

-- Its cell acknowledges a part as a whole, and settles it once its own fences say so too.
CREATE TABLE directory.bulk_part (
    part            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id          uuid     NOT NULL,
    number          int      NOT NULL,
    cell            text     NOT NULL,
    shard           text     NOT NULL,
    services        text[]   NOT NULL,
    subject_ids     uuid[]   NOT NULL,
    epochs          bigint[] NOT NULL,
    acknowledged_at timestamptz,
    settled_at      timestamptz,
    FOREIGN KEY (job_id, number) REFERENCES directory.bulk_batch
);
CREATE INDEX bulk_part_waiting ON directory.bulk_part (cell, shard, part) WHERE settled_at IS NULL;

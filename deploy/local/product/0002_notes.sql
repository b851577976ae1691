-- What people keep for themselves: written by their own clients through the records API, without a service between. Same track and
-- owner as 0001; ids are UUIDs and every key holds subject_id, as there.

CREATE TABLE product.notes (
    subject_id uuid        NOT NULL,
    id         uuid        NOT NULL DEFAULT gen_random_uuid(),
    title      text        NOT NULL CHECK (char_length(title) BETWEEN 1 AND 200),
    body       text        CHECK (char_length(body) <= 10000),
    rank       int         CHECK (rank >= 0),
    starred    boolean     NOT NULL DEFAULT false,
    tags       text[]      NOT NULL DEFAULT '{}',
    extra      jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (subject_id, id),
    UNIQUE (subject_id, title)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON product.notes TO domicile_records;

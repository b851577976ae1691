-- The sample product's tables, one set in each shard. Applied by domicile_owner, who owns the database (track "product").
-- Ids are UUIDs, never serials, and every key holds subject_id: rows must survive a move to another shard.

CREATE SCHEMA IF NOT EXISTS product;

CREATE TABLE product.profiles (
    subject_id      uuid        NOT NULL,
    id              uuid        NOT NULL,
    display_name    text        NOT NULL CHECK (char_length(display_name) BETWEEN 1 AND 200),
    email           text        CHECK (char_length(email) <= 320),
    phone           text        CHECK (char_length(phone) <= 40),
    birth_date      date,
    locale          text        CHECK (char_length(locale) <= 35),
    marketing_notes text        CHECK (char_length(marketing_notes) <= 10000),
    -- No contract classifies this column, so no reader of the records API ever sees it.
    internal_score  int         NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (subject_id, id)
);

CREATE TABLE product.orders (
    subject_id  uuid        NOT NULL,
    id          uuid        NOT NULL,
    item        text        NOT NULL CHECK (char_length(item) BETWEEN 1 AND 200),
    quantity    int         NOT NULL CHECK (quantity BETWEEN 1 AND 10000),
    total_cents bigint      NOT NULL CHECK (total_cents >= 0),
    currency    text        NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    note        text        CHECK (char_length(note) <= 10000),
    ship_to     text        CHECK (char_length(ship_to) <= 1000),
    placed_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (subject_id, id)
);

CREATE INDEX orders_by_time ON product.orders (subject_id, placed_at DESC);

GRANT USAGE ON SCHEMA product TO domicile_records;
GRANT SELECT, INSERT, UPDATE, DELETE ON product.profiles, product.orders TO domicile_records;

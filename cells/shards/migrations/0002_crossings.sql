-- Crossings of the subjects of this shard, booked before anything is forwarded; docs/decisions/0007-crossings.md says why here.

CREATE TABLE domicile.crossing (
    position         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id               text        NOT NULL UNIQUE,
    at               timestamptz NOT NULL,
    subject_id       uuid        NOT NULL,
    kind             text        NOT NULL CHECK (kind IN ('hairpin', 'egress')),
    from_region      text        NOT NULL,
    from_country     text        NOT NULL,
    home_cell        text        NOT NULL,
    service          text        NOT NULL,
    verb             text        NOT NULL CHECK (verb IN ('read', 'write')),
    purpose          text        NOT NULL,
    ground           text        NOT NULL,
    basis            text        NOT NULL,
    rules            text        NOT NULL,
    observed_country text,
    trace_id         text        NOT NULL,
    booked_by        text        NOT NULL,
    booked_at        timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX crossing_of_subject ON domicile.crossing (subject_id, at DESC, position DESC);

-- What gateways hand over about a subject is found by it, newest first. Booked crossings are found in their own table.
CREATE INDEX outbox_of_subject ON domicile.outbox (subject_id, at DESC, position DESC)
    WHERE kind IN ('crossing', 'refusal') AND id NOT LIKE 'crossing:%';

-- A booked crossing stays as it is: whoever holds rights on the table, and whatever code they run.
CREATE FUNCTION domicile.crossing_stays() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'crossings are never changed or deleted' USING ERRCODE = 'DM008';
END $$;

CREATE TRIGGER crossing_update BEFORE UPDATE OR DELETE ON domicile.crossing
    FOR EACH ROW EXECUTE FUNCTION domicile.crossing_stays();
CREATE TRIGGER crossing_truncate BEFORE TRUNCATE ON domicile.crossing
    FOR EACH STATEMENT EXECUTE FUNCTION domicile.crossing_stays();

GRANT SELECT, INSERT ON domicile.crossing TO domicile_cell;

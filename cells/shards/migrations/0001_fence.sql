-- The fence of a shard. Run by domicile_owner; docs/decisions/0004-fence.md says why it has this form.

CREATE SCHEMA IF NOT EXISTS domicile;
CREATE SCHEMA IF NOT EXISTS live;

-- Which shard this database is, and how far it has followed the feed. One row: a DSN that leads elsewhere is noticed at start.
CREATE TABLE domicile.shard (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    cell     text   NOT NULL,
    shard    text   NOT NULL,
    position bigint NOT NULL DEFAULT 0 CHECK (position >= 0)
);

-- One row a subject that is or was here. `touched` has no meaning: FOR SHARE asks for UPDATE on some column.
CREATE TABLE domicile.home (
    subject_id uuid    PRIMARY KEY,
    epoch      bigint  NOT NULL CHECK (epoch > 0),
    state      text    NOT NULL CHECK (state IN ('reserved', 'active', 'frozen', 'moving_in', 'moved', 'erased')),
    services   text[]  NOT NULL DEFAULT '{}',
    touched    boolean NOT NULL DEFAULT false
) WITH (fillfactor = 90);

-- A cut in progress, committed before the fence is raised: new writers see it and take no share lock, so the cut is not starved.
CREATE TABLE domicile.closing (
    subject_id uuid        PRIMARY KEY,
    epoch      bigint      NOT NULL CHECK (epoch > 0),
    state      text        NOT NULL,
    services   text[]      NOT NULL DEFAULT '{}',
    since      timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE domicile.outbox (
    position   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id         text NOT NULL UNIQUE,
    at         timestamptz NOT NULL,
    kind       text NOT NULL,
    actor      text NOT NULL,
    subject_id uuid,
    details    jsonb NOT NULL
);

-- A fence row only goes up: whoever holds rights on the table, and whatever code they run.
CREATE FUNCTION domicile.fence_only_goes_up() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP <> 'UPDATE' THEN
        RAISE EXCEPTION 'fence rows are never deleted' USING ERRCODE = 'DM007';
    END IF;
    IF NEW.subject_id <> OLD.subject_id OR NEW.epoch < OLD.epoch THEN
        RAISE EXCEPTION 'a fence only goes up' USING ERRCODE = 'DM007';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER fence_update BEFORE UPDATE OF subject_id, epoch ON domicile.home
    FOR EACH ROW EXECUTE FUNCTION domicile.fence_only_goes_up();
CREATE TRIGGER fence_delete BEFORE DELETE ON domicile.home
    FOR EACH ROW EXECUTE FUNCTION domicile.fence_only_goes_up();
CREATE TRIGGER fence_truncate BEFORE TRUNCATE ON domicile.home
    FOR EACH STATEMENT EXECUTE FUNCTION domicile.fence_only_goes_up();

-- What a product service calls first in a transaction that writes on this shard. Holds the fence until the transaction ends.
-- Refuses with DM001 stale epoch (DETAIL: the current one), DM002 this shard has not caught up (unknown subject, newer epoch, or
-- a cut in progress), DM003 frozen, DM004 moving in or not yet acknowledged, DM005 gone, DM006 no transaction_timeout of at most 1 s.
CREATE FUNCTION domicile.fence(id uuid, epoch bigint) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held    domicile.home%ROWTYPE;
    allowed interval := current_setting('transaction_timeout')::interval;
BEGIN
    IF allowed = interval '0' OR allowed > interval '1 second' THEN
        RAISE EXCEPTION 'set transaction_timeout to at most 1s before taking the fence' USING ERRCODE = 'DM006';
    END IF;
    IF EXISTS (SELECT 1 FROM domicile.closing AS c WHERE c.subject_id = $1) THEN
        RAISE EXCEPTION 'the fence of this subject is being raised' USING ERRCODE = 'DM002';
    END IF;
    SELECT f.* INTO held FROM domicile.home AS f WHERE f.subject_id = $1 FOR SHARE;
    IF NOT FOUND OR held.epoch < $2 THEN
        RAISE EXCEPTION 'this shard has not caught up' USING ERRCODE = 'DM002';
    END IF;
    IF held.epoch > $2 THEN
        RAISE EXCEPTION 'the epoch is an older one' USING ERRCODE = 'DM001', DETAIL = held.epoch::text;
    END IF;
    IF held.state = 'active' THEN
        RETURN;
    END IF;
    RAISE EXCEPTION 'the subject is %', held.state USING ERRCODE =
        CASE held.state WHEN 'frozen' THEN 'DM003' WHEN 'reserved' THEN 'DM004' WHEN 'moving_in' THEN 'DM004' ELSE 'DM005' END;
END $$;
REVOKE ALL ON FUNCTION domicile.fence(uuid, bigint) FROM PUBLIC;

GRANT USAGE ON SCHEMA domicile TO domicile_cell, domicile_records;
GRANT USAGE ON SCHEMA live TO domicile_records;
GRANT SELECT, INSERT, UPDATE ON domicile.home TO domicile_cell;
GRANT SELECT, INSERT, UPDATE, DELETE ON domicile.closing TO domicile_cell;
GRANT SELECT, INSERT ON domicile.outbox TO domicile_cell;
GRANT SELECT, INSERT, UPDATE ON domicile.shard TO domicile_cell;
GRANT SELECT ON domicile.home, domicile.closing TO domicile_records;
GRANT UPDATE (touched) ON domicile.home TO domicile_records;
GRANT EXECUTE ON FUNCTION domicile.fence(uuid, bigint) TO domicile_records;

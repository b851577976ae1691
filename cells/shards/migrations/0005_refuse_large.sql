-- What the statement of a write calls where its answer would be longer than is held: the error takes the write with it.
-- VOLATILE, so that it is never evaluated before its turn.

CREATE FUNCTION domicile.refuse_large() RETURNS text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'what the write gives back is too large to be held' USING ERRCODE = 'DM009';
END $$;
REVOKE ALL ON FUNCTION domicile.refuse_large() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION domicile.refuse_large() TO domicile_records;

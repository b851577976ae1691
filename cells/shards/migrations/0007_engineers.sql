-- Whose session a backend is, as the SQL door has found it; docs/decisions/0020-sql-door.md says why this decides what is shown. Which
-- roles may read it is said where the wall is made, since a server that has not been prepared for one has not got them.

CREATE TABLE domicile.engineer_session (
    pid           int         PRIMARY KEY,
    backend_start timestamptz NOT NULL,
    id            text        NOT NULL UNIQUE,
    grant_id      text        NOT NULL,
    inside        boolean     NOT NULL,
    purpose       text        NOT NULL,
    subjects      uuid[]      NOT NULL CHECK (cardinality(subjects) BETWEEN 1 AND 100),
    expires_at    timestamptz NOT NULL
);

-- What the asking backend may see now: one row, or none. At READ COMMITTED, where each look is at what is committed by then: under an
-- older snapshot a subject that has left, or a session that has ended, would be shown on. VOLATILE for the same reason, and never in
-- a parallel worker, which has another process id.
CREATE FUNCTION domicile.engineer_now() RETURNS TABLE (subjects uuid[], inside boolean, purpose text)
    LANGUAGE plpgsql VOLATILE ROWS 1 SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'rows are shown in transactions at READ COMMITTED only' USING ERRCODE = 'DM010';
    END IF;
    RETURN QUERY
        SELECT e.subjects, e.inside, e.purpose FROM domicile.engineer_session AS e
        JOIN pg_stat_get_activity(pg_backend_pid()) AS a ON a.pid = e.pid AND a.backend_start = e.backend_start
        WHERE e.pid = pg_backend_pid() AND e.expires_at > clock_timestamp();
END $$;
REVOKE ALL ON FUNCTION domicile.engineer_now() FROM PUBLIC;

GRANT SELECT, INSERT, UPDATE, DELETE ON domicile.engineer_session TO domicile_cell;

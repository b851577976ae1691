"""What whoever owns a database server does once for each shard's database, before a wall can stand in it: SQL for a superuser. Pure.

Roles: `domicile_engineer` is the only one that sessions of the door run as; `domicile_wall` owns the views and what they read through, and
nobody logs in as it; `domicile_trusted` is everybody but engineers. May run again, as it must after roles or functions were added.
"""

from cells.breakglass.wall.allowed import FUNCTIONS

ENGINEER = "domicile_engineer"
WALL = "domicile_wall"
TRUSTED = "domicile_trusted"
CELL = "domicile_cell"
OWNER = "domicile_owner"
RECORDS = "domicile_records"
SCHEMA = "wall"
"""Where the views are, and the only schema beside Postgres' own that engineers may look into."""
SERVER_SCHEMA = "domicile_server"
SESSIONS_MAX = 50
"""Sessions of engineers at once on one server."""
LET_IN_S_MAX = 60
SESSION_SETTINGS = (
    f"search_path={SCHEMA}, pg_catalog",
    "default_transaction_read_only=on",
    "statement_timeout=60s",
    "transaction_timeout=5min",
    "idle_in_transaction_session_timeout=60s",
    "temp_file_limit=1GB",
)
"""What a session begins with. It may change all but the last; nothing rests on the others."""

_ROLES = f"""
DO $do$
DECLARE
    name text;
BEGIN
    -- Roles are the server's: databases of several shards may be prepared at once.
    LOCK TABLE pg_catalog.pg_authid IN SHARE ROW EXCLUSIVE MODE;
    FOREACH name IN ARRAY ARRAY['{ENGINEER}', '{WALL}', '{TRUSTED}'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        END IF;
    END LOOP;
    ALTER ROLE {ENGINEER} NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT
        LOGIN CONNECTION LIMIT {SESSIONS_MAX} VALID UNTIL '-infinity';
    ALTER ROLE {WALL} NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOLOGIN;
    ALTER ROLE {TRUSTED} NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOLOGIN;
    GRANT {RECORDS} TO {WALL} WITH INHERIT TRUE, SET FALSE;
    GRANT {WALL} TO {OWNER} WITH INHERIT TRUE, SET TRUE;
    GRANT {ENGINEER} TO {WALL}, {CELL} WITH INHERIT TRUE, SET FALSE;
    FOR name IN SELECT r.rolname FROM pg_catalog.pg_roles AS r
                WHERE NOT r.rolsuper AND r.rolname NOT IN ('{ENGINEER}', '{TRUSTED}') AND r.rolname NOT LIKE 'pg@_%' ESCAPE '@'
                  AND NOT EXISTS (SELECT FROM pg_catalog.pg_auth_members AS m
                                  WHERE m.member = r.oid AND m.roleid = '{TRUSTED}'::regrole) LOOP
        EXECUTE format('GRANT {TRUSTED} TO %I', name);
    END LOOP;
END $do$;
"""  # noqa: S608 - names of ours

_DATABASE = f"""
DO $do$
BEGIN
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO {TRUSTED}', current_database());
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO {ENGINEER}', current_database());
END $do$;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA IF NOT EXISTS {SCHEMA} AUTHORIZATION {WALL};
CREATE SCHEMA IF NOT EXISTS {SERVER_SCHEMA};
"""

_FUNCTIONS = f"""
DO $do$
DECLARE
    listed text;
BEGIN
    FOR listed IN
        SELECT string_agg(one.name, ', ') FROM (
            SELECT p.oid::regprocedure::text AS name, row_number() OVER () / 200 AS batch
            FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
            WHERE n.nspname NOT IN ('{SCHEMA}', '{SERVER_SCHEMA}') AND n.nspname NOT LIKE 'pg@_temp@_%' ESCAPE '@'
              AND p.oid NOT IN ({FUNCTIONS})
              AND EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
                          WHERE a.grantee = 0 AND a.privilege_type = 'EXECUTE')
        ) AS one GROUP BY one.batch
    LOOP
        EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO {TRUSTED}', listed);
        EXECUTE format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC', listed);
    END LOOP;
    FOR listed IN SELECT l.lanname FROM pg_catalog.pg_language AS l WHERE l.lanpltrusted AND l.lanname <> 'sql' LOOP
        EXECUTE format('GRANT USAGE ON LANGUAGE %I TO {TRUSTED}', listed);
        EXECUTE format('REVOKE USAGE ON LANGUAGE %I FROM PUBLIC', listed);
    END LOOP;
END $do$;
"""  # noqa: S608 - names of ours

_SETTINGS = "ARRAY[" + ", ".join(f"'{one}'" for one in SESSION_SETTINGS) + "]::text[]"
_HAS = f"""SELECT one FROM pg_catalog.pg_db_role_setting AS s CROSS JOIN LATERAL unnest(s.setconfig) AS one
        LEFT JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase WHERE s.setrole = '{ENGINEER}'::regrole"""  # noqa: S608 - a name of ours
_LOGGED = "'log@_statement=%' ESCAPE '@'"

_LET_IN = f"""
-- Lets the door log in for some seconds with the password that the verifier (RFC 5803) is of. A role may change its own password and
-- settings, which is not to be prevented: each opening puts both back, and after it no password is good.
CREATE OR REPLACE FUNCTION {SERVER_SCHEMA}.let_in(verifier text, seconds int) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $let_in$
DECLARE
    setting text;
    kept    text[];
BEGIN
    IF verifier !~ '^SCRAM-SHA-256[$][0-9]+:[A-Za-z0-9+/=]+[$][A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+$' THEN
        RAISE EXCEPTION 'no SCRAM verifier' USING ERRCODE = 'DM011';
    END IF;
    IF seconds NOT BETWEEN 1 AND {LET_IN_S_MAX} THEN
        RAISE EXCEPTION 'a login is let in for 1 to {LET_IN_S_MAX} seconds' USING ERRCODE = 'DM011';
    END IF;
    -- Two at once would not see each other's change, and one would fail.
    LOCK TABLE pg_catalog.pg_authid IN SHARE ROW EXCLUSIVE MODE;
    EXECUTE format('ALTER ROLE {ENGINEER} PASSWORD %L VALID UNTIL %L', verifier, clock_timestamp() + make_interval(secs => seconds));
    -- What is logged of engineers only a superuser can have set, and by it Postgres can be asked what they ran: it stays.
    IF EXISTS ({_HAS} AND d.datname = current_database() AND one NOT LIKE {_LOGGED}) THEN
        kept := ARRAY({_HAS} AND d.datname = current_database() AND one LIKE {_LOGGED});
        EXECUTE format('ALTER ROLE {ENGINEER} IN DATABASE %I RESET ALL', current_database());
        FOREACH setting IN ARRAY kept LOOP
            EXECUTE format('ALTER ROLE {ENGINEER} IN DATABASE %I SET %s = %L', current_database(), split_part(setting, '=', 1),
                split_part(setting, '=', 2));
        END LOOP;
    END IF;
    kept := ARRAY({_HAS} AND s.setdatabase = 0 AND one LIKE {_LOGGED});
    IF {_SETTINGS} || kept IS DISTINCT FROM (
        SELECT s.setconfig FROM pg_catalog.pg_db_role_setting AS s WHERE s.setrole = '{ENGINEER}'::regrole AND s.setdatabase = 0
    ) THEN
        ALTER ROLE {ENGINEER} RESET ALL;
        FOREACH setting IN ARRAY {_SETTINGS} || kept LOOP
            EXECUTE format(CASE WHEN setting LIKE 'search_path=%' THEN 'ALTER ROLE {ENGINEER} SET %s = %s' ELSE
                'ALTER ROLE {ENGINEER} SET %s = %L' END, split_part(setting, '=', 1), split_part(setting, '=', 2));
        END LOOP;
    END IF;
END $let_in$;
REVOKE ALL ON FUNCTION {SERVER_SCHEMA}.let_in(text, int) FROM PUBLIC;
GRANT USAGE ON SCHEMA {SERVER_SCHEMA} TO {CELL};
GRANT EXECUTE ON FUNCTION {SERVER_SCHEMA}.let_in(text, int) TO {CELL};
"""  # noqa: S608 - names of ours


def preparation() -> str:
    """One script for one database, in one transaction."""
    return f"BEGIN;\nSET LOCAL search_path = pg_catalog;\n{_ROLES}{_DATABASE}{_FUNCTIONS}{_LET_IN}COMMIT;\n"

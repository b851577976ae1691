"""Does the wall stand? What the catalogue says of the engineers' role, held against what it may have. Nothing found: it may be let in.

How the server came to be as it is does not matter here; what was granted since, by anybody, does.
"""

from collections.abc import Sequence

from cells.breakglass.wall.allowed import FIRST_OF_USERS, FUNCTIONS
from cells.breakglass.wall.server import CELL, ENGINEER, SCHEMA, SERVER_SCHEMA, WALL
from foundation.postgres import Connection

FINDINGS_MAX = 20

# purpose: what is missing of the server's preparation, or of the views ($1: their names); one row each
MISSING = f"""
SELECT 'the server is not prepared: no role or schema ' || one.name AS finding
FROM (VALUES (to_regrole('{ENGINEER}') IS NULL, '{ENGINEER}'), (to_regrole('{WALL}') IS NULL, '{WALL}'),
             (to_regnamespace('{SCHEMA}') IS NULL, '{SCHEMA}'),
             (to_regnamespace('{SERVER_SCHEMA}') IS NULL, '{SERVER_SCHEMA}')) AS one(missing, name) WHERE one.missing
UNION ALL
SELECT 'no view of ' || name FROM unnest($1::text[]) AS name
WHERE NOT EXISTS (
  SELECT FROM pg_catalog.pg_class AS c WHERE c.relnamespace = to_regnamespace('{SCHEMA}') AND c.relname = name AND c.relkind = 'v'
    AND has_table_privilege(to_regrole('{ENGINEER}'), c.oid, 'SELECT'))
"""  # noqa: S608 - names of ours

# purpose: everything that the engineers' role may do and should not, one row each
OPEN = f"""
WITH engineer AS (SELECT r.* FROM pg_catalog.pg_roles AS r WHERE r.rolname = '{ENGINEER}'),
schemas AS (SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace AS n, engineer AS e WHERE has_schema_privilege(e.oid, n.oid, 'USAGE')),
allowed AS ({FUNCTIONS})
SELECT 'it has rights of the whole server' AS finding FROM engineer AS e
WHERE e.rolsuper OR e.rolcreaterole OR e.rolcreatedb OR e.rolreplication OR e.rolbypassrls
UNION ALL
SELECT 'its password is good without end' FROM engineer AS e WHERE e.rolvaliduntil IS NULL
UNION ALL
SELECT 'it is a member of ' || m.roleid::regrole::text FROM pg_catalog.pg_auth_members AS m JOIN engineer AS e ON e.oid = m.member
UNION ALL
SELECT 'it owns ' || d.classid::regclass::text || ' ' || d.objid::text FROM pg_catalog.pg_shdepend AS d
JOIN engineer AS e ON d.refclassid = 'pg_catalog.pg_authid'::regclass AND d.refobjid = e.oid
WHERE d.deptype = 'o' AND d.classid <> 'pg_catalog.pg_default_acl'::regclass -- of what it will make: nothing
UNION ALL
SELECT 'it may use the database for ' || p FROM unnest(ARRAY['TEMPORARY', 'CREATE']) AS p, engineer AS e
WHERE has_database_privilege(e.oid, current_database(), p)
UNION ALL
SELECT 'it may create in schema ' || n.nspname FROM pg_catalog.pg_namespace AS n, engineer AS e
WHERE has_schema_privilege(e.oid, n.oid, 'CREATE')
UNION ALL
SELECT 'it may use schema ' || s.nspname FROM schemas AS s
WHERE s.nspname NOT IN ('pg_catalog', 'information_schema', 'public', '{SCHEMA}')
UNION ALL
SELECT 'it may read ' || c.oid::regclass::text FROM pg_catalog.pg_class AS c JOIN schemas AS s ON s.oid = c.relnamespace, engineer AS e
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND has_any_column_privilege(e.oid, c.oid, 'SELECT')
  AND NOT (s.nspname = 'information_schema' AND c.oid < {FIRST_OF_USERS})
  AND NOT (s.nspname = 'pg_catalog' AND EXISTS (
    SELECT FROM pg_catalog.pg_init_privs AS i CROSS JOIN LATERAL aclexplode(i.initprivs) AS a
    WHERE i.classoid = 'pg_catalog.pg_class'::regclass AND i.objoid = c.oid AND a.grantee = 0 AND a.privilege_type = 'SELECT'))
  AND NOT (s.nspname = '{SCHEMA}' AND c.relkind = 'v' AND c.relname = ANY ($1::text[]) AND c.relowner = to_regrole('{WALL}')
           AND coalesce(c.reloptions, '{{}}') @> ARRAY['security_barrier=true'])
UNION ALL
SELECT 'it may read a sequence ' || c.oid::regclass::text FROM pg_catalog.pg_class AS c JOIN schemas AS s ON s.oid = c.relnamespace,
       engineer AS e
WHERE c.relkind = 'S' AND has_sequence_privilege(e.oid, c.oid, 'USAGE, SELECT, UPDATE')
UNION ALL
SELECT 'it may write ' || c.oid::regclass::text FROM pg_catalog.pg_class AS c JOIN schemas AS s ON s.oid = c.relnamespace, engineer AS e
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.oid <> 'pg_catalog.pg_settings'::regclass
  AND (has_table_privilege(e.oid, c.oid, 'DELETE, TRUNCATE, TRIGGER, MAINTAIN')
       OR has_any_column_privilege(e.oid, c.oid, 'INSERT, UPDATE, REFERENCES'))
UNION ALL
SELECT 'it may run ' || p.oid::regprocedure::text FROM pg_catalog.pg_proc AS p, engineer AS e
WHERE p.oid NOT IN (SELECT oid FROM allowed) AND has_function_privilege(e.oid, p.oid, 'EXECUTE')
  AND (p.pronamespace IN (SELECT oid FROM schemas)
       OR p.oid IN (SELECT c.castfunc FROM pg_catalog.pg_cast AS c WHERE c.oid >= {FIRST_OF_USERS})
       OR p.oid IN (SELECT o.oprcode FROM pg_catalog.pg_operator AS o WHERE o.oprnamespace IN (SELECT oid FROM schemas))
       OR p.oid IN (SELECT coalesce(o.oprcode::oid, d.refobjid)
                    FROM pg_catalog.pg_depend AS d JOIN pg_catalog.pg_constraint AS k ON k.oid = d.objid
                    JOIN pg_catalog.pg_type AS t ON t.oid = k.contypid
                    LEFT JOIN pg_catalog.pg_operator AS o ON d.refclassid = 'pg_catalog.pg_operator'::regclass AND o.oid = d.refobjid
                    WHERE d.classid = 'pg_catalog.pg_constraint'::regclass
                      AND d.refclassid IN ('pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_operator'::regclass)
                      AND t.typnamespace IN (SELECT oid FROM schemas)))
  AND NOT (p.pronamespace = to_regnamespace('{SCHEMA}') AND p.proowner = to_regrole('{WALL}') AND p.pronargs = 0
           AND p.proname = ANY ($1::text[]))
UNION ALL
SELECT 'it may write in language ' || l.lanname FROM pg_catalog.pg_language AS l, engineer AS e
WHERE l.lanpltrusted AND l.lanname <> 'sql' AND has_language_privilege(e.oid, l.oid, 'USAGE')
UNION ALL
SELECT 'it may use server ' || f.srvname FROM pg_catalog.pg_foreign_server AS f, engineer AS e
WHERE has_server_privilege(e.oid, f.oid, 'USAGE')
UNION ALL
SELECT 'it may set ' || a.parname FROM pg_catalog.pg_parameter_acl AS a, engineer AS e
WHERE has_parameter_privilege(e.oid, a.parname, 'SET, ALTER SYSTEM')
UNION ALL
SELECT 'it may make servers of ' || w.fdwname FROM pg_catalog.pg_foreign_data_wrapper AS w, engineer AS e
WHERE has_foreign_data_wrapper_privilege(e.oid, w.oid, 'USAGE')
LIMIT {FINDINGS_MAX}
"""  # noqa: S608 - names of ours

# purpose: what else the cell's own role has to be able to do: see when an engineer's backend began, and end it
ABLE = f"""
SELECT pg_has_role('{CELL}', '{ENGINEER}', 'USAGE')
   AND coalesce(has_function_privilege('{CELL}', to_regprocedure('{SERVER_SCHEMA}.let_in(text, int)'), 'EXECUTE'), false)
"""


async def missing(connection: Connection, tables: Sequence[str]) -> tuple[str, ...]:
    """What an installation, or a preparation of the server, would bring. Role domicile_cell. Raises asyncpg errors."""
    found = tuple(str(row["finding"]) for row in await connection.fetch(MISSING, list(tables)))
    if found or await connection.fetchval(ABLE):
        return found
    return (f"the server is not prepared: {CELL} may let nobody in",)


async def openings(connection: Connection, tables: Sequence[str]) -> tuple[str, ...]:
    """What engineers could do that they should not, at most FINDINGS_MAX of them. The same."""
    return tuple(str(row["finding"]) for row in await connection.fetch(OPEN, list(tables)))

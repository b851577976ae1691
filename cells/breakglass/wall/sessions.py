"""SQL on whose session a backend is. Role domicile_cell, which sees when engineers' backends began and may end them.

A backend is known by its process and when it began: a process id comes again, both together do not.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

from cells.breakglass.door.ports import Session
from cells.breakglass.wall.server import ENGINEER, SERVER_SCHEMA
from foundation.postgres import Connection
from foundation.words import SubjectId

Homes: TypeAlias = frozenset[SubjectId]

UNADMITTED_S_MAX = 15
"""A backend of engineers that nobody has admitted by then is ended."""
TRANSACTION_S_MAX = 300
"""How long one transaction of an engineer may hold product's tables, which migrations wait for."""

# purpose: let the door log in as engineers' role for some seconds, with this verifier's password
LET_IN = f"SELECT {SERVER_SCHEMA}.let_in($1, $2)"

# purpose: the backend is this session's from now on; none where there is no such backend of engineers here, or it is somebody's already
ADMIT = f"""
INSERT INTO domicile.engineer_session AS e (pid, backend_start, id, grant_id, inside, purpose, subjects, expires_at)
SELECT a.pid, a.backend_start, $2, $3, $4, $5, ARRAY(SELECT DISTINCT unnest($6::uuid[])), to_timestamp($7::double precision)
FROM pg_catalog.pg_stat_get_activity($1) AS a
WHERE a.usesysid = '{ENGINEER}'::regrole AND a.datid = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
  AND to_timestamp($7::double precision) > clock_timestamp()
ON CONFLICT (pid) DO UPDATE SET backend_start = excluded.backend_start, id = excluded.id, grant_id = excluded.grant_id,
  inside = excluded.inside, purpose = excluded.purpose, subjects = excluded.subjects, expires_at = excluded.expires_at
WHERE e.backend_start <> excluded.backend_start
RETURNING extract(epoch FROM e.backend_start)::double precision
"""  # noqa: S608 - a name of ours

# purpose: the session shows nothing from now on
LEAVE = "DELETE FROM domicile.engineer_session WHERE id = $1 RETURNING pid, backend_start"

# purpose: end a backend, if it is still the one that was meant
END = """
SELECT pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_get_activity($1) AS a WHERE a.backend_start = $2
"""

# purpose: rows of sessions that are over, or whose backend is gone
SWEEP = """
DELETE FROM domicile.engineer_session AS e WHERE e.expires_at <= clock_timestamp()
   OR NOT EXISTS (SELECT FROM pg_catalog.pg_stat_get_activity(NULL) AS a WHERE a.pid = e.pid AND a.backend_start = e.backend_start)
RETURNING e.id
"""

# purpose: backends of engineers in this database that are nobody's session (any more), hold one transaction for too long, or are changing
# their own role in one, for which every other opening would wait
STRAY = f"""
SELECT a.pid, a.backend_start FROM pg_catalog.pg_stat_get_activity(NULL) AS a
JOIN pg_catalog.pg_database AS d ON d.oid = a.datid AND d.datname = current_database()
WHERE a.usesysid = '{ENGINEER}'::regrole
  AND ((a.backend_start < clock_timestamp() - make_interval(secs => $1) AND NOT EXISTS (
          SELECT FROM domicile.engineer_session AS e WHERE e.pid = a.pid AND e.backend_start = a.backend_start))
       OR a.xact_start < clock_timestamp() - make_interval(secs => $2)
       OR EXISTS (SELECT FROM pg_catalog.pg_locks AS l WHERE l.pid = a.pid AND l.mode <> 'AccessShareLock'
                  AND l.relation IN ('pg_catalog.pg_authid'::regclass, 'pg_catalog.pg_db_role_setting'::regclass)))
"""  # noqa: S608 - a name of ours

# purpose: of sessions ($1: of one) whose subjects are at home here, and which are in the middle of a transaction
HOMES = """
SELECT e.id, e.pid, e.backend_start, a.xact_start IS NOT NULL AS busy, ARRAY(
  SELECT h.subject_id FROM domicile.home AS h WHERE h.subject_id = ANY (e.subjects) AND h.state IN ('active', 'frozen')) AS here
FROM domicile.engineer_session AS e JOIN pg_catalog.pg_stat_get_activity(NULL) AS a ON a.pid = e.pid AND a.backend_start = e.backend_start
WHERE $1::text IS NULL OR e.id = $1
"""

# purpose: the columns of the views, as RowDescription names them
COLUMNS = """
SELECT c.oid::bigint AS relation, a.attnum::int AS number, c.relname::text AS name, a.attname::text AS column
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = to_regnamespace($1) AND c.relkind = 'v'
"""


async def admit(connection: Connection, session: Session, pid: int) -> float | None:
    """When the backend began (unix seconds); None: it is none that can be admitted. Raises asyncpg errors."""
    began = await connection.fetchval(
        ADMIT,
        pid,
        session.id,
        session.grant,
        session.inside,
        session.purpose,
        list(session.subjects),
        session.expires_at,
    )
    return None if began is None else float(began)


async def leave(connection: Connection, session_id: str) -> bool:
    """The row first: whatever becomes of the backend, it is shown nothing. Raises asyncpg errors."""
    row = await connection.fetchrow(LEAVE, session_id)
    if row is None:
        return False
    await connection.fetch(END, row["pid"], row["backend_start"])
    return True


async def sweep(
    connection: Connection, *, unadmitted_s: float = UNADMITTED_S_MAX, transaction_s: float = TRANSACTION_S_MAX
) -> tuple[int, int]:
    """How many rows went, how many backends were ended. Raises asyncpg errors."""
    gone = await connection.fetch(SWEEP)
    strays = await connection.fetch(STRAY, float(unadmitted_s), float(transaction_s))
    for row in strays:
        await connection.fetch(END, row["pid"], row["backend_start"])
    return len(gone), len(strays)


async def homes(connection: Connection, session_id: str) -> Homes:
    """The subjects of a session that are at home here. Raises asyncpg errors."""
    row = await connection.fetchrow(HOMES, session_id)
    return frozenset() if row is None else _here(row)


async def parted(connection: Connection, before: Mapping[str, Homes]) -> tuple[dict[str, Homes], int]:
    """Who is at home now, by session, and how many backends were ended, in whose transaction somebody has left: what a cursor has read
    stays in it. `before`: as they were. Raises asyncpg errors."""
    rows = await connection.fetch(HOMES, None)
    now = {row["id"]: _here(row) for row in rows}
    gone = [row for row in rows if row["busy"] and before.get(row["id"], frozenset()) - now[row["id"]]]
    for row in gone:
        await connection.fetch(END, row["pid"], row["backend_start"])
    return now, len(gone)


def _here(row: Any) -> Homes:
    return frozenset(SubjectId(str(one)) for one in row["here"])


async def columns(connection: Connection, schema: str) -> dict[tuple[int, int], tuple[str, str]]:
    """(relation, number) → (table, column). Raises asyncpg errors."""
    rows = await connection.fetch(COLUMNS, schema)
    return {(row["relation"], row["number"]): (row["name"], row["column"]) for row in rows}

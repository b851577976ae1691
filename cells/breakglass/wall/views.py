"""The views of engineers, made from contracts: one a table, over a function that reads `live.<table>` for the asking session alone.

The function is the wall. It runs with the rights of `domicile_wall`, finds the session by its backend and gives back what the masks leave;
nothing of a caller's statement comes into it, so no condition runs on a value or a row that is not shown, and no plan, estimate or
statistic of the tables comes out. The view gives it a name and columns (docs/decisions/0020-sql-door.md).
"""

import hashlib
from collections.abc import Mapping

from cells.breakglass.wall.masks import expression, shown
from cells.breakglass.wall.server import ENGINEER, SCHEMA, WALL
from cells.records.contracts import TYPES, Contract
from foundation.postgres import Connection

# purpose: make views one starter at a time
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('domicile.wall', 0))"

# purpose: sessions that read a view which is replaced are waited for so long
WAIT = "SET LOCAL lock_timeout = '5s'"

# purpose: a function's body is not looked at when it is made: the table under it may be there or not
UNCHECKED = "SET LOCAL check_function_bodies = off"

# purpose: the server has been prepared for a wall in this database
PREPARED = f"SELECT to_regrole('{WALL}') IS NOT NULL AND to_regrole('{ENGINEER}') IS NOT NULL AND to_regnamespace('{SCHEMA}') IS NOT NULL"

# purpose: what the wall's functions look up, beside what the records role may read
LOOK_UP = (
    f"GRANT USAGE ON SCHEMA domicile TO {WALL}",
    f"GRANT SELECT ON domicile.engineer_session TO {WALL}",
    f"GRANT EXECUTE ON FUNCTION domicile.engineer_now() TO {WALL}",
)

# purpose: views that stand, with the digest of what they were made from
STANDING = f"""
SELECT c.relname::text AS name, coalesce(obj_description(c.oid, 'pg_class'), '') AS made_from
FROM pg_catalog.pg_class AS c WHERE c.relnamespace = '{SCHEMA}'::regnamespace AND c.relkind = 'v'
"""  # noqa: S608 - a name of ours


def body(contract: Contract) -> str:
    """What the function reads: rows of the session's subjects that are at home here, masked. Identifiers come from the checked contract."""
    columns = ", ".join(f'{expression(contract, name)} AS "{name}"' for name in shown(contract))
    return (
        f"SELECT {columns} FROM domicile.engineer_now() AS s CROSS JOIN LATERAL unnest(s.subjects) AS u(subject) "  # noqa: S608
        f'JOIN live."{contract.table}" AS t ON t."{contract.placed_by}" = u.subject'
    )


def statements(contract: Contract) -> tuple[str, ...]:
    """What makes the function and the view over it. Pure.

    Settings that change how the body's text is read are the function's own, and the one by which its plan, made by the tables' statistics,
    could be told to a client that asks for it (`debug_print_plan`). It is never taken apart by the planner (SECURITY DEFINER), and
    VOLATILE: each scan looks at what is committed by then.
    """
    name = f'{SCHEMA}."{contract.table}"'
    columns = ", ".join(f'"{column}"' for column in shown(contract))
    typed = ", ".join(f'"{column}" {TYPES[contract.columns[column].type]}' for column in shown(contract))
    made = (
        f"CREATE FUNCTION {name}() RETURNS TABLE ({typed}) LANGUAGE sql VOLATILE SECURITY DEFINER "
        "SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on SET transform_null_equals = off "
        "SET client_min_messages = warning "
        f"AS $wall${body(contract)}$wall$"
    )
    return (
        made,
        f"REVOKE ALL ON FUNCTION {name}() FROM PUBLIC",
        f"CREATE VIEW {name} WITH (security_barrier) AS SELECT {columns} FROM {name}()",  # noqa: S608 - as above
    )


def grants(table: str) -> tuple[str, ...]:
    """What lets engineers in. Given anew at each installation."""
    return (
        f'GRANT EXECUTE ON FUNCTION {SCHEMA}."{table}"() TO {ENGINEER}',
        f'GRANT SELECT ON {SCHEMA}."{table}" TO {ENGINEER}',
    )


async def install(connection: Connection, contracts: Mapping[str, Contract]) -> bool:
    """Makes the wall what the contracts say. Role domicile_owner. Idempotent; two starters take turns. False: the server is not prepared.

    Raises asyncpg errors.
    """
    if not await connection.fetchval(PREPARED):
        return False
    async with connection.transaction():
        await connection.execute(LOCK)
        await connection.execute(WAIT)
        await connection.execute(UNCHECKED)
        for statement in LOOK_UP:
            await connection.execute(statement)
        await connection.execute(f"SET LOCAL ROLE {WALL}")
        await connection.execute(f"GRANT USAGE ON SCHEMA {SCHEMA} TO {ENGINEER}")
        standing = {row["name"]: row["made_from"] for row in await connection.fetch(STANDING)}
        wanted = {name: digest(contract) for name, contract in contracts.items() if shown(contract)}
        for name in sorted(name for name in standing if standing[name] != wanted.get(name)):
            await connection.execute(f'DROP VIEW {SCHEMA}."{name}"')
            await connection.execute(f'DROP FUNCTION IF EXISTS {SCHEMA}."{name}"()')
        for name, made_from in wanted.items():
            if standing.get(name) != made_from:
                await _make(connection, contracts[name], made_from)
            for statement in grants(name):
                await connection.execute(statement)
    return True


async def _make(connection: Connection, contract: Contract, made_from: str) -> None:
    await connection.execute(f'DROP FUNCTION IF EXISTS {SCHEMA}."{contract.table}"()')
    for statement in statements(contract):
        await connection.execute(statement)
    await connection.execute(f"COMMENT ON VIEW {SCHEMA}.\"{contract.table}\" IS '{made_from}'")


def digest(contract: Contract) -> str:
    return hashlib.sha256("\n".join(statements(contract)).encode()).hexdigest()

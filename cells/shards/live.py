"""Live views: `live.<table>` shows the classified columns of rows whose subject is at home here (active or frozen).

A view reads its table through a function whose body is text, so Postgres records no dependency on the table: a product's migration
drops, retypes and renames what it likes, and the view finds the table by its name again. The planner takes such a function apart: rows
are found as in a plain view (docs/decisions/0013-schema-life.md). Views are made from contracts alone, by the owner, when a shard is
opened; no lock on a product's table is taken for them.
"""

from collections.abc import Mapping

import asyncpg

from cells.records.contracts import TYPES, Contract
from foundation.postgres import Connection

# purpose: regenerate views one starter at a time
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('domicile.live', 0))"

# purpose: readers of a view that is replaced are waited for so long; then the shard is opened anew
WAIT = "SET LOCAL lock_timeout = '5s'"

# purpose: a function's body is not looked at when it is made, which would wait for whoever changes the table
UNCHECKED = "SET LOCAL check_function_bodies = off"

# purpose: views that stand, with the text they were made from
STANDING = """
SELECT c.relname::text AS name, coalesce(obj_description(c.oid, 'pg_class'), '') AS made_from
FROM pg_catalog.pg_class AS c WHERE c.relnamespace = to_regnamespace('live') AND c.relkind = 'v'
"""


_WITHOUT = 'DROP FUNCTION IF EXISTS live."{}"()'


def view_sql(contract: Contract) -> str:
    """The SELECT that `live.<table>` stands for. Identifiers come from the checked contract. Pure."""
    columns = ", ".join(f't."{name}"' for name in contract.classified)
    return (
        f'SELECT {columns} FROM product."{contract.table}" AS t '  # noqa: S608 - identifiers of a checked contract
        f"JOIN domicile.home AS f ON f.subject_id = t.\"{contract.placed_by}\" WHERE f.state IN ('active', 'frozen')"
    )


def statements(contract: Contract) -> tuple[str, ...]:
    """What makes the view and the function under it. Pure.

    No security_barrier: the planner would plan the view by itself, without order and limit, and read all of a subject's rows for a page.
    """
    name, classified = f'live."{contract.table}"', contract.classified
    columns = ", ".join(f'"{column}"' for column in classified)
    typed = ", ".join(f'"{column}" {TYPES[contract.columns[column].type]}' for column in classified)
    return (
        f"CREATE FUNCTION {name}() RETURNS TABLE ({typed}) LANGUAGE sql STABLE PARALLEL SAFE AS $live${view_sql(contract)}$live$",
        f"REVOKE ALL ON FUNCTION {name}() FROM PUBLIC",
        f"GRANT EXECUTE ON FUNCTION {name}() TO domicile_records",
        f"CREATE VIEW {name} AS SELECT {columns} FROM {name}()",  # noqa: S608 - as above
        f"GRANT SELECT ON {name} TO domicile_records",
    )


async def regenerate(connection: Connection, contracts: Mapping[str, Contract]) -> None:
    """Makes `live` what the contracts say, whether the tables are there or not. Idempotent; two starters take turns."""
    async with connection.transaction():
        await connection.execute(LOCK)
        await connection.execute(WAIT)
        await connection.execute(UNCHECKED)
        standing = {row["name"]: row["made_from"] for row in await connection.fetch(STANDING)}
        wanted = {name: "\n".join(statements(contract)) for name, contract in contracts.items()}
        for name in sorted(name for name in standing if standing[name] != wanted.get(name)):
            await connection.execute(f'DROP VIEW live."{name}"')
            await connection.execute(_WITHOUT.format(name))
        for name, contract in contracts.items():
            if standing.get(name) != wanted[name]:
                await _make(connection, contract, wanted[name])


async def _make(connection: Connection, contract: Contract, made_from: str) -> None:
    await connection.execute(_WITHOUT.format(contract.table))
    for statement in statements(contract):
        await connection.execute(statement)
    await connection.execute(f'COMMENT ON VIEW live."{contract.table}" IS {await _literal(connection, made_from)}')


async def _literal(connection: Connection, text: str) -> str:
    quoted = await connection.fetchval("SELECT quote_literal($1::text)", text)
    if not isinstance(quoted, str):
        raise asyncpg.InterfaceError("quote_literal answered nothing")
    return quoted

"""Live views, and whether a table is what its contract says. Run by the owner when a shard is opened.

`live.<table>` shows the classified columns of rows whose subject is at home here (active or frozen). A table that does not fit its
contract is refused alone: its view goes, and the records API answers 503 for it with the reason.
"""

from collections.abc import Iterable, Mapping

import asyncpg
import msgspec

from cells.records.contracts import TYPES, Contract
from foundation import logs
from foundation.postgres import Connection

log = logs.get(__name__)

# purpose: regenerate views one starter at a time
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('domicile.live', 0))"

# purpose: a table's columns with Postgres's own type names
COLUMNS = """
SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type
FROM pg_catalog.pg_attribute AS a
WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
"""

# purpose: what kind of relation it is (r table, p partitioned table)
KIND = "SELECT relkind::text FROM pg_catalog.pg_class WHERE oid = to_regclass($1)"

# purpose: columns of each primary key, unique index and foreign key
KEYS = """
SELECT 'unique' AS kind, i.indisprimary AS is_primary, i.indexrelid::regclass::text AS name,
       array_agg(coalesce(a.attname::text, '(expression)') ORDER BY k.place) AS columns
FROM pg_catalog.pg_index AS i
CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND k.attnum > 0
WHERE i.indrelid = to_regclass($1) AND i.indisunique AND k.place <= i.indnkeyatts
GROUP BY i.indexrelid, i.indisprimary
UNION ALL
SELECT 'foreign', false, c.conname::text, array_agg(a.attname::text ORDER BY k.place)
FROM pg_catalog.pg_constraint AS c
CROSS JOIN LATERAL unnest(c.conkey) WITH ORDINALITY AS k(attnum, place)
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = k.attnum
WHERE c.conrelid = to_regclass($1) AND c.contype = 'f'
GROUP BY c.conname
"""

# purpose: rights that the records role lacks on the table
MISSING_RIGHTS = """
SELECT p FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p
WHERE NOT has_schema_privilege('domicile_records', 'product', 'USAGE') OR NOT has_table_privilege('domicile_records', $1, p)
"""

# purpose: views that stand, with the text they were made from
STANDING = """
SELECT c.relname::text AS name, coalesce(obj_description(c.oid, 'pg_class'), '') AS made_from
FROM pg_catalog.pg_class AS c WHERE c.relnamespace = to_regnamespace('live') AND c.relkind = 'v'
"""


class Key(msgspec.Struct, frozen=True):
    """A unique index or foreign key of a table."""

    kind: str
    is_primary: bool
    name: str
    columns: tuple[str, ...]


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """What the catalogue says of a table. `types` is empty where there is none."""

    kind: str | None
    types: dict[str, str]
    keys: tuple[Key, ...]
    missing_rights: tuple[str, ...]


def mismatch(contract: Contract, table: Table) -> str | None:
    """Why the table is not what its contract says, in words for the operator, or None. Pure."""
    name = f"product.{contract.table}"
    if table.kind not in ("r", "p"):
        return f"there is no table {name}"
    for column, stated in contract.columns.items():
        found = table.types.get(column)
        if found is None:
            return f"{name} has no column {column}"
        if found != TYPES[stated.type]:
            return f"{name}.{column} is {found}, the contract says {stated.type}"
    return _mismatch_in_keys(contract, table) or (
        f"role domicile_records lacks {', '.join(table.missing_rights)} on {name}" if table.missing_rights else None
    )


def _mismatch_in_keys(contract: Contract, table: Table) -> str | None:
    name = f"product.{contract.table}"
    primary = next((key.columns for key in table.keys if key.is_primary), None)
    if primary != (contract.placed_by, "id"):
        return f"the primary key of {name} must be ({contract.placed_by}, id)"
    for key in table.keys:
        if contract.placed_by not in key.columns:
            return f"{key.kind} key {key.name} of {name} must contain {contract.placed_by}"
    return None


def view_sql(contract: Contract) -> str:
    """The SELECT that `live.<table>` stands for. Identifiers come from the checked contract. Pure."""
    columns = ", ".join(f't."{name}"' for name in contract.classified)
    return (
        f'SELECT {columns} FROM product."{contract.table}" AS t '  # noqa: S608 - identifiers of a checked contract
        f"JOIN domicile.home AS f ON f.subject_id = t.\"{contract.placed_by}\" WHERE f.state IN ('active', 'frozen')"
    )


async def inspect(connection: Connection, contract: Contract) -> Table:
    """What the catalogue says of the contract's table."""
    name = f'product."{contract.table}"'
    kind = await connection.fetchval(KIND, name)
    if kind is None:
        return Table(kind=None, types={}, keys=(), missing_rights=())
    types = {row["name"]: row["type"] for row in await connection.fetch(COLUMNS, name)}
    keys = tuple(
        Key(row["kind"], row["is_primary"], row["name"], tuple(row["columns"]))
        for row in await connection.fetch(KEYS, name)
    )
    missing = tuple(row["p"] for row in await connection.fetch(MISSING_RIGHTS, name))
    return Table(kind=kind, types=types, keys=keys, missing_rights=missing)


async def regenerate(connection: Connection, contracts: Mapping[str, Contract]) -> dict[str, str]:
    """Makes `live` what the contracts say; answers the refused tables with reasons. Idempotent; two starters take turns."""
    async with connection.transaction():
        await connection.execute(LOCK)
        reasons = {
            name: mismatch(contract, await inspect(connection, contract)) for name, contract in contracts.items()
        }
        refused = {name: reason for name, reason in reasons.items() if reason is not None}
        standing = {row["name"]: row["made_from"] for row in await connection.fetch(STANDING)}
        await _drop(connection, standing.keys() - contracts.keys() | (standing.keys() & refused.keys()))
        for name, contract in contracts.items():
            if name not in refused and standing.get(name) != view_sql(contract):
                await _make(connection, contract)
    for name, reason in refused.items():
        log.error("table_refused", table=name, reason=reason)
    return refused


async def _drop(connection: Connection, names: Iterable[str]) -> None:
    for name in sorted(names):
        await connection.execute(f'DROP VIEW live."{name}"')


async def _make(connection: Connection, contract: Contract) -> None:
    select = view_sql(contract)
    view = f'live."{contract.table}"'
    await connection.execute(f"DROP VIEW IF EXISTS {view}")
    await connection.execute(f"CREATE VIEW {view} WITH (security_barrier) AS {select}")
    await connection.execute(f"COMMENT ON VIEW {view} IS {await _literal(connection, select)}")
    await connection.execute(f"GRANT SELECT ON {view} TO domicile_records")


async def _literal(connection: Connection, text: str) -> str:
    quoted = await connection.fetchval("SELECT quote_literal($1::text)", text)
    if not isinstance(quoted, str):
        raise asyncpg.InterfaceError("quote_literal answered nothing")
    return quoted

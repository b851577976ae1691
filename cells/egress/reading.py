"""Rows of a product's table for egress, page by page in the order of their key: of subjects who are active here, in one snapshot a page.

A page is read from the live view. Where a column is not what its contract says, the view cannot answer; then the columns that fit are read
from the table, joined with the fence alike. Role domicile_records.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import asyncpg
import msgspec

from cells.records.contracts import TYPES, Contract
from cells.schema import catalogue
from cells.schema.core import Table
from foundation.postgres import Connection
from foundation.words import SubjectId
from routing_rules.release import Consent

P = TypeVar("P")

PAGE_ROWS = 1_000
FIRST = ("00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000000")
"""Before every key; a row of this very key, which nobody mints, is not read."""
LAST = ("ffffffff-ffff-ffff-ffff-ffffffffffff", "ffffffff-ffff-ffff-ffff-ffffffffffff")

# purpose: which of these subjects are active here, their fence not just being raised
ACTIVE = """
SELECT f.subject_id FROM domicile.home AS f WHERE f.subject_id = ANY($1::uuid[])
AND f.state = 'active' AND NOT EXISTS (SELECT 1 FROM domicile.closing AS c WHERE c.subject_id = f.subject_id)
"""


class Unreadable(Exception):
    """The table, or what people said to purposes, cannot be read as its contract says; nothing goes."""


class Page(msgspec.Struct, frozen=True):
    """`owners`: whose consent counts for each row, None where it does not say. `first` and `last`: keys of the first and last row; `after`:
    that of the last, None when there are no more. `unnamed`: columns that no contract names."""

    subjects: Sequence[SubjectId]
    owners: Sequence[str | None]
    consents: Sequence[Consent]
    columns: Mapping[str, Sequence[Any]]
    drifted: tuple[str, ...]
    unnamed: int
    first: tuple[str, str] | None
    last: tuple[str, str] | None
    after: tuple[str, str] | None


class Standing(msgspec.Struct, frozen=True):
    """What a shard says of persons now: who of the subjects is active here, what owners say to the purpose (nothing: they are left out)."""

    active: frozenset[SubjectId]
    consents: Mapping[str, Consent]


def drifted(contract: Contract, table: Table) -> tuple[str, ...]:
    """Classified columns that the table does not have as stated. Pure."""
    return tuple(
        name
        for name in contract.classified
        if name not in table.columns or table.columns[name].type != TYPES[contract.columns[name].type]
    )


def statement(contract: Contract, away: Sequence[str]) -> str:
    """A page's rows: subject, owner and id first, then the classified columns that are there as stated. Pure."""
    names = [name for name in contract.classified if name not in away]
    listed = ", ".join(f't."{name}"' for name in (contract.placed_by, contract.owner, "id", *names))
    source = f'{"product" if away else "live"}."{contract.table}"'
    key = f't."{contract.placed_by}", t."id"'
    # purpose: rows of active subjects whose fence is not just being raised, beyond a key and in its order
    return (
        f"SELECT {listed} FROM {source} AS t "  # noqa: S608 - identifiers of a checked contract
        f'JOIN domicile.home AS f ON f.subject_id = t."{contract.placed_by}" '
        "WHERE f.state = 'active' AND NOT EXISTS (SELECT 1 FROM domicile.closing AS c WHERE c.subject_id = f.subject_id) "
        f"AND ({key}) > ($1::uuid, $2::uuid) AND ({key}) <= ($3::uuid, $4::uuid) ORDER BY {key} LIMIT $5"
    )


def consent_statement(contract: Contract) -> str | None:
    """What people said to one purpose, each once: yes only if every row says so. None: the table holds no consents. Pure."""
    stated = contract.consent
    if stated is None:
        return None
    # purpose: the answers of these persons to one purpose
    return (
        f'SELECT t."{contract.owner}" AS person, bool_and(coalesce(t."{stated.given}", false)) AS given '  # noqa: S608
        f'FROM live."{contract.table}" AS t WHERE t."{contract.owner}" = ANY($1::uuid[]) AND t."{stated.purpose}" = $2 GROUP BY 1'
    )


async def page(
    connection: Connection,
    contract: Contract,
    consents: Sequence[Contract],
    *,
    purpose: str,
    after: tuple[str, str],
    until: tuple[str, str] = LAST,
    limit: int = PAGE_ROWS,
) -> Page:
    """The rows beyond the key `after`, none beyond `until`. Raises Unreadable, asyncpg errors."""
    table = (await catalogue.tables(connection, [contract.table])).get(contract.table)
    if table is None:
        raise Unreadable(f"there is no table product.{contract.table}")
    away = drifted(contract, table)
    for name in {contract.placed_by, contract.owner, "id"} & set(away):
        raise Unreadable(f"product.{contract.table}.{name} is not what the contract says")
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            rows = await connection.fetch(statement(contract, away), *after, *until, limit)
            said = await _said(connection, consents, [row[1] for row in rows if row[1] is not None], purpose)
    except (asyncpg.SyntaxOrAccessError, asyncpg.InvalidTextRepresentationError) as exc:
        raise Unreadable(f"product.{contract.table} is being changed ({type(exc).__name__})") from exc
    names = [name for name in contract.classified if name not in away]
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(3 + len(names))]
    return Page(
        subjects=[SubjectId(str(one)) for one in columns[0]],
        owners=[None if one is None else str(one) for one in columns[1]],
        consents=[said.get(one, Consent.UNSAID) for one in columns[1]],
        columns=dict(zip(names, columns[3:], strict=True)),
        drifted=away,
        unnamed=sum(name not in contract.columns for name in table.columns),
        first=(str(rows[0][0]), str(rows[0][2])) if rows else None,
        last=(str(rows[-1][0]), str(rows[-1][2])) if rows else None,
        after=(str(rows[-1][0]), str(rows[-1][2])) if len(rows) == limit else None,
    )


async def standing(
    connection: Connection,
    consents: Sequence[Contract],
    *,
    subjects: Sequence[str],
    owners: Sequence[str],
    purpose: str,
) -> Standing:
    """Raises Unreadable, asyncpg errors."""
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            rows = await connection.fetch(ACTIVE, list(subjects))
            said = await _said(connection, consents, list(owners), purpose)
    except (asyncpg.SyntaxOrAccessError, asyncpg.InvalidTextRepresentationError) as exc:
        raise Unreadable(f"what people say cannot be read ({type(exc).__name__})") from exc
    active = frozenset(SubjectId(str(row[0])) for row in rows)
    return Standing(active, {str(owner): answer for owner, answer in said.items()})


async def _said(
    connection: Connection, contracts: Sequence[Contract], people: Sequence[Any], purpose: str
) -> dict[Any, Consent]:
    """By person; a no in one table is no yes in another."""
    said: dict[Any, Consent] = {}
    for sql in _statements(contracts):
        rows = await connection.fetch(sql, list(set(people)), purpose)
        said = merged(said, {row["person"]: row["given"] for row in rows})
    return said


def merged(said: Mapping[P, Consent], given: Mapping[P, bool]) -> dict[P, Consent]:
    """What people said, and what they say in one table more. Pure."""
    found = dict(said)
    for person, answer in given.items():
        if not answer:
            found[person] = Consent.WITHHELD
        else:
            found.setdefault(person, Consent.GIVEN)
    return found


def _statements(contracts: Sequence[Contract]) -> Iterator[str]:
    for one in contracts:
        sql = consent_statement(one)
        if sql is not None:
            yield sql

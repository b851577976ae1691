"""Whether a table is what its contract says: every mismatch, in words, with what to do. Pure.

docs/decisions/0013-schema-life.md says which differences contradict a contract, which do not, and why.
"""

import difflib
import enum
from collections.abc import Iterable, Iterator

import msgspec

from cells.records.contracts import TYPES, Contract
from foundation.words import Verb

PLAIN = ("r", "p")
"""Kinds of relation that rows may be written to: a table, a partitioned one."""


class Stops(enum.StrEnum):
    """What a mismatch takes from its table until it is mended."""

    EVERYTHING = "everything"
    WRITES = "writes"


class Mismatch(msgspec.Struct, frozen=True, kw_only=True):
    """One contradiction between a table and its contract. `remedy`: what either side may do about it."""

    what: str
    remedy: str
    stops: Stops = Stops.EVERYTHING


class Attribute(msgspec.Struct, frozen=True, kw_only=True):
    """A column as the catalogue has it; `type` in Postgres's own words. `filled`: it gets a value that no statement gives it."""

    type: str
    required: bool = False
    filled: bool = False
    generated: bool = False


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A primary key, unique index, foreign key or exclusion constraint. `deferrable`: no upsert can rest on it."""

    kind: str
    is_primary: bool
    name: str
    columns: tuple[str, ...]
    deferrable: bool = False


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """What the catalogue says of a table. `kind` is None where there is none.

    `triggers`: enabled ones that see a row before it is written and may change it. `secured`: row security hides rows from the records
    role.
    """

    kind: str | None
    columns: dict[str, Attribute] = {}
    keys: tuple[Key, ...] = ()
    missing_rights: tuple[str, ...] = ()
    secured: bool = False
    rules: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()


ABSENT = Table(kind=None)


def mismatches(contract: Contract, table: Table) -> tuple[Mismatch, ...]:
    """Everything in which the table is not what its contract says; nothing where it fits."""
    name = f"product.{contract.table}"
    if table.kind is None:
        remedy = f"create {name}, or take the contract out"
        return (Mismatch(what=f"there is no table {name}", remedy=remedy),)
    if table.kind not in PLAIN:
        return (
            Mismatch(what=f"{name} is no table but a {_KINDS.get(table.kind, 'relation')}", remedy="make it a table"),
        )
    return (
        *_in_columns(contract, table),
        *_in_values(contract, table),
        *_in_keys(contract, table),
        *_in_rights(contract, table),
    )


_KINDS = {"v": "view", "m": "materialized view", "f": "foreign table", "S": "sequence", "c": "type", "i": "index"}


def unclassified(contract: Contract, table: Table) -> tuple[str, ...]:
    """Columns of the table that are not shown to anybody: no contract names them, or none gives them a class."""
    return tuple(name for name in table.columns if name not in contract.classified)


def reason(found: Iterable[Mismatch], verb: Verb) -> str | None:
    """Why the table is refused to requests that read or write, in one line, or None."""
    stopping = [one.what for one in found if one.stops is Stops.EVERYTHING or verb is Verb.WRITE]
    return "; ".join(stopping) or None


def _in_columns(contract: Contract, table: Table) -> Iterator[Mismatch]:
    name = f"product.{contract.table}"
    for column, stated in contract.columns.items():
        found = table.columns.get(column)
        if found is None:
            others = [one for one in table.columns if one not in contract.columns]
            close = difflib.get_close_matches(column, others, n=1, cutoff=0.5)
            renamed = f" (renamed to {close[0]}?)" if close else ""
            yield Mismatch(
                what=f"{name} has no column {column}",
                remedy=f"name the column in the contract as the table does{renamed}, or take {column} out of it",
            )
        elif found.type != TYPES[stated.type]:
            yield Mismatch(
                what=f"{name}.{column} is {found.type}, the contract says {stated.type}",
                remedy=f"change {column}'s type in the contract, or in the table to {TYPES[stated.type]}",
            )


def _in_values(contract: Contract, table: Table) -> Iterator[Mismatch]:
    """Columns that no write of the records API could fill as the table wants them."""
    name, writers = f"product.{contract.table}", _written(contract)
    bound = (contract.placed_by, contract.owner)
    for column, found in table.columns.items():
        if found.generated and column in bound:
            yield Mismatch(
                what=f"{name}.{column} is generated, and every write sets it",
                remedy=f"make {column} a plain column",
                stops=Stops.WRITES,
            )
        elif found.generated and any(column in names for names in writers if names != "*"):
            yield Mismatch(
                what=f"{name}.{column} is generated, the contract lets it be written",
                remedy=f"take {column} out of the contract's write lists",
                stops=Stops.WRITES,
            )
        if found.required and not found.filled and column not in (*contract.classified, *bound) and writers:
            yield Mismatch(
                what=f"{name}.{column} must have a value, and no caller may give it one",
                remedy=f"give {column} a default, or a class in the contract",
                stops=Stops.WRITES,
            )


def _written(contract: Contract) -> list[str | tuple[str, ...]]:
    """The write lists that name anything."""
    callers = (contract.access.person, *contract.access.services.values())
    return [columns.write for columns in callers if columns.write]


def _in_keys(contract: Contract, table: Table) -> Iterator[Mismatch]:
    name, wanted = f"product.{contract.table}", (contract.placed_by, "id")
    primary = next((key for key in table.keys if key.is_primary), None)
    if primary is None or primary.columns != wanted:
        found = f"it is ({', '.join(primary.columns)})" if primary else "it has none"
        yield Mismatch(
            what=f"the primary key of {name} must be ({contract.placed_by}, id), {found}",
            remedy=f"ALTER TABLE {name} ADD PRIMARY KEY ({contract.placed_by}, id)",
        )
    elif primary.deferrable:
        yield Mismatch(
            what=f"the primary key of {name} is deferrable: no upsert can rest on it",
            remedy="make it NOT DEFERRABLE",
            stops=Stops.WRITES,
        )
    for key in table.keys:
        if contract.placed_by not in key.columns:
            yield Mismatch(
                what=f"{key.kind} key {key.name} of {name} must contain {contract.placed_by}",
                remedy=f"drop {key.name}, or make it with {contract.placed_by} among its columns",
            )


def _in_rights(contract: Contract, table: Table) -> Iterator[Mismatch]:
    name = f"product.{contract.table}"
    if table.missing_rights:
        lacking = ", ".join(table.missing_rights)
        yield Mismatch(
            what=f"role domicile_records lacks {lacking} on {name}",
            remedy=f"GRANT USAGE ON SCHEMA product TO domicile_records; GRANT {lacking} ON {name} TO domicile_records",
        )
    if table.secured:
        yield Mismatch(
            what=f"row security is on for {name}: rows would be left out without a word",
            remedy=f"ALTER TABLE {name} DISABLE ROW LEVEL SECURITY, or give domicile_records BYPASSRLS",
        )
    for rule in table.rules:
        yield Mismatch(
            what=f"rule {rule} of {name} rewrites writes",
            remedy=f"DROP RULE {rule} ON {name}",
            stops=Stops.WRITES,
        )

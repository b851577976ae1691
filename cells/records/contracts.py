"""Contracts: what the columns of a product's table are and who may touch them. Parsed strictly from YAML. Pure but for `read_folder`.

A contract is the only source of identifiers: a table or column that no contract names does not exist for the records API.
"""

import enum
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec
import yaml

from cells.egress import wording
from foundation.settings import SettingsError, convert
from foundation.words import ServiceId

IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")
RESERVED = frozenset({"select", "order", "limit", "offset", "columns", "on_conflict", "and", "or", "not"})
"""Query parameters of the dialect; a column of such a name could not be filtered."""
CONTRACT_BYTES_MAX = 1 << 18
COLUMNS_MAX = 500
MEMBERS_MAX = 200
MEMBERS_DEEP_MAX = 8

TYPES = {
    "uuid": "uuid", "text": "text", "boolean": "boolean", "bool": "boolean",
    "smallint": "smallint", "int": "integer", "integer": "integer", "bigint": "bigint",
    "numeric": "numeric", "real": "real", "double precision": "double precision",
    "date": "date", "time": "time without time zone",
    "timestamp": "timestamp without time zone", "timestamptz": "timestamp with time zone",
    "json": "json", "jsonb": "jsonb", "text[]": "text[]", "uuid[]": "uuid[]",
    "int4range": "int4range", "int8range": "int8range", "numrange": "numrange",
    "tsrange": "tsrange", "tstzrange": "tstzrange", "daterange": "daterange",
}  # fmt: skip
"""A contract's type → Postgres's own name of it (format_type). A closed list: it is written into statements as casts."""


class Class(enum.StrEnum):
    """How a column's values relate to a person."""

    NONE = "none"
    PSEUDONYMOUS = "pseudonymous"
    QUASI = "quasi"
    DIRECT = "direct"
    FREE_TEXT = "free_text"
    SPECIAL = "special"


class Column(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One column. Without a class it is unclassified: never returned, written, filtered or ordered by.

    `purposes`: the only ones it may be used for; none stated = any. `sealed`: no filter or order, ever. `leaving`: treatment at egress, by
    selector (`cells.egress.wording`). `tags`: kinds of data in the words of the rules' pack. Of JSON, `members` says what an object's
    members are, `items` what every element of an array is; each is a column in turn.
    """

    type: str
    klass: Class | None = msgspec.field(name="class", default=None)
    purposes: tuple[str, ...] | None = None
    retention_days: int | None = None
    leaving: dict[str, str] = {}
    tags: tuple[str, ...] = ()
    members: dict[str, "Column"] = {}
    items: "Column | None" = None
    sealed: bool = False
    subject_ref: bool = False


class Columns(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Columns that one kind of caller may read and write; nothing stated = nothing allowed, "*" = every classified one."""

    read: Literal["*"] | tuple[str, ...] = ()
    write: Literal["*"] | tuple[str, ...] = ()


class Access(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`person`: the subject through the gateway. `services`: product services by id, with decisions made for them."""

    person: Columns = Columns()
    services: dict[ServiceId, Columns] = {}


class ConsentRows(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table whose rows are what people said to purposes: the text column with the purpose, the boolean one with the answer."""

    purpose: str
    given: str


class Contract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table's contract. `placed_by` holds the subject id, `owner` the person a row is about; `rows: owner` binds rows to them.

    `asks`: purposes for which rows leave only of whoever said yes (`opt_in`). `hierarchies`: value -> what it generalises to, by name.
    `public`: columns of the view that other people may read, each as `leaving` states it for them; none: nothing is shown to anybody.
    """

    table: str
    placed_by: str
    owner: str
    rows: Literal["owner", "all_of_subject"] = "owner"
    access: Access = Access()
    columns: dict[str, Column]
    asks: dict[str, Literal["opt_in"]] = {}
    consent: ConsentRows | None = None
    hierarchies: dict[str, dict[str, str]] = {}
    public: tuple[str, ...] = ()

    @property
    def classified(self) -> tuple[str, ...]:
        return tuple(name for name, column in self.columns.items() if column.klass is not None)


def parse(text: str, *, where: str) -> Contract:
    """One contract. Raises SettingsError that names the place and, for an unknown key, the nearest one."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise SettingsError(f"{where}: not YAML: {exc}") from exc
    if not isinstance(document, dict):
        raise SettingsError(f"{where}: a contract is a mapping with table, placed_by, owner, columns")
    contract = convert(document, Contract, where=where)
    mistake = _mistake(contract)
    if mistake is not None:
        raise SettingsError(f"{where}: {mistake}")
    return contract


def read_folder(folder: Path) -> dict[str, Contract]:
    """Every contract of a folder (*.yaml) by table. Raises SettingsError."""
    if not folder.is_dir():
        raise SettingsError(f"contracts folder {folder} is not there")
    contracts: dict[str, Contract] = {}
    for path in sorted(folder.glob("*.yaml")):
        if path.stat().st_size > CONTRACT_BYTES_MAX:
            raise SettingsError(f"{path}: a contract is at most {CONTRACT_BYTES_MAX} bytes long")
        contract = parse(path.read_text(encoding="utf-8"), where=str(path))
        if contract.table in contracts:
            raise SettingsError(f"{path}: table {contract.table} has a contract already")
        contracts[contract.table] = contract
    return contracts


def _mistake(contract: Contract) -> str | None:
    """The first thing that shapes alone do not tell, or None."""
    if len(contract.columns) > COLUMNS_MAX:
        return f"a contract names at most {COLUMNS_MAX} columns"
    for name in (contract.table, *contract.columns):
        if not IDENTIFIER.match(name):
            return f"{name!r} is no identifier: lower-case letters, digits and underscores, at most 63"
    for name, column in contract.columns.items():
        if name in RESERVED:
            return f"column {name!r} has the name of a query parameter of the dialect"
        if column.type not in TYPES:
            return f"columns.{name}.type: {column.type!r} is not one of {', '.join(TYPES)}"
    return (
        _mistake_in_keys(contract)
        or _mistake_in_access(contract)
        or _mistake_in_consent(contract)
        or _mistake_in_public(contract)
        or next(mistakes_in_leaving(contract.columns, contract.hierarchies), None)
    )


def _mistake_in_keys(contract: Contract) -> str | None:
    for role, name in (("placed_by", contract.placed_by), ("owner", contract.owner)):
        column = contract.columns.get(name)
        if column is None:
            return f"{role}: {name!r} is not among the columns"
        if column.type != "uuid" or column.klass is None or column.sealed:
            return f"{role}: column {name} is a classified, unsealed uuid"
    key = contract.columns.get("id")
    if key is None or key.type != "uuid" or key.klass is None or key.sealed:
        return "columns: a classified, unsealed uuid column id is needed; the primary key is (placed_by, id)"
    return None


def _mistake_in_access(contract: Contract) -> str | None:
    callers = {"access.person": contract.access.person}
    callers |= {f"access.services.{service}": columns for service, columns in contract.access.services.items()}
    for where, columns in callers.items():
        for verb, names in (("read", columns.read), ("write", columns.write)):
            for name in () if names == "*" else names:
                if name not in contract.columns:
                    return f"{where}.{verb}: column {name!r} is not in this contract"
    return None


def _mistake_in_consent(contract: Contract) -> str | None:
    stated = contract.consent
    for role, name, kind in (
        () if stated is None else (("purpose", stated.purpose, "text"), ("given", stated.given, "boolean"))
    ):
        column = contract.columns.get(name)
        if column is None or column.klass is None or column.sealed or not column.type.startswith(kind[:4]):
            return f"consent.{role}: {name!r} is no classified, unsealed {kind} column of this contract"
    return None


def _mistake_in_public(contract: Contract) -> str | None:
    if contract.public and contract.owner != contract.placed_by:
        return "public: rows are shown of whoever is placed; here the owner is another column"
    for name in contract.public:
        column = contract.columns.get(name)
        if column is None or column.klass is None or column.sealed:
            return f"public: {name!r} is no classified, unsealed column of this contract"
        if not column.leaving:
            return f"public: of column {name} nothing is stated in `leaving`, so it stays"
    return None


def mistakes_in_leaving(
    columns: Mapping[str, Column], hierarchies: Mapping[str, Mapping[str, str]], at: str = "columns", deep: int = 0
) -> Iterator[str]:
    """What is wrong with treatments and with what JSON holds, member by member."""
    if len(columns) > MEMBERS_MAX and deep:
        yield f"{at}: at most {MEMBERS_MAX} members"
    for name, column in columns.items():
        where = f"{at}.{name}"
        if column.type not in TYPES:
            yield f"{where}.type: {column.type!r} is not one of {', '.join(TYPES)}"
            continue
        found = wording.mistakes(
            column.leaving, column.type, klass=column.klass and column.klass.value, sealed=column.sealed
        )
        yield from (f"{where}.leaving.{one}" for one in found)
        yield from _mistakes_in_levels(column, hierarchies, where)
        yield from _mistakes_in_json(column, hierarchies, where, deep)


def _mistakes_in_levels(column: Column, hierarchies: Mapping[str, Mapping[str, str]], where: str) -> Iterator[str]:
    for key, text in column.leaving.items():
        named = text.removeprefix("level(").removesuffix(")").strip()
        if text.startswith("level(") and named not in hierarchies:
            yield f"{where}.leaving.{key}: the contract has no hierarchy {named[:40]!r}"


def _mistakes_in_json(
    column: Column, hierarchies: Mapping[str, Mapping[str, str]], where: str, deep: int
) -> Iterator[str]:
    if not column.members and column.items is None:
        return
    if column.type not in ("json", "jsonb") or (column.members and column.items is not None):
        yield f"{where}: members are for objects, items for arrays, either for json and jsonb"
    elif deep >= MEMBERS_DEEP_MAX:
        yield f"{where}: members are at most {MEMBERS_DEEP_MAX} deep"
    else:
        inner = column.members if column.items is None else {"items": column.items}
        yield from mistakes_in_leaving(inner, hierarchies, f"{where}.members" if column.members else where, deep + 1)

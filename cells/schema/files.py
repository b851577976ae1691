"""Contract files, read for whoever writes them: every mistake of every file at once, with its line and the nearest name.

What is found faultless here is what a cell service takes: the last word is `contracts.parse`'s.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import yaml

from cells.egress import wording
from cells.records.contracts import (
    COLUMNS_MAX,
    CONTRACT_BYTES_MAX,
    IDENTIFIER,
    RESERVED,
    TYPES,
    Access,
    Column,
    Columns,
    Contract,
    parse,
)
from foundation.settings import SettingsError

Place: TypeAlias = tuple[str, ...]
"""Keys from the root of a document to a value."""


class Mistake(msgspec.Struct, frozen=True):
    """What is wrong, and in which line of which file (from 1)."""

    file: str
    line: int
    what: str


class Read(msgspec.Struct, frozen=True):
    """Contracts by table, the files they stand in, and what is wrong with the others."""

    contracts: dict[str, Contract]
    sources: dict[str, Path]
    mistakes: tuple[Mistake, ...]


def read(place: Path) -> Read:
    """A folder's *.yaml, or one file. Raises SettingsError where there is neither."""
    if place.is_dir():
        paths = sorted(place.glob("*.yaml"))
    elif place.is_file():
        paths = [place]
    else:
        raise SettingsError(f"there is neither a folder of contracts nor a contract at {place}")
    contracts: dict[str, Contract] = {}
    sources: dict[str, Path] = {}
    mistakes: list[Mistake] = []
    for path in paths:
        contract, found = _read_file(path)
        mistakes += found
        if contract is None:
            continue
        if contract.table in contracts:
            what = f"table {contract.table} has a contract already, in {sources[contract.table]}"
            mistakes.append(Mistake(str(path), 1, what))
            continue
        contracts[contract.table], sources[contract.table] = contract, path
    return Read(contracts, sources, tuple(mistakes))


def _read_file(path: Path) -> tuple[Contract | None, list[Mistake]]:
    try:
        if path.stat().st_size > CONTRACT_BYTES_MAX:
            return None, [Mistake(str(path), 1, f"a contract is at most {CONTRACT_BYTES_MAX} bytes long")]
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        return None, [Mistake(str(path), 1, f"cannot be read as UTF-8 text ({type(exc).__name__})")]
    return check(text, str(path))


def check(text: str, file: str) -> tuple[Contract | None, list[Mistake]]:
    """One contract's text: the contract, or everything that is wrong with it. Pure."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        document = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        what = getattr(exc, "problem", None) or "it cannot be read"
        return None, [Mistake(file, mark.line + 1 if mark else 1, f"not YAML: {what}")]
    if not isinstance(document, dict) or node is None:
        return None, [Mistake(file, 1, "a contract is a mapping with table, placed_by, owner, columns")]
    lines: dict[Place, int] = {}
    found = list(_marked(node, (), lines))
    found += _mistakes(document)
    if found:
        placed = sorted({(_line(lines, place), what) for place, what in found})
        return None, [Mistake(file, line, what) for line, what in placed]
    try:
        return parse(text, where=file), []
    except SettingsError as exc:
        return None, [Mistake(file, 1, str(exc).removeprefix(f"{file}: "))]


Found: TypeAlias = tuple[Place, str]


def _line(lines: Mapping[Place, int], place: Place) -> int:
    """The line of a place, or of what holds it where it is not there."""
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 1)


def _marked(node: yaml.Node, at: Place, lines: dict[Place, int]) -> Iterator[Found]:
    """Notes the line of every key; a key that comes twice is a mistake (YAML's readers keep the last without a word)."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        place = (*at, str(key.value))
        if place in lines:
            what = f"{'.'.join(place)} stands here again, in line {key.start_mark.line + 1}; one of them counts for nothing"
            yield place, what
            continue
        lines[place] = key.start_mark.line + 1
        yield from _marked(value, place, lines)


def _mistakes(document: dict[Any, Any]) -> Iterator[Found]:
    root, found = _fields(document, Contract, (), apart=("access", "columns"))
    yield from found
    columns: dict[str, dict[str, Any]] = {}
    if isinstance(document.get("columns"), dict):
        for name, stated in document["columns"].items():
            place = ("columns", str(name))
            columns[str(name)], found = _fields(stated, Column, place)
            yield from found
            yield from _in_column(str(name), columns[str(name)], place)
    elif "columns" in document:
        yield ("columns",), "columns is a mapping of names to what they are"
    yield from _in_keys(root, columns)
    yield from _in_access(document.get("access", {}), columns)


def _fields(
    value: Any, shape: type[msgspec.Struct], at: Place, *, apart: tuple[str, ...] = ()
) -> tuple[dict[str, Any], list[Found]]:
    """What can be taken of a mapping, key by key, and what cannot. `apart`: keys that are looked into elsewhere."""
    if not isinstance(value, dict):
        return {}, [(at, f"{'.'.join(at)} is a mapping")]
    fields = {field.encode_name: field for field in msgspec.structs.fields(shape)}
    taken: dict[str, Any] = {}
    found: list[Found] = []
    for key, one in value.items():
        field, place = fields.get(str(key)), (*at, str(key))
        if field is None:
            found.append((place, f"unknown key {'.'.join(place)}{_nearest(str(key), fields)}"))
        elif key not in apart:
            try:
                taken[str(key)] = msgspec.convert(one, field.type, strict=True)
            except msgspec.ValidationError as exc:
                found.append((place, f"{'.'.join(place)}: {exc}"))
    for name, field in fields.items():
        if field.required and name not in value:
            found.append((at, f"{'.'.join((*at, name))} is missing"))
    return taken, found


def _nearest(name: str, names: Iterable[str]) -> str:
    known = list(names)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(sorted(known))}"


def _in_column(name: str, column: Mapping[str, Any], place: Place) -> Iterator[Found]:
    if not IDENTIFIER.match(name):
        yield place, f"{name!r} is no identifier: lower-case letters, digits and underscores, at most 63"
    if name in RESERVED:
        yield place, f"column {name!r} has the name of a query parameter of the dialect"
    kind = column.get("type")
    if kind is not None and kind not in TYPES:
        yield (*place, "type"), f"columns.{name}.type: {kind!r} is no type of contracts{_nearest(kind, TYPES)}"
    elif kind is not None:
        klass, sealed = column.get("class"), column.get("sealed", False)
        for what in wording.mistakes(column.get("leaving", {}), kind, klass=klass, sealed=sealed):
            yield (*place, "leaving"), f"columns.{name}.leaving.{what}"


def _in_keys(root: Mapping[str, Any], columns: Mapping[str, Mapping[str, Any]]) -> Iterator[Found]:
    if "table" in root and not IDENTIFIER.match(root["table"]):
        yield ("table",), f"{root['table']!r} is no identifier: lower-case letters, digits and underscores, at most 63"
    if len(columns) > COLUMNS_MAX:
        yield ("columns",), f"a contract names at most {COLUMNS_MAX} columns"
    for role in ("placed_by", "owner"):
        name = root.get(role)
        if name is not None and name not in columns:
            yield (role,), f"{role}: {name!r} is not among the columns{_nearest(name, columns)}"
        elif name is not None and not _keys(columns[name]):
            yield ("columns", name), f"{role}: column {name} is a classified, unsealed uuid"
    if not _keys(columns.get("id", {})):
        what = "columns: a classified, unsealed uuid column id is needed; the primary key is (placed_by, id)"
        yield ("columns", "id"), what


def _keys(column: Mapping[str, Any]) -> bool:
    return column.get("type") == "uuid" and column.get("class") is not None and not column.get("sealed")


def _in_access(access: Any, columns: Mapping[str, Any]) -> Iterator[Found]:
    taken, found = _fields(access, Access, ("access",), apart=("person", "services"))
    yield from found
    if not isinstance(access, dict):
        return
    callers: dict[Place, Any] = {("access", "person"): access.get("person", {})}
    services = access.get("services", {})
    if not isinstance(services, dict):
        yield ("access", "services"), "access.services is a mapping of service ids"
        services = {}
    callers |= {("access", "services", str(name)): stated for name, stated in services.items()}
    for place, stated in callers.items():
        taken, found = _fields(stated, Columns, place)
        yield from found
        for verb, names in taken.items():
            for name in () if names == "*" else names:
                if name not in columns:
                    where = ".".join((*place, verb))
                    yield (*place, verb), f"{where}: column {name!r} is not in this contract{_nearest(name, columns)}"

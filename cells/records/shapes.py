"""JSON Schemas (2020-12) of rows, columns and parameters, as the OpenAPI document has them. Pure."""

import re
from collections.abc import Sequence
from typing import Any

from cells.records.contracts import TYPES, Contract
from cells.records.terms import operators

UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_WHOLE = {"smallint": 15, "integer": 31, "bigint": 63}
_FLOATING = frozenset({"numeric", "real", "double precision"})
_TEXT: dict[str, Any] = {"type": ["string", "null"]}

PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "A refusal: RFC 9457's members and PostgREST's. `code` is the house's, PostgREST's or an SQLSTATE.",
    "required": ["type", "title", "status", "detail", "code", "message", "details", "hint"],
    "properties": {
        "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"}, "detail": {"type": "string"},
        "code": {"type": "string"}, "message": {"type": "string"}, "details": _TEXT, "hint": _TEXT,
    },
}  # fmt: skip


def row(contract: Contract, names: Sequence[str], *, closed: bool = False) -> dict[str, Any]:
    """A row of these columns, any of which may be left out. `closed`: no others."""
    found: dict[str, Any] = {"type": "object", "properties": {name: _column(contract, name) for name in names}}
    return found | {"additionalProperties": False} if closed else found


def _column(contract: Contract, name: str) -> dict[str, Any]:
    column = contract.columns[name]
    told: dict[str, Any] = _values(TYPES[column.type], required=name in ("id", contract.placed_by))
    told["x-domicile-type"] = column.type
    if column.klass is not None:
        told["x-domicile-class"] = column.klass.value
    if column.sealed:
        told["x-domicile-sealed"] = True
    return told


def _values(held: str, *, required: bool) -> dict[str, Any]:
    """A type's values as Postgres writes them into JSON: numbers that are none (NaN, Infinity) are text."""
    null = [] if required else ["null"]
    if held == "uuid":
        return {"type": ["string", *null], "pattern": f"^{UUID}$"}
    if held == "boolean":
        return {"type": ["boolean", *null]}
    if held in _WHOLE:
        most = 2 ** _WHOLE[held]
        return {"type": ["integer", *null], "minimum": -most, "maximum": most - 1}
    if held in _FLOATING:
        return {"anyOf": [{"type": ["number", *null]}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
    if held in ("json", "jsonb"):
        return {}
    if held.endswith("[]"):
        return {"type": ["array", *null]}
    return {"type": ["string", *null]}


def names(columns: Sequence[str], *, star: bool = False) -> dict[str, Any]:
    """Columns with commas between."""
    one = "|".join([r"\*", *columns] if star else columns)
    return {"type": "string", "pattern": f"^({one})(,({one}))*$"}


def ordered(columns: Sequence[str]) -> dict[str, Any]:
    one = rf"({'|'.join(columns)})(\.(asc|desc))?(\.(nullsfirst|nullslast))?"
    return {"type": "string", "pattern": f"^{one}(,{one})*$"}


_EXAMPLES = {
    "uuid": "00000000-0000-4000-8000-000000000000", "boolean": "true", "date": "2026-01-31", "time without time zone": "12:00",
    "timestamp without time zone": "2026-01-31T12:00:00", "timestamp with time zone": "2026-01-31T12:00:00Z",
    "json": "{}", "jsonb": '{"a":1}', "text[]": "{a,b}", "uuid[]": "{00000000-0000-4000-8000-000000000000}",
    "int4range": "[1,5)", "int8range": "[1,5)", "numrange": "[1.5,5)", "daterange": "[2026-01-01,2026-02-01)",
    "tsrange": "[2026-01-01,2026-02-01)", "tstzrange": "[2026-01-01Z,2026-02-01Z)",
}  # fmt: skip


def filtered(stated: str) -> dict[str, Any]:
    """`operator.value`, with the operators that the type has."""
    held = TYPES[stated]
    known = [word for word in operators(held) if word not in ("is", "in")]
    example = _EXAMPLES.get(held, "1")
    forms = [r"is\.(null|not_null)"]
    examples = ["is.null", *(f"{word}.{example}" for word in known if word not in ("match", "imatch"))]
    if known:
        forms.append(rf"({'|'.join(map(re.escape, known))})\.")
    if "in" in operators(held):
        forms.append(r"in\.\(.*\)")
        quoted = example.replace('"', '\\"')
        examples.append(f'in.("{quoted}")')
    return {"type": "string", "pattern": rf"^(not\.)?({'|'.join(forms)})", "examples": examples}

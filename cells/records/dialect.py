"""The core of the PostgREST dialect: query strings and preferences into typed values. Pure; columns are checked later, by grant.

https://docs.postgrest.org/en/v13/references/api/tables_views.html. What is not understood is refused, never ignored.
"""

import enum
import re
from typing import Literal
from urllib.parse import parse_qsl

import msgspec

from cells.records import errors

PARAMETERS_MAX = 60
IN_MAX = 1_000
NUMBER_MAX = 2**31 - 1
NUMBER_DIGITS_MAX = 19
"""Longer ones are refused unread: Python itself raises on thousands of digits."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}\Z")
_UNSUPPORTED = {
    "on_conflict": "upserts", "columns": "columns=", "and": "logical groups (and=)", "or": "logical groups (or=)",
    "not.and": "logical groups", "not.or": "logical groups",
}  # fmt: skip


class Operator(enum.StrEnum):
    EQ = "eq"
    NEQ = "neq"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    IN = "in"
    IS = "is"


IS_VALUES = frozenset({"null", "not_null", "true", "false", "unknown"})


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """One filter. `values` holds one text, any number for `in`, and a word of IS_VALUES for `is`."""

    column: str
    operator: Operator
    values: tuple[str, ...]
    negated: bool = False


class Order(msgspec.Struct, frozen=True, kw_only=True):
    column: str
    descending: bool = False
    nulls: Literal["first", "last"] | None = None


class Selected(msgspec.Struct, frozen=True):
    """A column, and the name it comes back under."""

    column: str
    name: str


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """`select` None = every readable column."""

    select: tuple[Selected, ...] | None = None
    where: tuple[Condition, ...] = ()
    order: tuple[Order, ...] = ()
    limit: int | None = None
    offset: int = 0


class Returned(enum.StrEnum):
    """What a write answers with."""

    MINIMAL = "minimal"
    HEADERS_ONLY = "headers-only"
    REPRESENTATION = "representation"


class Preferences(msgspec.Struct, frozen=True, kw_only=True):
    """Of the `Prefer` header (RFC 7240): the ones that were understood, in `applied`."""

    returned: Returned = Returned.MINIMAL
    applied: tuple[str, ...] = ()


def parse_query(query: str) -> Query:
    """A query string. Raises ProblemError with PostgREST's code."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=PARAMETERS_MAX, errors="strict")
    except (ValueError, UnicodeDecodeError) as exc:
        raise errors.dialect(
            errors.QUERY, f"the query string is not UTF-8 or has over {PARAMETERS_MAX} parameters"
        ) from exc
    once: dict[str, str] = {}
    where: list[Condition] = []
    for name, value in pairs:
        if "\x00" in value:
            raise errors.dialect(errors.QUERY, "a NUL character cannot be stored or searched for")
        if name in _UNSUPPORTED:
            raise errors.dialect(errors.QUERY, f"{_UNSUPPORTED[name]} are not supported here")
        if name in ("select", "order", "limit", "offset"):
            if name in once:
                raise errors.dialect(errors.QUERY, f"{name} stands twice")
            once[name] = value
        else:
            where.append(_condition(name, value))
    return Query(
        select=_select(once["select"]) if "select" in once else None,
        where=tuple(where),
        order=_order(once["order"]) if "order" in once else (),
        limit=_number("limit", once["limit"]) if "limit" in once else None,
        offset=_number("offset", once["offset"]) if "offset" in once else 0,
    )


def _number(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > NUMBER_DIGITS_MAX or int(text) > NUMBER_MAX:
        raise errors.dialect(errors.QUERY, f"{name} is a whole number from 0 on")
    return int(text)


def _plain_name(text: str, what: str) -> str:
    if not _NAME.match(text):
        for sign, feature in (
            ("(", "embedding and aggregates"),
            ("::", "casts"),
            ("->", "JSON paths"),
            (".", "related tables"),
        ):
            if sign in text:
                raise errors.dialect(errors.QUERY, f"{feature} are not supported here: {what} names plain columns")
        raise errors.dialect(errors.QUERY, f"{what}: a column's name is expected")
    return text


def _select(text: str) -> tuple[Selected, ...] | None:
    if text.strip() in ("", "*"):
        return None
    if "(" in text:
        _plain_name(text, "select")
    found: dict[str, Selected] = {}
    for item in text.split(","):
        alias, colon, column = item.strip().partition(":")
        if not colon or column.startswith(":"):
            alias, column = "", item.strip()
        if column == "*":
            raise errors.dialect(errors.QUERY, "select: * stands alone")
        column = _plain_name(column, "select")
        name = _plain_name(alias, "select") if alias else column
        if name in found and found[name].column != column:
            raise errors.dialect(errors.QUERY, f"select: two columns come back as {name}")
        found[name] = Selected(column, name)
    return tuple(found.values())


def _order(text: str) -> tuple[Order, ...]:
    found: list[Order] = []
    for item in text.split(","):
        column, *words = item.strip().split(".")
        order = Order(column=_plain_name(column, "order"))
        for word in words:
            match word:
                case "asc" | "desc":
                    order = msgspec.structs.replace(order, descending=word == "desc")
                case "nullsfirst" | "nullslast":
                    order = msgspec.structs.replace(order, nulls="first" if word == "nullsfirst" else "last")
                case _:
                    raise errors.dialect(errors.QUERY, "order: column.asc|desc.nullsfirst|nullslast")
        found.append(order)
    return tuple(found)


def _condition(name: str, value: str) -> Condition:
    column = _plain_name(name, "a filter")
    negated = False
    while value.startswith("not."):
        negated, value = not negated, value[len("not.") :]
    word, dot, operand = value.partition(".")
    try:
        operator = Operator(word)
    except ValueError:
        raise errors.dialect(
            errors.QUERY,
            f"filter on {column}: the operator is not supported",
            hint=f"supported: {', '.join(one.value for one in Operator)}, each with not. before it",
        ) from None
    if not dot:
        raise errors.dialect(errors.QUERY, f"filter on {column}: {operator}.value is expected")
    match operator:
        case Operator.IN:
            values = _list(column, operand)
        case Operator.IS:
            values = (operand.lower(),)
            if values[0] not in IS_VALUES:
                raise errors.dialect(
                    errors.QUERY, f"filter on {column}: is.null, is.not_null, is.true, is.false, is.unknown"
                )
        case _:
            values = (operand,)
    return Condition(column=column, operator=operator, values=values, negated=negated)


_ELEMENT = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(?=,|\Z)|([^,"]*)(?=,|\Z)', re.DOTALL)


def _list(column: str, operand: str) -> tuple[str, ...]:
    """`(a,b,"c,d")`: quoted elements may hold commas; a backslash quotes the next character."""
    if not operand.startswith("(") or not operand.endswith(")"):
        raise errors.dialect(errors.QUERY, f"filter on {column}: in.(a,b) is expected")
    inner = operand[1:-1]
    if not inner:
        return ()
    values: list[str] = []
    at = 0
    while True:
        match = _ELEMENT.match(inner, at)
        if match is None or len(values) >= IN_MAX:
            raise errors.dialect(
                errors.QUERY, f"filter on {column}: in.(…) takes at most {IN_MAX} values, quoted where they hold commas"
            )
        quoted = match.group(1)
        values.append(match.group(2) if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL))
        at = match.end()
        if at == len(inner):
            return tuple(values)
        at += 1


def parse_preferences(headers: list[str]) -> Preferences:
    """The `Prefer` headers. Raises ProblemError for upserts, and for what is not understood under handling=strict."""
    returned, applied, unknown, strict = Returned.MINIMAL, [], [], False
    for item in (part.strip() for header in headers for part in header.split(",")):
        match item.replace(" ", "").split("="):
            case ["return", word] if word in set(Returned):
                returned = Returned(word)
                applied.append(f"return={word}")
            case ["handling", word] if word in ("strict", "lenient"):
                strict = word == "strict"
                applied.append(f"handling={word}")
            case ["resolution", _]:
                raise errors.dialect(errors.QUERY, "upserts are not supported here")
            case ["missing", "default"] | [""]:
                pass
            case _:
                unknown.append(item)
    if strict and unknown:
        raise errors.dialect(errors.PREFERENCE, "a preference is not supported and handling is strict")
    return Preferences(returned=returned, applied=tuple(applied))

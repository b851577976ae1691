"""Query strings of the PostgREST dialect into typed values. Pure; columns are checked later, by grant.

https://docs.postgrest.org/en/v13/references/api/tables_views.html. What is not understood is refused, never ignored.
"""

from typing import Literal
from urllib.parse import parse_qsl

import msgspec

from cells.records import errors, filters
from cells.records.contracts import TYPES
from cells.records.query import Order, Path, Query, Selected, Star, Term
from cells.records.scanner import Scanner

PARAMETERS_MAX = 60
ITEMS_MAX = 500
"""Items of select, order and columns."""
NUMBER_MAX = 2**31 - 1
NUMBER_DIGITS_MAX = 19
"""Longer ones are refused unread: Python itself raises on thousands of digits."""
EVERYTHING = (Star(),)
ONCE = frozenset({"select", "order", "limit", "offset", "columns", "on_conflict"})
GROUPS: dict[str, tuple[Literal["and", "or"], bool]] = {
    "and": ("and", False),
    "or": ("or", False),
    "not.and": ("and", True),
    "not.or": ("or", True),
}


def parse_query(query: str) -> Query:
    """A query string. Raises ProblemError with PostgREST's code."""
    try:
        pairs = _pairs(query)
    except (ValueError, UnicodeDecodeError) as exc:
        message = f"the query string is not UTF-8 or has over {PARAMETERS_MAX} parameters"
        raise errors.dialect(errors.QUERY, message) from exc
    once: dict[str, str] = {}
    where: list[Term] = []
    grouped = False
    for name, value in pairs:
        if "\x00" in value or "\x00" in name:
            raise errors.dialect(errors.QUERY, "a NUL character cannot be stored or searched for")
        if name in GROUPS:
            joint, negated = GROUPS[name]
            grouped = True
            where.append(filters.group(joint, value, negated=negated))
        elif name not in ONCE:
            where.append(filters.condition(name, value))
        elif name in once:
            raise errors.dialect(errors.QUERY, f"{name} stands twice")
        else:
            once[name] = value
    terms = tuple(where)
    if (filters.count(terms) if grouped else len(terms)) > filters.TERMS_MAX:
        raise errors.dialect(errors.QUERY, f"a request has at most {filters.TERMS_MAX} filters")
    return Query(
        select=_select(once["select"]) if "select" in once else EVERYTHING,
        where=terms,
        order=_order(once["order"]) if once.get("order") else (),
        limit=_number("limit", once["limit"]) if "limit" in once else None,
        offset=_number("offset", once["offset"]) if "offset" in once else 0,
        columns=_names("columns", once["columns"]) if once.get("columns") else None,
        conflict=_names("on_conflict", once["on_conflict"]) if once.get("on_conflict") else None,
    )


def _pairs(query: str) -> list[tuple[str, str]]:
    """As the form encoding has them, names without a value too. Raises ValueError, UnicodeDecodeError."""
    if "%" in query or "+" in query:
        return parse_qsl(query, keep_blank_values=True, max_num_fields=PARAMETERS_MAX, errors="strict")
    if query.count("&") >= PARAMETERS_MAX:
        raise ValueError
    pairs = []
    for part in query.split("&"):
        if part:
            name, _, value = part.partition("=")
            pairs.append((name, value))
    return pairs


def _number(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > NUMBER_DIGITS_MAX or int(text) > NUMBER_MAX:
        raise errors.dialect(errors.QUERY, f"{name} is a whole number from 0 on")
    return int(text)


def _separated(scanner: Scanner, number: int) -> bool:
    """Whether another item follows. Raises ProblemError for anything else than a comma or the end."""
    scanner.spaces()
    if scanner.ended:
        return False
    if not scanner.take(","):
        raise scanner.refused("a comma is expected")
    if number >= ITEMS_MAX:
        raise errors.dialect(errors.QUERY, f"{scanner.what} names at most {ITEMS_MAX} columns")
    scanner.spaces()
    return True


def _names(what: str, text: str) -> tuple[str, ...]:
    scanner = Scanner(text.strip(), what)
    found = [scanner.name()]
    while _separated(scanner, len(found)):
        found.append(scanner.name())
    return tuple(dict.fromkeys(found))


def _select(text: str) -> tuple[Selected | Star, ...]:
    scanner = Scanner(text.strip(), "select")
    if scanner.ended:
        return EVERYTHING
    found: list[Selected | Star] = [_item(scanner)]
    while _separated(scanner, len(found)):
        found.append(_item(scanner))
    return tuple(dict.fromkeys(found))


def _item(scanner: Scanner) -> Selected | Star:
    """`*`, or `alias:column->path::type`. Raises ProblemError."""
    if scanner.take("*"):
        return Star()
    alias, name = None, scanner.name()
    if not scanner.text.startswith("::", scanner.at) and scanner.take(":"):
        alias, name = name, scanner.name()
    path = scanner.steps(name)
    cast = None
    if scanner.take("::"):
        cast = scanner.name()
        if cast not in TYPES:
            raise errors.dialect(errors.QUERY, f"select: there is no cast to {cast}", hint=f"one of {', '.join(TYPES)}")
    return Selected(path, alias or _named(path), cast)


def _named(path: Path) -> str:
    """A path comes back under its last member's name. Raises ProblemError where that is none for a column."""
    members = [step.key for step in path.steps if isinstance(step.key, str)]
    if not members:
        return path.column
    scanner = Scanner(members[-1], "select")
    name = scanner.name() if members[-1][:1].isalpha() else ""
    if not name or not scanner.ended:
        raise errors.dialect(
            errors.QUERY, f"select: {path.column}->… needs a name to come back under", hint=f"name:{path.column}->…"
        )
    return name


def _order(text: str) -> tuple[Order, ...]:
    scanner = Scanner(text.strip(), "order")
    found = [_ordering(scanner)]
    while _separated(scanner, len(found)):
        found.append(_ordering(scanner))
    return tuple(found)


def _ordering(scanner: Scanner) -> Order:
    order = Order(path=scanner.path())
    while scanner.take("."):
        if scanner.take("nullsfirst"):
            order = msgspec.structs.replace(order, nulls="first")
        elif scanner.take("nullslast"):
            order = msgspec.structs.replace(order, nulls="last")
        elif scanner.take("desc"):
            order = msgspec.structs.replace(order, descending=True)
        elif scanner.take("asc"):
            order = msgspec.structs.replace(order, descending=False)
        else:
            raise errors.dialect(errors.QUERY, "order: column.asc|desc.nullsfirst|nullslast")
    return order

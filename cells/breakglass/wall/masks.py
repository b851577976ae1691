"""What of a column an engineer sees, from inside and from outside the data's jurisdiction: its class decides. Pure.

Whatever is compared, grouped by or counted is what is shown here: nothing else leaves the function that reads the table.
"""

import enum

from cells.records.contracts import TYPES, Class, Column, Contract

SHAPE_CHARS_MAX = 200
_DAYS = frozenset({"date", "timestamp", "timestamptz"})


class Mask(enum.Enum):
    """What becomes of a value. Closed."""

    WHOLE = enum.auto()
    """The value."""
    NAMED = enum.auto()
    """The id of a subject, if the ticket names it."""
    SHAPE = enum.auto()
    """Letters as `a` and `A`, digits as `9`; spaces and what separates the parts of addresses and numbers stay."""
    YEAR = enum.auto()
    """The first moment of its year."""
    LENGTH = enum.auto()
    """That there is a value, and how long."""
    PRESENCE = enum.auto()
    """That there is a value."""
    NOTHING = enum.auto()
    """Null."""


def shown(contract: Contract) -> tuple[str, ...]:
    """The columns that an engineer's view has. Neither those without a class nor sealed ones are among them."""
    return tuple(name for name in contract.classified if not contract.columns[name].sealed)


def mask_of(contract: Contract, name: str, *, inside: bool) -> Mask:
    """The mask of a column that is `shown`. Total."""
    column = contract.columns[name]
    if name == contract.placed_by:
        return Mask.WHOLE
    if column.members or column.items is not None:
        return Mask.NOTHING  # what it holds is of several classes, or of none
    if column.subject_ref:
        return Mask.NAMED if column.type == "uuid" else Mask.NOTHING
    match column.klass:
        case Class.NONE:
            return Mask.WHOLE
        case Class.PSEUDONYMOUS:
            return Mask.WHOLE if inside or name in (contract.owner, "id") else Mask.NOTHING
        case Class.QUASI:
            return _quasi(column, inside=inside)
        case Class.DIRECT:
            return _text(column, Mask.SHAPE if inside else Mask.PRESENCE)
        case Class.FREE_TEXT:
            return _text(column, Mask.LENGTH if inside else Mask.PRESENCE)
        case Class.SPECIAL | None:
            return Mask.NOTHING


def _quasi(column: Column, *, inside: bool) -> Mask:
    if column.type in _DAYS:
        return Mask.YEAR if inside else Mask.NOTHING
    return _text(column, Mask.SHAPE if inside else Mask.PRESENCE)


def _text(column: Column, mask: Mask) -> Mask:
    return mask if column.type == "text" else Mask.NOTHING


def masked(contract: Contract, name: str, *, inside: bool, purpose: str) -> bool:
    """Whether a session sees something else than the value."""
    column = contract.columns[name]
    bound = column.purposes is not None and purpose not in column.purposes and name != contract.placed_by
    return bound or mask_of(contract, name, inside=inside) is not Mask.WHOLE


def expression(contract: Contract, name: str) -> str:
    """What the view shows of `t.<name>`, for a session `s` (inside, purpose, subjects): SQL that never fails, whatever the value."""
    column = contract.columns[name]
    within, without = (
        _masked(mask_of(contract, name, inside=inside), f't."{name}"', column.type) for inside in (True, False)
    )
    placed = within if within == without else f"CASE WHEN s.inside THEN {within} ELSE {without} END"
    if column.purposes is None or name == contract.placed_by or Mask.WHOLE not in _masks(contract, name):
        return placed
    # What is shown whole is so for the column's own purposes; a mask is no use of the value.
    named = ", ".join(f"'{purpose}'" for purpose in column.purposes if _plain(purpose))
    return f"CASE WHEN s.purpose = ANY (ARRAY[{named}]::text[]) THEN {placed} END"


def _masks(contract: Contract, name: str) -> set[Mask]:
    return {mask_of(contract, name, inside=inside) for inside in (True, False)}


def _plain(purpose: str) -> bool:
    """Whether it can be one of this room's purposes at all, which are written into statements."""
    return purpose.isascii() and purpose.replace("_", "").isalpha()


def _masked(mask: Mask, value: str, of_type: str) -> str:
    match mask:
        case Mask.WHOLE:
            return value
        case Mask.NAMED:
            return f"CASE WHEN {value} = ANY (s.subjects) THEN {value} END"
        case Mask.SHAPE:
            return _shape(value)
        case Mask.YEAR:
            return _year(value, of_type)
        case Mask.LENGTH:
            return f"'*** (' || char_length({value})::text || ' characters)'"
        case Mask.PRESENCE:
            return f"CASE WHEN {value} IS NOT NULL THEN '***' END"
        case Mask.NOTHING:
            return f"NULL::{TYPES[of_type]}"


def _shape(value: str) -> str:
    """Under COLLATE "C" each range is one of code points, whatever the database's locale."""
    text = f'left({value}, {SHAPE_CHARS_MAX}) COLLATE "C"'
    for found, by in (("[0-9]", "9"), ("[A-Z]", "A"), ("[^9A @.+_-]", "a")):
        text = f"regexp_replace({text}, '{found}', '{by}', 'g')"
    return text


def _year(value: str, of_type: str) -> str:
    """Years of four digits: beyond them the arithmetic may fail, and an infinite one has no year. In UTC, whatever a session says."""
    within = f"{value} >= '0001-01-02' AND {value} < '9999-12-31'"
    if of_type == "date":
        return f"CASE WHEN {within} THEN make_date(extract(year FROM {value})::int, 1, 1) END"
    zone = ", 'UTC'" if of_type == "timestamptz" else ""
    return f"CASE WHEN {within} THEN date_trunc('year', {value}{zone}) END"

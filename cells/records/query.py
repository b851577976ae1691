"""What a request asks for, as values: columns and paths into JSON, filters, order, page, targets of a write. Pure."""

import enum
from typing import Literal, TypeAlias

import msgspec


class Operator(enum.StrEnum):
    """Comparisons of the dialect. Their SQL stands in `terms`, with the types that each applies to."""

    EQ = "eq"
    NEQ = "neq"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    LIKE = "like"
    ILIKE = "ilike"
    MATCH = "match"
    IMATCH = "imatch"
    IN = "in"
    IS = "is"
    ISDISTINCT = "isdistinct"
    CS = "cs"
    CD = "cd"
    OV = "ov"
    SL = "sl"
    SR = "sr"
    NXR = "nxr"
    NXL = "nxl"
    ADJ = "adj"


QUANTIFIED = frozenset(
    {
        Operator.EQ, Operator.GT, Operator.GTE, Operator.LT, Operator.LTE,
        Operator.LIKE, Operator.ILIKE, Operator.MATCH, Operator.IMATCH,
    }
)  # fmt: skip
"""The operators that take (any) and (all)."""
IS_VALUES = frozenset({"null", "not_null", "true", "false", "unknown"})


class Step(msgspec.Struct, frozen=True):
    """One arrow of a path into JSON: to a member (text) or an element (number, from the end when negative); `->>` gives text."""

    key: str | int
    as_text: bool


class Path(msgspec.Struct, frozen=True):
    """A column, or what lies inside it."""

    column: str
    steps: tuple[Step, ...] = ()


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """One filter. `values` holds one text, any number for `in`, a word of IS_VALUES for `is`, an array's text under a quantifier."""

    path: Path
    operator: Operator
    values: tuple[str, ...]
    negated: bool = False
    quantifier: Literal["any", "all"] | None = None


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Filters joined by one word."""

    joint: Literal["and", "or"]
    terms: "tuple[Condition | Group, ...]"
    negated: bool = False


Term: TypeAlias = Condition | Group


class Order(msgspec.Struct, frozen=True, kw_only=True):
    path: Path
    descending: bool = False
    nulls: Literal["first", "last"] | None = None


class Selected(msgspec.Struct, frozen=True):
    """What is returned, the name it comes back under, and the contract type it is cast to first."""

    path: Path
    name: str
    cast: str | None = None


class Star(msgspec.Struct, frozen=True):
    """Every readable column."""


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """`columns`: what to take from a body, None = its own keys. `conflict`: by what an upsert knows a row, None = the primary key."""

    select: tuple[Selected | Star, ...] = (Star(),)
    where: tuple[Term, ...] = ()
    order: tuple[Order, ...] = ()
    limit: int | None = None
    offset: int = 0
    columns: tuple[str, ...] | None = None
    conflict: tuple[str, ...] | None = None

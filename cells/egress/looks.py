"""What the second detector is shown of a column that leaves as it is: its strings, and numbers long enough to be somebody's. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

Shown: TypeAlias = Callable[[Sequence[Any]], list[str]]

NUMBER_MIN = 10_000_000
"""From here on a number is looked at, by its digits. No card and no identifier has fewer than eight; a telephone number without its
area may, but then so have amounts and counts."""
_DIGITS_MIN = 8
_MEASURES = (
    *("at", "ts", "time", "timestamp", "epoch", "s", "sec", "second", "ms", "milli", "us", "micro", "ns", "nano", "minute", "hour"),
    *("duration", "byte", "size", "length", "weight", "count", "total", "sum", "average", "quantity", "usage", "limit", "quota"),
    *("amount", "balance", "cent", "price", "cost", "fee", "discount", "revenue", "share", "rate", "ratio", "percent", "score"),
    *("version",),
)  # fmt: skip
MEASURES = frozenset(_MEASURES) | {f"{one}s" for one in _MEASURES if len(one) > 2} | {"quantities"}
"""Last words of names of numbers that say what is counted or measured. Those names count as no word beside a number: `phone_verified_at_ms`
is a moment, and nobody's telephone."""
_SHORT = 2
"""A last word of so many letters may as well be a country or a part of something else (`phone_us`, `call_us`): it says a measure behind
another one that does, or behind what has been done (`verified_at_ms`, `seen_at`)."""
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


class Look(msgspec.Struct, frozen=True):
    """Of one field. `named`: the name that the scanner is told with its values, as a word beside each; empty where it is none."""

    field: str
    named: str
    shown: Shown


def look_at(field: str, of_type: str) -> Look | None:
    """None: of this type nothing is looked at. `field` is the path of one within JSON."""
    shown = LOOKS.get(of_type)
    if shown is None:
        return None
    measure = shown is not _strings and _says_a_measure(field)
    return Look(field, "" if measure else field, shown)


def _says_a_measure(name: str) -> bool:
    *before, last = ["", *(word.lower() for word in _WORD.findall(name))]
    if last not in MEASURES or not name.isascii():
        return False
    return len(last) > _SHORT or (bool(before) and (before[-1] in MEASURES or before[-1].endswith(("ed", "en"))))


def _strings(values: Sequence[Any]) -> list[str]:
    return [each for one in values for each in (one if type(one) is list else (one,)) if type(each) is str]


def _whole(values: Sequence[Any]) -> list[str]:
    return [str(abs(one)) for one in values if type(one) is int and not -NUMBER_MIN < one < NUMBER_MIN]


def _real(values: Sequence[Any]) -> list[str]:
    """A fraction is nobody's number."""
    return _whole([int(one) for one in values if type(one) is float and one.is_integer()])


def _numeric(values: Sequence[Any]) -> list[str]:
    """The same. A money column says `4111111111111111.00`."""
    parts = [one.lstrip("-").partition(".") for one in values if type(one) is str]
    return [whole for whole, _, fraction in parts if len(whole) >= _DIGITS_MIN and not fraction.strip("0")]


LOOKS: Mapping[str, Shown] = {
    "text": _strings,
    "text[]": _strings,
    "numeric": _numeric,
    **dict.fromkeys(("int", "integer", "bigint"), _whole),
    **dict.fromkeys(("real", "double precision"), _real),
}
"""Contract type -> what of its values is looked at. Of other types nothing is: days, moments, truths and ids of 128 bits."""

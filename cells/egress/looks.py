"""What the second detector is shown of a column that leaves as it is: its strings, and numbers long enough to be somebody's. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

Look: TypeAlias = Callable[[Sequence[Any]], list[str]]

NUMBER_MIN = 10_000_000
"""From here on a number is looked at, by its digits. No card and no identifier has fewer than eight; a telephone number without its
area may, but then so have amounts and counts."""
_DIGITS_MIN = 8


def _strings(values: Sequence[Any]) -> list[str]:
    return [each for one in values for each in (one if type(one) is list else (one,)) if type(each) is str]


def _whole(values: Sequence[Any]) -> list[str]:
    return [str(abs(one)) for one in values if type(one) is int and not -NUMBER_MIN < one < NUMBER_MIN]


def _real(values: Sequence[Any]) -> list[str]:
    """A fraction is nobody's number."""
    return _whole([int(one) for one in values if type(one) is float and one.is_integer()])


def _numeric(values: Sequence[Any]) -> list[str]:
    """A money column says `4111111111111111.00`."""
    return [_without_zeros(one) for one in values if type(one) is str and len(one) >= _DIGITS_MIN]


def _without_zeros(number: str) -> str:
    whole, _, fraction = number.partition(".")
    return number if fraction.strip("0") else whole


LOOKS: Mapping[str, Look] = {
    "text": _strings,
    "text[]": _strings,
    "numeric": _numeric,
    **dict.fromkeys(("int", "integer", "bigint"), _whole),
    **dict.fromkeys(("real", "double precision"), _real),
}
"""Contract type -> what of its values is looked at. Of other types nothing is: days, moments, truths and ids of 128 bits."""

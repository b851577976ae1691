"""What a treatment makes of a whole column: the same as of each value, in less time. Of values that were read, with no null among them. Pure."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from cells.egress.ages import bands
from cells.egress.treatments import ADDRESS_CHARS_MAX, Function, Means, domain_of, mask_domain
from cells.egress.wording import Treatment

Column: TypeAlias = Callable[[Sequence[Any]], list[Any]]

_DEAR = frozenset({"token", "last", "subnet", "initials", "postal", "geohash"})
"""Treatments that take so long that it pays to look whether a column holds the same value more than once."""


def over(treatment: Treatment, means: Means, one: Function) -> Column:
    """`one` is what the treatment makes of a single value."""
    match treatment.kind:
        case "keep":
            return list
        case "mask_domain":
            return _domains
        case "age_band":
            return _banded(int(treatment.arguments[0]), means)
        case kind if kind in _DEAR:
            return _distinctly(one)
        case _:
            return lambda values: list(map(one, values))


def _distinctly(one: Function) -> Column:
    """Each distinct value once, where at least half of them are there twice. Nothing is remembered from column to column."""

    def treat(values: Sequence[Any]) -> list[Any]:
        distinct = set(values)
        if len(distinct) * 2 > len(values):
            return list(map(one, values))
        known = dict(zip(distinct, map(one, distinct), strict=True))
        return list(map(known.__getitem__, values))

    return treat


def _banded(width: int, means: Means) -> Column:
    return lambda values: list(map(bands(width, means.day).__getitem__, values))


def _domains(values: Sequence[str]) -> list[Any]:
    """Where all of them are plainly addresses; else each is looked at by itself."""
    if not values:
        return []
    before, _, domains = zip(*map(str.rpartition, values, itertools.repeat("@")), strict=True)
    joined = "".join(before)
    plain = all(before) and joined.isprintable() and not ("@" in joined or " " in joined)
    if not plain or max(map(len, values)) > ADDRESS_CHARS_MAX:
        return list(map(mask_domain, values))
    return list(map(domain_of, domains))

"""What a treatment makes of a whole column: the same as of each value, in less time. Of values that were read, none of them null. Pure."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from cells.egress.ages import bands
from cells.egress.tokens import tokens
from cells.egress.treatments import ADDRESS_CHARS_MAX, DOMAINS, Function, Means, key_of, mask_domain
from cells.egress.wording import Treatment

Column: TypeAlias = Callable[[Sequence[Any]], list[Any]]

_DEAR = frozenset({"last", "subnet", "initials", "postal", "geohash"})
"""Treatments that take so long that it pays to look whether a column holds the same value more than once."""
FIRST_ROWS_MIN, FIRST_PART = 64, 8
"""It is looked at no further where its first rows, an eighth of them, are all different."""


def over(treatment: Treatment, means: Means, one: Function) -> Column:
    """`one` is what the treatment makes of a single value. Raises Unmeant."""
    match treatment.kind:
        case "keep":
            return _listed
        case "mask_domain":
            return _domains
        case "age_band":
            return _banded(int(treatment.arguments[0]), means)
        case "token":
            return _tokens(tokens(key_of(treatment, means)), one)
        case kind if kind in _DEAR:
            return _distinctly(lambda values: map(one, values))
        case _:
            return lambda values: list(map(one, values))


def _listed(values: Sequence[Any]) -> list[Any]:
    """The column itself, where it is a list: nobody changes one that was given."""
    return values if type(values) is list else list(values)


def _distinctly(each: Callable[[Iterable[Any]], Iterable[Any]]) -> Column:
    """Each distinct value once, where some stand there again. Nothing is remembered from column to column."""

    def treat(values: Sequence[Any]) -> list[Any]:
        first = values[: max(FIRST_ROWS_MIN, len(values) // FIRST_PART)]
        if len(set(first)) == len(first):
            return list(each(values))
        distinct = set(values)
        known = dict(zip(distinct, each(distinct), strict=True))
        return list(map(known.__getitem__, values))

    return treat


def _tokens(texts: Callable[[Iterable[str]], list[str]], one: Function) -> Column:
    of_texts, of_numbers = _distinctly(texts), _distinctly(lambda values: map(one, values))
    return lambda values: of_texts(values) if values and type(values[0]) is str else of_numbers(values)


def _banded(width: int, means: Means) -> Column:
    return lambda values: list(map(bands(width, means.day).__getitem__, values))


def _domains(values: Sequence[str]) -> list[Any]:
    """Where all of them are plainly addresses; else each is looked at by itself."""
    parts = list(itertools.chain.from_iterable(map(str.rpartition, values, itertools.repeat("@"))))
    before, domains = parts[0::3], parts[2::3]
    joined = "".join(before)
    plain = all(before) and joined.isprintable() and not ("@" in joined or " " in joined)
    if not plain or max(map(len, values), default=0) > ADDRESS_CHARS_MAX:
        return list(map(mask_domain, values))
    return list(map(DOMAINS.__getitem__, domains))

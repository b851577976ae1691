"""Yes, no, unknown: Kleene's logic of three values (Introduction to Metamathematics, 1952, section 64)."""

import enum
from collections.abc import Iterable


class Truth(enum.IntEnum):
    """Ordered, so that `and` is the least and `or` the greatest: `min(a, b)`, `max(a, b)`."""

    NO = 0
    UNKNOWN = 1
    YES = 2

    __hash__ = int.__hash__
    """Enum's own is many times slower."""


def every(truths: Iterable[Truth]) -> Truth:
    """YES of none."""
    least = Truth.YES
    for truth in truths:
        if truth is Truth.NO:
            return truth
        least = min(least, truth)
    return least


def some(truths: Iterable[Truth]) -> Truth:
    """NO of none."""
    most = Truth.NO
    for truth in truths:
        if truth is Truth.YES:
            return truth
        most = max(most, truth)
    return most

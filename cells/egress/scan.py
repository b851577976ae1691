"""The port of the scanner: a second detector, which looks at strings and knows nothing of contracts. Pure."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec


class Found(msgspec.Struct, frozen=True):
    """What a string holds between two positions (characters, the end is not part of it): `email`, `iban` …"""

    kind: str
    start: int
    end: int


Scan: TypeAlias = Callable[[Sequence[str]], Sequence[Sequence[Found]]]
"""For each string what was found in it, in no order; findings may overlap. Total: a string that cannot be looked into is a finding."""


def redacted(text: str, found: Sequence[Found]) -> str:
    """The text with every finding replaced by its kind; overlapping ones by that of the first."""
    kept: list[str] = []
    at = 0
    for one in sorted(found, key=lambda each: (each.start, -each.end)):
        if one.end <= at:
            continue
        kept += [text[at : max(at, one.start)], f"[{one.kind}]" if one.start >= at else ""]
        at = one.end
    return "".join([*kept, text[at:]])

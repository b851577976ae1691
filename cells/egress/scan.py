"""The port of the scanner: a second detector, which looks at strings and knows nothing of contracts. Pure."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

BEGINNINGS = frozenset({"opaque", "private_key"})
"""Kinds of which a finding is the beginning alone: what nobody can look into, and a key, told by its first line."""
WHOLE_CHARS_MAX = 2_000
"""A longer finding may be a beginning, too: values are told whole up to 8 KiB of UTF-8."""


class Found(Protocol):
    """What a string holds between two positions (characters, the end is not part of it): `email`, `iban` …"""

    @property
    def kind(self) -> str: ...

    @property
    def start(self) -> int: ...

    @property
    def end(self) -> int: ...


Scan: TypeAlias = Callable[[Sequence[str], str], Sequence[Sequence[Found]]]
"""For each string of a field of that name what was found in it; findings may overlap. Total: what cannot be looked into is a finding."""


def redacted(text: str, found: Sequence[Found]) -> str:
    """The text with every finding replaced by its kind; overlapping ones by that of the first. From a beginning on nothing is left."""
    kept: list[str] = []
    at = 0
    for one in sorted(found, key=lambda each: (each.start, -each.end)):
        if one.kind in BEGINNINGS or one.end - one.start > WHOLE_CHARS_MAX:
            return "".join([*kept, text[at : max(at, one.start)], f"[{one.kind}]"])
        if one.end <= at:
            continue
        kept += [text[at : max(at, one.start)], f"[{one.kind}]" if one.start >= at else ""]
        at = one.end
    return "".join([*kept, text[at:]])

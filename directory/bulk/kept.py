"""Members of parts that this process has just placed, for whom their cells ask next. Nothing of them changes."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

import msgspec

from directory.bulk.packed import ID_BYTES
from foundation.copying import cut

PARTS_MAX = 32
"""Beyond it the oldest is read from its row; a part takes at most 240 kB."""


class Members(msgspec.Struct, frozen=True):
    """As in `PackedPart`."""

    subjects: bytes
    epochs: bytes

    def without(self, gone: AbstractSet[bytes]) -> "Members":
        pairs = zip(cut(self.subjects, ID_BYTES), cut(self.epochs, 8), strict=True)
        left = [(one, epoch) for one, epoch in pairs if one not in gone]
        return members_of([one for one, _ in left], [epoch for _, epoch in left])


def members_of(ids: Iterable[bytes], epochs: Iterable[bytes]) -> Members:
    return Members(b"".join(ids), b"".join(epochs))


class Kept:
    """By the numbers of their parts."""

    def __init__(self, *, parts_max: int = PARTS_MAX) -> None:
        self._parts: dict[int, Members] = {}
        self._parts_max = parts_max

    def put(self, part: int, ids: Iterable[bytes], epochs: Iterable[bytes]) -> None:
        """Of a part whose batch has been committed."""
        self._parts[part] = members_of(ids, epochs)
        while len(self._parts) > self._parts_max:
            del self._parts[next(iter(self._parts))]

    def get(self, part: int) -> Members | None:
        return self._parts.get(part)

    def drop(self, part: int) -> None:
        """Its cell needs it no more."""
        self._parts.pop(part, None)

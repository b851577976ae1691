"""Rows of the directory's tables in the binary form of COPY. Pure."""

import struct
from collections.abc import Iterable, Sequence
from itertools import repeat

from directory.bulk.packed import ID_BYTES, KEY_BYTES
from directory.bulk.plan import Group, twins_of
from foundation.copying import NULL, int4, int8, text, texts

SUBJECT_COLUMNS = ("subject_id", "epoch", "cell", "shard", "state", "services", "changes", "part", "facts_id")
KEY_COLUMNS = ("key", "subject_id", "kind", "kid", "twin_of")
PART_COLUMNS = (
    "part", "job_id", "number", "cell", "shard", "services", "subject_ids", "epochs", "at", "actor", "kinds", "expires_at",
)  # fmt: skip


def subjects(ids: Sequence[bytes], epochs: Sequence[bytes], rests: Iterable[bytes]) -> list[bytes]:
    """Rows of SUBJECT_COLUMNS, which sort by their ids. `rests`: of each the fields after the epoch, as `rest` makes them."""
    head, between = struct.pack(">hi", len(SUBJECT_COLUMNS), ID_BYTES), struct.pack(">i", 8)
    return list(map(b"".join, zip(repeat(head), ids, repeat(between), epochs, rests, strict=False)))


def rest(cell: str, shard: str, services: Sequence[str], part: int, facts_id: int) -> bytes:
    """What members of a part with the same facts have in common. Until it is acknowledged their state is the part's (`store.STATE`)."""
    return b"".join(
        (text(cell), text(shard), text("active"), texts(services), int4(1), int8(part), int8(facts_id)),
    )


def keys(group: Group) -> list[bytes]:
    """Rows of KEY_COLUMNS, which sort by their keys."""
    head, between = struct.pack(">hi", len(KEY_COLUMNS), KEY_BYTES), struct.pack(">i", ID_BYTES)
    made: list[bytes] = []
    for name, twin, column in zip(group.names, twins_of(group.names), group.keys, strict=True):
        named = text(name.kind) + text(name.kid) + (NULL if twin is None else struct.pack(">i", KEY_BYTES))
        firsts = repeat(b"") if twin is None else group.keys[twin]
        pieces = zip(repeat(head), column, repeat(between), group.ids, repeat(named), firsts, strict=False)
        made += map(b"".join, pieces)
    return made

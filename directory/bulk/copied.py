"""Rows of the directory's tables in the binary form of COPY. Pure."""

import datetime
import struct
import uuid
from collections.abc import Iterable, Sequence
from itertools import repeat

import msgspec

from directory.bulk.packed import ID_BYTES, KEY_BYTES
from directory.bulk.plan import Group, Part, Plan, twins_of
from foundation import copying
from foundation.copying import NULL, int4, int8, text, texts

SUBJECT_COLUMNS = ("subject_id", "epoch", "cell", "shard", "state", "services", "changes", "part", "facts_id", "keys")
KEY_COLUMNS = ("key", "subject_id", "imported", "kind", "kid", "twin_of")
PART_COLUMNS = (
    "part", "job_id", "number", "cell", "shard", "services", "subject_ids", "epochs", "at", "actor", "kinds", "expires_at",
)  # fmt: skip


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Which batch of which job, with the digest of its rows, and who gave it for what reason."""

    job_id: str
    number: int
    body: bytes
    actor: str
    reason: str


class Numbers(msgspec.Struct, frozen=True):
    """What the database gives a batch: a number for each part, an epoch (eight bytes) for each subject, and the time."""

    parts: list[int]
    epochs: list[bytes]
    at: datetime.datetime


class Rows(msgspec.Struct, frozen=True):
    """What a batch adds to three tables, each in the order of its primary key."""

    parts: bytes
    subjects: bytes
    keys: bytes


def rows_of(
    plan: Plan, parts: Sequence[Part], given: Numbers, of_facts: Sequence[int], batch: Batch, *, reserved_s: float
) -> Rows:
    """`of_facts`: the id of the facts of each of the plan's kinds. Epochs rise with the ids within a part."""
    named = {subject: keys for group in plan.groups for subject, keys in zip(group.ids, together(group), strict=True)}
    subject_rows: list[bytes] = []
    part_rows: list[bytes] = []
    start = 0
    for number, part in zip(given.parts, parts, strict=True):
        epochs = given.epochs[start : (start := start + len(part.ids))]
        rests = [rest(*part.home, part.services, number, facts_id) for facts_id in of_facts]
        subject_rows += subjects(part.ids, epochs, map(rests.__getitem__, part.kinds), map(named.__getitem__, part.ids))
        part_rows.append(_part(part, number, epochs, batch, given.at, reserved_s))
    key_rows = [row for group in plan.groups for row in keys(group)]
    subject_rows.sort()
    key_rows.sort()
    return Rows(copying.stream(part_rows), copying.stream(subject_rows), copying.stream(key_rows))


def subjects(
    ids: Sequence[bytes], epochs: Sequence[bytes], rests: Iterable[bytes], keys: Iterable[bytes]
) -> list[bytes]:
    """Rows of SUBJECT_COLUMNS, which sort by their ids. `rests`: of each the fields between the epoch and the keys, as `rest` makes them;
    `keys`: that field, as `together` does."""
    head, between = struct.pack(">hi", len(SUBJECT_COLUMNS), ID_BYTES), struct.pack(">i", 8)
    return list(map(b"".join, zip(repeat(head), ids, repeat(between), epochs, rests, keys, strict=False)))


def rest(cell: str, shard: str, services: Sequence[str], part: int, facts_id: int) -> bytes:
    """What members of a part with the same facts have in common. Until it is acknowledged their state is the part's (`store.STATE`)."""
    return b"".join(
        (text(cell), text(shard), text("active"), texts(services), int4(1), int8(part), int8(facts_id)),
    )


def together(group: Group) -> Iterable[bytes]:
    """Of each row of a group all its keys in one field, so that its subject's row names them."""
    head = struct.pack(">i", KEY_BYTES * len(group.names))
    return map(b"".join, zip(repeat(head), *group.keys, strict=False))


def keys(group: Group) -> list[bytes]:
    """Rows of KEY_COLUMNS, which sort by their keys."""
    head, between = struct.pack(">hi", len(KEY_COLUMNS), KEY_BYTES), struct.pack(">i", ID_BYTES)
    imported = struct.pack(">i?", 1, True)
    made: list[bytes] = []
    for name, twin, column in zip(group.names, twins_of(group.names), group.keys, strict=True):
        named = imported + text(name.kind) + text(name.kid) + (NULL if twin is None else struct.pack(">i", KEY_BYTES))
        firsts = repeat(b"") if twin is None else group.keys[twin]
        pieces = zip(repeat(head), column, repeat(between), group.ids, repeat(named), firsts, strict=False)
        made += map(b"".join, pieces)
    return made


def _part(
    part: Part, number: int, epochs: Sequence[bytes], batch: Batch, at: datetime.datetime, reserved_s: float
) -> bytes:
    """A row of PART_COLUMNS."""
    cell, shard = part.home
    return copying.row(
        int8(number),
        copying.raw(uuid.UUID(batch.job_id).bytes),
        int4(batch.number),
        text(cell),
        text(shard),
        texts(part.services),
        copying.uuids(part.ids),
        copying.int8s(epochs),
        copying.at(at),
        text(batch.actor),
        copying.int2s([place + 1 for place in part.kinds]),
        copying.at(at + datetime.timedelta(seconds=reserved_s)),
    )

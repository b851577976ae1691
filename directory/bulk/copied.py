"""Rows of the directory's tables in the binary form of COPY. Pure."""

import datetime
import struct
import uuid
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise, repeat

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

    def of_parts(self, parts: Sequence[Part]) -> list[list[bytes]]:
        """The epochs of each part's members, in the order of their ids."""
        ends = list(accumulate((len(one.ids) for one in parts), initial=0))
        return [self.epochs[start:end] for start, end in pairwise(ends)]


class Rows(msgspec.Struct, frozen=True):
    """What a batch adds to three tables, each in the order of its primary key."""

    parts: list[bytes]
    subjects: list[bytes]
    keys: list[bytes]


def rows_of(
    plan: Plan, parts: Sequence[Part], given: Numbers, of_facts: Sequence[int], batch: Batch, *, reserved_s: float
) -> Rows:
    """`of_facts`: the id of the facts of each of the plan's kinds. Epochs rise with the ids within a part."""
    epochs: dict[bytes, bytes] = {}
    part_rows: list[bytes] = []
    for number, part, of_part in zip(given.parts, parts, given.of_parts(parts), strict=True):
        epochs.update(zip(part.ids, of_part, strict=True))
        part_rows.append(_part(part, number, of_part, batch, given.at, reserved_s))
    numbers = {(part.home, part.services): number for number, part in zip(given.parts, parts, strict=True)}
    facts = {id(ruled): facts_id for ruled, facts_id in zip(plan.kinds, of_facts, strict=True)}
    subject_rows: list[bytes] = []
    key_rows: list[bytes] = []
    for one in plan.groups:
        services = one.ruled.asked.services
        rest = _rest(*one.home, services, numbers[one.home, services], facts[id(one.ruled)])
        subject_rows += subjects(one, epochs, rest)
        key_rows += keys(one)
    subject_rows.sort()
    key_rows.sort()
    return Rows(part_rows, subject_rows, key_rows)


def subjects(group: Group, epochs: Mapping[bytes, bytes], rest: bytes) -> list[bytes]:
    """Rows of SUBJECT_COLUMNS, which sort by their ids. `rest`: the fields between the epoch and the keys."""
    head, between = struct.pack(">hi", len(SUBJECT_COLUMNS), ID_BYTES), struct.pack(">i", 8)
    alike = rest + struct.pack(">i", KEY_BYTES * len(group.names))
    of_ids = map(epochs.__getitem__, group.ids)
    pieces = zip(repeat(head), group.ids, repeat(between), of_ids, repeat(alike), *group.keys, strict=False)
    return list(map(b"".join, pieces))


def _rest(cell: str, shard: str, services: Sequence[str], part: int, facts_id: int) -> bytes:
    """What members of a part with the same facts have in common. Until it is acknowledged their state is the part's (`store.STATE`)."""
    return b"".join(
        (text(cell), text(shard), text("active"), texts(services), int4(1), int8(part), int8(facts_id)),
    )


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

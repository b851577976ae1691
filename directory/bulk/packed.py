"""A batch in columns: what rows have in common stands once, what each has alone in columns of fixed width. Pure; shared with callers.

The same rows in the same order as `BulkRow`s say, in a form that neither side turns into an object for each: MessagePack of `PackedBatch`
or `PackedCheck`, media type `PACKED`.
"""

import string
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Annotated

import msgspec
from msgspec import Meta

from directory.bulk.answers import BATCHES_MAX, BulkRow, Part
from directory.placement.answers import (
    CITIZENSHIPS_MAX,
    KEYS_MAX,
    SERVICES_MAX,
    TAGS_MAX,
    ClaimedKey,
    CountryCode,
    Kid,
    Slug,
    SubdivisionCode,
    Tag,
    Terms,
)
from foundation.words import CellId, ServiceId, ShardId, SubjectId

PACKED = "application/vnd.domicile.rows+msgpack"
PACKED_PART = "application/vnd.domicile.part+msgpack"
PACKED_ROWS_MAX = 10_000
"""More than one by one: no row becomes an object, and what a batch costs by itself (its statements, events, and its parts' ways to and fro
between directory and cell) is shared by more. Not many more: somebody who signs up waits for a batch that holds a key of theirs."""
KEY_BYTES = 32
ID_BYTES = 16
ID_CHARS = 36
ROW_NUMBER_MAX = 2**64 - 1
_DIGIT_PLACES = [place for place in range(ID_CHARS) if place not in (8, 13, 18, 23)]
_KEY_CHARS = (string.ascii_letters + string.digits + "_-").encode("ascii")


class KeyName(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a row's key at one position stands for, as in ClaimedKey."""

    kind: Slug
    kid: Kid | None


class Common(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What many rows say alike; fields as in BulkRow. `keys`: what each of a row's keys stands for, in the order of the keys."""

    residence: CountryCode
    services: Annotated[tuple[Slug, ...], Meta(min_length=1, max_length=SERVICES_MAX)]
    keys: Annotated[tuple[KeyName, ...], Meta(min_length=1, max_length=KEYS_MAX)]
    tags: Annotated[tuple[Tag, ...], Meta(max_length=TAGS_MAX)] = ()
    terms: Terms | None = None
    verified_residence: CountryCode | None = None
    subdivision: SubdivisionCode | None = None
    citizenships: Annotated[tuple[CountryCode, ...], Meta(max_length=CITIZENSHIPS_MAX)] | None = None


class Packed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`commons`: distinct, in the order in which rows first have them. `of_rows`: each row's place among them, two bytes; `rows`: each
    row's number, eight bytes; both big-endian. `keys`: 32 characters each, row after row."""

    commons: Annotated[tuple[Common, ...], Meta(min_length=1, max_length=PACKED_ROWS_MAX)]
    of_rows: bytes
    rows: bytes
    keys: bytes

    def __len__(self) -> int:
        return len(self.of_rows) // 2

    def places(self) -> tuple[int, ...]:
        """Each row's place among `commons`."""
        return struct.unpack(f">{len(self)}H", self.of_rows)

    def numbers(self) -> tuple[int, ...]:
        """Each row's number in the caller's file."""
        return struct.unpack(f">{len(self)}Q", self.rows)


class PackedBatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As BatchRequest."""

    number: Annotated[int, Meta(ge=0, le=BATCHES_MAX)]
    rows: Packed


class PackedCheck(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As CheckRequest."""

    rows: Packed


def wrong(packed: Packed) -> str | None:
    """Why its columns do not fit each other; None where they do. Then the same rows have one form, and so one digest."""
    count = len(packed)
    if not 1 <= count <= PACKED_ROWS_MAX:
        return f"a batch has 1 to {PACKED_ROWS_MAX} rows"
    if len(packed.of_rows) != 2 * count or len(packed.rows) != 8 * count:
        return "the columns are not of one length"
    places = packed.places()
    if tuple(dict.fromkeys(places)) != tuple(range(len(packed.commons))) or len(set(packed.commons)) != len(
        packed.commons
    ):
        return "what rows have in common stands once, in the order of the rows"
    if len(packed.keys) != KEY_BYTES * sum(map([len(one.keys) for one in packed.commons].__getitem__, places)):
        return "there are not as many keys as the rows have names for"
    if packed.keys.translate(None, _KEY_CHARS):
        return "a lookup key is 32 base64url characters"
    return None


def pack(rows: Iterable[BulkRow]) -> Packed:
    """Raises OverflowError for a row number that fits no column."""
    commons: dict[Common, int] = {}
    of_rows, numbers, keys = [], [], []
    for row in rows:
        of_rows.append(commons.setdefault(common_of(row), len(commons)))
        if row.row > ROW_NUMBER_MAX:
            raise OverflowError(row.row)
        numbers.append(row.row)
        keys += [one.key for one in row.keys]
    return packed_of(tuple(commons), of_rows, numbers, "".join(keys).encode("ascii"))


def packed_of(commons: Sequence[Common], of_rows: Sequence[int], numbers: Sequence[int], keys: bytes) -> Packed:
    return Packed(
        commons=tuple(commons),
        of_rows=struct.pack(f">{len(of_rows)}H", *of_rows),
        rows=struct.pack(f">{len(numbers)}Q", *numbers),
        keys=keys,
    )


def common_of(row: BulkRow) -> Common:
    return Common(
        residence=row.residence,
        services=row.services,
        keys=tuple(KeyName(one.kind, one.kid) for one in row.keys),
        tags=row.tags,
        terms=row.terms,
        verified_residence=row.verified_residence,
        subdivision=row.subdivision,
        citizenships=row.citizenships,
    )


def rows_of(packed: Packed) -> tuple[BulkRow, ...]:
    """The rows one by one."""
    keys = iter([packed.keys[at : at + KEY_BYTES].decode("ascii") for at in range(0, len(packed.keys), KEY_BYTES)])
    pairs = zip(packed.numbers(), packed.places(), strict=True)
    return tuple(_row(number, packed.commons[place], keys) for number, place in pairs)


def _row(number: int, common: Common, keys: Iterator[str]) -> BulkRow:
    named = zip(common.keys, islice(keys, len(common.keys)), strict=True)
    return BulkRow(
        row=number,
        residence=common.residence,
        services=common.services,
        keys=tuple(ClaimedKey(kind=name.kind, key=key, kid=name.kid) for name, key in named),
        tags=common.tags,
        terms=common.terms,
        verified_residence=common.verified_residence,
        subdivision=common.subdivision,
        citizenships=common.citizenships,
    )


class PackedPart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part as in `Part`, of media type `PACKED_PART`. `subjects`: 16 bytes each, in their order; `epochs`: eight, big-endian."""

    part: int
    cell: CellId
    shard: ShardId
    services: tuple[ServiceId, ...]
    subjects: bytes
    epochs: bytes


def pack_part(part: Part) -> PackedPart:
    return PackedPart(
        part=part.part,
        cell=part.cell,
        shard=part.shard,
        services=part.services,
        subjects=b"".join([bytes.fromhex(one.subject_id.replace("-", "")) for one in part.members]),
        epochs=struct.pack(f">{len(part.members)}q", *[one.epoch for one in part.members]),
    )


def texts_of(ids: bytes) -> list[SubjectId]:
    """Ids that stand one after the other, as text. Digits go to their places in all of them at once."""
    digits = ids.hex().encode("ascii")
    texts = bytearray(b"-") * (ID_CHARS * (len(ids) // ID_BYTES))
    for nth, place in enumerate(_DIGIT_PLACES):
        texts[place::ID_CHARS] = digits[nth :: 2 * ID_BYTES]
    together = texts.decode("ascii")
    return [SubjectId(together[at : at + ID_CHARS]) for at in range(0, len(together), ID_CHARS)]


def numbers_of(epochs: bytes) -> tuple[int, ...]:
    """Epochs of eight bytes each."""
    return struct.unpack(f">{len(epochs) // 8}q", epochs)

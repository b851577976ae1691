"""A sheaf: many records under one entry of the log, which has their count and the Merkle root over them (RFC 6962). Pure.

The records lie beside the log as what follows the entry's payload. Each has a salt of its own, and its leaf hash stands before it: one can
be shown to stand there while the others are kept back, and one can be erased while the proofs of the others hold.

In an opening: the salt and the payload, as any entry's; RECORDS_FOLLOW; then each record behind a length of 32 bits: its leaf hash, its
salt, its JSON. A leaf hash is over salt and JSON. Of an erased record these are zeros.
"""

import hashlib
import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import msgspec

from foundation.ledger import handed
from foundation.ledger.entries import (
    RECORDS_FOLLOW,
    SALT_BYTES,
    Entry,
    MalformedEntry,
    Recorded,
    Single,
    Under,
    committed,
    is_sheaf,
    sealed,
    sealed_each,
)
from foundation.ledger.merkle import HASH_BYTES, Frontier, inclusion, leaf_hash, subtrees_over
from foundation.ledger.port import Kind

TOGETHER = frozenset({Kind.ACCESS, Kind.CROSSING, Kind.REFUSAL})
"""Kinds of which there can be many: so many rows in a row, and nothing else between, become one entry."""
TOGETHER_MIN = 16
ACTOR = "ledger"
"""Who brought rows together that came one by one."""
_SHEAF = Kind.SHEAF.value
_NOT_ALONE = TOGETHER | {_SHEAF}
"""All other rows become entries by themselves."""
_LENGTH = struct.Struct(">I")


class Held(NamedTuple):
    """A record as it lies there. `opening`: its salt and JSON, None where it was erased; they stand from `begin` to before `end` of the
    sheaf's opening."""

    leaf: bytes
    opening: bytes | None
    begin: int
    end: int


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Single).decode


# --- made --------------------------------------------------------------------------------------------------------------------


def sealed_rows(
    rows: Sequence[Recorded], source: str, chance: Callable[[int], bytes]
) -> tuple[list[bytes], list[bytes]]:
    """The entries of a source's rows and their openings, many of a sort as one. `chance` gives so many random bytes. Raises ValueError
    where an entry is too long."""
    salts = chance(SALT_BYTES * len(rows))
    if _NOT_ALONE.isdisjoint({row.kind for row in rows}):
        return sealed_each(rows, source, salts)
    raws, openings = list[bytes](), list[bytes]()
    for at, together in enumerate(gathered(rows)):
        salt = salts[SALT_BYTES * at : SALT_BYTES * (at + 1)]
        raw, opening = sealed_as(together, source, salt, chance)
        raws.append(raw)
        openings.append(opening)
    return raws, openings


def gathered(rows: Sequence[Recorded]) -> Iterator[Sequence[Recorded]]:
    """Rows as they go into entries, in their order: each by itself, but for runs of those of which there are many."""
    for together, run in groupby(rows, lambda row: row.kind in TOGETHER):
        held = list(run)
        if not together or len(held) < TOGETHER_MIN:
            yield from ([row] for row in held)
        else:
            yield from (held[at : at + handed.RECORDS_MAX] for at in range(0, len(held), handed.RECORDS_MAX))


def sealed_as(
    rows: Sequence[Recorded], source: str, salt: bytes, chance: Callable[[int], bytes]
) -> tuple[bytes, bytes]:
    """(entry, opening) of what `gathered` gives. `chance` gives so many random bytes. Raises ValueError where an entry is too long."""
    if len(rows) == 1 and rows[0].kind != _SHEAF:
        return sealed(rows[0], source, salt)
    head, singles = _parted(rows)
    if not singles:
        return sealed(head, source, salt)
    salts = chance(SALT_BYTES * len(singles))
    tree, frames = Frontier(), list[bytes]()
    for number, single in enumerate(singles):
        text = _encode(single)
        opening = salts[SALT_BYTES * number : SALT_BYTES * (number + 1)] + text
        leaf = leaf_hash(opening)
        tree.append(leaf)
        frames += (_LENGTH.pack(HASH_BYTES + len(opening)), leaf, opening)
    entry, opening = sealed(head, source, salt, Under(len(singles), tree.root()))
    return entry, b"".join((opening, RECORDS_FOLLOW, *frames))


def _parted(rows: Sequence[Recorded]) -> tuple[Recorded, list[Single]]:
    """The row that the entry and its payload are of, at the place and under the id of the last one; and the records under it, if any."""
    last = rows[-1]
    if len(rows) > 1:
        about = {"first": rows[0].position}
        head = msgspec.structs.replace(
            last, kind=_SHEAF, actor=ACTOR, subject_id=None, details=msgspec.Raw(_encode(about))
        )
        return head, [_single(row) for row in rows]
    given = handed.read(last.details)
    if given is None or not given.rows:
        return last, []
    head = msgspec.structs.replace(last, details=msgspec.Raw(_encode({"lost": given.lost})))
    return head, list(handed.singles(last.id, given))


def _single(row: Recorded) -> Single:
    return Single(
        actor=row.actor, at_us=row.at_us, details=row.details, id=row.id, kind=row.kind, subject_id=row.subject_id
    )


# --- read --------------------------------------------------------------------------------------------------------------------


def records_in(opening: bytes) -> list[Held]:
    """What lies behind an opening's payload; none for an entry that is no sheaf. Raises MalformedEntry."""
    at = len(committed(opening))
    if at == len(opening):
        return []
    at += len(RECORDS_FOLLOW)
    found = list[Held]()
    while at < len(opening):
        begin = at + _LENGTH.size + HASH_BYTES
        if begin > len(opening):
            raise MalformedEntry("a sheaf's records break off")
        end = at + _LENGTH.size + _LENGTH.unpack_from(opening, at)[0]
        if not begin + SALT_BYTES <= end <= len(opening):
            raise MalformedEntry("a sheaf's records break off")
        own = opening[begin:end]
        found.append(Held(opening[begin - HASH_BYTES : begin], own if own.strip(b"\x00") else None, begin, end))
        at = end
    return found


def fits(entry: Entry, opening: bytes) -> None:
    """Raises MalformedEntry for another payload than the entry commits to, and for records that are not those under it."""
    head = committed(opening)
    if hashlib.sha256(head).hexdigest() != entry.commitment or (len(head) < len(opening)) != is_sheaf(entry):
        raise MalformedEntry("the payload is not the one that the entry commits to")
    if is_sheaf(entry):
        _check(entry, records_in(opening))


def _check(entry: Entry, records: Sequence[Held]) -> None:
    tree = Frontier()
    for held in records:
        if held.opening is not None and leaf_hash(held.opening) != held.leaf:
            raise MalformedEntry("a record of a sheaf is not the one that stands under its root")
        tree.append(held.leaf)
    if (tree.size, tree.root().hex()) != (entry.count, entry.root):
        raise MalformedEntry("the records of a sheaf are not those that stand under its root")


def read(opening: bytes) -> Single:
    """Out of a record's opening. Raises MalformedEntry."""
    try:
        return _decode(opening[SALT_BYTES:])
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise MalformedEntry(f"no record: {exc}") from exc


def path_of(records: Sequence[Held], number: int) -> list[bytes]:
    """The proof that the record `number` stands under their root."""
    return inclusion(number, len(records), subtrees_over([held.leaf for held in records]))


def spans(opening: bytes, speaking: Callable[[bytes], bool] | None) -> list[tuple[int, int]]:
    """What of an opening is overwritten to erase it: of a sheaf's the records that speak of somebody, those of which an erasure was cut
    short, and those that read as erased, since after a sync that failed they may be on the disk as they were; all of it where it is no
    sheaf, its payload speaks of them, or nobody is named. Raises MalformedEntry."""
    begun = not opening[:SALT_BYTES].strip(b"\x00")
    if speaking is None or begun or speaking(committed(opening)) or not (records := records_in(opening)):
        return [(0, len(opening))]
    return [(one.begin, one.end) for one in records if one.opening is None or _goes(one, one.opening, speaking)]


def _goes(held: Held, opening: bytes, speaking: Callable[[bytes], bool]) -> bool:
    return speaking(opening) or leaf_hash(opening) != held.leaf

"""What stands in the write-ahead files of a log: how far it went when a file was begun, and every batch since."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from operator import lt
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from foundation.ledger import wal
from foundation.ledger.entries import Recorded, event_digest
from foundation.ledger.files import LogDamaged
from foundation.ledger.sheaves import sealed_rows

S = TypeVar("S", bound=msgspec.Struct)


class Seen(NamedTuple):
    """How far a source has been taken in: its position, and the digest of the event there. Nothing yet: (0, "")."""

    position: int
    event: str


class Header(msgspec.Struct, frozen=True):
    """A file's first record: its entries begin at `first`, `root` is the tree's over those below. Where no file stands before it, these lie
    durably in tiles."""

    first: int
    root: bytes
    payload_bytes: int
    sources: dict[str, Seen]


class Batch(msgspec.Struct, frozen=True):
    """A further record: entries from index `first` on, the opening of each, and how far their sources are taken in with them."""

    first: int
    entries: list[bytes]
    openings: list[bytes]
    sources: dict[str, Seen]


class Sealed(NamedTuple):
    """Entries of one source in their order, the opening of each, the position of the first row, and how far the source is taken in."""

    source: str
    first: int
    entries: list[bytes]
    openings: list[bytes]
    seen: Seen


def sealed_of(source: str, rows: Sequence[Recorded], chance: Callable[[int], bytes]) -> Sealed:
    """Of rows in order, at least one; many of a sort as one entry. `chance` gives so many random bytes. Raises ValueError for entries too
    long."""
    entries, openings = sealed_rows(rows, source, chance)
    return Sealed(source, rows[0].position, entries, openings, Seen(rows[-1].position, event_digest(rows[-1].id)))


def batch_of(
    first: int,
    rows: Mapping[str, Sequence[Recorded]],
    seen: Callable[[str], Seen],
    chance: Callable[[int], bytes],
) -> Batch:
    """What is new of each source's rows, sealed. `chance` gives so many random bytes. Raises ValueError for rows out of order, entries too
    long."""
    batch = Batch(first, [], [], {})
    for source, given in rows.items():
        before = seen(source).position
        new = [row for row in given if row.position > before]
        if not new:
            continue
        positions = [row.position for row in new]
        if not all(map(lt, positions, positions[1:])):
            raise ValueError(f"{source}: {_out_of_order(positions)}")
        sealed = sealed_of(source, new, chance)
        batch.entries.extend(sealed.entries)
        batch.openings.extend(sealed.openings)
        batch.sources[source] = sealed.seen
    return batch


def _out_of_order(positions: Sequence[int]) -> str:
    earlier, later = next(pair for pair in pairwise(positions) if pair[1] <= pair[0])
    return f"position {later} comes after {earlier}"


class Segment(NamedTuple):
    generation: int
    header: Header
    batches: list[Batch]


def name_of(generation: int) -> str:
    return f"wal-{generation:012}"


def segments_in(folder: Path) -> list[Path]:
    """Oldest first. Raises OSError."""
    return sorted(path for path in folder.iterdir() if path.name.startswith("wal-"))


def vacant(folder: Path) -> int:
    """The number after the newest file's, 0 where there is none: a gap, where the next one is skipped to. Raises LogDamaged, OSError."""
    return max((_generation(path) + 1 for path in segments_in(folder)), default=0)


def standing(folder: Path) -> list[Segment]:
    """Those that count, oldest first: the newest with a header, and what stands before it without a gap. Empty for a folder in which no log
    was ever begun.

    A file whose header was cut short counts for nothing: the one before it stands until a header is durable. One is removed when everything
    below the next is durable, so where one is missing those before it are not needed. Raises LogDamaged, OSError.
    """
    found = list[Segment]()
    for path in reversed(segments_in(folder)):
        generation = _generation(path)
        if found and generation != found[-1].generation - 1:
            break
        bodies, _ = wal.parse(path.read_bytes(), path.name)
        if bodies:
            header = _decoded(bodies[0], Header, path.name)
            found.append(Segment(generation, header, [_decoded(body, Batch, path.name) for body in bodies[1:]]))
        elif found:
            raise LogDamaged(f"{path.name} has no header, and one stands after it")
    if not found and any(path.name in {"checkpoint", "tile", "payload"} for path in folder.iterdir()):
        raise LogDamaged("there are tiles, payloads or a checkpoint and no write-ahead file")
    return found[::-1]


def _decoded(body: bytes, shape: type[S], name: str) -> S:
    try:
        return msgspec.msgpack.decode(body, type=shape)
    except msgspec.MsgspecError as exc:
        raise LogDamaged(f"{name}: {exc}") from exc


def _generation(path: Path) -> int:
    number = path.name.removeprefix("wal-")
    if not number.isdigit():
        raise LogDamaged(f"{path.name} is no write-ahead file")
    return int(number)

"""What stands in the write-ahead files of a log: how far its tiles were durable when a file was begun, and every batch since."""

from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from foundation.ledger import wal
from foundation.ledger.files import LogDamaged

S = TypeVar("S", bound=msgspec.Struct)


class Seen(NamedTuple):
    """How far a source has been taken in: its position, and the digest of the event there. Nothing yet: (0, "")."""

    position: int
    event: str


class Header(msgspec.Struct, frozen=True):
    """A file's first record. Everything below `first` lies durably in tiles, `root` is the tree's over it."""

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


class Segment(NamedTuple):
    generation: int
    header: Header
    batches: list[Batch]


def name_of(generation: int) -> str:
    return f"wal-{generation:012}"


def segments_in(folder: Path) -> list[Path]:
    """Oldest first."""
    return sorted(folder.glob("wal-*"))


def newest(folder: Path) -> Segment | None:
    """The one that counts; None for a folder in which no log was ever begun. A file whose header was cut short counts for nothing: the
    one before it stands until a header is durable. Raises LogDamaged, OSError."""
    for path in reversed(segments_in(folder)):
        bodies, _ = wal.parse(path.read_bytes(), path.name)
        if bodies:
            header = _decoded(bodies[0], Header, path.name)
            return Segment(_generation(path), header, [_decoded(body, Batch, path.name) for body in bodies[1:]])
    if (folder / "checkpoint").exists() or (folder / "tile").exists():
        raise LogDamaged("there are tiles or a checkpoint and no write-ahead file")
    return None


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

"""Payloads beside a log, by the index of the entry that commits to each; erasing one leaves every proof as it is. No log is needed to read.

A file holds those of one bundle: each a length of 32 bits and then the opening (salt and payload). An erased one is zeros of its length,
which no opening is: its salt would be zeros.
"""

import struct
from pathlib import Path

from foundation.ledger.entries import SALT_BYTES
from foundation.ledger.files import LogDamaged, datasync
from foundation.ledger.tiles import WIDTH, index_path

_LENGTH = struct.Struct(">I")


def file_of(index: int) -> str:
    return f"payload/{index_path(index // WIDTH)}"


def framed(opening: bytes) -> bytes:
    return _LENGTH.pack(len(opening)) + opening


def read(folder: Path, index: int) -> bytes | None:
    """The opening of an entry, None where it was erased or never lay here. Raises OSError, LogDamaged."""
    try:
        raw = (folder / file_of(index)).read_bytes()
    except FileNotFoundError:
        return None
    place = _place(raw, index)
    if place is None:
        return None
    opening = raw[place[0] : place[1]]
    return opening if opening[:SALT_BYTES].strip(b"\x00") else None


def erase(folder: Path, index: int) -> bool:
    """Overwrites an opening with zeros, durably; False where there was none. Raises OSError, LogDamaged."""
    path = folder / file_of(index)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return False
    place = _place(raw, index)
    if place is None:
        return False
    with path.open("r+b") as out:
        out.seek(place[0])
        out.write(bytes(place[1] - place[0]))
        out.flush()
        datasync(out.fileno())
    return True


def _place(raw: bytes, index: int) -> tuple[int, int] | None:
    """Where an opening begins and ends in its file, None beyond the last. Raises LogDamaged."""
    begin = end = 0
    for _ in range(index % WIDTH + 1):
        if end == len(raw):
            return None
        if end + _LENGTH.size > len(raw):
            raise LogDamaged(f"{file_of(index)} breaks off inside a length")
        begin = end + _LENGTH.size
        end = begin + _LENGTH.unpack_from(raw, end)[0]
        if end > len(raw):
            raise LogDamaged(f"{file_of(index)} breaks off inside a payload")
    return begin, end

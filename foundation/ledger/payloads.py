"""Payloads beside a log, by the index of the entry that commits to each; erasing one leaves every proof as it is. No log is needed to read.

A file holds those of one bundle: each a length of 32 bits and then the opening (salt and payload). An erased one is zeros of its length,
which no opening is: its salt would be zeros.
"""

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

from foundation.ledger.entries import SALT_BYTES, MalformedEntry
from foundation.ledger.files import LogDamaged, datasync
from foundation.ledger.sheaves import spans
from foundation.ledger.tiles import WIDTH, index_path

_LENGTH = struct.Struct(">I")


def file_of(index: int) -> str:
    return f"payload/{index_path(index // WIDTH)}"


def framed(opening: bytes) -> bytes:
    return _LENGTH.pack(len(opening)) + opening


def read(folder: Path, index: int) -> bytes | None:
    """The opening of an entry, None where it was erased or never lay here. Raises OSError, LogDamaged."""
    return in_bundle(folder, index // WIDTH, index % WIDTH + 1)[-1]


def in_bundle(folder: Path, number: int, width: int) -> list[bytes | None]:
    """The openings of a bundle's first `width` entries, None for each that was erased or never lay here. Raises OSError, LogDamaged."""
    try:
        raw = (folder / file_of(number * WIDTH)).read_bytes()
    except FileNotFoundError:
        return [None] * width
    openings = [raw[begin:end] for begin, end in _places(raw, number, width)]
    held = [opening if opening[:SALT_BYTES].strip(b"\x00") else None for opening in openings]
    return held + [None] * (width - len(held))


def erase(folder: Path, indexes: Sequence[int], speaking: Callable[[bytes], bool] | None = None) -> int:
    """Overwrites the openings of these entries with zeros, durably; how many there were. `speaking`: of a sheaf only those records for
    which it holds. Raises OSError, LogDamaged."""
    bundles = dict[int, list[int]]()
    for index in sorted(set(indexes)):
        bundles.setdefault(index // WIDTH, []).append(index % WIDTH)
    return sum(_erase_in(folder, number, slots, speaking) for number, slots in bundles.items())


def _erase_in(folder: Path, number: int, slots: list[int], speaking: Callable[[bytes], bool] | None) -> int:
    """`slots`: places in one bundle, in order."""
    path = folder / file_of(number * WIDTH)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return 0
    places = _places(raw, number, slots[-1] + 1)
    found = [places[slot] for slot in slots if slot < len(places)]
    if found:
        with path.open("r+b") as out:
            for begin, end in found:
                for low, high in _spans(raw[begin:end], speaking):
                    out.seek(begin + low)
                    out.write(bytes(high - low))
            out.flush()
            datasync(out.fileno())
    return len(found)


def _spans(opening: bytes, speaking: Callable[[bytes], bool] | None) -> list[tuple[int, int]]:
    try:
        return spans(opening, speaking)
    except MalformedEntry as exc:
        raise LogDamaged(str(exc)) from exc


def _places(raw: bytes, number: int, width: int) -> list[tuple[int, int]]:
    """Where each of the first `width` openings begins and ends in its file; what comes after may still be being written. Raises
    LogDamaged."""
    places, at = list[tuple[int, int]](), 0
    while at < len(raw) and len(places) < width:
        begin = at + _LENGTH.size
        if begin > len(raw):
            raise LogDamaged(f"{file_of(number * WIDTH)} breaks off inside a length")
        at = begin + _LENGTH.unpack_from(raw, at)[0]
        if at > len(raw):
            raise LogDamaged(f"{file_of(number * WIDTH)} breaks off inside a payload")
        places.append((begin, at))
    return places

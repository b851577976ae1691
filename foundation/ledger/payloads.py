"""Payloads beside a log, by the index of the entry that commits to each; erasing one leaves every proof as it is. No log is needed to read.

A file holds those of one bundle: each a length of 32 bits and then the opening (salt and payload). An erased one is zeros of its length,
which no opening is: its salt would be zeros. Of a file one opening at a time is held, since those of sheaves are long: 256 of these can be
more than memory has.
"""

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from foundation.ledger.entries import SALT_BYTES, MalformedEntry
from foundation.ledger.files import LogDamaged, datasync
from foundation.ledger.sheaves import spans
from foundation.ledger.tiles import WIDTH, index_path

_LENGTH = struct.Struct(">I")


class Place(NamedTuple):
    """Where an opening begins and ends in its file."""

    begin: int
    end: int


def file_of(index: int) -> str:
    return f"payload/{index_path(index // WIDTH)}"


def framed(opening: bytes) -> bytes:
    return _LENGTH.pack(len(opening)) + opening


def read(folder: Path, index: int) -> bytes | None:
    """The opening of an entry, None where it was erased or never lay here. Raises OSError, LogDamaged."""
    return next(in_bundle(folder, index // WIDTH, index % WIDTH + 1, first=index % WIDTH))


def in_bundle(folder: Path, number: int, width: int, *, first: int = 0) -> Iterator[bytes | None]:
    """The openings of a bundle's entries from `first` to before `width`, each when it is asked for; None for each that was erased or never
    lay here. Raises OSError, LogDamaged."""
    left = width - first
    try:
        held = (folder / file_of(number * WIDTH)).open("rb")
    except FileNotFoundError:
        yield from [None] * left
        return
    with held:
        for at, place in enumerate(_places(held, number, width)):
            if at >= first:
                opening = _at(held, number, place)
                left -= 1
                yield opening if opening[:SALT_BYTES].strip(b"\x00") else None
    yield from [None] * left


def erase(folder: Path, indexes: Sequence[int], speaking: Callable[[bytes], bool] | None = None) -> int:
    """Overwrites the openings of these entries with zeros, durably; how many there were. `speaking`: of a sheaf only those records for
    which it holds. Raises OSError, LogDamaged."""
    bundles = dict[int, list[int]]()
    for index in sorted(set(indexes)):
        bundles.setdefault(index // WIDTH, []).append(index % WIDTH)
    return sum(_erase_in(folder, number, slots, speaking) for number, slots in bundles.items())


def _erase_in(folder: Path, number: int, slots: list[int], speaking: Callable[[bytes], bool] | None) -> int:
    """`slots`: places in one bundle, in order. Nothing but these is written: payloads may be added to the file meanwhile."""
    path = folder / file_of(number * WIDTH)
    try:
        held = path.open("rb")
    except FileNotFoundError:
        return 0
    with held, path.open("r+b") as out:
        places = list(_places(held, number, slots[-1] + 1))
        found = [places[slot] for slot in slots if slot < len(places)]
        for place in found:
            for low, high in _spans(_at(held, number, place), speaking):
                out.seek(place.begin + low)
                out.write(bytes(high - low))
        if found:
            out.flush()
            datasync(out.fileno())
    return len(found)


def _spans(opening: bytes, speaking: Callable[[bytes], bool] | None) -> list[tuple[int, int]]:
    try:
        return spans(opening, speaking)
    except MalformedEntry as exc:
        raise LogDamaged(str(exc)) from exc


def _places(held: BinaryIO, number: int, width: int) -> Iterator[Place]:
    """Those of the first `width` openings, by their lengths alone; what comes after may still be being written. Raises LogDamaged."""
    size, at = os.fstat(held.fileno()).st_size, 0
    for _ in range(width):
        if at == size:
            return
        begin = at + _LENGTH.size
        if begin > size:
            raise LogDamaged(f"{file_of(number * WIDTH)} breaks off inside a length")
        held.seek(at)
        at = begin + _LENGTH.unpack(held.read(_LENGTH.size))[0]
        if at > size:
            raise LogDamaged(f"{file_of(number * WIDTH)} breaks off inside a payload")
        yield Place(begin, at)


def _at(held: BinaryIO, number: int, place: Place) -> bytes:
    held.seek(place.begin)
    opening = held.read(place.end - place.begin)
    if len(opening) < place.end - place.begin:
        raise LogDamaged(f"{file_of(number * WIDTH)} breaks off inside a payload")
    return opening

"""Payloads beside a log, by the index of the entry that commits to each; erasing one leaves every proof as it is. No log is needed to read.

A file holds those of one bundle: each a length of 32 bits and then the opening (salt and payload). An erased one is zeros of its length,
which no opening is: its salt would be zeros. Of a file one opening at a time is held, since those of sheaves are long: 256 of these can be
more than memory has.
"""

import os
import struct
from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

from foundation.ledger.entries import SALT_BYTES, MalformedEntry
from foundation.ledger.files import LogDamaged, datasync, put_at
from foundation.ledger.sheaves import spans
from foundation.ledger.tiles import WIDTH, index_path

T = TypeVar("T")
_LENGTH = struct.Struct(">I")
_READ_BYTES = 1 << 16
"""At once, where openings are short."""
_READINGS_MAX = 8
"""Of one opening that is another each time."""


def file_of(index: int) -> str:
    return f"payload/{index_path(index // WIDTH)}"


def framed(opening: bytes) -> bytes:
    return _LENGTH.pack(len(opening)) + opening


def read(folder: Path, index: int) -> bytes | None:
    """The opening of an entry, None where it was erased or never lay here. Raises OSError, LogDamaged."""
    return next(in_bundle(folder, index // WIDTH, index % WIDTH + 1, first=index % WIDTH))


def read_as(form: Callable[[bytes], T], folder: Path, index: int, opening: bytes | None) -> T | None:
    """What `form` makes of an opening that was read, None where there is none. While `form` finds it malformed it is read again, as long as
    it is another one each time: somebody is overwriting it. Raises MalformedEntry, OSError, LogDamaged."""
    for left in reversed(range(_READINGS_MAX)):
        if opening is None:
            break
        try:
            return form(opening)
        except MalformedEntry:
            before, opening = opening, read(folder, index)
            if opening == before or not left:
                raise
    return None


def in_bundle(folder: Path, number: int, width: int, *, first: int = 0) -> Iterator[bytes | None]:
    """The openings of a bundle's entries from `first` to before `width`, each when it is asked for; None for each that was erased or never
    lay here. Raises OSError, LogDamaged."""
    left = width - first
    try:
        held = (folder / file_of(number * WIDTH)).open("rb", buffering=_READ_BYTES)
    except FileNotFoundError:
        yield from [None] * left
        return
    with held:
        for _, opening in _openings(held, number, width, range(first, width)):
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
    found = 0
    with held, path.open("r+b", buffering=0) as out:
        for begin, opening in _openings(held, number, slots[-1] + 1, frozenset(slots)):
            found += 1
            for low, high in _spans(opening, speaking):
                put_at(out.fileno(), bytes(high - low), begin + low)
        if found:
            datasync(out.fileno())
    return found


def _spans(opening: bytes, speaking: Callable[[bytes], bool] | None) -> list[tuple[int, int]]:
    try:
        return spans(opening, speaking)
    except MalformedEntry as exc:
        raise LogDamaged(str(exc)) from exc


def _openings(held: BinaryIO, number: int, width: int, wanted: Container[int]) -> Iterator[tuple[int, bytes]]:
    """Of a bundle's first `width` openings the wanted ones, each with where it begins; what comes after may still be being written. Raises
    LogDamaged."""
    size, at = os.fstat(held.fileno()).st_size, 0
    for slot in range(width):
        if at == size:
            return
        head, begin = held.read(_LENGTH.size), at + _LENGTH.size
        if begin > size:
            raise LogDamaged(f"{file_of(number * WIDTH)} breaks off inside a length")
        at = begin + _LENGTH.unpack(head)[0]
        if at > size:
            raise LogDamaged(f"{file_of(number * WIDTH)} breaks off inside a payload")
        if slot in wanted:
            yield begin, held.read(at - begin)
        else:
            held.seek(at)

"""The binary form of COPY (PostgreSQL's manual, "COPY", file formats), made of bytes that are there already. Pure.

A row is put together of few pieces, most of which many rows share, so that no value becomes an object of its own.
"""

import datetime
import struct
from collections.abc import Iterator, Sequence
from itertools import chain, repeat

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
NULL = b"\xff\xff\xff\xff"
ROWS_A_PIECE = 2_000

_TEXT, _UUID, _INT8, _INT2 = 25, 2950, 20, 21  # pg_type.oid
_SINCE = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)


class Stream:
    """Rows as `copy_to_table` takes them, put together piece by piece as they go out: a file would be read by threads, and held whole."""

    def __init__(self, rows: Sequence[bytes]) -> None:
        self._pieces = _pieces(rows)

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> bytes:
        piece = next(self._pieces, None)
        if piece is None:
            raise StopAsyncIteration
        return piece


def _pieces(rows: Sequence[bytes]) -> Iterator[bytes]:
    for at in range(0, max(len(rows), 1), ROWS_A_PIECE):
        end = at + ROWS_A_PIECE
        yield b"".join((HEADER * (at == 0), *rows[at:end], TRAILER * (end >= len(rows))))


def row(*fields: bytes) -> bytes:
    return struct.pack(">h", len(fields)) + b"".join(fields)


def raw(value: bytes) -> bytes:
    """A value that is in its binary form already."""
    return struct.pack(">i", len(value)) + value


def text(value: str | None) -> bytes:
    return NULL if value is None else raw(value.encode())


def int4(value: int) -> bytes:
    return struct.pack(">ii", 4, value)


def int8(value: int) -> bytes:
    return struct.pack(">iq", 8, value)


def at(value: datetime.datetime) -> bytes:
    return int8((value - _SINCE) // _MICROSECOND)


def _array(of: int, size: int, values: Sequence[bytes]) -> bytes:
    head = struct.pack(">iiiii", 1, 0, of, len(values), 1)
    length = struct.pack(">i", size)
    return raw(head + b"".join(chain.from_iterable(zip(repeat(length), values, strict=False))))


def texts(values: Sequence[str]) -> bytes:
    if not values:
        return raw(struct.pack(">iii", 0, 0, _TEXT))
    head = struct.pack(">iiiii", 1, 0, _TEXT, len(values), 1)
    return raw(head + b"".join(text(one) for one in values))


def uuids(values: Sequence[bytes]) -> bytes:
    return _array(_UUID, 16, values)


def int8s(values: Sequence[bytes]) -> bytes:
    """Each as its eight bytes."""
    return _array(_INT8, 8, values)


def int2s(values: Sequence[int]) -> bytes:
    return _array(_INT2, 2, [struct.pack(">h", one) for one in values])


def items(sent: bytes, size: int) -> list[bytes]:
    """The values of an array of one dimension as the server sends it (`array_send`), each of `size` bytes and none null."""
    return cut(sent[20:], size, skip=4)


def cut(column: bytes, size: int, *, skip: int = 0) -> list[bytes]:
    """A column of fixed width as its values of `size` bytes, `skip` bytes before each."""
    return [value for (value,) in struct.iter_unpack(f"{skip}x{size}s", column)]

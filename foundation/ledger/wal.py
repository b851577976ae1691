"""The write-ahead file of a log: whole records, each on the disk before its writer goes on.

A record is MAGIC, the length and CRC-32 of its body, the body, and zeros up to the end of a page: so a disk that spoils what it is writing
spoils no record before. One that a crash cut short can only be the last; it was never acknowledged and is cut off. A broken record before a
whole one is damage. Behind the last one zeros may lie, written ahead of the next ones.
"""

import errno
import os
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import msgspec

from foundation.ledger.files import LogDamaged, datasync, put_at, sync_path

MAGIC = b"\x89DLW"
_HEAD = struct.Struct(">4sII")
HEAD_BYTES = _HEAD.size
BODY_BYTES_MAX = 1 << 30
PAGE_BYTES = 4_096
"""What a disk writes at once, or a multiple."""
ROOM_BYTES_MAX = 4 << 20
"""Memory that is kept from one record to the next: new memory for each costs as much as sealing some hundred entries."""
PIECE_BYTES = 262_144
"""Of zeros that are written and synced at once."""
_ZEROS = memoryview(bytes(PIECE_BYTES))
_NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_encode_into = msgspec.msgpack.Encoder().encode_into


class Found(NamedTuple):
    """What a file holds: the bodies of its whole records, and where the next one begins."""

    bodies: list[bytes]
    end: int


def framed(body: bytes) -> bytes:
    """Raises ValueError where the body is too long."""
    _check(len(body))
    room = bytearray(HEAD_BYTES)
    room += body
    _frame(room)
    return bytes(room)


def _check(length: int) -> None:
    if length > BODY_BYTES_MAX:
        raise ValueError(f"a record has at most {BODY_BYTES_MAX} bytes")


def _frame(room: bytearray) -> None:
    """Makes a record of a body that stands where it stands in one. Raises ValueError."""
    length = len(room) - HEAD_BYTES
    _check(length)
    _HEAD.pack_into(room, 0, MAGIC, length, zlib.crc32(memoryview(room)[HEAD_BYTES:]))
    room.extend(bytes(-len(room) % PAGE_BYTES))


def parse(raw: bytes, name: str) -> Found:
    """Raises LogDamaged where a whole record lies behind a broken one. A record may follow the one before at once, without a page of its
    own. Pure."""
    bodies, at, end = list[bytes](), 0, 0
    while (body := _body(raw, at)) is not None:
        bodies.append(body)
        end = at + HEAD_BYTES + len(body)
        at = end if raw.startswith(MAGIC, end) else end + -end % PAGE_BYTES
    later = raw.find(MAGIC, end)
    while later >= 0:
        if _body(raw, later) is not None:
            raise LogDamaged(f"{name}: the record at byte {at} is broken, and whole ones follow")
        later = raw.find(MAGIC, later + 1)
    return Found(bodies, at)


def _body(raw: bytes, at: int) -> bytes | None:
    """That of the whole record at a place, or None."""
    if at + HEAD_BYTES > len(raw):
        return None
    magic, length, checksum = _HEAD.unpack_from(raw, at)
    end = at + HEAD_BYTES + length
    if magic != MAGIC or end > len(
        raw
    ):  # before anything is copied: what a torn record holds, somebody may have chosen
        return None
    body = raw[at + HEAD_BYTES : end]
    return body if zlib.crc32(body) == checksum else None


class WriteAhead:
    """One file being appended to. What lies ahead of its last record is zeros, if anything: a record that is written over them changes
    nothing of the file but its content, and its sync waits for no journal of the file system."""

    def __init__(self, path: Path) -> None:
        """A new file in which nothing stands, its name on the disk. Raises OSError."""
        self.path = path
        self.size = 0
        self._room = bytearray(HEAD_BYTES)
        self._name = str(path)
        self._length = 0
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            self._opened = os.fstat(self._descriptor)
            sync_path(path.parent)
        except BaseException:
            self.close()
            raise

    @property
    def ahead(self) -> int:
        """Zeros that lie ahead of the last record."""
        return self._length - self.size

    def lengthen(self, by: int) -> bool:
        """Writes zeros ahead, durable on return; False where there is no room for so many: none lie there then. Nobody appends meanwhile.
        Raises OSError."""
        until = self._length + by
        try:
            while self._length < until:
                piece = _ZEROS[: until - self._length]
                put_at(self._descriptor, piece, self._length)
                datasync(self._descriptor)
                self._length += len(piece)
        except OSError as exc:
            if exc.errno not in _NO_ROOM:
                raise
            os.ftruncate(self._descriptor, self.size)
            self._length = self.size
            return False
        return True

    def append(self, said: msgspec.Struct) -> None:
        """Its MessagePack as a record, durable on return, where whoever opens the log will find it. Raises ValueError where it is too long;
        OSError, after which nobody knows what is in the file: close it and read it again."""
        _encode_into(said, self._room, HEAD_BYTES)
        _frame(self._room)
        put_at(self._descriptor, self._room, self.size)
        self.size += len(self._room)
        self._length = max(self._length, self.size)
        if len(self._room) > ROOM_BYTES_MAX:
            self._room = bytearray(HEAD_BYTES)
        datasync(self._descriptor)
        self.check_place()

    def check_place(self) -> None:
        """Raises OSError where the file was removed or another lies in its place: what is written to it then, nobody finds."""
        if not os.path.samestat(os.stat(self._name), self._opened):  # noqa: PTH116 - paths as text, for each append
            raise OSError(errno.ESTALE, "another file lies where it was written", self._name)

    def close(self) -> None:
        os.close(self._descriptor)

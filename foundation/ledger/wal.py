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

from foundation.ledger.files import LogDamaged, datasync, put_at, sync_path

MAGIC = b"\x89DLW"
_HEAD = struct.Struct(">4sII")
HEAD_BYTES = _HEAD.size
BODY_BYTES_MAX = 1 << 30
PAGE_BYTES = 4_096
"""What a disk writes at once, or a multiple."""
AHEAD_FROM_BYTES, AHEAD_BYTES_MAX = 65_536, 262_144
"""A file of so many bytes is lengthened by zeros, by as many as it has and no more than that: a record that is written over them changes
nothing of the file but its content, and its sync takes half of the time and less."""
_NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


class Found(NamedTuple):
    """What a file holds: the bodies of its whole records, and where the next one begins."""

    bodies: list[bytes]
    end: int


def framed(body: bytes) -> bytes:
    """Raises ValueError where the body is too long."""
    if len(body) > BODY_BYTES_MAX:
        raise ValueError(f"a record has at most {BODY_BYTES_MAX} bytes")
    record = _HEAD.pack(MAGIC, len(body), zlib.crc32(body)) + body
    return record + bytes(-len(record) % PAGE_BYTES)


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
    body = raw[at + HEAD_BYTES : at + HEAD_BYTES + length]
    return body if magic == MAGIC and len(body) == length and zlib.crc32(body) == checksum else None


class WriteAhead:
    """One file being appended to. What lies ahead of its last record is zeros, if anything."""

    def __init__(self, path: Path) -> None:
        """A new file in which nothing stands, its name on the disk. Raises OSError."""
        self.path = path
        self.size = 0
        self._name = str(path)
        self._length = 0
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            self._opened = os.fstat(self._descriptor)
            sync_path(path.parent)
        except BaseException:
            self.close()
            raise

    def append(self, body: bytes) -> None:
        """Durable on return, where whoever opens the log will find it. Raises OSError, after which nobody knows what is in the file: close
        it and read it again."""
        record = framed(body)
        put_at(self._descriptor, record, self.size)
        self.size += len(record)
        if self.size > self._length:
            self._length = self.size + self._lengthen()
        datasync(self._descriptor)
        self.check_place()

    def _lengthen(self) -> int:
        """Writes zeros ahead; how many. None where there is no room: the next record finds some, or fails by itself. Raises OSError."""
        if self.size < AHEAD_FROM_BYTES:
            return 0
        try:
            return os.pwrite(self._descriptor, bytes(min(self.size, AHEAD_BYTES_MAX)), self.size)
        except OSError as exc:
            if exc.errno not in _NO_ROOM:
                raise
            return 0

    def check_place(self) -> None:
        """Raises OSError where the file was removed or another lies in its place: what is written to it then, nobody finds."""
        if not os.path.samestat(os.stat(self._name), self._opened):  # noqa: PTH116 - paths as text, for each append
            raise OSError(errno.ESTALE, "another file lies where it was written", self._name)

    def close(self) -> None:
        os.close(self._descriptor)

"""Messages of Postgres' protocol 3.0: split out of a stream, read, built. Pure.

Every bound that a client can meet stands here or in settings; what lies beyond one is `Malformed`, which ends the session.
"""

import struct
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

HEADER = struct.Struct("!ci")
_LENGTH = struct.Struct("!i")
_SHORT = struct.Struct("!H")
HEADER_BYTES = HEADER.size
NAME_BYTES_MAX = 63
KEPT_BYTES_MAX = 512
"""Of a Bind, that a session keeps for the next one."""
_FORMATS = frozenset((0, 1))
"""Text and binary."""
_ENDS_EARLY = "a message ends before what it says to hold"


class Error(NamedTuple):
    """What an ErrorResponse says. `code`: SQLSTATE."""

    code: str
    message: str
    hint: str = ""


class Malformed(Exception):
    """Not this protocol, or beyond a bound: the session ends."""

    def __init__(self, error: Error) -> None:
        super().__init__(f"{error.code}: {error.message}")
        self.error = error


class Parse(msgspec.Struct, frozen=True):
    name: str
    text: str


class Bind(msgspec.Struct, frozen=True):
    portal: str
    statement: str
    formats: tuple[int, ...]
    parameters: tuple[bytes | None, ...]


class Named(msgspec.Struct, frozen=True):
    """Describe and Close. `of`: `S` (statement) or `P` (portal)."""

    of: str
    name: str


def violation(what: str) -> Malformed:
    return Malformed(Error("08P01", what))


class Splitter:
    """Whole messages out of pieces of a stream, header and all. Keeps at most one message that is not whole."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._kept = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Raises Malformed, also for a message that says to be longer than may be."""
        if self._kept:
            data, self._kept = self._kept + data, b""
        found, at, held, length = [], 0, len(data), _LENGTH.unpack_from
        while held - at >= HEADER_BYTES:
            size = 1 + length(data, at + 1)[0]
            if size < HEADER_BYTES:
                raise violation("a message says to be shorter than its own length")
            if size > self._bytes_max:
                raise Malformed(Error("54000", f"a message has at most {self._bytes_max} bytes here"))
            if held - at < size:
                break
            found.append(data[at : at + size])
            at += size
        self._kept = data[at:]
        return found


# --- reading -----------------------------------------------------------------------------------------------------------------


class _Reader:
    """Fields of one body, in order. Raises Malformed."""

    __slots__ = ("_raw", "at")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self.at = HEADER_BYTES

    def name(self) -> str:
        """Of a statement or portal. Postgres tells longer ones apart by their first 63 bytes alone, and its log ends a name by a colon
        and a blank."""
        begun = self.at
        found = self.text()
        if self.at - begun - 1 > NAME_BYTES_MAX:
            raise Malformed(Error("42622", f"a name has at most {NAME_BYTES_MAX} bytes"))
        if ": " in found:
            raise Malformed(Error("42602", "a name holds no colon with a blank behind it"))
        return found

    def text(self) -> str:
        end = self._raw.find(b"\0", self.at)
        if end < 0:
            raise violation("a string does not end")
        found, self.at = self._raw[self.at : end], end + 1
        try:
            return found.decode()
        except UnicodeDecodeError as exc:
            raise Malformed(Error("22021", "text is UTF-8 here")) from exc

    def short(self) -> int:
        return self._number(_SHORT)

    def shorts(self) -> tuple[int, ...]:
        """As many as it says first."""
        count = self.short()
        if count < 2:
            return (self.short(),) if count else ()
        return struct.unpack(f"!{count}H", self.take(2 * count))

    def long(self) -> int:
        return self._number(_LENGTH)

    def _number(self, form: struct.Struct) -> int:
        at, self.at = self.at, self.at + form.size
        if self.at > len(self._raw):
            raise violation(_ENDS_EARLY)
        found: int = form.unpack_from(self._raw, at)[0]
        return found

    def take(self, size: int) -> bytes:
        if size < 0 or len(self._raw) - self.at < size:
            raise violation(_ENDS_EARLY)
        found = self._raw[self.at : self.at + size]
        self.at += size
        return found

    def end(self) -> None:
        if self.at != len(self._raw):
            raise violation("a message goes on after what it says to hold")


def _values(raw: bytes, at: int) -> tuple[tuple[bytes | None, ...], int]:
    """Those of a Bind, from where it says how many, and where they end. Raises Malformed."""
    held, at = len(raw), at + _SHORT.size
    if at > held:
        raise violation(_ENDS_EARLY)
    found = list[bytes | None]()
    for _ in range(_SHORT.unpack_from(raw, at - _SHORT.size)[0]):
        begin = at + _LENGTH.size
        size: int = _LENGTH.unpack_from(raw, at)[0] if begin <= held else -2
        at = begin + size if size > 0 else begin
        if size < -1 or at > held:
            raise violation(_ENDS_EARLY)
        found.append(None if size == -1 else raw[begin:at])
    return tuple(found), at


def query(raw: bytes) -> str:
    """Raises Malformed, as all of these."""
    reader = _Reader(raw)
    found = reader.text()
    reader.end()
    return found


def parse(raw: bytes) -> Parse:
    reader = _Reader(raw)
    found = Parse(reader.name(), reader.text())
    reader.take(4 * reader.short())
    reader.end()
    return found


class BindReader:
    """Binds of one session. Most clients send one after the other with other values alone: what stands before the values is read once, and
    so is what stands behind them."""

    __slots__ = ("_after", "_before", "_formats", "_portal", "_statement")

    def __init__(self) -> None:
        self._before = self._after = b""
        self._portal = self._statement = ""
        self._formats: tuple[int, ...] = ()

    def read(self, raw: bytes) -> Bind:
        """Raises Malformed."""
        before = self._before
        if not before or not raw.startswith(before, HEADER_BYTES):
            return self._read(raw)
        parameters, end = _values(raw, HEADER_BYTES + len(before))
        formats = self._formats
        if raw[end:] != self._after or len(formats) not in (0, 1, len(parameters)):
            return self._read(raw)
        return Bind(self._portal, self._statement, formats, parameters)

    def _read(self, raw: bytes) -> Bind:
        reader = _Reader(raw)
        portal, statement = reader.name(), reader.name()
        formats = reader.shorts()
        begin = reader.at
        parameters, end = _values(raw, begin)
        reader.at = end
        reader.take(2 * reader.short())
        reader.end()
        if len(formats) not in (0, 1, len(parameters)) or not _FORMATS.issuperset(formats):
            raise violation("formats of parameters are none, one for all, or one for each, and text or binary")
        kept = begin + len(raw) - end <= KEPT_BYTES_MAX
        self._before, self._after = (raw[HEADER_BYTES:begin], raw[end:]) if kept else (b"", b"")
        self._portal, self._statement, self._formats = portal, statement, formats
        return Bind(portal, statement, formats, parameters)


def bind(raw: bytes) -> Bind:
    return BindReader().read(raw)


def named(raw: bytes) -> Named:
    reader = _Reader(raw)
    of = reader.take(1).decode("latin-1")
    if of not in ("S", "P"):
        raise violation("a statement (S) or a portal (P) is described or closed")
    found = Named(of, reader.name())
    reader.end()
    return found


def executed(raw: bytes) -> str:
    """The portal that an Execute names."""
    if raw == _EXECUTE_ALL:
        return ""
    reader = _Reader(raw)
    found = reader.name()
    reader.long()
    reader.end()
    return found


# --- building ----------------------------------------------------------------------------------------------------------------


def message(kind: bytes, body: bytes = b"") -> bytes:
    return HEADER.pack(kind, len(body) + 4) + body


def text(*values: str) -> bytes:
    return b"".join(value.encode() + b"\0" for value in values)


def error(severity: str, said: Error) -> bytes:
    fields = [("S", severity), ("V", severity), ("C", said.code), ("M", said.message)]
    if said.hint:
        fields.append(("H", said.hint))
    return message(b"E", b"".join(text(key + value) for key, value in fields) + b"\0")


def startup(parameters: Iterable[tuple[str, str]]) -> bytes:
    """A StartupMessage of 3.0."""
    body = _LENGTH.pack(196_608) + b"".join(text(key, value) for key, value in parameters) + b"\0"
    return _LENGTH.pack(len(body) + 4) + body


FLUSH = message(b"H")
_EXECUTE_ALL = message(b"E", b"\0" * 5)
"""What nearly all clients send: the portal without a name, all of its rows."""
TERMINATE = message(b"X")

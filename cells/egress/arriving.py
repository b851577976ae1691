"""Record batches of Arrow as somebody sends them: a stream of IPC, held to its bounds before any of it is unpacked. Pure; needs pyarrow.

Arrow reads a message as what it says of itself: how many rows, how long once unpacked, where in its body each buffer lies. So of each
message these are looked at first, and all that is read is validated in full before it is used: offsets that a stranger wrote may lie
anywhere. What comes of it takes no more memory than the stream, but for dictionaries, whose texts are counted before they are written
out. The form of messages: https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc and its
Message.fbs, in flatbuffers, which pyarrow has verified by then.
"""

import itertools
import struct
from collections.abc import Iterator
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from cells.records.contracts import Contract

ROWS_MAX = 20_000
"""In one stream: of 200 bytes each they are 4 MB."""
COLUMNS_MAX, MESSAGES_MAX = 512, 1_000
"""Columns of any name; batches and dictionaries."""
DECODED_BYTES_MAX = 16 << 20
"""Of all texts that dictionaries stand for."""
_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_HEADER, _BATCH, _DELTA = 2, 1, 2
"""Numbers of fields: of a Message; of a DictionaryBatch."""
_LENGTH, _BUFFERS, _COMPRESSION = 0, 2, 3
"""Of a RecordBatch."""
_BUFFER = struct.Struct("<qq")
_TEXTS = (pa.string(), pa.large_string())
_LISTS = tuple(kind(text) for kind in (pa.list_, pa.large_list) for text in _TEXTS)
_READ = "text, boolean, integer, float (32 or 64), decimal128, date32, time, timestamp, list of text, and dictionary of text"


class Refused(ValueError):
    """The stream is not one that is read; the text says what to do, in words of the contract alone."""


class TooLarge(Refused):
    """It may be read in parts."""


class Arrived(msgspec.Struct, frozen=True):
    """A record batch with every column of the contract (nulls where the stream has none), and how many values no contract names."""

    batch: Any
    unnamed: int


def arrived(contract: Contract, raw: bytes) -> Arrived:
    """All rows of a stream. Raises Refused."""
    try:
        return _arrived(contract, raw)
    except (pa.ArrowException, struct.error, OSError, ValueError, OverflowError, NotImplementedError) as exc:
        if isinstance(exc, Refused):
            raise
        raise Refused(
            "the body is no whole Arrow IPC stream; send what a writer of the stream format has closed"
        ) from exc


def _arrived(contract: Contract, raw: bytes) -> Arrived:
    held = pa.py_buffer(raw)
    schema, rows = _looked_at(held, raw)
    names = schema.names
    wanted = [name for name in contract.columns if name in names]
    for name in wanted:
        if not _readable(schema.field(name).type):
            raise Refused(f"column {name} has a type that is not read; send {_READ}")
    batches = [one.select(wanted) for one in pa.ipc.open_stream(held)]
    for one in batches:
        one.validate(full=True)
    unpacked = _Unpacked()
    arrays = {name: pa.concat_arrays([unpacked.column(one.column(name)) for one in batches]) for name in wanted}
    absent = pa.nulls(rows, pa.string())
    columns = [arrays.get(name, absent) for name in contract.columns]
    return Arrived(pa.record_batch(columns, names=list(contract.columns)), rows * (len(names) - len(wanted)))


def _looked_at(held: Any, raw: bytes) -> tuple[Any, int]:
    """The schema, and how many rows there are, by what messages say of themselves. Raises Refused, pyarrow's errors, struct.error."""
    source = pa.BufferReader(held)
    messages = iter(pa.ipc.MessageReader.open_stream(source))
    first = next(messages, None)
    if first is None:
        raise Refused("the body is empty; send an Arrow IPC stream")
    if first.type != "schema" or not _header(first):
        raise Refused("a stream begins with its schema")
    schema = pa.ipc.open_stream(held).schema  # read_schema takes any message for one, and the process dies of it
    if len(schema) > COLUMNS_MAX or len(set(schema.names)) < len(schema):
        raise Refused(f"a stream has at most {COLUMNS_MAX} columns, each of another name")
    found = [_rows(message) for message in itertools.islice(messages, MESSAGES_MAX)]
    if next(messages, None) is not None:
        raise TooLarge(f"a stream may have {MESSAGES_MAX} batches and dictionaries; put more rows into each")
    rows = sum(found)
    if source.tell() != len(raw) or not raw.endswith(_END):
        raise Refused("the stream has no end; close its writer, and send nothing behind it")
    if rows > ROWS_MAX:
        raise TooLarge(f"a stream may have {ROWS_MAX} rows; send more in several")
    if not rows:
        raise Refused("there are no rows in the stream")
    return schema, rows


def _rows(message: Any) -> int:
    """Of a record batch; of a dictionary none. Raises Refused."""
    data, header = message.metadata.to_pybytes(), _header(message)
    if not header:
        raise Refused("a message of the stream says nothing")
    if message.type == "dictionary":
        if (delta := _field(data, header, _DELTA)) and data[delta]:
            raise Refused("dictionaries that grow (deltas) are not read; write each whole")
        inner = _field(data, header, _BATCH)
        if not inner:
            raise Refused("a dictionary of the stream has no texts")
        header = _followed(data, inner)
    elif message.type != "record batch":
        raise Refused("a stream has record batches and their dictionaries behind its schema, and nothing else")
    if _field(data, header, _COMPRESSION):
        raise Refused("compressed buffers are not read; write the stream without compression")
    if sum(_lengths(data, header, message.body.size)) > message.body.size:
        raise Refused("buffers of a batch lie one upon the other; write each by itself")
    length = _field(data, header, _LENGTH)
    rows: int = struct.unpack_from("<q", data, length)[0] if length else 0
    if rows < 0:
        raise Refused("a batch has less than no rows")
    return 0 if message.type == "dictionary" else rows


def _header(message: Any) -> int:
    """Where it is in the message's metadata; 0: nowhere."""
    data = message.metadata.to_pybytes()
    found = _field(data, _followed(data, 0), _HEADER)
    return _followed(data, found) if found else 0


def _lengths(data: bytes, batch: int, size: int) -> Iterator[int]:
    """Of the buffers of a batch, each of which has to lie within its body of that size. Raises Refused."""
    found = _field(data, batch, _BUFFERS)
    if not found:
        return
    vector = _followed(data, found)
    (count,) = struct.unpack_from("<I", data, vector)
    for offset, length in _BUFFER.iter_unpack(data[vector + 4 : vector + 4 + count * _BUFFER.size]):
        if offset < 0 or length < 0 or offset + length > size:
            raise Refused("a buffer of a batch lies outside its message")
        yield length


def _field(data: bytes, table: int, number: int) -> int:
    """Where a table of a flatbuffer has its field of that number; 0: it is not there, and holds what it usually does."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    (size,) = struct.unpack_from("<H", data, vtable)
    at = 4 + 2 * number
    (offset,) = struct.unpack_from("<H", data, vtable + at) if at + 2 <= size else (0,)
    return table + offset if offset else 0


def _followed(data: bytes, at: int) -> int:
    return at + int(struct.unpack_from("<I", data, at)[0])


def _readable(kind: Any) -> bool:
    """Types that cannot stand for more than they hold: no views, no runs, no lists of nothing, no exponents without bound."""
    types = pa.types
    if types.is_dictionary(kind):
        return bool(kind.value_type in _TEXTS)
    if types.is_decimal128(kind):
        return bool(0 <= kind.scale <= kind.precision)
    if kind in _TEXTS or kind in _LISTS:
        return True
    plain = (types.is_null, types.is_boolean, types.is_integer, types.is_float32, types.is_float64, types.is_date32, types.is_time,
             types.is_timestamp)  # fmt: skip
    return any(one(kind) for one in plain)


class _Unpacked:
    """Columns in one form of each type, and how many bytes their dictionaries took so far."""

    def __init__(self) -> None:
        self._bytes = 0

    def column(self, given: Any) -> Any:
        """Raises TooLarge; pyarrow's errors where moments do not fit 64 bits of microseconds."""
        kind, types = given.type, pa.types
        if types.is_dictionary(kind):
            return self._written_out(given)
        if types.is_null(kind) or types.is_large_string(kind):
            return given.cast(pa.string())
        if kind in _LISTS:
            return given.cast(pa.list_(pa.string()))
        if types.is_timestamp(kind):
            return given.cast(pa.timestamp("us", tz=kind.tz and "UTC"), safe=kind.unit != "ns")
        return given

    def _written_out(self, given: Any) -> Any:
        sizes = pc.binary_length(given.dictionary).take(given.indices)
        self._bytes += pc.sum(sizes).as_py() or 0
        if self._bytes > DECODED_BYTES_MAX:
            raise TooLarge(
                f"the texts of dictionaries may be {DECODED_BYTES_MAX} bytes long, written out; send fewer rows"
            )
        return given.dictionary_decode().cast(pa.string())

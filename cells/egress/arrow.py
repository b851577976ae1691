"""Treated columns as Arrow and Parquet. Needs pyarrow."""

from typing import IO, Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from cells.egress.shapes import Columns, Schema
from cells.egress.values import Kind

TYPES: dict[Kind, Any] = {
    Kind.TEXT: pa.string(),
    Kind.INT: pa.int64(),
    Kind.FLOAT: pa.float64(),
    Kind.BOOL: pa.bool_(),
    Kind.DATE: pa.date32(),
    Kind.TIMESTAMP: pa.timestamp("us"),
    Kind.TIMESTAMPTZ: pa.timestamp("us", tz="UTC"),
    Kind.TEXTS: pa.list_(pa.string()),
    Kind.JSON: pa.string(),
}
"""JSON is text here: its members differ from row to row."""
GROUP_BYTES_MAX = 16 << 20
"""Of Arrow's columns, before they are compressed."""


def arrow_schema(schema: Schema) -> Any:
    return pa.schema([pa.field(name, TYPES[kind]) for name, kind in schema])


def record_batch(schema: Schema, columns: Columns) -> Any:
    """Raises pyarrow.ArrowInvalid for values that are not of their kind, which treatments do not make."""
    arrays = [pa.array(_plain(kind, columns[name]), type=TYPES[kind]) for name, kind in schema]
    return pa.record_batch(arrays, schema=arrow_schema(schema))


def _plain(kind: Kind, values: Any) -> Any:
    if kind is not Kind.JSON:
        return values
    return [None if one is None else msgspec.json.encode(one).decode() for one in values]


class ArrowWriter:
    """The IPC file format."""

    def __init__(self, schema: Schema, out: IO[bytes]) -> None:
        self._schema = schema
        self._writer = pa.ipc.new_file(out, arrow_schema(schema))

    def write(self, columns: Columns) -> None:
        self._writer.write_batch(record_batch(self._schema, columns))

    def finish(self) -> None:
        self._writer.close()


class ParquetWriter:
    """A row group for every GROUP_BYTES_MAX of columns, so that no more is held; mostly one a part."""

    def __init__(self, schema: Schema, out: IO[bytes]) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(out, arrow_schema(schema), compression="zstd")
        self._held: list[Any] = []
        self._bytes = 0

    def write(self, columns: Columns) -> None:
        batch = record_batch(self._schema, columns)
        self._held.append(batch)
        self._bytes += batch.nbytes
        if self._bytes >= GROUP_BYTES_MAX:
            self._write()

    def finish(self) -> None:
        if self._held:
            self._write()
        self._writer.close()

    def _write(self) -> None:
        self._writer.write_table(pa.Table.from_batches(self._held))
        self._held, self._bytes = [], 0

"""Treated columns as Arrow and Parquet. Needs pyarrow."""

from typing import IO, Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from cells.egress.formats import Columns, Schema
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
    """One row group a part: batches are held until it ends, which the rows of a part bound."""

    def __init__(self, schema: Schema, out: IO[bytes]) -> None:
        self._schema = schema
        self._out = out
        self._held: list[Any] = []

    def write(self, columns: Columns) -> None:
        self._held.append(record_batch(self._schema, columns))

    def finish(self) -> None:
        table = pa.Table.from_batches(self._held, schema=arrow_schema(self._schema))
        pq.write_table(table, self._out, compression="zstd")

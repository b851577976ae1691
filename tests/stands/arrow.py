"""Streams of Arrow's IPC for tests. Needs pyarrow."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa


def stream(columns: Mapping[str, Any], *cuts: int, **options: Any) -> bytes:
    """Of columns of one length, in a batch for each piece between the cuts. `options` of the writer."""
    return stream_of([pa.record_batch(list(columns.values()), names=list(columns))], *cuts, **options)


def stream_of(batches: Sequence[Any], *cuts: int, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for batch in batches:
            places = [0, *sorted(min(one, batch.num_rows) for one in cuts), batch.num_rows]
            for low, high in itertools.pairwise(places):
                writer.write_batch(batch.slice(low, high - low))
    return bytes(sink.getvalue())

"""Events of a product service as record batches of Arrow: asked about, treated and recorded as JSON objects are. Needs pyarrow."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa

from cells.egress.arriving import Arrived, Refused, TooLarge, arrived
from cells.egress.arrow import arrow_schema
from cells.egress.asking import Aim, Asking, EgressSaid, duties_of, said
from cells.egress.treating import Treater, Whose, kinds_of
from cells.egress.vectors import TreatedBatches, treat_parts
from cells.records.contracts import Contract
from foundation.problems import Code, refuse
from foundation.words import ServiceId

SAID = "domicile"
"""Under which key of the answer's schema stands what is said of the batch, as JSON."""


async def answer(asking: Asking, service: ServiceId, aim: Aim, raw: bytes) -> bytes:
    """What of a stream may leave, as one; recorded when it returns. Raises ProblemError."""
    asked = asking.asked(service, aim)
    came = _arrived(asked.contract, raw)
    made = asking.treater(asked, "arrow")
    people = await asking.people(asked, _of_people(asked.contract, came.batch))
    treated = treated_of(made, people, came)
    what = said(treated.said, duties_of(made, people))
    given = written(made, what, treated.batches)
    await asking.record(asked, what, treated.said.rows, given)
    return given


def treated_of(made: Treater, people: Sequence[Whose], came: Arrived) -> TreatedBatches:
    """`people`: whose each row is."""
    parts = [
        (one, came.batch if indexes is None else came.batch.take(pa.array(indexes, pa.int64())))
        for one, indexes in kinds_of(people)
    ]
    try:
        return treat_parts(made, parts, came.unnamed)
    except BaseException:
        made.forget()
        raise


def written(made: Treater, what: EgressSaid, batches: Sequence[Any]) -> bytes:
    """A stream, whose schema has what is said beside it."""
    sink = pa.BufferOutputStream()
    schema = arrow_schema(made.schema).with_metadata({SAID: msgspec.json.encode(what)})
    with pa.ipc.new_stream(sink, schema) as writer:
        for one in batches:
            writer.write_batch(one.replace_schema_metadata(schema.metadata))
    return bytes(sink.getvalue())


def _arrived(contract: Contract, raw: bytes) -> Arrived:
    """Raises ProblemError."""
    try:
        return arrived(contract, raw)
    except Refused as exc:
        raise refuse(Code.TOO_LARGE if isinstance(exc, TooLarge) else Code.BAD_REQUEST, str(exc)) from exc


def _of_people(contract: Contract, batch: Any) -> dict[str, list[Any]]:
    """The columns by which people are known. What is no text is no id."""
    named = dict.fromkeys((contract.placed_by, contract.owner))
    found = {name: batch.column(name) for name in named}
    return {name: one.to_pylist() if one.type == pa.string() else [None] * len(one) for name, one in found.items()}

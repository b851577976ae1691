"""Rows through the real contract path with its rescan: as releases of every format, and as batches of events, in JSON and in Arrow."""

import enum
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from cells.egress import asking, release
from cells.egress.events import batch_of
from cells.egress.formats import Format
from cells.egress.keys import keys_for
from cells.egress.plan import Release
from cells.egress.runs import Part
from cells.egress.scan import Scan
from cells.egress.scanner.strings import scan_each
from cells.egress.sinks.folder import FolderSink
from cells.egress.treating import Batch, Treated, Treater
from cells.egress.treatments import Means
from cells.egress.values import OF_DATABASE, OF_JSON, Reader
from cells.egress.verify import verify
from foundation.words import DestinationId
from tests.leaktest.looking import Looked, look, rows_of
from tests.leaktest.rows import Rows, Source, contract
from tests.stands.egress import EU, ROOT, SIGNER, TODAY, MemoryWorld, journal_of, person, rules, run_of

EVENTS, BATCHES = "events", "batches"
WAYS: tuple[str, ...] = (*Format, EVENTS, BATCHES)
PURPOSE, TO = "analytics", "us-lake"


class Leak(enum.StrEnum):
    """A leak that is planted on purpose, so that it is seen that the test would see one."""

    NONE = "none"
    TREATMENT = "treatment"
    """One row of each batch takes its address along, in another field."""
    SCANNER = "scanner"
    """The scanner looks away."""


class Came(msgspec.Struct, frozen=True, kw_only=True):
    """What went in by one way, and what came out. `held`: batches in quarantine."""

    way: str
    read: int
    held: int
    looked: Looked


class Leaking(Treater):
    """A treater with a hole."""

    def treat(self, batch: Batch) -> Treated:
        treated = super().treat(batch)
        if treated.rows:
            treated.columns["item"][-1] = batch.columns["email"][-1]
        return treated


def _looking_away(strings: Sequence[str], _name: str) -> Sequence[Sequence[Any]]:
    return [[] for _ in strings]


def treater(readers: Mapping[str, Reader], leak: Leak) -> Treater:
    kind = Leaking if leak is Leak.TREATMENT else Treater
    scan: Scan = _looking_away if leak is Leak.SCANNER else scan_each
    stated = contract()
    return kind(
        stated,
        Release(cell=EU, destination=DestinationId(TO), purpose=PURPOSE),
        rules(),
        TODAY,
        means=Means(TODAY, keys_for(ROOT, EU, PURPOSE, {}), stated.hierarchies),
        readers=readers,
        scan=scan,
    )


async def released(rows: Rows, format_: Format, folder: Path, leak: Leak, part_rows: int) -> Came:
    """A release; each part is looked into when it is durable. What was released verifies, and has as many rows as were looked at."""
    looked, held = Looked(), 0
    stated = run_of(folder, format_=format_, held=rules())
    journal = journal_of(folder, stated)
    made = MemoryWorld({}, held=rules()).world()
    world = msgspec.structs.replace(made, source=Source(rows))

    def told(part: Part) -> None:
        nonlocal held
        held += len(part.held)
        if part.file is not None:
            look(rows_of(journal.staging / part.file.name, format_), rows, scan_each, looked)

    sink = FolderSink(Path(stated.out))
    path = Path(await release.run(journal, treater(OF_DATABASE, leak), world, sink, part_rows=part_rows, told=told))
    if verify(path, SIGNER.verifier).rows != looked.rows:
        raise RuntimeError(f"{path} has other rows than were looked at")
    return Came(way=format_.value, read=rows.count, held=held, looked=looked)


def answered(rows: Rows, leak: Leak) -> Came:
    """Batches of events, as a product service posts them and gets them back: JSON in, JSON out."""
    made, looked, held = treater(OF_JSON, leak), Looked(), 0
    for page in rows.pages():
        asked = msgspec.json.decode(msgspec.json.encode(page), type=list[dict[str, Any]])
        treated = made.treat(batch_of(made.contract, asked, [person()] * len(asked)))
        answer = msgspec.json.encode(asking.answer_of(treated, ()))
        held += bool(treated.held)
        look(msgspec.json.decode(answer)["events"], rows, scan_each, looked)
    return Came(way=EVENTS, read=rows.count, held=held, looked=looked)


def batched(rows: Rows, leak: Leak) -> Came:
    """The same as record batches of Arrow, in and out."""
    import pyarrow as pa

    from cells.egress.arriving import arrived
    from cells.egress.batches import treated_of, written

    made, looked, held = treater(OF_DATABASE, leak), Looked(), 0
    for page in rows.pages():
        asked = msgspec.json.decode(msgspec.json.encode(page), type=list[dict[str, Any]])
        batch = pa.RecordBatch.from_pylist(
            [one | {"extra": msgspec.json.encode(one["extra"]).decode()} for one in asked]
        )
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        treated = treated_of(made, [person()] * len(asked), arrived(made.contract, bytes(sink.getvalue())))
        left = treated.batches
        if left and leak is Leak.TREATMENT:
            left = [_with_an_address(left[0], asked[-1]["email"])]
        answer = written(made, asking.said(treated.said, ()), left)
        held += bool(treated.said.held)
        look(pa.ipc.open_stream(answer).read_all().to_pylist(), rows, scan_each, looked)
    return Came(way=BATCHES, read=rows.count, held=held, looked=looked)


def _with_an_address(batch: Any, address: str) -> Any:
    """Its last row takes the address along, in another field."""
    import pyarrow as pa

    place = batch.schema.names.index("item")
    items = [*batch.column(place).to_pylist()[:-1], address]
    return batch.set_column(place, batch.schema.field(place), pa.array(items, pa.string()))


async def through(way: str, rows: Rows, folder: Path, leak: Leak = Leak.NONE, part_rows: int = 20_000) -> Came:
    if way == EVENTS:
        return answered(rows, leak)
    if way == BATCHES:
        return batched(rows, leak)
    return await released(rows, Format(way), folder, leak, part_rows)


def failures(came: Came, rows: Rows) -> list[str]:
    """What is wrong: something escaped, a batch was not held that should have been, or more was kept back than that."""
    looked = came.looked
    said = [
        f"{came.way}: row {one.mark}, {one.field}: {one.kind} in {one.encoding}: {one.text!r}" for one in looked.shown
    ]
    if looked.escaped > len(said):
        said.append(f"{came.way}: {looked.escaped} escaped in all")
    if not said and looked.rows != rows.clean_rows:
        said.append(f"{came.way}: {looked.rows} rows came out, not {rows.clean_rows}")
    return said

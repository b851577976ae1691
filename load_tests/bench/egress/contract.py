"""The contract path of egress, on one core: events of twelve fields; one leaves as a token, one masked, one generalised, one not at all.
Subjects have one event, or ten: ten thousand events apart, or one after the other, as a table is read and as people use a product.

NDJSON: lines in, decoded, treated, lines out. Arrow: a record batch in, treated, a record batch out. Bytes are those of the input: NDJSON's
for the lines, the record batch's own for Arrow and Parquet. No database, and but for the rows that say so no scanner: there what is kept
is scanned. Beside them what decoding and encoding alone cost.

Run: python -m load_tests.bench.egress.contract [--events N] [--rounds N]
"""

import argparse
import datetime
import operator
import random
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from cells.egress.events import RowReader, batch_of, of_lines
from cells.egress.formats import liner
from cells.egress.keys import keys_for
from cells.egress.plan import Release
from cells.egress.scan import Scan
from cells.egress.scanner.strings import scan_each
from cells.egress.treating import Person, Treater
from cells.egress.treatments import Means
from cells.egress.values import OF_DATABASE, OF_JSON, Reader
from cells.records.contracts import parse
from foundation.mute import Secret
from foundation.words import CellId, Country, DestinationId
from routing_rules.facts import SubjectFacts
from routing_rules.release import Consent
from routing_rules.rules import Rules, load

ROOT = Path(__file__).parents[3]
DAY = datetime.date(2026, 11, 21)
BATCH, STREAM_ROWS = 1_000, 16_000
"""Events of a batch of a stream, or rows of a page of a table; rows of a stream of Arrow, which then has less than 4 MiB."""
CONTRACT = """
table: clicks
placed_by: subject_id
owner: subject_id
columns:
  subject_id: {type: uuid, class: pseudonymous, leaving: {default: token}}
  id:         {type: uuid, class: none, leaving: {default: keep}}
  kind:       {type: text, class: none, leaving: {default: keep}}
  path:       {type: text, class: none, leaving: {default: keep}}
  locale:     {type: text, class: none, leaving: {default: keep}}
  amount:     {type: bigint, class: none, leaving: {default: keep}}
  weight:     {type: double precision, class: none, leaving: {default: keep}}
  first:      {type: boolean, class: none, leaving: {default: keep}}
  at:         {type: timestamptz, class: none, leaving: {default: keep}}
  email:      {type: text, class: direct, leaving: {default: mask_domain}}
  born:       {type: date, class: quasi, leaving: {default: age_band}}
  note:       {type: text, class: free_text, leaving: {default: drop}}
"""
DESTINATION = """
[destinations.lake]
country = "GB"
purposes = ["analytics"]
recipient_classes = []
"""
PERSON = Person(SubjectFacts(residence=Country("DE")), Consent.UNSAID)


def events(count: int, each: int) -> list[dict[str, Any]]:
    """`each`: events of one subject."""
    chance = random.Random(7)
    subjects = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(-(-count // each))]
    begun = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
    return [
        {
            "subject_id": subjects[number % len(subjects)],
            "id": str(uuid.UUID(int=chance.getrandbits(128))),
            "kind": chance.choice(["view", "cart", "order", "return"]),
            "path": f"/shop/items/{chance.randrange(100_000)}",
            "locale": chance.choice(["de-DE", "fr-FR", "it-IT"]),
            "amount": chance.randrange(1_000_000),
            "weight": chance.random(),
            "first": chance.random() < 0.5,
            "at": (begun + datetime.timedelta(seconds=number)).isoformat(),
            "email": f"person{chance.randrange(10**9)}@mail{chance.randrange(50)}.example.com",
            "born": (datetime.date(1940, 1, 1) + datetime.timedelta(days=chance.randrange(25_000))).isoformat(),
            "note": "please leave it with the neighbours",
        }
        for number in range(count)
    ]


def rules() -> Rules:
    return load((ROOT / "routing_rules" / "cases" / "shop.policy.toml").read_text() + DESTINATION)


def treater(readers: Mapping[str, Reader], scan: Scan | None = None) -> Treater:
    contract = parse(CONTRACT, where="bench")
    cell, purpose = CellId("eu-de"), "analytics"
    return Treater(
        contract,
        Release(cell=cell, destination=DestinationId("lake"), purpose=purpose),
        rules(),
        DAY,
        means=Means(DAY, keys_for(Secret(b"b" * 32), cell, purpose, {}), {}),
        readers=readers,
        scan=scan,
    )


def told(what: str, work: Callable[[], object], *, events: int, size: int, rounds: int) -> None:
    work()
    best = float("inf")
    for _ in range(rounds):
        begun = time.process_time()
        work()
        best = min(best, time.process_time() - begun)
    print(f"{what:44} {events / best:12,.0f} events/s {size / best / 1e6:8.1f} MB/s", flush=True)


def ndjson(made: Treater, held: list[bytes]) -> Callable[[], object]:
    read, lines = RowReader(made.contract), liner([name for name, _ in made.schema])

    def work() -> int:
        written = 0
        for raw in held:
            found = read(raw)
            treated = made.treat(batch_of(made.contract, found, [PERSON] * len(found)))
            written += len(lines(treated.columns))
        return written

    return work


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m load_tests.bench.egress.contract", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    print(f"{asked.events:,} events; best of {asked.rounds}, CPU time of one process")
    for each in (1, 10):
        measured(events(asked.events, each), f"{each} of each subject", asked.rounds)
    together = sorted(events(asked.events, 10), key=operator.itemgetter("subject_id"))
    measured(together, "10 of each subject, one after the other", asked.rounds)


def measured(given: list[dict[str, Any]], which: str, rounds: int) -> None:
    made, encoder = treater(OF_JSON), msgspec.json.Encoder()
    held = [encoder.encode_lines(given[start : start + BATCH]) for start in range(0, len(given), BATCH)]
    size = sum(map(len, held))
    sizes = {"events": len(given), "size": size, "rounds": rounds}
    print(f"-- {which}, {size / len(given):.0f} bytes as NDJSON")
    told(
        "NDJSON decoded and encoded, nothing else",
        lambda: [encoder.encode_lines(of_lines(raw)) for raw in held],
        **sizes,
    )
    told("NDJSON by contract", ndjson(made, held), **sizes)
    told("NDJSON by contract, what is kept scanned", ndjson(treater(OF_JSON, scan_each), held), **sizes)
    arrow(given, rounds)


def arrow(given: list[dict[str, Any]], rounds: int) -> None:
    try:
        import pyarrow as pa

        from cells.egress.arriving import arrived
        from cells.egress.arrow import arrow_schema
        from cells.egress.asking import said
        from cells.egress.batches import treated_of, written
        from cells.egress.vectors import treat
    except ModuleNotFoundError:
        print("Arrow is left out: pyarrow is not installed")
        return
    made = treater(OF_DATABASE)
    moments = [
        one | {"at": datetime.datetime.fromisoformat(one["at"]), "born": datetime.date.fromisoformat(one["born"])}
        for one in given
    ]
    fields = [("at", pa.timestamp("us", tz="UTC")), ("born", pa.date32())]
    names = list(made.contract.columns)
    schema = pa.schema([(name, dict(fields).get(name, pa.array([given[0][name]]).type)) for name in names])
    table = pa.Table.from_pylist(moments, schema=schema)
    batches = table.to_batches(max_chunksize=20_000)
    size = table.nbytes
    sizes = {"events": len(given), "size": size, "rounds": rounds}
    told("Arrow batches by contract", lambda: [treat(made, PERSON, batch) for batch in batches], **sizes)
    told("Parquet read and written, nothing else", _through_parquet(table, table.schema, lambda batch: batch), **sizes)
    leaves = arrow_schema(made.schema)
    told("Parquet by contract", _through_parquet(table, leaves, lambda one: treat(made, PERSON, one).batch), **sizes)
    scanned = treater(OF_DATABASE, scan_each)
    told("Arrow batches, what is kept scanned", lambda: [treat(scanned, PERSON, batch) for batch in batches], **sizes)
    streams = [_stream(batch) for batch in table.to_batches(max_chunksize=STREAM_ROWS)]

    def answered(made: Treater) -> None:
        for raw in streams:
            came = arrived(made.contract, raw)
            found = treated_of(made, [PERSON] * came.batch.num_rows, came)
            written(made, said(found.said, ()), found.batches)

    told("streams of Arrow read, treated and written", lambda: answered(made), **sizes)
    told("the same, what is kept scanned", lambda: answered(scanned), **sizes)


def _through_parquet(table: Any, leaves: Any, treated: Callable[[Any], Any]) -> Callable[[], object]:
    """Row groups of 20,000 read, treated, and written with the schema `leaves` as a release writes them (zstd)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    held = pa.BufferOutputStream()
    pq.write_table(table, held, row_group_size=20_000, compression="zstd")
    given = held.getvalue()

    def work() -> None:
        with pq.ParquetWriter(pa.BufferOutputStream(), leaves, compression="zstd") as writer:
            for batch in pq.ParquetFile(pa.BufferReader(given)).iter_batches(batch_size=20_000, use_threads=False):
                writer.write_batch(treated(batch))

    return work


def _stream(batch: Any) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


if __name__ == "__main__":
    main()

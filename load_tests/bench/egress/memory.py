"""What a release of a stated size takes of memory: everything of it but the database and the sink, each way in a process of its own.

Rows are those of `contract`, 1,000 to a page, each of another subject, treated, written, looked at again, sealed and released into a folder;
sizes are those of the rows as NDJSON. `stream` is `POST /cell/egress/stream` without its sockets. No scanner. Peak: the most that
the process was resident with; before: when everything was imported, and nothing read. Needs as much disk as is asked for.

Run: python -m load_tests.bench.egress.memory [--mebibytes N …] [--ways WAY …] [--out FOLDER]
"""

import argparse
import asyncio
import datetime
import json
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from starlette.types import Message

from cells.egress import release
from cells.egress.asking import EgressAnswer
from cells.egress.events import Given, RowReader, batch_of
from cells.egress.formats import Format
from cells.egress.ports import World
from cells.egress.reading import LAST, PAGE_ROWS, Page, Standing
from cells.egress.runs import Journal, Run
from cells.egress.sinks import sink_of
from cells.egress.streams import Streamed, Streams
from cells.egress.values import OF_DATABASE, OF_JSON
from foundation.ledger.notes import Signer
from foundation.ledger.port import Event
from foundation.mute import Secret
from foundation.words import CellId, DestinationId, ShardId, SubjectId
from load_tests.bench.egress.contract import DAY, PERSON, events, rules, treater
from routing_rules.facts import SubjectFacts
from routing_rules.release import Consent
from routing_rules.rules import Rules

SHARD = ShardId("s1")
STREAM = "stream"
WAYS = (*(one.value for one in Format), STREAM)
NOW_S = datetime.datetime.combine(DAY, datetime.time(12), datetime.UTC).timestamp()


class Rows:
    """So many pages of a table that is never held: one page's values, each time of other subjects."""

    shards = (SHARD,)

    def __init__(self, pages: int) -> None:
        self._pages = pages
        made = events(PAGE_ROWS, 1)
        self._columns: dict[str, list[Any]] = {name: [one[name] for one in made] for name in made[0]}
        self._columns["at"] = [datetime.datetime.fromisoformat(one) for one in self._columns["at"]]
        self._columns["born"] = [datetime.date.fromisoformat(one) for one in self._columns["born"]]

    async def page(self, shard: ShardId, after: tuple[str, str], until: tuple[str, str] = LAST) -> Page:  # noqa: ARG002
        begun = uuid.UUID(after[0]).int
        subjects = [uuid.UUID(int=begun + 1 + number) for number in range(PAGE_ROWS)]
        ids = [str(one) for one in subjects]
        last = ids[-1], ids[-1]
        return Page(
            subjects=[SubjectId(one) for one in ids],
            owners=ids,
            consents=[Consent.UNSAID] * PAGE_ROWS,
            columns=self._columns | {"subject_id": subjects, "id": subjects},
            drifted=(),
            unnamed=0,
            first=(ids[0], ids[0]),
            last=last,
            after=None if begun + PAGE_ROWS >= self._pages * PAGE_ROWS else last,
        )

    async def standing(self, shard: ShardId, subjects: Sequence[SubjectId], owners: Sequence[str]) -> Standing:  # noqa: ARG002
        return Standing(frozenset(subjects), {})


class Homes:
    async def facts(self, subjects: Sequence[SubjectId]) -> dict[SubjectId, SubjectFacts]:
        return dict.fromkeys(subjects, PERSON.subject)


class Ledger:
    async def record(self, event: Event) -> None:
        """Nobody reads it."""


async def released(format_: Format, pages: int, folder: Path) -> None:
    held = rules()

    async def current() -> Rules:
        return held

    signer = Signer("bench.example.com/egress", Secret(b"s" * 32))
    world = World(Rows(pages), Homes(), Ledger(), current, lambda: NOW_S, signer, "cell:eu-de")
    journal = Journal(folder / "runs" / "rel-1")
    journal.begin(
        Run(
            id="rel-1",
            cell=CellId("eu-de"),
            table="clicks",
            destination=DestinationId("lake"),
            purpose="analytics",
            format=format_,
            out=str(folder / "out"),
            day=DAY.isoformat(),
            contract="",
            rules=held.digest,
            keys="",
            begun_at=NOW_S,
        )
    )
    made = treater(OF_DATABASE)
    await release.run(journal, made, world, sink_of(journal.run.out, {}))


async def streamed(pages: int) -> None:
    made = treater(OF_JSON)
    piece = msgspec.json.Encoder().encode_lines(events(PAGE_ROWS, 1))
    pieces = iter(range(pages))

    async def receive() -> Message:
        more = next(pieces, None) is not None
        return {"type": "http.request", "body": piece if more else b"", "more_body": more}

    async def send(_message: Message) -> None:
        """The client takes it."""

    async def treat(given: list[Given]) -> EgressAnswer:
        treated = made.treat(batch_of(made.contract, given, [PERSON] * len(given)))
        rows = zip(*treated.columns.values(), strict=True)
        return EgressAnswer(
            release="release:bench",
            events=[dict(zip(treated.columns, row, strict=True)) for row in rows],
            stayed=treated.stayed,
            duties=(),
            counts=treated.counts,
            held=treated.held,
        )

    await Streamed(treat, Streams(), RowReader(made.contract))({"type": "http"}, receive, send)


def resident_mib(line: str) -> float:
    """Of this process: `VmRSS`, now, or `VmHWM`, the most. What getrusage says of the most is that of whoever started it, too."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(one.split()[1]) for one in status if one.startswith(f"{line}:")) / 1024


def one_way(way: str, mebibytes: int, folder: Path) -> dict[str, float]:
    """In this process, which does nothing else."""
    page_bytes = len(msgspec.json.Encoder().encode_lines(events(PAGE_ROWS, 1)))
    pages = max(1, (mebibytes << 20) // page_bytes)
    if way in (Format.ARROW, Format.PARQUET):
        from cells.egress import arrow  # noqa: F401 - what it takes is no part of what a release takes
    before, begun = resident_mib("VmRSS"), time.perf_counter()
    asyncio.run(streamed(pages) if way == STREAM else released(Format(way), pages, folder))
    seconds = time.perf_counter() - begun
    return {"before": before, "peak": resident_mib("VmHWM"), "seconds": seconds, "rows": pages * PAGE_ROWS}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m load_tests.bench.egress.memory", description=__doc__)
    parser.add_argument("--mebibytes", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--out", type=Path, help="where there is room; left out: where temporary files lie")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.alone:
        print(json.dumps(one_way(asked.ways[0], asked.mebibytes[0], asked.out)))
        return
    print(f"{'way':10} {'MiB':>8} {'rows':>12} {'before MiB':>11} {'peak MiB':>9} {'more MiB':>9} {'MiB/s':>7}")
    for way in asked.ways:
        for mebibytes in asked.mebibytes:
            with tempfile.TemporaryDirectory(dir=asked.out) as folder:
                command = [sys.executable, "-P", "-m", "load_tests.bench.egress.memory", "--alone"]
                command += ["--ways", way, "--mebibytes", str(mebibytes), "--out", folder]
                found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            more, rate = found["peak"] - found["before"], mebibytes / found["seconds"]
            sizes = f"{found['rows']:12,.0f} {found['before']:11.0f} {found['peak']:9.0f} {more:9.0f} {rate:7.1f}"
            print(f"{way:10} {mebibytes:8,} {sizes}", flush=True)


if __name__ == "__main__":
    main()

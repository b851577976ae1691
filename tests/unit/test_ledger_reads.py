"""Who reads a log is in it before they have an answer, and every single read soon after, under one root."""

import asyncio
from collections.abc import Sequence
from itertools import count

import pytest

from foundation.clock import ManualClock
from foundation.ledger import reads as reads_module
from foundation.ledger.canonical import canonical
from foundation.ledger.merkle import ProofRefused, inclusion, leaf_hash, verify_inclusion
from foundation.ledger.port import Event, Kind
from foundation.ledger.reads import WINDOW_S, Reads, summed
from foundation.problems import Code, ProblemError, refuse
from tests.stands.ledger import naive_root, subtrees_of

pytestmark = pytest.mark.anyio


class Stand:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.away = False
        self.clock = ManualClock()
        numbers = count()
        self.reads = Reads(self.record, self.clock, chance=lambda: f"{next(numbers):032}")

    async def record(self, events: Sequence[Event]) -> None:
        if self.away:
            raise refuse(Code.NOT_READY, "away")
        self.events += events

    async def give_on(self) -> None:
        """As the worker does when it looks."""
        await self.reads.give_on(self.clock.monotonic_s() - WINDOW_S)

    @property
    def told(self) -> list[tuple[str, object]]:
        return [(one.actor, one.details.get("begun") or one.details["count"]) for one in self.events]


async def test_a_reader_is_recorded_before_the_answer_and_each_read_when_the_window_ends() -> None:
    stand = Stand()
    for file in ("entries/000", "entries/001", "entries/002"):
        await stand.reads.note("operator:ann", file)
        assert stand.told == [("operator:ann", True)]
    await stand.give_on()
    assert len(stand.events) == 1, "the window is open still"
    stand.clock.advance(WINDOW_S)
    await stand.give_on()
    assert stand.told == [("operator:ann", True), ("operator:ann", 3)]
    first, summary = stand.events
    assert {one.kind for one in stand.events} == {Kind.LEDGER_READ}
    assert first.id != summary.id
    assert [read["file"] for read in summary.details["reads"]] == ["entries/000", "entries/001", "entries/002"]


async def test_who_goes_on_reading_begins_once_and_who_comes_back_begins_anew() -> None:
    stand = Stand()
    for _ in range(3):
        await stand.reads.note("operator:ann", "entries/000")
        stand.clock.advance(WINDOW_S)
        await stand.give_on()
    assert stand.told == [("operator:ann", True), *[("operator:ann", 1)] * 3]
    stand.clock.advance(WINDOW_S)
    await stand.give_on()
    await stand.reads.note("operator:ann", "entries/000")
    assert stand.told[4:] == [("operator:ann", True)]


async def test_what_cannot_be_recorded_is_not_given_out_and_nothing_is_forgotten() -> None:
    stand = Stand()
    stand.away = True
    with pytest.raises(ProblemError):
        await stand.reads.note("operator:ann", "entries/000")
    stand.away = False
    await stand.reads.note("operator:ann", "entries/000")
    stand.clock.advance(WINDOW_S)
    stand.away = True
    with pytest.raises(ProblemError):
        await stand.give_on()
    stand.away = False
    await stand.give_on()
    assert stand.told == [("operator:ann", True), ("operator:ann", 1)]


async def test_what_has_gathered_is_given_on_when_the_process_ends() -> None:
    stand = Stand()
    await stand.reads.note("operator:ann", "entries/000")
    async with asyncio.TaskGroup() as group:
        worker = group.create_task(stand.reads.run())
        await asyncio.sleep(0)
        worker.cancel()
    assert stand.told == [("operator:ann", True), ("operator:ann", 1)]
    await stand.reads.note("operator:ann", "entries/000")
    stand.away = True
    async with asyncio.TaskGroup() as group:
        worker = group.create_task(stand.reads.run())
        await asyncio.sleep(0)
        worker.cancel()
    assert len(stand.events) == 2


async def test_reads_and_readers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads_module, "READS_MAX", 2)
    monkeypatch.setattr(reads_module, "READERS_MAX", 2)
    stand = Stand()
    for _ in range(5):
        await stand.reads.note("operator:ann", "entries/000")
    assert stand.told == [("operator:ann", True), ("operator:ann", 2), ("operator:ann", 2)]
    await stand.reads.note("operator:bob", "entries/000")
    with pytest.raises(ProblemError, match="too many"):
        await stand.reads.note("operator:cleo", "entries/000")


async def test_many_at_once_are_each_there_once() -> None:
    stand = Stand()
    async with asyncio.TaskGroup() as group:
        for number in range(200):
            group.create_task(stand.reads.note(f"operator:{number % 4}", f"entries/{number:03}"))
    stand.clock.advance(WINDOW_S)
    await stand.give_on()
    files = [read["file"] for one in stand.events if "reads" in one.details for read in one.details["reads"]]
    assert sorted(files) == [f"entries/{number:03}" for number in range(200)]
    assert sum(one.details.get("begun", False) for one in stand.events) == 4


def test_one_read_is_shown_to_stand_among_many_without_the_others() -> None:
    reads = [{"at_us": 1_800_000_000_000_000 + n, "file": f"entries/{n:03}", "salt": f"{n:032}"} for n in range(7)]
    details = summed(reads)
    hashes = [leaf_hash(canonical(read)) for read in reads]
    root = bytes.fromhex(details["root"])
    assert root == naive_root([canonical(read) for read in reads])
    path = inclusion(3, 7, subtrees_of(hashes))
    verify_inclusion(leaf=hashes[3], index=3, size=7, path=path, root=root)
    with pytest.raises(ProofRefused):
        verify_inclusion(leaf=hashes[4], index=3, size=7, path=path, root=root)

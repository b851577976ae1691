"""Faults are recorded as they happened, and undone whatever happens."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import psutil
import pytest

from foundation.clock import SystemClock
from load_tests.faults.directory import Directory
from load_tests.faults.driver import FaultDriver
from load_tests.faults.processes import Processes
from load_tests.oracle.ledger import SignedUp
from load_tests.scenarios.shape import Fault
from load_tests.target import Cell, Region, Target
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

TARGET = Target(
    directory={"url": "http://directory.test"},
    regions={"eu": Region(gateway="http://eu.test", issuer="http://issuer.test")},
    cells={"eu-de": Cell(region="eu", shards={"s1": "EU_DE_S1"})},
)
PERSON = SignedUp(at=1.0, subject="s", cell="eu-de", epoch=7, country="DE", region="eu", jurisdiction="eu")


class MemoryDirectory(Directory):
    """A directory in memory; `refusing` makes it refuse so many changes first."""

    def __init__(self, refusing: int = 0) -> None:
        self.policy = 'serves = ["eu"]'
        self.drained: list[bool] = []
        self.calls: list[str] = []
        self.state, self.at = "active", 7
        self._refusing = refusing

    def _refuses(self) -> bool:
        self._refusing -= 1
        return self._refusing >= 0

    async def rules(self) -> dict[str, Any]:
        return {"policy": self.policy}

    async def publish(self, policy: str) -> bool:
        self.policy = policy
        return True

    async def drain(self, cell: str, drain: bool) -> bool:
        self.drained.append(drain)
        return True

    async def placement(self, subject: str) -> dict[str, Any]:
        return {"subject_id": subject, "epoch": self.at, "state": self.state}

    async def change(self, subject: str, call: str) -> int | None:
        if call == "unfreeze" and self._refuses():
            return None
        self.calls.append(call)
        self.at += 1
        self.state = {"freeze": "frozen", "unfreeze": "active"}.get(call, self.state)
        return self.at


def driver(directory: MemoryDirectory) -> FaultDriver:
    async def look(person: SignedUp) -> tuple[int, frozenset[str]]:
        return directory.at, frozenset({"w"})

    made = FaultDriver(TARGET, clock=SystemClock(), directory=directory, processes=None, fence=look)
    made.people = [PERSON]
    return made


async def test_a_run_that_is_broken_off_leaves_nothing_broken_behind() -> None:
    directory = MemoryDirectory()
    faults = driver(directory)
    rules = Fault(kind="rules", at_s=0, for_s=600, replace=(('"eu"', '"eu", "uk"'),))
    drain = Fault(kind="drain", at_s=0, for_s=600, target="eu-de")
    task = asyncio.get_running_loop().create_task(faults.play((rules, drain), SystemClock().unix_s()))
    await eventually(lambda: directory.drained == [True] and "uk" in directory.policy, s_max=10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert directory.policy == 'serves = ["eu"]'
    assert directory.drained == [True, False]
    assert all(window.ended is not None for window in faults.windows)


async def test_what_cannot_be_broken_here_is_told_and_ends_no_other_fault() -> None:
    directory = MemoryDirectory()
    faults = driver(directory)
    stop = Fault(kind="stop", at_s=0, target="cell-eu-de")
    unknown = Fault(kind="rules", at_s=0, replace=(("not there", "x"),))
    drain = Fault(kind="drain", at_s=0, target="eu-de")
    await faults.play((stop, unknown, drain), SystemClock().unix_s())
    assert len(faults.failed) == 2
    assert any("embedded stack only" in words for words in faults.failed)
    assert directory.drained == [True, False]


async def test_a_freeze_is_a_cut_that_was_seen_and_nobody_stays_frozen() -> None:
    directory = MemoryDirectory(refusing=2)
    faults = driver(directory)
    await faults.play((Fault(kind="epochs", at_s=0, for_s=0.3, each_s=0.01),), SystemClock().unix_s())
    assert "freeze" in directory.calls
    assert directory.state == "active"
    frozen = [cut for cut in faults.cuts if cut.frozen]
    assert frozen
    assert all(cut.stored == frozenset({"w"}) for cut in faults.cuts)


async def test_a_fault_touches_the_people_of_its_region_only() -> None:
    faults = driver(MemoryDirectory())
    await faults.play((Fault(kind="stop", at_s=0, target="cell-eu-de"),), SystemClock().unix_s())
    assert [window.regions for window in faults.windows] == [("eu",)]


class OwnProcesses(Processes):
    """One process of this test instead of a stack's."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    async def pids(self, pattern: str) -> dict[str, int]:
        return {"postgres-eu-de": self.pid}


class Tree(NamedTuple):
    """A shell and what it started."""

    root: psutil.Process
    all: list[psutil.Process]

    def status(self) -> set[str]:
        return {one.status() for one in self.all}


@asynccontextmanager
async def tree() -> AsyncIterator[Tree]:
    shell = await asyncio.create_subprocess_exec("/bin/sh", "-c", "sleep 60 & wait")
    root = psutil.Process(shell.pid)
    try:
        await eventually(lambda: bool(root.children()), s_max=10)
        yield Tree(root, [root, *root.children()])
    finally:
        # The shell ends by itself once what it waits for has ended.
        for one in [root, *root.children()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        await shell.wait()


def gone(process: psutil.Process) -> bool:
    """Whether it has ended, waited for by somebody or not."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


STILL, GOING = {psutil.STATUS_STOPPED}, {psutil.STATUS_SLEEPING}


async def test_what_a_process_started_stands_still_with_it_and_goes_on_with_it() -> None:
    async with tree() as held:
        async with OwnProcesses(held.root.pid).frozen("postgres-eu-de"):
            await eventually(lambda: held.status() == STILL, s_max=10)
        await eventually(lambda: held.status() == GOING, s_max=10)


async def test_what_is_slow_stands_still_and_goes_on_by_turns_and_goes_on_in_the_end() -> None:
    slow = Fault(kind="slow", at_s=0, for_s=600, target="cell-eu-de", share=0.5, period_s=0.1)
    async with tree() as held:
        before = set(psutil.Process().children())
        faults = FaultDriver(
            TARGET, clock=SystemClock(), directory=None, processes=OwnProcesses(held.root.pid), fence=None
        )
        task = asyncio.get_running_loop().create_task(faults.play((slow,), SystemClock().unix_s()))
        for _ in range(3):
            await eventually(lambda: held.status() == STILL, s_max=10)
            await eventually(lambda: held.status() == GOING, s_max=10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await eventually(lambda: held.status() == GOING, s_max=10)
        assert set(psutil.Process().children()) <= before  # who held them is gone
    assert [(one.kind, one.regions, one.ended is None) for one in faults.windows] == [("slow", ("eu",), False)]


HOLDS_AND_WAITS = """
import asyncio, sys
from load_tests.faults.processes import Processes

class Own(Processes):
    async def pids(self, pattern):
        return {"own": int(sys.argv[1])}

async def main():
    async with Own(None).slowed("own", share=float(sys.argv[2]), period_s=0.1):
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("share", ["1.0", "0.9"])
async def test_what_stands_still_goes_on_when_the_run_that_holds_it_is_killed(share: str) -> None:
    async with tree() as held:
        run = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-c", HOLDS_AND_WAITS, str(held.root.pid), share
        )
        await eventually(lambda: held.status() == STILL, s_max=20)
        holders = psutil.Process(run.pid).children()
        run.kill()
        await run.wait()
        await eventually(lambda: all(map(gone, holders)), s_max=10)
        assert len(holders) == 1
        await eventually(lambda: held.status() == GOING)  # a process that was let go runs for a moment before it sleeps

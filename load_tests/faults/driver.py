"""Plays a scenario's faults at their times; each is undone when its time is over, and all of them when the run ends."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx

from foundation import http
from foundation.clock import Clock
from foundation.settings import SettingsError
from load_tests.faults.directory import Directory
from load_tests.faults.processes import Processes
from load_tests.faults.window import Cut, Window
from load_tests.oracle.ledger import SignedUp
from load_tests.scenarios.shape import Fault
from load_tests.target import Target

UNDO_S_MAX = 90.0
FENCE_S_MAX = 3.0
HELD_S = 1.2
"""How long a gateway of the fault `late` is held still after the fences were raised."""
GATHER_S = 0.5
"""And before, so that requests are under way to it."""
FREEZE_S = 0.05
LATE_SUBJECTS = 12
FREEZE_EACH = 4
"""Of how many epoch changes one is a freeze."""
CUTS_AT_ONCE = 4
Fence = Callable[[SignedUp], Awaitable[tuple[int, frozenset[str]] | None]]
"""A subject's fence on its shard, and which rows are stored in that same snapshot. None where nobody can say just now."""


def words_of(exc: BaseException) -> str:
    """What a fault says of itself; timeouts say nothing."""
    return str(exc) or type(exc).__name__


class FaultDriver:
    """Faults over a target. `people` grows while the run goes on; `windows` and `cuts` say what happened."""

    def __init__(
        self,
        target: Target,
        *,
        clock: Clock,
        directory: Directory | None,
        processes: Processes | None,
        fence: Fence | None,
    ) -> None:
        self._target = target
        self._clock = clock
        self._directory = directory
        self._processes = processes
        self._fence = fence
        self._chance = random.Random()  # noqa: S311 - whose epoch changes is no secret
        self.people: list[SignedUp] = []
        self.windows: list[Window] = []
        self.cuts: list[Cut] = []
        self.failed: list[str] = []

    async def play(self, faults: tuple[Fault, ...], started: float) -> None:
        """Returns when the last one is undone."""
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                group.create_task(self._one(fault, started), name=f"fault {fault.kind} {fault.target}")

    async def _one(self, fault: Fault, started: float) -> None:
        await asyncio.sleep(max(0.0, started + fault.at_s - self._clock.unix_s()))
        number = len(self.windows)
        self.windows.append(
            Window(kind=fault.kind, target=fault.target, began=self._clock.unix_s(), regions=self._regions(fault))
        )
        try:
            async with self._held(fault):
                await self._while_held(fault)
        except (SettingsError, TimeoutError, OSError, httpx.HTTPError) as exc:
            self.failed.append(f"{fault.kind} {fault.target} at {fault.at_s:g} s: {words_of(exc)}")
        finally:
            held = self.windows[number]
            self.windows[number] = Window(
                kind=held.kind, target=held.target, began=held.began, ended=self._clock.unix_s(), regions=held.regions
            )

    def _regions(self, fault: Fault) -> tuple[str, ...]:
        """Whose people it can touch: of a region or its cell; everybody's otherwise."""
        if fault.kind in ("late", "rotate"):
            return (fault.target,)
        kind, _, rest = fault.target.partition("-")
        if kind in ("cell", "orders", "postgres") and rest in self._target.cells:
            return (self._target.cells[rest].region,)
        if kind in ("gateway", "issuer", "valkey") and rest in self._target.regions:
            return (rest,)
        return ()

    @asynccontextmanager
    async def _held(self, fault: Fault) -> AsyncIterator[None]:
        match fault.kind:
            case "stop":
                async with self._needs_processes().stopped(fault.target):
                    yield
            case "kill":
                async with self._needs_processes().killed(fault.target):
                    yield
            case "freeze":
                async with self._needs_processes().frozen(fault.target):
                    yield
            case "slow":
                async with self._needs_processes().slowed(fault.target, share=fault.share, period_s=fault.period_s):
                    yield
            case "drain":
                async with self._drained(fault.target):
                    yield
            case "rules":
                async with self._other_rules(fault.replace):
                    yield
            case "rotate" | "epochs" | "late":
                yield

    async def _while_held(self, fault: Fault) -> None:
        if fault.kind == "epochs":
            await self._change_epochs(fault)
        elif fault.kind == "late":
            await self._late(fault.target)
        elif fault.kind == "rotate":
            await self._rotate(fault.target)
        else:
            await asyncio.sleep(fault.for_s)

    def _needs_processes(self) -> Processes:
        if self._processes is None:
            raise SettingsError("processes are stopped on the embedded stack only; leave this fault out")
        return self._processes

    def _needs_directory(self) -> Directory:
        if self._directory is None:
            raise SettingsError("this fault needs the operator's token (--directory-token)")
        return self._directory

    # --- what changes in the directory ---------------------------------------------------------------------------------------

    async def _change_epochs(self, fault: Fault) -> None:
        ends = self._clock.unix_s() + fault.for_s
        number = 0
        while self._clock.unix_s() < ends:
            if self.people:
                number += 1
                await self._cut(self._chance.choice(self.people), freeze=number % FREEZE_EACH == 0)
            await asyncio.sleep(fault.each_s)

    async def _cut(self, person: SignedUp, *, freeze: bool) -> None:
        """A new epoch, or a freeze and what comes after it. What cannot be done just now is left."""
        directory = self._needs_directory()
        epoch = await directory.change(person.subject, "freeze" if freeze else "epoch")
        try:
            cut = None if epoch is None else await self._stands(person, epoch, frozen=freeze)
            if cut is None:  # it was not made, or nobody saw its fence
                return
            self.cuts.append(cut)
            if freeze:
                await asyncio.sleep(FREEZE_S)
        finally:
            if freeze:
                await self._thaw(person)

    async def _thaw(self, person: SignedUp) -> None:
        directory = self._needs_directory()
        async with asyncio.timeout(UNDO_S_MAX):
            while True:
                held = await directory.placement(person.subject)
                if held is not None and held["state"] != "frozen":
                    return
                await directory.change(person.subject, "unfreeze")
                await asyncio.sleep(0.1)

    async def _stands(self, person: SignedUp, epoch: int, *, frozen: bool) -> Cut | None:
        """Waits until the fence stands at the epoch; None where nobody can look, or it takes too long."""
        if self._fence is None:
            return None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FENCE_S_MAX):
                while True:
                    seen = await self._fence(person)
                    if seen is not None and seen[0] >= epoch:
                        stood, stored = seen
                        now = self._clock.unix_s()
                        return Cut(
                            subject=person.subject, epoch=stood, at=now, stored=stored, frozen=frozen and stood == epoch
                        )
                    await asyncio.sleep(0.02)
        return None

    async def _late(self, region: str) -> None:
        """The region's gateway stands still while epochs of its people change: what was sent to it since comes with old decisions."""
        here = [person for person in self.people if person.region == region]
        async with self._needs_processes().frozen(f"gateway-{region}"):
            await asyncio.sleep(GATHER_S)
            gate = asyncio.Semaphore(CUTS_AT_ONCE)

            async def cut(person: SignedUp) -> None:
                async with gate:
                    await self._cut(person, freeze=False)

            await asyncio.gather(*(cut(one) for one in self._chance.sample(here, min(LATE_SUBJECTS, len(here)))))
            await asyncio.sleep(HELD_S)

    async def _rotate(self, region: str) -> None:
        async with http.client(total_s=5.0) as client:
            response = await client.post(f"{self._target.regions[region].issuer}/rotate")
            response.raise_for_status()

    @asynccontextmanager
    async def _drained(self, cell: str) -> AsyncIterator[None]:
        directory = self._needs_directory()
        if not await directory.drain(cell, drain=True):
            raise SettingsError(f"the registry would not drain {cell}")
        try:
            yield
        finally:
            await self._until_done(lambda: directory.drain(cell, drain=False))

    @asynccontextmanager
    async def _other_rules(self, replace: tuple[tuple[str, str], ...]) -> AsyncIterator[None]:
        directory = self._needs_directory()
        held = await directory.rules()
        if held is None:
            raise SettingsError("the rules cannot be read just now")
        policy = text = str(held["policy"])
        for old, new in replace:
            if old not in text:
                raise SettingsError(f"{old!r} is not in the policy that holds")
            text = text.replace(old, new)
        if not await directory.publish(text):
            raise SettingsError("the directory refuses the changed policy")
        try:
            yield
        finally:
            await self._until_done(lambda: directory.publish(policy))

    async def _until_done(self, undo: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(UNDO_S_MAX):
            while True:
                if await undo():
                    return
                await asyncio.sleep(0.2)

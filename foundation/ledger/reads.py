"""Who reads a log over HTTP stands in it: that somebody began, before they have an answer; what they read, a while later, as one entry.

Of many reads the entry has a Merkle root (RFC 6962) beside them, over their canonical JSON, each with a salt of its own: one of them can be
shown to stand there while the others are kept back.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from foundation import logs
from foundation.clock import Clock
from foundation.ledger.canonical import canonical
from foundation.ledger.merkle import Frontier, leaf_hash
from foundation.ledger.port import Event, Kind, RecordEvents
from foundation.problems import Code, ProblemError, refuse
from foundation.tasks import Backoff

log = logs.get(__name__)

EVENT_PREFIX = "ledger_read:"
"""What ids of these events begin with."""
WINDOW_S = 30.0
"""How long reads of one reader gather. Whoever read nothing for so long begins anew."""
READS_MAX = 1_000
"""In one entry."""
READERS_MAX = 256
"""At once. Another one is refused until a window has ended."""
LAST_S_MAX = 2.0
"""For what has gathered when a process ends."""
_LOOK_S = 1.0


class Window:
    """What one reader has read since `opened_s` and no entry has yet."""

    def __init__(self, opened_s: float) -> None:
        self.opened_s = opened_s
        self.reads: list[dict[str, Any]] = []


def summed(reads: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The details of the entry: the reads, and the root over them in their order."""
    tree = Frontier()
    for read in reads:
        tree.append(leaf_hash(canonical(read)))
    return {"count": len(reads), "root": tree.root().hex(), "reads": list(reads)}


class Reads:
    """One log's readers. `run` is a worker of the process."""

    def __init__(self, record: RecordEvents, clock: Clock, *, chance: Callable[[], str]) -> None:
        """`chance`: a new id that nobody guesses."""
        self._record = record
        self._clock = clock
        self._chance = chance
        self._windows: dict[str, Window] = {}
        self._turn = asyncio.Lock()

    async def note(self, actor: str, file: str) -> None:
        """To be awaited before the file is given out. Raises ProblemError: then it may not be."""
        async with self._turn:
            window = self._windows.get(actor)
            if window is None:
                window = await self._begun(actor, file)
            if len(window.reads) >= READS_MAX:
                await self._told(actor, window)
            window.reads.append({"at_us": round(self._clock.unix_s() * 1e6), "file": file, "salt": self._chance()})

    async def once(self, actor: str, details: dict[str, Any]) -> None:
        """An entry for one reading that somebody states themselves, at once. Raises ProblemError."""
        await self._record([self._event(actor, details)])

    async def run(self) -> None:
        """For ever: gives on what has gathered long enough, and when it is cancelled what there is, as far as that can be had quickly."""
        backoff = Backoff(first_s=1.0, max_s=10.0)
        try:
            while True:
                await asyncio.sleep(_LOOK_S)
                try:
                    await self.give_on(self._clock.monotonic_s() - WINDOW_S)
                    backoff.reset()
                except ProblemError as exc:
                    log.warning("ledger_reads_held_up", code=exc.problem.code.value)
                    await asyncio.sleep(backoff.next_s())
        finally:
            with suppress(ProblemError, TimeoutError):
                async with asyncio.timeout(LAST_S_MAX):
                    await self.give_on(self._clock.monotonic_s())

    async def give_on(self, opened_until_s: float) -> None:
        """Entries for windows opened until then. Raises ProblemError; nothing is forgotten then."""
        async with self._turn:
            for actor, window in [*self._windows.items()]:
                if window.opened_s > opened_until_s:
                    continue
                if window.reads:
                    await self._told(actor, window)
                    window.opened_s = self._clock.monotonic_s()
                else:
                    del self._windows[actor]

    async def _begun(self, actor: str, file: str) -> Window:
        if len(self._windows) >= READERS_MAX:
            raise refuse(Code.NOT_READY, "too many read this log at once", retry_after_s=5)
        await self._record([self._event(actor, {"begun": True, "file": file})])
        opened = self._windows[actor] = Window(self._clock.monotonic_s())
        return opened

    async def _told(self, actor: str, window: Window) -> None:
        await self._record([self._event(actor, summed(window.reads))])
        window.reads.clear()

    def _event(self, actor: str, details: dict[str, Any]) -> Event:
        return Event(
            id=f"{EVENT_PREFIX}{self._chance()}",
            at=self._clock.unix_s(),
            kind=Kind.LEDGER_READ,
            actor=actor,
            details=details,
        )

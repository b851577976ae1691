"""Tasks with an owner: background workers and the server run as children of one group, and the first to die ends the process."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from foundation import logs

log = logs.get(__name__)

Worker = Callable[[], Coroutine[Any, Any, None]]


ASKED_AGAIN_S = 2.0
"""A worker that was cancelled and goes on is cancelled again: `asyncio.wait_for` of Python 3.11, by which asyncpg bounds the wait for a
connection, swallows a cancellation that arrives as the wait ends (cpython issue 86296)."""


class WorkerDied(Exception):
    """A background worker returned or raised; the process must end, since what it kept true is true no longer."""


async def run_together(workers: dict[str, Worker], until: Callable[[], Awaitable[None]]) -> None:
    """Runs named workers until `until` returns, then cancels them.

    If a worker ends first, cancels `until` and raises an exception group that holds its WorkerDied (from the cause).
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_watched(name, worker), name=name) for name, worker in workers.items()]
        await until()
        await ended(tasks)


async def ended(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels tasks until they are over."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=ASKED_AGAIN_S)


async def first_of(*waits: Coroutine[Any, Any, Any]) -> None:
    """Until one of them is over; the others are cancelled."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(wait) for wait in waits]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()


async def _watched(name: str, worker: Worker) -> None:
    try:
        await worker()
    except asyncio.CancelledError:
        raise
    except Exception as exc:
        log.fault("worker_died", exc, worker=name)
        raise WorkerDied(name) from exc
    log.error("worker_died", worker=name, reason="returned")
    raise WorkerDied(name)


Chance = Callable[[], float]
"""Draws evenly from [0, 1)."""


class Backoff:
    """Bounded exponential waits with equal jitter: a bound that doubles from `first_s` to `max_s`, and a wait between its half and it.

    So that those who lost the same neighbour at the same moment do not all come back at the same moment. `chance` is drawn from once a
    wait; `reset()` starts over.
    """

    def __init__(self, *, first_s: float = 0.05, max_s: float = 2.0, chance: Chance = random.random) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._next_s = first_s
        self._chance = chance

    def next_s(self) -> float:
        bound, self._next_s = self._next_s, min(self._next_s * 2, self._max_s)
        return bound * (1 + self._chance()) / 2

    def reset(self) -> None:
        self._next_s = self._first_s


class Bell:
    """Wakes everybody who waits when it rings. Who looks at a level and waits, without an await between, misses nothing."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()
        self._rung = asyncio.Event()

    async def heard(self) -> None:
        await self._rung.wait()


class SingleFlight:
    """Many callers of one key share one running call. The call outlives a cancelled caller and is owned by this object."""

    def __init__(self) -> None:
        self._running: dict[Any, asyncio.Task[Any]] = {}

    async def run(self, key: Any, call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        return await asyncio.shield(self.start(key, call))

    def start(self, key: Any, call: Callable[[], Coroutine[Any, Any, Any]]) -> asyncio.Task[Any]:
        """The running call of `key`, begun now if there is none; for a caller who does not wait for it."""
        task = self._running.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(call(), name=f"single-flight {type(key).__name__}")
            self._running[key] = task
            task.add_done_callback(lambda _: self._running.pop(key, None))
        return task

    def busy(self, key: Any) -> bool:
        return key in self._running

    async def aclose(self) -> None:
        """Cancels what still runs."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

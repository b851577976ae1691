"""Many callers, few questions: callers of one id share an answer, different ids asked for at the same time share a request."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

Id = TypeVar("Id")
Answer = TypeVar("Answer")


class TooManyWaiting(Exception):
    """The queue is full; whoever asks is refused instead of waiting."""


class Batcher(Generic[Id, Answer]):
    """Calls `answer` with up to `batch_max` ids, at most `batches_max` calls at a time; ids gather while those run.

    `answer` yields parts, and each part reaches its callers at once: who is known nearby does not wait for who is not. An id that is
    waiting or under way is not asked for again. Calls outlive cancelled callers and are owned by this object.

    Two calls at a time keep a neighbour busy while an answer is read; more only wait for each other there, until all of them are late.
    """

    def __init__(
        self,
        answer: Callable[[list[Id]], AsyncIterator[dict[Id, Answer]]],
        *,
        batch_max: int = 1000,
        batches_max: int = 2,
        waiting_max: int = 20_000,
    ) -> None:
        self._answer = answer
        self._batch_max = batch_max
        self._batches_max = batches_max
        self._waiting_max = waiting_max
        self._futures: dict[Id, asyncio.Future[Answer]] = {}
        self._waiting: list[Id] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._scheduled = False

    async def ask(self, id_: Id) -> Answer:
        """The answer for one id; an exception of `answer` reaches everyone who waits. Raises TooManyWaiting."""
        future = self._futures.get(id_)
        if future is None:
            if len(self._waiting) >= self._waiting_max:
                raise TooManyWaiting
            loop = asyncio.get_running_loop()
            future = self._futures[id_] = loop.create_future()
            self._waiting.append(id_)
            if not self._scheduled:
                # At the end of this turn of the loop, so that everyone who is ready now joins.
                self._scheduled = True
                loop.call_soon(self._start)
        return await asyncio.shield(future)

    def _start(self) -> None:
        self._scheduled = False
        while self._waiting and len(self._tasks) < self._batches_max:
            batch, self._waiting = self._waiting[: self._batch_max], self._waiting[self._batch_max :]
            task = asyncio.get_running_loop().create_task(self._run(batch), name="directory batch")
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            self._start()

    async def _run(self, batch: list[Id]) -> None:
        try:
            async for part in self._answer(batch):
                for id_, answer in part.items():
                    self._futures.pop(id_).set_result(answer)
            if left := [id_ for id_ in batch if id_ in self._futures]:
                raise RuntimeError(f"{len(left)} of {len(batch)} ids got no answer")
        except asyncio.CancelledError:
            self._end(batch, None)
            raise
        except Exception as exc:  # noqa: BLE001 - handed to those who wait
            self._end(batch, exc)

    def _end(self, batch: list[Id], exc: Exception | None) -> None:
        """Fails those of a batch that have no answer yet; None cancels them."""
        for id_ in batch:
            future = self._futures.pop(id_, None)
            if future is None:
                continue
            if exc is None:
                future.cancel()
            else:
                future.set_exception(exc)
                future.exception()  # a waiter may have gone

    async def aclose(self) -> None:
        """Cancels what runs and what waits."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for id_ in self._waiting:
            self._futures.pop(id_).cancel()
        self._waiting.clear()

"""A coroutine taken through its waits by the callbacks of what it waits for, without a task; a task goes on with it where one is needed.

What a task costs for each request (itself, its name and place among all tasks, a turn of the loop before its first step and one after its
last) is more than the rest of a short way through the loop. Eager tasks (Python 3.12) would give a part of it.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Stepped(ABC, Generic[T]):
    """Until a wait fails the coroutine has no current task: it may wait for futures, and not use `asyncio.timeout` and the like."""

    __slots__ = ("_loop", "_stepped")

    def step(self, loop: asyncio.AbstractEventLoop, stepped: Coroutine[Any, Any, T]) -> None:
        """The first one, at once. What comes of the coroutine is told in a later turn of the loop."""
        self._loop = loop
        self._stepped = stepped
        try:
            waited = stepped.send(None)
        except StopIteration as end:
            loop.call_soon(self.came, end.value)
        except BaseException as exc:  # noqa: BLE001 - raised in the task that goes on
            loop.call_soon(self.goes_on, _raising(exc))
        else:
            self._await(waited)

    @abstractmethod
    def came(self, result: T) -> None:
        """The coroutine has ended with this."""

    @abstractmethod
    def goes_on(self, rest: Coroutine[Any, Any, T]) -> None:
        """What it waited for has failed, or it has: await the rest in a task, which raises that."""

    def _await(self, waited: Any) -> None:
        if waited is None:  # a turn of the loop (`asyncio.sleep(0)`)
            self._loop.call_soon(self._resume, None)
            return
        waited._asyncio_future_blocking = False  # noqa: SLF001 - as a task says that it took what was yielded to it
        waited.add_done_callback(self._resume)

    def _resume(self, waited: "asyncio.Future[Any] | None") -> None:
        if waited is not None and (waited.cancelled() or waited.exception() is not None):
            self.goes_on(_rest(self._stepped))
            return
        try:
            following = self._stepped.send(None)
        except StopIteration as end:
            self.came(end.value)
        except BaseException as exc:  # noqa: BLE001 - raised in the task that goes on
            self.goes_on(_raising(exc))
        else:
            self._await(following)


async def _rest(stepped: Coroutine[Any, Any, T]) -> T:
    return await _resumed(stepped)


@coroutine
def _resumed(stepped: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """`await` refuses a coroutine that has begun."""
    result: T = yield from stepped
    return result


async def _raising(exc: BaseException) -> Any:
    raise exc

"""A coroutine stepped by hand comes to the same end as in a task, and what needs a task finds itself in one."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from foundation.stepped import Stepped

pytestmark = pytest.mark.anyio


class Walk(Stepped[str]):
    """Keeps what became of its coroutine; a task goes on with it."""

    def __init__(self) -> None:
        self.came_at_once = False
        self.end: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def came(self, result: str) -> None:
        self.came_at_once = True
        self.end.set_result(result)

    def goes_on(self, rest: Coroutine[Any, Any, str]) -> None:
        self.task = asyncio.get_running_loop().create_task(rest)
        self.task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[str]") -> None:
        if task.cancelled():
            self.end.cancel()
        elif (exc := task.exception()) is not None:
            self.end.set_exception(exc)
        else:
            self.end.set_result(task.result())


def begun(coroutine: Coroutine[Any, Any, str]) -> Walk:
    walk = Walk()
    walk.step(asyncio.get_running_loop(), coroutine)
    return walk


class Waits:
    """Two things to wait for, and a place that is left whatever becomes of them."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.first: asyncio.Future[str] = loop.create_future()
        self.second: asyncio.Future[str] = loop.create_future()
        self.at_second: asyncio.Future[None] = loop.create_future()
        self.left = 0

    async def both(self) -> str:
        try:
            first = await self.first
            await asyncio.sleep(0)
            self.at_second.set_result(None)
            try:
                return first + await self.second
            except ConnectionError:
                async with asyncio.timeout(30):  # needs a task
                    await asyncio.sleep(0)
                return first + " mended"
        finally:
            self.left += 1


async def test_results_are_waited_for_without_a_task() -> None:
    waits = Waits()
    walk = begun(waits.both())
    waits.first.set_result("a")
    await waits.at_second
    assert waits.left == 0
    waits.second.set_result("b")
    assert await walk.end == "ab"
    assert walk.came_at_once
    assert waits.left == 1


async def test_the_first_step_is_taken_at_once_and_its_end_told_later() -> None:
    taken = []

    async def short() -> str:
        taken.append(1)
        return "soon"

    walk = begun(short())
    assert taken
    assert not walk.end.done()
    assert await walk.end == "soon"


async def test_a_failure_is_met_in_a_task_inside_the_coroutine() -> None:
    waits = Waits()
    walk = begun(waits.both())
    waits.first.set_result("a")
    await waits.at_second
    waits.second.set_exception(ConnectionError())
    assert await walk.end == "a mended"
    assert not walk.came_at_once
    assert waits.left == 1


async def test_what_the_coroutine_raises_is_raised_in_the_task() -> None:
    waits = Waits()
    walk = begun(waits.both())
    waits.first.set_exception(KeyError("gone"))
    with pytest.raises(KeyError):
        await walk.end
    assert waits.left == 1


async def test_a_cancelled_wait_cancels_the_task() -> None:
    waits = Waits()
    walk = begun(waits.both())
    waits.first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await walk.end
    assert waits.left == 1


@pytest.mark.parametrize("after", ["the first step", "a wait"])
async def test_a_fault_between_waits_is_raised_in_the_task(after: str) -> None:
    waited: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def breaks() -> str:
        if after == "a wait":
            await waited
        raise LookupError(after)

    walk = begun(breaks())
    waited.set_result(None)
    with pytest.raises(LookupError):
        await walk.end

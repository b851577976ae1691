"""Tasks end together, and many askers share one call."""

import asyncio

import pytest

from foundation import tasks
from foundation.tasks import Bell, SingleFlight, WorkerDied, run_together
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio


async def forever() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("how", ["raises", "returns"])
async def test_a_dead_worker_ends_the_group_and_what_it_serves(how: str) -> None:
    ended: list[str] = []

    async def dies() -> None:
        await asyncio.sleep(0)
        if how == "raises":
            raise ValueError("anna@example.de")

    async def server() -> None:
        try:
            await forever()
        finally:
            ended.append("server")

    async def other() -> None:
        try:
            await forever()
        finally:
            ended.append("other")

    with pytest.raises(BaseExceptionGroup) as caught:
        await asyncio.wait_for(run_together({"dies": dies, "other": other}, server), 5)
    died = caught.value.exceptions[0]
    assert isinstance(died, WorkerDied)
    assert str(died) == "dies"
    assert sorted(ended) == ["other", "server"]


async def test_workers_end_when_what_they_serve_is_done() -> None:
    ended: list[str] = []

    async def worker() -> None:
        try:
            await forever()
        finally:
            ended.append("worker")

    async def until() -> None:
        await asyncio.sleep(0)

    await asyncio.wait_for(run_together({"worker": worker}, until), 5)
    assert ended == ["worker"]


async def test_a_worker_whose_wait_swallowed_that_it_was_cancelled_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasks, "ASKED_AGAIN_S", 0.01)
    swallowed = 0

    async def worker() -> None:
        nonlocal swallowed
        while True:
            try:
                await forever()
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 3:
                    raise

    async def until() -> None:
        await asyncio.sleep(0)

    await asyncio.wait_for(run_together({"worker": worker}, until), 30)
    assert swallowed == 3


async def test_many_askers_share_one_call() -> None:
    flight, gate, calls = SingleFlight(), asyncio.Event(), 0

    async def call() -> str:
        nonlocal calls
        calls += 1
        await gate.wait()
        return "answer"

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(flight.run("key", call)) for _ in range(1000)]
        await eventually(lambda: calls == 1)
        gate.set()
    assert {task.result() for task in tasks} == {"answer"}
    assert calls == 1
    assert not flight.busy("key")


async def test_keys_do_not_wait_for_one_another() -> None:
    flight, gate = SingleFlight(), asyncio.Event()

    async def waits() -> None:
        await gate.wait()

    async def answers() -> str:
        return "b"

    first = flight.start("a", waits)
    assert await asyncio.wait_for(flight.run("b", answers), 5) == "b"
    gate.set()
    await first


async def test_a_cancelled_asker_takes_nothing_from_the_others() -> None:
    flight, gate = SingleFlight(), asyncio.Event()

    async def call() -> str:
        await gate.wait()
        return "answer"

    loop = asyncio.get_running_loop()
    leaves = loop.create_task(flight.run("key", call))
    stays = loop.create_task(flight.run("key", call))
    await eventually(lambda: flight.busy("key"))
    leaves.cancel()
    await eventually(leaves.done)
    gate.set()
    assert await asyncio.wait_for(stays, 5) == "answer"


async def test_a_failure_is_everybodys_and_the_next_asker_tries_again() -> None:
    flight, tries = SingleFlight(), 0

    async def call() -> int:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise OSError("dark")
        return tries

    results = await asyncio.gather(*(flight.run("key", call) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [OSError] * 3
    assert await flight.run("key", call) == 2


async def test_closing_ends_calls_under_way() -> None:
    flight = SingleFlight()
    call = flight.start("key", forever)
    await asyncio.wait_for(flight.aclose(), 5)
    assert call.cancelled()


async def test_a_bell_wakes_all_who_wait_when_it_rings_and_nobody_who_comes_later() -> None:
    bell, woken = Bell(), list[str]()

    async def wait(name: str) -> None:
        await bell.heard()
        woken.append(name)

    bell.ring()
    async with asyncio.TaskGroup() as group:
        for name in ("one", "two"):
            group.create_task(wait(name))
        await asyncio.sleep(0)
        assert woken == []
        bell.ring()
        late = group.create_task(wait("late"))
        await eventually(lambda: sorted(woken) == ["one", "two"])
        assert not late.done()
        bell.ring()
    assert woken[-1] == "late"

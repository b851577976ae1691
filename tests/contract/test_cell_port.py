"""What a guard needs of its cell service, kept by the fake one and the real one (directory, cell service and Postgres) alike."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Protocol

import pytest

from cells.guard.client import CellService
from deploy.local.postgres import PostgresServer
from directory.placement.core import State
from foundation.clock import SystemClock
from foundation.decision_header import ServiceVerifier
from foundation.words import ServiceId, SubjectId, mint_subject_id
from tests.stands.cell import stand
from tests.stands.fake_cell import CELL, FakeCell, service_keys
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio


class World(Protocol):
    """A cell service, and somebody who changes homes in it."""

    port: Any

    async def place(self) -> tuple[SubjectId, int]: ...

    async def renew(self, subject: SubjectId, epoch: int) -> int: ...

    async def freeze(self, subject: SubjectId, epoch: int) -> int: ...


class Fake:
    def __init__(self) -> None:
        self.port = FakeCell()
        self._epochs = iter(range(7, 1000))

    async def place(self) -> tuple[SubjectId, int]:
        return await self._put(mint_subject_id(), State.ACTIVE)

    async def renew(self, subject: SubjectId, epoch: int) -> int:
        return (await self._put(subject, State.ACTIVE))[1]

    async def freeze(self, subject: SubjectId, epoch: int) -> int:
        return (await self._put(subject, State.FROZEN))[1]

    async def _put(self, subject: SubjectId, state: State) -> tuple[SubjectId, int]:
        epoch = next(self._epochs)
        self.port.put(subject, epoch, state)
        return subject, epoch


class Real:
    def __init__(self, built: Any) -> None:
        self._stand = built
        built.http.headers.update(built.service())
        verifier = ServiceVerifier(CELL, ServiceId("orders"), service_keys())
        self.port = CellService(built.http, verifier, SystemClock())

    async def place(self) -> tuple[SubjectId, int]:
        subject, epoch = await self._stand.place()
        return subject, epoch

    async def renew(self, subject: SubjectId, epoch: int) -> int:
        return await self._change("epoch", subject, epoch, "active")

    async def freeze(self, subject: SubjectId, epoch: int) -> int:
        return await self._change("freeze", subject, epoch, "frozen")

    async def _change(self, what: str, subject: SubjectId, epoch: int, state: str) -> int:
        path = f"/v1/subjects/{subject}/{what}"
        answer = await self._stand.directory.operator.post(path, {"epoch": epoch, "reason": "test"})
        renewed: int = answer.json()["placement"]["epoch"]
        await eventually(lambda: self._stand.stands(subject, renewed, state))
        return renewed


@pytest.fixture(scope="module")
async def real_cell(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One real cell for the whole module; tests bring subjects of their own."""
    with pytest.MonkeyPatch.context() as patch:
        async with stand(postgres_server, tmp_path_factory.mktemp("cell"), patch) as built, built.running():
            yield Real(built)


@pytest.fixture(scope="module")
def fake_cell() -> World:
    return Fake()


@pytest.fixture(params=["fake", "real"])
def world(request: pytest.FixtureRequest, fake_cell: World, real_cell: World) -> World:
    return fake_cell if request.param == "fake" else real_cell


async def heard(world: World, after: int) -> tuple[dict[SubjectId, tuple[int, State]], int]:
    """What the changes after a number come to, and the number to go on from."""
    page = await world.port.changes(after, 0)
    assert not page.reset
    return {change.subject_id: (change.epoch, change.state) for change in page.changes}, page.next


async def now(world: World) -> int:
    """The number that stands before whatever happens next: a guard begins with a number that the cell does not know."""
    page = await world.port.changes(0, 0)
    assert page.reset
    return int(page.next)


async def test_a_homes_epoch_and_state_are_told(world: World) -> None:
    subject, epoch = await world.place()
    known = await world.port.epoch(subject)
    assert (known.epoch, known.state) == (epoch, State.ACTIVE)


async def test_a_subject_without_a_home_here_is_told_so(world: World) -> None:
    assert await world.port.epoch(mint_subject_id()) is None


async def test_changes_after_a_number_hold_each_change_as_it_stands(world: World) -> None:
    subject, epoch = await world.place()
    after = await now(world)
    frozen = await world.freeze(subject, epoch)
    changes, following = await heard(world, after)
    assert changes[subject] == (frozen, State.FROZEN)
    assert (await heard(world, following)) == ({}, following)


async def test_an_answer_about_a_subject_counts_up_to_its_change_number(world: World) -> None:
    subject, epoch = await world.place()
    after = await now(world)
    renewed = await world.renew(subject, epoch)
    known = await world.port.epoch(subject)
    _, following = await heard(world, after)
    assert (known.epoch, known.change) == (renewed, following)


async def test_a_number_that_the_cell_does_not_know_is_reset(world: World) -> None:
    page = await world.port.changes(await now(world) + 1_000_000_000, 0)
    assert (page.reset, page.changes) == (True, ())


async def test_a_waiting_guard_is_woken_by_a_change(world: World) -> None:
    subject, epoch = await world.place()
    after = await now(world)
    async with asyncio.TaskGroup() as group:
        polling = group.create_task(world.port.changes(after, 2000))
        renewing = group.create_task(world.renew(subject, epoch))
    assert [(one.subject_id, one.epoch) for one in polling.result().changes] == [(subject, renewing.result())]


async def test_a_lease_comes_with_every_answer_about_changes(world: World) -> None:
    assert (await world.port.changes(await now(world), 0)).lease_ms > 0

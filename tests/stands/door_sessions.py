"""A SQL door that a module of tests shares, for modules to import: its record is cleared before each test."""

from collections.abc import AsyncIterator

import pytest

from cells.breakglass.door.ports import Ending, Outcome, Spent
from deploy.local.postgres import PostgresServer
from tests.stands.door import DoorStand, door_stand
from tests.stands.waiting import eventually


@pytest.fixture(scope="module")
async def stand(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DoorStand]:
    with pytest.MonkeyPatch.context() as patch:
        async with door_stand(
            postgres_server, tmp_path_factory.mktemp("door"), patch, rows_max=40_000, message_bytes_max=65_536
        ) as built:
            yield built


@pytest.fixture(autouse=True)
async def fresh(stand: DoorStand) -> AsyncIterator[None]:
    record = stand.record
    record.statements.clear()
    record.outcomes.clear()
    record.closings.clear()
    yield
    record.refuses, record.before = None, Spent()
    record.goes_on.set()
    record.end(Ending.ENDED)
    await eventually(lambda: not record.ends)


def last(stand: DoorStand) -> Outcome:
    return stand.record.outcomes[-1]


async def none_left(stand: DoorStand) -> bool:
    return await stand.backends() == 0

"""Records stands as fixtures, for modules of tests to import."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local.postgres import PostgresServer
from tests.stands.records import RecordsStand, fill, records_stand


@pytest.fixture
async def live(postgres_server: PostgresServer, tmp_path: Path) -> AsyncIterator[RecordsStand]:
    async with records_stand(postgres_server, tmp_path) as built:
        yield built


@pytest.fixture(scope="module")
async def empty(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RecordsStand]:
    """One stand for tests that leave nothing behind them."""
    async with records_stand(postgres_server, tmp_path_factory.mktemp("empty")) as built:
        yield built


@pytest.fixture
async def filled(live: RecordsStand) -> RecordsStand:
    return await fill(live)

"""What goes wrong under a request that went without a task: it is told as by a task, and nothing is held behind it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cells.records.limits import Limits
from deploy.local.postgres import PostgresServer
from foundation.postgres import Connection, connect
from foundation.words import RECORDS, Verb, mint_subject_id
from tests.stands.records import records_stand
from tests.stands.records_ways import Ways, answer, request_of, two_ways
from tests.stands.shard import database_of, home
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

LOCK = "LOCK TABLE product.notes IN ACCESS EXCLUSIVE MODE"
WAITS = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'product.notes'::regclass)"
TERMINATE = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE NOT granted AND relation = 'product.notes'::regclass"
)


@pytest.fixture(scope="module")
async def ways(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ways]:
    async with two_ways(postgres_server, tmp_path_factory.mktemp("ways")) as built:
        yield built


async def test_the_fence_of_the_rows_counts_not_that_of_memory(ways: Ways) -> None:
    """The row in the shard is raised behind the service's back, as a cut beside it does."""
    subject, stand = mint_subject_id(), ways.stand
    await stand.shard.raise_fence(subject, home(stand.epoch))
    known = stand.context.homes.get(subject)
    async with connect(stand.dsns.owner) as owner:
        await owner.execute("UPDATE domicile.home SET epoch = epoch + 1 WHERE subject_id = $1", subject)
    told = await answer(ways.ports[0], ways.request("/records/notes", subject=subject))
    assert told.startswith(b"HTTP/1.1 409 "), told
    assert b'"stale_epoch"' in told
    assert stand.context.homes.get(subject) != known


async def test_a_connection_that_is_lost_under_a_read_is_told_and_replaced(
    ways: Ways, postgres_server: PostgresServer
) -> None:
    stand, request = ways.stand, ways.request("/records/notes?rank=eq.1")
    told = []
    for port in ways.ports:
        await ways.settle()
        database = postgres_server.dsn(database_of(stand.dsns))
        async with connect(database) as owner, owner.transaction():
            await owner.execute(LOCK)
            async with asyncio.TaskGroup() as group:
                asking = group.create_task(answer(port, request))
                await eventually(lambda owner=owner: _terminated(owner))
            told.append(asking.result())
    assert told[0] == told[1]
    assert told[0].startswith(b"HTTP/1.1 503 ")
    assert b"cannot be reached" in told[0]
    for port in ways.ports:
        assert (await answer(port, request)).startswith(b"HTTP/1.1 200 ")


async def _terminated(owner: Connection) -> bool:
    """Whether somebody waited for a lock, whose session was ended."""
    return bool(await owner.fetchval(TERMINATE))


async def test_a_table_that_is_held_refuses_and_comes_back(ways: Ways) -> None:
    request = ways.request("/records/notes?rank=eq.1")
    async with connect(ways.stand.dsns.owner) as owner, owner.transaction():
        await owner.execute(LOCK)
        told = [await answer(port, request) for port in ways.ports]
        told.append(await answer(ways.ports[0], request))
    for one in told:
        assert one.startswith(b"HTTP/1.1 503 "), one
        assert b"a change of table notes is under way" in one
    await eventually(lambda: _served(ways.ports[0], request))


async def _served(port: int, request: bytes) -> bool:
    return (await answer(port, request)).startswith(b"HTTP/1.1 200 ")


async def test_a_client_that_leaves_holds_nothing(postgres_server: PostgresServer, tmp_path: Path) -> None:
    """One request at a time is let in, and nobody after it that is not over."""
    limits = Limits(requests=1, subject_statements=1)
    async with records_stand(postgres_server, tmp_path, limits=limits) as stand:
        request = request_of("/records/notes", stand.headers(RECORDS, verb=Verb.READ))
        port = stand.http.base_url.port or 0
        async with connect(stand.dsns.owner) as owner, owner.transaction():
            await owner.execute(LOCK)
            _, write = await asyncio.open_connection("127.0.0.1", port)
            write.write(request)
            await eventually(lambda: owner.fetchval(WAITS))
            write.transport.abort()
        await eventually(lambda: _served(port, request))

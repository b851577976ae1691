"""A subject's turns and rates, by both ways: one request takes one turn, whatever it comes to, and limits are looked at before a body."""

import asyncio
from pathlib import Path

import pytest

from cells.records import body
from cells.records.lane import Door
from cells.records.limits import Limiter, Limits
from cells.shards import shard
from deploy.local.postgres import PostgresServer
from foundation.clock import ManualClock, SystemClock
from foundation.postgres import connect
from foundation.wire import door
from tests.stands.records import records_stand
from tests.stands.records_ways import answer, one_way, request_of
from tests.stands.shard import database_of
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

WAITING = """
SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'domicile_records' AND datname = $1
"""


@pytest.mark.parametrize("protocol", [Door, door.Door])
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("INSERT INTO product.notes (subject_id, rank) VALUES ($1, 7)", b'"code":"23505"'),
        ("UPDATE domicile.home SET epoch = epoch + 1 WHERE subject_id = $1", b'"code":"stale_epoch"'),
    ],
)
async def test_who_was_let_in_is_told_why_without_another_turn(
    postgres_server: PostgresServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    protocol: type[asyncio.Protocol],
    change: str,
    code: bytes,
) -> None:
    """The next of its subject's requests waits meanwhile, and would hold the only turn for ever."""
    for bound in ("LOCK_MS_MAX", "STATEMENT_MS_MAX"):
        monkeypatch.setattr(shard, bound, 60_000)
    limiter = Limiter(Limits(subject_statements=1, subject_waiting=1), SystemClock())
    over = asyncio.Event()
    async with (
        records_stand(postgres_server, tmp_path) as stand,
        one_way(stand, limiter, protocol) as (lane, port),
        connect(stand.dsns.owner) as owner,
        connect(postgres_server.dsn()) as admin,
    ):
        headers, sent = stand.headers(), '{"rank": 7}'
        assert (await answer(port, request_of("/records/notes?limit=0", headers))).startswith(b"HTTP/1.1 200 ")
        request = request_of("/records/notes", headers, f"Content-Length: {len(sent)}", method="POST") + sent.encode()

        async def another() -> None:
            async with limiter.statement(stand.subject):
                await over.wait()

        async with asyncio.TaskGroup() as group:
            async with owner.transaction():
                await owner.execute(change, stand.subject)
                asking = group.create_task(answer(port, request))
                await eventually(lambda: admin.fetchval(WAITING, database_of(stand.dsns)))
                group.create_task(another())
                await asyncio.sleep(0)
            told = await asking
            over.set()
        assert told.startswith(b"HTTP/1.1 409 "), told
        assert code in told
        assert lane.departed == (protocol is Door)


async def test_limits_are_looked_at_before_a_body_without_a_task_too(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    understood, read = body.inserted, list[bytes]()

    def watched(raw: bytes, *granted: object, **more: object) -> object:
        read.append(raw)
        return understood(raw, *granted, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(body, "inserted", watched)
    limiter = Limiter(Limits(subject_per_s=1, subject_burst=3), ManualClock())
    async with records_stand(postgres_server, tmp_path) as stand, one_way(stand, limiter) as (lane, port):
        headers, told = stand.headers(), []
        for rank in range(5):
            sent = f'{{"rank": {rank}}}'
            request = request_of("/records/notes", headers, f"Content-Length: {len(sent)}", method="POST")
            told.append((await answer(port, request + sent.encode()))[9:12])
    assert told == [b"201", b"201", b"201", b"429", b"429"]
    assert read == [b'{"rank": 0}', b'{"rank": 1}', b'{"rank": 2}']
    assert lane.departed == 2  # before the first no connection lay free, and nobody had shown the token

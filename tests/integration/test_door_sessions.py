"""The SQL door before a real Postgres: how sessions end."""

import asyncio
import struct
from collections.abc import Awaitable

import asyncpg
import pytest

from cells.breakglass.door import endings, frames
from cells.breakglass.door.ports import Ending, Spent
from cells.breakglass.door.runs import fields
from tests.stands.door import DoorStand, raw, startup_packet
from tests.stands.door_sessions import fresh, last, none_left, stand
from tests.stands.product_loop import anyio_backend
from tests.stands.waiting import eventually

__all__ = ["anyio_backend", "fresh", "stand"]
pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("ending", [Ending.EXPIRED, Ending.LOCKED, Ending.STALE])
async def test_a_session_ends_when_it_has_to_while_a_statement_runs(stand: DoorStand, ending: Ending) -> None:
    async with stand.asyncpg() as connection:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(_error(connection.fetch("SELECT pg_sleep(60)")))
            await eventually(lambda: _sleeps(stand))
            stand.record.end(ending)
        assert endings.TOLD[ending].message in str(running.result())
    await eventually(lambda: list(stand.record.closings.values()) == [ending.value], s_max=1.0)
    await eventually(lambda: none_left(stand), s_max=1.0)
    assert last(stand).error == "57P01"


async def _error(running: Awaitable[object]) -> Exception | None:
    try:
        await running
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as exc:
        return exc
    return None


async def _sleeps(stand: DoorStand) -> bool:
    found = await stand.rows("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
    return bool(found)


async def test_a_session_that_ends_while_a_statement_is_being_recorded_does_not_run_it(stand: DoorStand) -> None:
    async with stand.asyncpg() as connection:
        stand.record.goes_on.clear()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(_error(connection.execute("INSERT INTO notes (body) VALUES ('late')")))
            await eventually(lambda: stand.record.waiting)
            stand.record.end(Ending.ENDED)
            stand.record.goes_on.set()
        assert endings.TOLD[Ending.ENDED].message in str(running.result())
    await eventually(lambda: none_left(stand))
    assert await stand.rows("SELECT id FROM notes WHERE body = 'late'") == []


async def test_a_client_that_goes_away_ends_what_runs(stand: DoorStand) -> None:
    async with stand.asyncpg() as connection, asyncio.TaskGroup() as group:
        group.create_task(_error(connection.fetch("SELECT pg_sleep(60)")))
        await eventually(lambda: _sleeps(stand))
        connection.terminate()
    await eventually(lambda: none_left(stand))
    assert last(stand).error == "08006"


async def test_a_cancel_reaches_what_runs_by_the_doors_own_key_alone(stand: DoorStand) -> None:
    async with raw(stand) as client:
        client.send(startup_packet(user="alice", database="s1"))
        told = dict((await client.until(b"Z"))[::-1])
        pid, key = struct.unpack("!i", told[b"K"][:4])[0], told[b"K"][4:]
        (backend,) = await stand.rows("SELECT pid FROM pg_stat_activity WHERE usename = 'door_test_engineer'")
        assert pid != backend["pid"]
        client.send(frames.message(b"Q", b"SELECT pg_sleep(60)\0"))
        await eventually(lambda: _sleeps(stand))
        await _cancelled(stand, pid, bytes(4))
        await _cancelled(stand, pid + 1, key)
        assert await _sleeps(stand)
        await _cancelled(stand, pid, key)
        errors = [body for kind, body in await client.until(b"Z") if kind == b"E"]
        assert fields(errors[0])["C"] == "57014"


async def _cancelled(stand: DoorStand, pid: int, key: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", stand.door.port)
    writer.write(struct.pack("!iii", 16, 80_877_102, pid) + key)
    assert await reader.read() == b""
    writer.close()


async def test_asyncpgs_own_cancel_is_mapped(stand: DoorStand) -> None:
    async with stand.asyncpg() as connection:
        with pytest.raises(TimeoutError):
            await connection.fetch("SELECT pg_sleep(60)", timeout=0.2)
        assert await connection.fetchval("SELECT 1") == 1
        assert not await _sleeps(stand)


async def test_a_message_beyond_its_bound_ends_the_session(stand: DoorStand) -> None:
    async with stand.asyncpg() as connection:
        with pytest.raises(asyncpg.ConnectionDoesNotExistError, match="at most 65536 bytes"):
            await connection.execute(f"SELECT '{'x' * 70_000}'")
    await eventually(lambda: list(stand.record.closings.values()) == ["malformed"])


async def test_a_client_that_reads_nothing_stops_the_shard_and_then_gets_every_row(stand: DoorStand) -> None:
    async with raw(stand) as client:
        client.send(startup_packet(user="alice", database="s1"))
        await client.until(b"Z")
        client.send(frames.message(b"Q", b"SELECT repeat('x', 1900) FROM generate_series(1, 15000)\0"))
        (shard,) = (one.wire for one in stand.door._cancels.values())
        await eventually(lambda: shard._paused)
        told = await client.until(b"Z")
        assert sum(kind == b"D" for kind, _ in told) == 15_000
        assert last(stand).rows == 15_000


async def test_a_grants_rows_are_bounded_over_its_sessions(stand: DoorStand) -> None:
    await stand.certified()
    rows = "SELECT n FROM generate_series(1, 25000) AS n"
    async with stand.asyncpg() as first:
        assert len(await first.fetch(rows)) == 25_000
        async with stand.asyncpg() as second:
            with pytest.raises(asyncpg.ConnectionDoesNotExistError, match="used up"):
                await second.fetch(rows)
    await eventually(lambda: none_left(stand))
    await stand.certified()


async def test_what_a_grant_had_before_this_process_is_not_had_again(stand: DoorStand) -> None:
    await stand.certified()
    stand.record.before = Spent(rows=39_990)
    rows = "SELECT n FROM generate_series(1, {}) AS n"
    async with stand.asyncpg() as first:
        assert len(await first.fetch(rows.format(10))) == 10
        with pytest.raises(asyncpg.ConnectionDoesNotExistError, match="rows that this grant may show are used up"):
            await first.fetch(rows.format(1))
    await stand.certified()
    stand.record.before = Spent(told=False)
    with pytest.raises(asyncpg.PostgresError, match="is not known") as refused:
        async with stand.asyncpg():
            pass
    assert refused.value.sqlstate == endings.USED_UP
    await eventually(lambda: none_left(stand))
    stand.record.before = Spent()
    await stand.certified()


async def test_a_session_whose_grant_has_no_more_room_on_the_record_ends_and_runs_nothing(stand: DoorStand) -> None:
    async with stand.asyncpg() as connection:
        stand.record.refuses = Ending.SPENT
        with pytest.raises(asyncpg.ConnectionDoesNotExistError, match="put on the record is used up"):
            await connection.execute("INSERT INTO notes (body) VALUES ('beyond')")
    await eventually(lambda: list(stand.record.closings.values()) == [Ending.SPENT.value])
    assert await stand.rows("SELECT id FROM notes WHERE body = 'beyond'") == []


async def test_a_grant_has_so_many_sessions_and_no_more(stand: DoorStand) -> None:
    await stand.certified()
    opened = [stand.asyncpg() for _ in range(8)]
    for one in opened:
        await one.__aenter__()
    with pytest.raises(asyncpg.TooManyConnectionsError):
        async with stand.asyncpg():
            pass
    for one in opened:
        await one.__aexit__(None, None, None)

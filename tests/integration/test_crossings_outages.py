"""Booking when something breaks: what was answered 204 is there, what was not is not taken for booked, a repeat books once."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from cells.crossings.bookings import Bookings
from cells.crossings.core import Crossing
from cells.crossings.store import Booked, Booking
from deploy.local.postgres import PostgresServer
from foundation.clock import SystemClock
from foundation.http import HttpClient
from foundation.mute import Secret
from foundation.postgres import connect
from foundation.problems import ProblemError
from foundation.words import ActorId, SubjectId
from tests.stands.cell import Stand, stand
from tests.stands.crossings import TWO_REGIONS, book, booked_ids, crossing, gateway, operator
from tests.stands.servers import free_port
from tests.stands.shard import CELL, Dsns, database_of, rows
from tests.stands.waiting import eventually
from tests.stands.wire import Wire

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def live(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    with pytest.MonkeyPatch.context() as patch:
        async with (
            stand(postgres_server, tmp_path_factory.mktemp("cell"), patch, policy=TWO_REGIONS) as built,
            built.running(),
        ):
            yield built


ENDED = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'domicile_cell' AND datname = $1
"""
"""Ends the cell's sessions and waits for their end: one that is only told to end may still book."""


async def on_each_shard(live: Stand) -> dict[str, SubjectId]:
    """A subject of each shard."""
    found: dict[str, SubjectId] = {}
    while len(found) < 2:
        subject, _ = await live.place()
        home = live.cell.context.homes.get(subject)
        found[home.shard] = subject
    return found


@asynccontextmanager
async def failing(dsns: Dsns, table: str, sqlstate: str, condition: str = "true") -> AsyncIterator[None]:
    """Inserts into a table of `domicile` that fulfil the condition fail with that state."""
    async with connect(dsns.owner) as owner:
        await owner.execute(
            f"CREATE FUNCTION domicile.fails() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{sqlstate}'; END $$"
        )
        await owner.execute(
            f"CREATE TRIGGER fails BEFORE INSERT ON domicile.{table} FOR EACH ROW WHEN ({condition}) "
            "EXECUTE FUNCTION domicile.fails()"
        )
        try:
            yield
        finally:
            await owner.execute("DROP FUNCTION domicile.fails CASCADE")


@pytest.mark.parametrize("sqlstate", ["53100", "25006", "23514", "XX000"], ids=["full", "read_only", "check", "broken"])
@pytest.mark.parametrize(("table", "condition"), [("crossing", "true"), ("outbox", "NEW.kind = 'crossing'")])
async def test_a_shard_that_refuses_the_row_or_its_event_has_booked_neither(
    live: Stand, table: str, condition: str, sqlstate: str
) -> None:
    subjects = await on_each_shard(live)
    made = {shard: crossing(live, subject) for shard, subject in subjects.items()}
    async with failing(live.dsns["s1"], table, sqlstate, condition):
        answer = await book(live, made["s1"])
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
        assert answer.headers["retry-after"] == "1"
        assert (await book(live, made["s2"])).status_code == 204
        assert await booked_ids(live, subjects["s1"]) == []
    assert (await book(live, made["s1"])).status_code == 204
    assert await booked_ids(live, subjects["s1"]) == [made["s1"]["id"]]
    told = "SELECT id FROM domicile.outbox WHERE kind = 'crossing' AND subject_id = $1::uuid"
    assert len(await rows(live.dsns["s1"], told, subjects["s1"])) == 1


async def test_a_page_whose_reading_cannot_be_recorded_is_not_shown(live: Stand) -> None:
    subject = (await on_each_shard(live))["s2"]
    assert (await book(live, crossing(live, subject))).status_code == 204
    path = f"/cell/subjects/{subject}/crossings"
    async with failing(live.dsns["s1"], "outbox", "53100", "NEW.kind = 'access'"):
        answer = await live.call("GET", path, operator(live))
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
        assert "entries" not in answer.json()
    assert len((await live.call("GET", path, operator(live))).json()["entries"]) == 1


async def test_a_shard_whose_sessions_are_read_only_books_nothing_until_they_are_not(
    live: Stand, postgres_server: PostgresServer
) -> None:
    subjects = await on_each_shard(live)
    made = {shard: crossing(live, subject, at=SystemClock().unix_s() + 1) for shard, subject in subjects.items()}
    database = database_of(live.dsns["s1"])
    only = f"ALTER ROLE domicile_cell IN DATABASE {database}"
    async with connect(postgres_server.dsn()) as admin:
        await admin.execute(f"{only} SET default_transaction_read_only = on")
        await admin.execute(ENDED, database)
        for _ in range(5):
            answer = await book(live, made["s1"])
            assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
        assert (await book(live, made["s2"])).status_code == 204
        assert await booked_ids(live, subjects["s1"]) == []
        await admin.execute(f"{only} RESET default_transaction_read_only")
        await admin.execute(ENDED, database)
    await eventually(lambda: _taken(live, made["s1"]), s_max=25)
    assert await booked_ids(live, subjects["s1"]) == [made["s1"]["id"]]


async def _taken(live: Stand, made: dict[str, Any]) -> bool:
    return (await book(live, made)).status_code == 204


@asynccontextmanager
async def stuck(dsns: Dsns, made: dict[str, Any]) -> AsyncIterator[None]:
    """While inside, the crossing's event waits for another transaction, which comes to nothing."""
    async with connect(dsns.owner) as holder:
        holding = holder.transaction()
        await holding.start()
        await holder.execute(
            "INSERT INTO domicile.outbox (id, at, kind, actor, details) VALUES ($1, now(), 'crossing', 't', '{}')",
            f"crossing:{made['id']}",
        )
        yield
        await holding.rollback()


async def test_a_booking_that_takes_too_long_is_refused_and_a_repeat_books_once(
    live: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cells.crossings.bookings.BOOK_S_MAX", 0.2)
    subject = (await on_each_shard(live))["s1"]
    made = crossing(live, subject)
    async with stuck(live.dsns["s1"], made):
        answer = await book(live, made)
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
        assert await booked_ids(live, subject) == []
    monkeypatch.undo()
    assert (await book(live, made)).status_code == 204
    assert await booked_ids(live, subject) == [made["id"]]


async def test_a_caller_who_leaves_takes_nobody_with_it(live: Stand) -> None:
    subject = (await on_each_shard(live))["s1"]
    shard = live.cell.context.shards[live.cell.context.homes.get(subject).shard]
    made = crossing(live, subject)
    one, other = (
        Booking(msgspec.convert(each, Crossing), ActorId("gateway:eu")) for each in (made, crossing(live, subject))
    )
    async with aclosing(Bookings()) as bookings:
        async with stuck(live.dsns["s1"], made):
            leaving = asyncio.ensure_future(bookings.book(shard, one))  # noqa: TID251 - cancelled below
            staying = asyncio.ensure_future(bookings.book(shard, other))  # noqa: TID251 - awaited below
            async with connect(live.dsns["s1"].owner) as owner:
                await eventually(lambda: owner.fetchval("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted"))
            leaving.cancel()
            await asyncio.wait([leaving])
            assert leaving.cancelled()
            assert not staying.done()
        # The two share a transaction, which goes on now.
        assert await staying is Booked.DURABLE
    assert sorted(await booked_ids(live, subject)) == sorted([one.crossing.id, other.crossing.id])


async def test_more_bookings_than_may_wait_are_refused_at_once(live: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("BATCH_MAX", 1), ("BATCHES_MAX", 1), ("WAITING_MAX", 3), ("BOOK_S_MAX", 30.0)):
        monkeypatch.setattr(f"cells.crossings.bookings.{name}", value)
    subject = (await on_each_shard(live))["s1"]
    shard = live.cell.context.shards[live.cell.context.homes.get(subject).shard]
    made = [crossing(live, subject) for _ in range(8)]
    asked = [Booking(msgspec.convert(one, Crossing), ActorId("gateway:eu")) for one in made]
    async with aclosing(Bookings()) as bookings:
        async with stuck(live.dsns["s1"], made[0]):
            first = asyncio.ensure_future(bookings.book(shard, asked[0]))  # noqa: TID251 - awaited below
            async with connect(live.dsns["s1"].owner) as owner:
                await eventually(lambda: owner.fetchval("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted"))
            rest = [asyncio.ensure_future(bookings.book(shard, one)) for one in asked[1:]]  # noqa: TID251 - awaited below
            refused = await asyncio.gather(*rest[3:], return_exceptions=True)
            assert [type(one) for one in refused] == [ProblemError] * 4
            assert {one.problem.status for one in refused if isinstance(one, ProblemError)} == {503}
        assert await asyncio.gather(first, *rest[:3]) == [Booked.DURABLE] * 4
    assert len(await booked_ids(live, subject)) == 4


async def test_a_shard_out_of_reach_books_nothing_and_books_again_when_it_is_back(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stand(postgres_server, tmp_path, monkeypatch, policy=TWO_REGIONS) as built:
        wire = Wire("127.0.0.1", postgres_server.port)
        await wire.mend()
        for suffix, role in (("OWNER", "owner"), ("CELL", "cell"), ("RECORDS", "records")):
            direct: Secret[str] = getattr(built.dsns["s1"], role)
            relayed = direct.reveal().replace(f":{postgres_server.port}/", f":{wire.port}/")
            monkeypatch.setenv(f"EU_DE_S1_{suffix}", relayed)
        async with built.running():
            subjects = await on_each_shard(built)
            made = crossing(built, subjects["s1"], at=SystemClock().unix_s() + 1)
            await wire.cut()
            assert (await book(built, made)).status_code == 503
            assert (await book(built, crossing(built, subjects["s2"]))).status_code == 204
            # Its own events are kept on the first shard, so nobody reads either.
            page = await built.call("GET", f"/cell/subjects/{subjects['s2']}/crossings", operator(built))
            assert page.status_code == 503
            await wire.mend()
            await eventually(lambda: _taken(built, made))
            assert await booked_ids(built, subjects["s1"]) == [made["id"]]
        await wire.cut()


async def test_a_cell_service_killed_while_it_books_has_booked_all_that_it_answered_for(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway forwards after 204 only: what it forwarded is booked, and repeating the rest to the next process books each once."""
    async with stand(postgres_server, tmp_path, monkeypatch, policy=TWO_REGIONS) as built:
        async with built.running():
            subjects = [(await built.place())[0] for _ in range(4)]
            made = [crossing(built, subjects[n % 4], at=SystemClock().unix_s() + 1.5) for n in range(400)]
        settings, port = settings_file(built, tmp_path)
        headers = gateway(built)
        forwarded: list[str] = []

        async def carry(http: HttpClient, one: dict[str, Any]) -> None:
            try:
                answer = await http.post("/cell/crossings", headers=headers, json={"crossing": one})
            except httpx.HTTPError:
                return
            if answer.status_code == 204:
                forwarded.append(one["id"])

        async with process(settings, port) as (child, http):
            carrying = [asyncio.ensure_future(carry(http, one)) for one in made]  # noqa: TID251 - awaited below
            await eventually(lambda: len(forwarded) >= 20)
            child.kill()
            await asyncio.gather(*carrying)
            await child.wait()
        assert len(forwarded) < len(made), "the process was killed too late to tell"
        booked = [name for subject in subjects for name in await booked_ids(built, subject)]
        assert set(forwarded) <= set(booked)
        async with process(settings, port) as (_, http):
            before = list(forwarded)
            forwarded.clear()
            await asyncio.gather(*(carry(http, one) for one in made))
            assert set(before) <= set(forwarded)
            assert len(forwarded) == len(made)
        booked = [name for subject in subjects for name in await booked_ids(built, subject)]
        assert sorted(booked) == sorted(one["id"] for one in made)
        told = [
            row["id"]
            for dsns in built.dsns.values()
            for row in await rows(dsns, "SELECT id FROM domicile.outbox WHERE kind = 'crossing'")
        ]
        assert sorted(told) == sorted(f"crossing:{one['id']}" for one in made)


def settings_file(built: Stand, folder: Path) -> tuple[Path, int]:
    settings, port = built.settings(), free_port()
    issuer = settings.service_issuers[0]
    path = folder / "cell.toml"
    path.write_text(f"""
cell = "{CELL}"
host = "127.0.0.1"
port = {port}
directory = "{built.directory_url}"
token_file = "{settings.token_file}"
cell_root_keyring = "{settings.cell_root_keyring}"
contracts = "{settings.contracts}"
service_issuers = [{{ issuer = "{issuer.issuer}", audience = "{issuer.audience}", jwks = "{issuer.jwks}" }}]
""")
    return path, port


@asynccontextmanager
async def process(settings: Path, port: int) -> AsyncIterator[tuple[asyncio.subprocess.Process, HttpClient]]:
    """A ready cell service as a process of its own."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cells", "--settings", str(settings),
        stderr=asyncio.subprocess.DEVNULL, env=dict(os.environ),
    )  # fmt: skip
    try:
        async with HttpClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10) as http:
            await eventually(lambda: _ready(http), s_max=25)
            yield child, http
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def _ready(http: HttpClient) -> bool:
    try:
        return (await http.get("/readyz")).status_code == 200
    except httpx.HTTPError:
        return False

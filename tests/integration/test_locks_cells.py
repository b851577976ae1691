"""Locks between two real cells by a real directory: one ends a session at the other's door; and what goes on while nothing is heard."""

import functools
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from cells.breakglass import issuing
from cells.breakglass.statements import watching
from deploy.local.postgres import PostgresServer
from foundation.clock import SystemClock
from foundation.postgres import connect
from tests.stands.cell import NEVER_S
from tests.stands.directory import POLICY
from tests.stands.two_offices import FAR, HERE, TwoOffices, two_offices
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio
soon = functools.partial(eventually, s_max=60)


@pytest.fixture(scope="module")
async def offices(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[TwoOffices]:
    with pytest.MonkeyPatch.context() as patch:
        # What a busy machine may delay: the log's taking in of an approval, and looks at the book.
        patch.setattr(issuing, "STANDING_S_MAX", 60.0)
        patch.setattr(watching, "STALE_S_MAX", NEVER_S)
        async with two_offices(postgres_server, tmp_path_factory.mktemp("offices"), patch, POLICY) as built:
            yield built


def reason(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json().get("reason", "")


async def test_a_lock_in_one_cell_ends_the_session_in_another_and_its_lifting_lets_in_again(
    offices: TwoOffices, capsys: pytest.CaptureFixture[str]
) -> None:
    here, far, clock = offices.here, offices.far, SystemClock()
    subject, _ = await here.place()
    async with far.running():
        files = await here.certificate(await here.approved(subject))
        async with here.session(subject, files) as session:
            assert await session.fetchval("SELECT 1") == 1
            began_s = clock.monotonic_s()
            await far.lock("alice")
            await soon(session.is_closed)
            took_s = clock.monotonic_s() - began_s
        with capsys.disabled():
            print(f" [lock in {FAR} → session in {HERE} ended: {took_s:.2f} s]", end="")
        with pytest.raises(asyncpg.CannotConnectNowError, match="locked in another cell"):
            async with here.session(subject, files):
                pass
        assert reason(await here.asked(subject)) == (403, "locked_elsewhere")
        assert reason(await here.asked(subject, on_call=True)) == (403, "locked_elsewhere")
        seen = await here.locks()
        assert [(one["cell"], one["person"], one["code"]) for one in seen["elsewhere"]] == [
            (FAR, "engineer:alice", "locked")
        ]
        assert (seen["locks"], seen["feed"]["fresh"]) == ([], True)
        assert (await far.locks())["feed"]["told"] is True
        await far.lock("alice", "locks/release")
        await soon(lambda: not list(here.heard.locks()))
        async with here.session(subject, files) as session:
            assert await session.fetchval("SELECT 2") == 2


async def test_a_cell_that_does_not_hear_the_directory_grants_emergencies_alone(offices: TwoOffices) -> None:
    here, far = offices.here, offices.far
    subject, _ = await here.place()
    files = await here.certificate(await here.approved(subject))
    async with far.running(), here.session(subject, files) as session:
        assert await session.fetchval("SELECT 1") == 1
        await here.wire.cut()
        here.heard.stale_s_max = 0.5
        try:
            await far.lock("bob")
            await soon(session.is_closed)
            assert reason(await here.asked(subject)) == (503, "locks_stale")
            with pytest.raises(asyncpg.CannotConnectNowError, match="not heard of for more than 5 s"):
                async with here.session(subject, files):
                    pass
            assert (await here.locks())["feed"]["fresh"] is False
            emergency = await here.asked(subject, on_call=True)
            assert emergency.status_code == 201, emergency.text
            urgent = await here.certificate(emergency.json()["grant"]["id"])
            async with here.session(subject, urgent) as hurried:
                assert await hurried.fetchval("SELECT 1") == 1
                await here.lock("alice")
                await soon(hurried.is_closed)
            await here.lock("alice", "locks/release")
        finally:
            await here.wire.mend()
            here.heard.stale_s_max = NEVER_S
        await soon(lambda: list(here.heard.locks()))
        assert (await here.locks())["elsewhere"][0]["person"] == "engineer:bob"
        assert (await here.asked(subject)).status_code == 201
        await far.lock("bob", "locks/release")
        await soon(lambda: not list(here.heard.locks()))


async def test_a_lock_outlives_the_cell_that_made_it_and_one_made_alone_is_told_later(offices: TwoOffices) -> None:
    here, far = offices.here, offices.far
    async with far.running():
        await far.lock("carol")
        await soon(lambda: len(list(here.heard.locks())) == 1)
        await far.wire.cut()
        try:
            await far.lock("dora")
            assert (await far.locks())["feed"]["told"] is False
        finally:
            await far.wire.mend()
    async with far.running():
        await soon(lambda: len(list(here.heard.locks())) == 2)
        assert {lock.event for _, lock in here.heard.locks()} <= {f"lock:{number}" for number in range(10)}
        for name in ("carol", "dora"):
            await far.lock(name, "locks/release")
        await soon(lambda: not list(here.heard.locks()))
        await soon(lambda: _told(far))


async def test_a_cell_whose_database_was_restored_lifts_nothing_and_is_itself_held_to_what_it_lost(
    offices: TwoOffices,
) -> None:
    here, far = offices.here, offices.far
    async with far.running():
        await far.lock("alice")
        await soon(lambda: len(list(here.heard.locks())) == 1)
    async with connect(far.dsns["s1"].owner) as older:
        await older.execute("DELETE FROM domicile.outbox WHERE kind = 'lock'")
    async with far.running():
        await far.lock("bob")
        await soon(lambda: len(list(here.heard.locks())) == 2)
        await soon(far.heard.kept)
        for one in (here, far):
            refused = await one.http.get("/access/grants", headers=one.who("alice"))
            assert reason(refused) == (403, "locked_elsewhere")
        shown = await far.locks()
        assert ([one["person"] for one in shown["locks"]], shown["feed"]["kept"]) == (["engineer:bob"], 1)
    async with far.running():
        await soon(far.heard.kept)
        await far.lock("alice")
        for name in ("alice", "bob"):
            await far.lock(name, "locks/release")
        await soon(lambda: not list(here.heard.locks()))
        await soon(lambda: not far.heard.kept())
        await soon(lambda: _told(far))


async def _told(cell: Any) -> bool:
    return bool((await cell.locks())["feed"]["told"])

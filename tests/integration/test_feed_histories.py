"""A directory on real Postgres that is restored from an older backup: noticed by whoever saw more, and its numbers never go back."""

from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from deploy.local.postgres import PostgresServer
from directory.feed.marks import NUMBERS_GAP
from foundation.mute import Secret
from foundation.postgres import connect
from tests.stands.backup import back_up, restore
from tests.stands.cell import stand
from tests.stands.directory import Caller, running_directory
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio


async def feed_status(caller: Caller) -> dict[str, Any]:
    answer = await caller.get("/v1/feed/status")
    assert answer.status_code == 200, answer.text
    status: dict[str, Any] = answer.json()
    return status


@pytest.mark.parametrize("grown", [0, 4])
async def test_whoever_shows_the_mark_of_a_lost_event_makes_a_new_history_begin_above_all_numbers(
    database: Secret[str], tmp_path: Path, grown: int
) -> None:
    async with running_directory(database, ServiceIssuer(tmp_path), workers=False) as one:
        resolver, operator = one.callers.resolver, one.callers.operator
        await one.callers.publisher.publish()
        await one.callers.active("ada")
        await back_up(database)
        lost = await one.callers.active("bo")
        seen = await resolver.feed(0)
        await restore(database)
        for number in range(grown):  # past the lost numbers, before anybody asks
            await operator.place(f"later{number}")
        page = await resolver.feed(seen.events[-1].seq, mark=seen.events[-1].mark)
        assert (page.anew, page.events) == (True, ())
        assert page.history != seen.history
        assert page.head >= seen.head + NUMBERS_GAP
        placed = (await operator.place("bo")).json()
        assert placed["placement"]["epoch"] > lost["epoch"]
        onward = await resolver.feed(page.head, mark=page.mark)
        assert [event.seq for event in onward.events] == [placed["as_of"]] == [page.head + 1]
        status = await feed_status(operator)
        assert [one["history"] for one in status["histories"]] == [page.history, seen.history]
        again = await resolver.feed(seen.events[-1].seq, mark=seen.events[-1].mark)
        assert (again.anew, again.history, again.head) == (True, page.history, page.head + 1)  # and no third one


async def test_a_position_before_the_backup_is_no_loss_until_the_new_history_begins(
    database: Secret[str], tmp_path: Path
) -> None:
    async with running_directory(database, ServiceIssuer(tmp_path), workers=False) as one:
        resolver = one.callers.resolver
        await one.callers.publisher.publish()
        await one.callers.active("ada")
        early = await resolver.feed(0)
        await back_up(database)
        await one.callers.active("bo")
        await restore(database)
        last = early.events[-1]
        calm = await resolver.feed(last.seq, mark=last.mark)
        assert (calm.anew, calm.history) == (False, early.history)


@pytest.mark.parametrize("mark", ["A" * 32, "_" * 32])
async def test_a_mark_that_the_directory_never_made_begins_nothing(
    database: Secret[str], tmp_path: Path, mark: str
) -> None:
    async with running_directory(database, ServiceIssuer(tmp_path), workers=False) as one:
        await one.callers.publisher.publish()
        before = await feed_status(one.callers.operator)
        for after in (0, 1, 10**12):
            page = await one.callers.resolver.feed(after, mark=mark)
            assert page.anew
        assert await feed_status(one.callers.operator) == before
        for wrong in ("short", "é" * 32):
            assert (await one.callers.resolver.get("/v1/feed", after=1, mark=wrong)).status_code == 400


async def test_a_mark_is_of_its_own_number_alone(database: Secret[str], tmp_path: Path) -> None:
    async with running_directory(database, ServiceIssuer(tmp_path), workers=False) as one:
        await one.callers.publisher.publish()
        await one.callers.active("ada")
        events = (await one.callers.resolver.feed(0)).events
        shifted = await one.callers.resolver.feed(events[1].seq, mark=events[0].mark)
        assert shifted.anew
        assert len((await feed_status(one.callers.operator))["histories"]) == 1


async def test_a_directory_process_that_outlives_the_restoration_begins_the_new_history_itself(
    database: Secret[str], tmp_path: Path
) -> None:
    async with running_directory(database, ServiceIssuer(tmp_path)) as one:
        await one.callers.publisher.publish()
        await back_up(database)
        await one.callers.active("ada")
        commits = one.directory.services.commits
        head = (await feed_status(one.callers.operator))["head"]
        await eventually(lambda: REGISTRY.get_sample_value("domicile_directory_feed_head") == head)  # it has looked
        await restore(database)
        await eventually(lambda: commits.head > NUMBERS_GAP)
        assert len((await feed_status(one.callers.operator))["histories"]) == 2


async def test_an_operator_begins_a_history_above_what_fences_hold(database: Secret[str], tmp_path: Path) -> None:
    async with running_directory(database, ServiceIssuer(tmp_path), workers=False) as one:
        await one.callers.publisher.publish()
        body = {"reason": "restored by hand", "above_epoch": 7 * 10**9}
        assert (await one.callers.resolver.post("/v1/feed/histories", body)).status_code == 403
        answer = await one.callers.operator.post("/v1/feed/histories", body)
        assert answer.status_code == 201, answer.text
        newest = answer.json()["histories"][0]
        assert (newest["actor"], newest["reason"]) == ("operator:ops", "restored by hand")
        assert (await one.callers.operator.place("ada")).json()["placement"]["epoch"] > 7 * 10**9
        assert (await one.callers.resolver.feed(0)).anew


async def test_a_cell_takes_in_what_a_restored_directory_says_and_its_fences_only_go_up(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stand(postgres_server, tmp_path, monkeypatch) as built, built.running() as cell:
        subject, epoch = await built.place("ada")
        homes = cell.context.homes
        dsn = await _directory_dsn(postgres_server)
        await back_up(dsn)
        lost, lost_epoch = await built.place("bo")
        path = f"/v1/subjects/{subject}/freeze"
        frozen = (await built.directory.operator.post(path, {"epoch": epoch, "reason": "test"})).json()["placement"]
        await eventually(lambda: built.stands(subject, frozen["epoch"], "frozen"))
        await restore(dsn)
        await eventually(lambda: all(one.shard.require().position > NUMBERS_GAP for one in cell.shards.values()))
        await eventually(lambda: cell.ready() is None)
        assert homes.get(subject).epoch == frozen["epoch"]  # the older answer lowers nothing
        renewed = await built.directory.operator.post(
            f"/v1/subjects/{subject}/epoch", {"epoch": epoch, "reason": "test"}
        )
        newer = renewed.json()["placement"]["epoch"]
        assert newer > max(frozen["epoch"], lost_epoch)
        await eventually(lambda: built.stands(subject, newer, "active"))
        assert homes.get(lost).epoch == lost_epoch


async def _directory_dsn(server: PostgresServer) -> Secret[str]:
    """Of the stand that was made last."""
    async with connect(server.dsn()) as admin:
        name = await admin.fetchval(
            "SELECT datname FROM pg_database WHERE datname LIKE 'dir\\_%' ORDER BY oid DESC LIMIT 1"
        )
    return server.dsn(name)


async def test_a_cell_that_slept_past_what_the_feed_keeps_takes_in_the_present_state(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stand(postgres_server, tmp_path, monkeypatch) as built:
        async with built.running():
            subject, epoch = await built.place("ada")
        path = f"/v1/subjects/{subject}/freeze"
        frozen = (await built.directory.operator.post(path, {"epoch": epoch, "reason": "test"})).json()["placement"]
        dsn = await _directory_dsn(postgres_server)
        async with connect(dsn) as connection:
            await connection.execute(
                "UPDATE directory.feed_head SET floor = seq, floor_nonce ="
                " (SELECT nonce FROM directory.feed f WHERE f.seq = feed_head.seq)"
            )
            await connection.execute("DELETE FROM directory.feed")
        async with built.running():
            await eventually(lambda: built.stands(subject, frozen["epoch"], "frozen"))
            placed, _ = await built.place("bo")
            assert placed != subject

"""What one subject may take of the records API: beyond it that subject is told to come again, and everybody else is served."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from cells.records.limits import Limits
from cells.settings import CellSettings
from deploy.local.postgres import PostgresServer
from foundation.postgres import connect
from foundation.settings import SettingsError
from foundation.words import SubjectId, mint_subject_id
from tests.stands.records import RecordsStand, records_stand
from tests.stands.shard import place
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'domicile_records'"


@asynccontextmanager
async def limited(
    server: PostgresServer, folder: Path, limits: Limits
) -> AsyncIterator[tuple[RecordsStand, SubjectId]]:
    """A stand, and another subject beside the stand's own."""
    async with records_stand(server, folder, limits=limits) as built:
        other = mint_subject_id()
        await place(built.shard, other, 1)
        yield built, other


@asynccontextmanager
async def held_up(built: RecordsStand) -> AsyncIterator[None]:
    """The first subject's rows cannot be written meanwhile."""
    await built.stored({"rank": 1, "body": "held"})
    async with connect(built.dsns.owner) as owner, owner.transaction():
        await owner.execute("SELECT 1 FROM product.notes WHERE subject_id = $1 FOR UPDATE", built.subject)
        yield


def refused(answer: httpx.Response) -> tuple[int, str, bool]:
    return answer.status_code, answer.json()["code"], int(answer.headers["retry-after"]) >= 1


async def test_a_subject_that_asks_too_often_is_told_when_to_come_again_and_others_are_served(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    async with limited(postgres_server, tmp_path, Limits(subject_per_s=1, subject_burst=3)) as (built, other):
        answers = [await built.call("GET", "") for _ in range(5)]
        assert [answer.status_code for answer in answers][:3] == [200] * 3
        assert refused(answers[-1]) == (429, "rate_limited", True)
        assert "domicile-refusal" not in answers[-1].headers
        assert (await built.call("GET", "", subject=other, epoch=1)).status_code == 200
        # A body of somebody who is over the limit is not read: it would have been refused for what it is.
        assert refused(await built.call("POST", "", b"{not json")) == (429, "rate_limited", True)


async def test_one_subjects_slow_statements_leave_connections_to_everybody_else(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    limits = Limits(subject_statements=2, subject_waiting=1)
    async with limited(postgres_server, tmp_path, limits) as (built, other):
        async with asyncio.TaskGroup() as group, connect(postgres_server.dsn()) as admin:
            async with held_up(built):
                writes = [group.create_task(built.call("PATCH", "?rank=eq.1", {"body": str(n)})) for n in range(2)]
                await eventually(lambda: _is(admin.fetchval(BLOCKED), 2))
                waiting = group.create_task(built.call("GET", ""))
                await asyncio.sleep(0)
                over = await _until_refused(built)
                assert refused(over) == (429, "rate_limited", True)
                for _ in range(20):
                    assert (await built.call("GET", "", subject=other, epoch=1)).status_code == 200
            assert [(await write).status_code for write in writes] == [204, 204]
            assert (await waiting).status_code in (200, 429)
        assert (await built.call("GET", "")).status_code == 200


async def _is(found: object, expected: int) -> bool:
    return bool(await found == expected)  # type: ignore[misc]


async def _until_refused(built: RecordsStand) -> httpx.Response:
    """The place in the line is taken by the read before, once that has come so far."""
    answers = await asyncio.gather(*(built.call("GET", "") for _ in range(3)))
    return next(answer for answer in answers if answer.status_code == 429)


async def test_a_subject_reads_so_many_large_answers_at_a_time(postgres_server: PostgresServer, tmp_path: Path) -> None:
    async with records_stand(postgres_server, tmp_path, rows_max=5_000, limits=Limits(subject_streams=1)) as built:
        async with connect(built.dsns.owner) as owner:
            await owner.execute(
                "INSERT INTO product.notes (subject_id, rank) SELECT $1, n FROM generate_series(1, 3000) AS n",
                built.subject,
            )
        answers = await asyncio.gather(*(built.call("GET", "?select=rank") for _ in range(4)))
        assert {answer.status_code for answer in answers} == {200, 429}
        assert all(len(answer.json()) == 3_000 for answer in answers if answer.status_code == 200)

        async def has_room() -> bool:
            """Once the last one's rows are given back, which may be after its client has all of it."""
            return (await built.call("GET", "?select=rank")).status_code == 200

        await eventually(has_room, s_max=30)


async def test_a_cell_that_answers_all_it_can_refuses_more_and_recovers(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    async with limited(postgres_server, tmp_path, Limits(requests=2)) as (built, other):
        async with asyncio.TaskGroup() as group, connect(postgres_server.dsn()) as admin, held_up(built):
            for number in range(2):
                group.create_task(built.call("PATCH", "?rank=eq.1", {"body": str(number)}))
            await eventually(lambda: _is(admin.fetchval(BLOCKED), 2))
            full = await built.call("GET", "", subject=other, epoch=1)
            assert refused(full) == (503, "not_ready", True)
            assert full.headers["domicile-refusal"] == "not_ready"
        assert (await built.call("GET", "", subject=other, epoch=1)).status_code == 200


def test_limits_that_cannot_be_meant_are_named() -> None:
    settings = CellSettings(
        cell="eu-de", host="127.0.0.1", port=1, directory="", token_file="", service_issuers=(), cell_root_keyring="", contracts="",
        limits=Limits(subject_streams=0),
    )  # fmt: skip
    with pytest.raises(SettingsError, match=r"limits\.subject_streams is a whole number from 1 on"):
        settings.checked()

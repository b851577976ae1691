"""Records on real Postgres: what the fence refuses, cuts and writers, shards and connections that go away."""

import asyncio
from typing import Any

import pytest

from deploy.local.postgres import PostgresServer
from directory.placement.core import State
from foundation.postgres import connect
from foundation.words import mint_subject_id
from tests.stands.records import RecordsStand
from tests.stands.records_live import empty, filled, live
from tests.stands.shard import database_of, home, place, rows
from tests.stands.waiting import eventually

__all__ = ["live", "empty", "filled"]
pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("epoch", "state", "method", "status", "code"),
    [
        (5, State.ACTIVE, "GET", 200, None),
        (4, State.ACTIVE, "GET", 409, "stale_epoch"),
        (4, State.ACTIVE, "POST", 409, "stale_epoch"),
        (6, State.ACTIVE, "GET", 503, "cell_behind"),
        (5, State.FROZEN, "GET", 200, None),
        (5, State.FROZEN, "POST", 503, "subject_frozen"),
        (5, State.RESERVED, "GET", 503, "cell_behind"),
        (5, State.MOVING_IN, "POST", 503, "subject_moving"),
        (5, State.MOVED, "GET", 404, "subject_gone"),
        (5, State.ERASED, "POST", 404, "subject_gone"),
    ],
)
@pytest.mark.parametrize("memory", ["fresh", "behind the database"])
async def test_the_fence_refuses_with_what_the_gateway_needs(
    empty: RecordsStand, epoch: int, state: State, method: str, status: int, code: str | None, memory: str
) -> None:
    subject = mint_subject_id()
    if memory == "fresh":
        await place(empty.shard, subject, 5, state)
    else:
        # The process believes whatever lets the request pass; the statement itself must refuse.
        empty.context.homes.put(subject, home(epoch))
        insert = "INSERT INTO domicile.home (subject_id, epoch, state) VALUES ($1, 5, $2)"
        await rows(empty.dsns, insert, subject, state.value)
    answer = await empty.call(method, "", {"rank": 1} if method == "POST" else None, subject=subject, epoch=epoch)
    assert answer.status_code == (201 if code is None and method == "POST" else status), answer.text
    assert answer.headers.get("domicile-refusal") == code
    assert answer.headers.get("domicile-epoch") == ("5" if code == "stale_epoch" else None)
    written = await rows(empty.dsns, "DELETE FROM product.notes WHERE subject_id = $1 RETURNING 1", subject)
    assert len(written) == (1 if code is None and method == "POST" else 0)


async def test_an_unknown_subject_is_refused_without_a_guess(live: RecordsStand) -> None:
    answer = await live.call("GET", "", subject=mint_subject_id())
    assert (answer.status_code, answer.headers["domicile-refusal"]) == (503, "cell_behind")


async def test_a_fence_refusal_comes_before_the_body_is_read(live: RecordsStand) -> None:
    headers = live.headers(epoch=4) | {"content-type": "application/json"}
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        raise AssertionError("the body was read")

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/records/notes", "raw_path": b"/records/notes", "query_string": b"",
        "root_path": "", "scheme": "http", "http_version": "1.1", "server": ("cell", 80), "client": ("127.0.0.1", 1),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    await live.app(scope, receive, send)
    assert sent[0]["status"] == 409


async def test_writers_stand_aside_while_the_fence_is_being_raised(live: RecordsStand) -> None:
    await rows(
        live.dsns, "INSERT INTO domicile.closing (subject_id, epoch, state) VALUES ($1, 6, 'active')", live.subject
    )
    answer = await live.call("POST", "", {"rank": 1})
    assert (answer.status_code, answer.headers["domicile-refusal"]) == (503, "cell_behind")
    assert (await live.call("GET")).text == "[]"


async def test_a_shard_that_goes_down_refuses_and_comes_back(live: RecordsStand) -> None:
    up, live.shard.up = live.shard.up, None
    answer = await live.call("GET")
    assert (answer.status_code, answer.headers["domicile-refusal"]) == (503, "not_ready")
    live.shard.up = up
    assert (await live.call("GET")).status_code == 200


async def test_connections_that_are_ended_under_way_are_refusals_and_the_next_requests_are_served(
    live: RecordsStand, postgres_server: PostgresServer
) -> None:
    end = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE usename = 'domicile_records' AND datname = $1"
    )
    codes: set[int] = set()
    ended = 0
    stop = asyncio.Event()

    async def reader() -> None:
        while not stop.is_set():
            codes.add((await live.call("GET")).status_code)

    async with connect(postgres_server.dsn()) as admin, asyncio.TaskGroup() as group:
        for _ in range(12):
            group.create_task(reader())
        for _ in range(5):
            await eventually(lambda: 200 in codes)
            codes.discard(200)
            ended += await admin.fetchval(end, database_of(live.dsns))
        stop.set()
    assert ended > 0
    assert codes <= {200, 503}
    assert (await live.call("GET")).status_code == 200


async def test_many_writers_of_one_subject_do_not_hold_each_other_up(live: RecordsStand) -> None:
    answers = await asyncio.gather(*(live.call("POST", "", {"rank": number}) for number in range(60)))
    assert {answer.status_code for answer in answers} == {201}
    assert len((await live.call("GET")).json()) == 60


async def test_live_views_show_classified_columns_of_subjects_at_home(filled: RecordsStand) -> None:
    view = "SELECT * FROM live.notes"
    assert len(await rows(filled.dsns, view)) == 6
    assert "shadow" not in (await rows(filled.dsns, view))[0]
    await filled.shard.raise_fence(filled.subject, home(6, State.FROZEN))
    assert len(await rows(filled.dsns, view)) == 6
    await filled.shard.raise_fence(filled.subject, home(7, State.MOVED))
    assert [row["body"] for row in await rows(filled.dsns, view)] == ["secret"]


async def test_rows_wait_for_nobody_but_the_cut(live: RecordsStand) -> None:
    """A reader is not held up by a cut that waits for a writer."""
    async with connect(live.dsns.records) as service, asyncio.TaskGroup() as group:
        async with service.transaction():
            await service.execute("SET LOCAL transaction_timeout = '1s'")
            await service.execute("SELECT domicile.fence($1, 5)", live.subject)
            cut = group.create_task(live.shard.raise_fence(live.subject, home(6)))
            await eventually(lambda: _closing(live))
            assert (await live.call("GET")).status_code == 200
        await cut


async def _closing(live: RecordsStand) -> bool:
    return bool(await rows(live.dsns, "SELECT 1 FROM domicile.closing"))

"""Whatever is asked of a table: the way without a task and the way by one leave the same bytes, and count the same."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from cells.records.limits import Limits
from deploy.local.postgres import PostgresServer
from directory.placement.core import State
from foundation.words import RECORDS, Verb, mint_subject_id
from tests.stands.records import records_stand
from tests.stands.records_ways import Ways, answer, two_ways
from tests.stands.shard import home

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def ways(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ways]:
    async with two_ways(postgres_server, tmp_path_factory.mktemp("ways")) as built:
        yield built


@pytest.mark.parametrize(
    "query",
    [
        "", "?", "?rank=eq.2", "?rank=eq.2&select=id,rank", "?order=rank&limit=2", "?order=rank&limit=2&offset=1", "?limit=0",
        "?rank=in.(1,4)&order=rank", "?body=is.null", "?or=(rank.eq.1,rank.gte.4)&order=rank", "?rank=not.gt.2&order=rank.desc",
        "?body=like.*first*", "?body=eq.%C3%A9", "?rank=eq.1&rank=eq.2", "?body=eq.a+b", "?select=a:rank,body&order=rank",
    ],
)  # fmt: skip
async def test_plain_reads_are_answered_at_once_and_alike(ways: Ways, query: str) -> None:
    for _ in range(2):  # the second by the text that is remembered
        told = await ways.alike(ways.request(f"/records/notes{query}"), at_once=True)
        assert told.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["Prefer: count=exact"], 200),
        (["Range: 1-2", "Prefer: count=exact"], 206),
        (["Accept: application/vnd.pgrst.array+json;nulls=stripped"], 200),
        (["Accept: text/html, */*;q=0.1", "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"], 200),
        (["Prefer: handling=lenient, nonsense"], 200),
    ],
)
async def test_reads_with_preferences_are_answered_at_once_and_alike(ways: Ways, lines: list[str], status: int) -> None:
    told = await ways.alike(ways.request("/records/notes?order=rank", *lines), at_once=True)
    assert told.startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize(
    ("target", "lines", "status"),
    [
        ("/records/notes?nothing=eq.1", [], 400),
        ("/records/notes?rank=eq", [], 400),
        ("/records/others", [], 404),
        ("/records/rpc/f", [], 400),
        ("/records/", [], 200),
        ("/records/n%6ftes?limit=1", [], 200),
        ("/records/notes?order=rank", ["Accept: text/csv"], 400),
        ("/records/notes?order=rank", ["Range: 3-1"], 416),
        ("/records/notes", ["Prefer: handling=strict, nonsense"], 400),
        ("/records/notes", ["Authorization: Bearer nobody"], 401),
        ("/nothing", [], 404),
    ],
)  # fmt: skip
async def test_what_is_refused_or_elsewhere_is_the_applications(
    ways: Ways, target: str, lines: list[str], status: int
) -> None:
    told = await ways.alike(ways.request(target, *lines), at_once=False)
    assert told.startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize(
    ("query", "lines", "status"),
    [
        ("?rank=eq.x", [], 400),  # Postgres refuses the value
        ("?body=match.(", [], 400),
        ("?order=rank", ["Accept: application/vnd.pgrst.object+json"], 406),
        ("?offset=99", ["Prefer: count=exact"], 416),
    ],
)
async def test_what_the_rows_say_no_to_is_told_by_a_task(ways: Ways, query: str, lines: list[str], status: int) -> None:
    told = await ways.alike(ways.request(f"/records/notes{query}", *lines), at_once=True)
    assert told.startswith(b"HTTP/1.1 %d " % status)


KEY = "0b4a1f6e-52b1-4c59-9a35-0a2f6a1d3c77"
WHOLE = "Prefer: return=representation"


@pytest.mark.parametrize(
    ("method", "target", "lines", "body", "status"),
    [
        ("HEAD", "?rank=gt.1", ["Prefer: count=exact"], "", 200),
        ("PATCH", "?rank=eq.1", [], '{"body": "again"}', 204),
        ("PATCH", "?rank=eq.1&select=rank,body", [WHOLE], '{"body": "again"}', 200),
        (
            "PATCH",
            "?rank=eq.1&select=rank",
            [WHOLE, "Accept: application/vnd.pgrst.object+json"],
            '{"body": "again"}',
            200,
        ),
        ("PATCH", "?rank=gt.0", ["Prefer: max-affected=1"], '{"body": "all"}', 400),
        (
            "PATCH",
            "?rank=gt.0&select=rank",
            [WHOLE, "Accept: application/vnd.pgrst.object+json"],
            '{"body": "all"}',
            406,
        ),
        ("PATCH", "?rank=eq.1", [], '{"rank": "x"}', 400),
        ("POST", "?select=rank", [WHOLE], '[{"rank": 50}, {"rank": 51}]', 201),
        ("POST", "", [], '{"rank": 42}', 201),
        ("POST", "?on_conflict=id", ["Prefer: resolution=ignore-duplicates"], f'{{"id": "{KEY}", "rank": 43}}', 201),
        ("DELETE", "?rank=gt.39", ["Prefer: count=exact"], "", 204),
        ("DELETE", "?rank=eq.99", [], "", 204),
    ],
)
async def test_writes_are_answered_at_once_and_alike(
    ways: Ways, method: str, target: str, lines: list[str], body: str, status: int
) -> None:
    told, stand = [], ways.stand
    for port in ways.ports:
        subject = mint_subject_id()
        await stand.shard.raise_fence(subject, home(stand.epoch))
        await stand.stored({"rank": 1}, {"rank": 2}, {"rank": 40}, subject=subject)
        await ways.settle()
        before = ways.lane.departed
        request = ways.request(
            f"/records/notes{target}", *lines, method=method, body=body, subject=subject, service="orders"
        )
        told.append(await answer(port, request))
        assert ways.lane.departed - before == (port == ways.ports[0])
    assert told[0] == told[1]
    assert told[0].startswith(b"HTTP/1.1 %d " % status), told[0]


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("POST", "/records/notes", "{", 400),
        ("POST", "/records/notes", '{"nothing": 1}', 400),
        ("PUT", "/records/notes?rank=eq.1", "{}", 405),
        ("DELETE", "/records/notes?limit=1", "", 400),
        ("OPTIONS", "/records/notes", "", 405),
    ],
)
async def test_writes_that_are_refused_are_the_applications(
    ways: Ways, method: str, target: str, body: str, status: int
) -> None:
    told = await ways.alike(ways.request(target, method=method, body=body, service="orders"), at_once=False)
    assert told.startswith(b"HTTP/1.1 %d " % status), told


async def test_a_body_that_comes_in_pieces_is_the_applications(ways: Ways) -> None:
    for rank, port in enumerate(ways.ports, start=60):
        request = ways.request("/records/notes", "Transfer-Encoding: chunked", method="POST", service="orders")
        await ways.settle()
        before = ways.lane.departed
        told = await answer(port, request + b'c\r\n{"rank": %d}\r\n0\r\n\r\n' % rank)
        assert told.startswith(b"HTTP/1.1 201 "), told
        assert ways.lane.departed == before


async def test_a_decision_that_does_not_hold_is_refused_alike(ways: Ways) -> None:
    for told, status in [
        (await ways.alike(ways.request("/records/notes", epoch=4), at_once=False), 409),
        (await ways.alike(ways.request("/records/notes", epoch=6), at_once=False), 503),
        (await ways.alike(ways.request("/records/notes", subject=mint_subject_id()), at_once=False), 503),
        (
            await ways.alike(ways.request("/records/notes").replace(b"decision: v1.", b"decision: v2."), at_once=False),
            403,
        ),
        (await ways.alike(b"GET /records/notes HTTP/1.1\r\nHost: cell\r\n\r\n", at_once=False), 401),
    ]:
        assert told.startswith(b"HTTP/1.1 %d " % status), told


async def test_a_service_whose_token_is_known_reads_at_once(ways: Ways) -> None:
    told = await ways.alike(ways.request("/records/notes?order=rank", service="orders"), at_once=True)
    assert told.startswith(b"HTTP/1.1 200 ")


async def test_many_rows_are_streamed_alike(ways: Ways) -> None:
    subject, stand = mint_subject_id(), ways.stand
    await stand.shard.raise_fence(subject, home(stand.epoch))
    rows = [{"rank": number} for number in range(1_200)]
    for some in (rows[:600], rows[600:]):
        await stand.stored(*some, subject=subject)
    told = await ways.alike(ways.request("/records/notes?order=rank", subject=subject), at_once=True)
    assert told.count(b'"rank":') == len(rows)


async def test_both_are_counted_and_timed_alike(ways: Ways) -> None:
    labels = {"route": "/records/{table}", "method": "GET", "status": "200"}

    def counted() -> tuple[float, float]:
        asked = REGISTRY.get_sample_value("domicile_requests_total", labels) or 0.0
        timed = REGISTRY.get_sample_value("domicile_request_seconds_count", {"route": "/records/{table}"}) or 0.0
        return asked, timed

    for port in ways.ports:
        await ways.settle()
        before = counted()
        await answer(port, ways.request("/records/notes?rank=eq.1"))
        assert (counted()[0] - before[0], counted()[1] - before[1]) == (1.0, 1.0)


async def test_the_limits_of_a_subject_hold_without_a_task(postgres_server: PostgresServer, tmp_path: Path) -> None:
    limits = Limits(subject_per_s=1, subject_burst=3)
    async with records_stand(postgres_server, tmp_path, limits=limits) as stand:
        told = [
            (await stand.http.get("/records/notes", headers=stand.headers(RECORDS, verb=Verb.READ))).status_code
            for _ in range(5)
        ]
    assert told[:3] == [200, 200, 200]
    assert told[3:] == [429, 429]


async def test_a_subject_that_is_moving_is_refused_alike(ways: Ways) -> None:
    subject, stand = mint_subject_id(), ways.stand
    await stand.shard.raise_fence(subject, home(stand.epoch, State.FROZEN))
    assert (await ways.alike(ways.request("/records/notes", subject=subject), at_once=True)).startswith(
        b"HTTP/1.1 200 "
    )
    gone = mint_subject_id()
    await stand.shard.raise_fence(gone, home(stand.epoch, State.MOVED))
    told = await ways.alike(ways.request("/records/notes", subject=gone), at_once=False)
    assert not told.startswith(b"HTTP/1.1 200 ")

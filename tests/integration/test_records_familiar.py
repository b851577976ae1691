"""Reads whose like came before: they leave the bytes that a strict reading by a task leaves, whatever rows, decision, fence or limits
say."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cells.records.limits import Limiter, Limits
from deploy.local.postgres import PostgresServer
from foundation.clock import ManualClock
from foundation.postgres import connect
from foundation.words import RECORDS, Verb, mint_subject_id
from tests.stands.records import records_stand
from tests.stands.records_ways import Ways, kept_open, one_way, request_of, two_ways
from tests.stands.shard import home

pytestmark = pytest.mark.anyio

TRACE = "traceparent: 00-0af7651916cd43dd8448eb211c80319{}-b7ad6b7169203331-01"
SINGLE = "Accept: application/vnd.pgrst.object+json"


@pytest.fixture(scope="module")
async def ways(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ways]:
    async with two_ways(postgres_server, tmp_path_factory.mktemp("ways")) as built:
        yield built


async def second(ways: Ways, first: bytes, then: bytes, *, again: bool) -> bytes:
    """What both ways answer to `then`, once the first has answered `first`; `again`: whether it takes it for one that came before."""
    await ways.settle()
    await kept_open(ways.ports[0], first)
    before = ways.lane.again
    told = [await kept_open(port, then) for port in ways.ports]
    assert told[0] == told[1]
    assert ways.lane.again - before == again, told[0][:200]
    return told[0]


@pytest.mark.parametrize(
    ("first", "then", "lines", "status"),
    [
        ("", "", [], 200),
        ("?", "", [], 200),
        ("?rank=eq.2", "?rank=eq.4", [], 200),
        ("?rank=eq.2", "?rank=eq.77", [], 200),
        ("?rank=gt.1&rank=lte.3&order=rank&select=n:rank", "?rank=gt.2&rank=lte.5&order=rank&select=n:rank", [], 200),
        ("?body=neq.x&order=rank&limit=2&offset=1", "?body=neq.two&order=rank&limit=2&offset=1", [], 200),
        ("?rank=gte.2&order=rank", "?rank=gte.3&order=rank", ["Prefer: count=exact"], 200),
        ("?rank=eq.2", "?rank=eq.3", [SINGLE], 200),
        ("?rank=eq.2", "?rank=eq.77", [SINGLE], 406),  # as the rows say: told by a task
        ("?rank=eq.2", "?rank=eq.x", [], 400),  # as Postgres says
        ("?order=rank", "?order=rank", ["Accept: application/vnd.pgrst.array+json;nulls=stripped"], 200),
    ],
)
async def test_a_read_that_comes_again_is_answered_alike(
    ways: Ways, first: str, then: str, lines: list[str], status: int
) -> None:
    sent = [ways.request(f"/records/notes{query}", *lines) for query in (first, then)]
    told = await second(ways, sent[0], sent[1], again=True)
    assert told.startswith(b"HTTP/1.1 %d " % status), told


@pytest.mark.parametrize(
    ("first", "then", "lines"),
    [
        ("?rank=eq.2", "?rank=gt.2", []),
        ("?rank=eq.2", "?rank=eq.2&rank=eq.2", []),
        ("?order=rank&limit=2", "?order=rank&limit=3", []),
        ("?body=eq.a", "?body=eq.a%20b", []),
        ("?body=eq.a", "?body=eq.a+b", []),
        ("?rank=in.(1,4)", "?rank=in.(1,4)", []),
        ("?body=is.null", "?body=is.null", []),
        ("?or=(rank.eq.1,rank.eq.2)", "?or=(rank.eq.1,rank.eq.2)", []),
        ("?rank=eq.2", "?rank=eq.2", ["Range: 0-1"]),
        ("?rank=eq.2", "?rank=eq.2", ["Cookie: a=b"]),
    ],
)
async def test_what_is_not_the_same_or_not_to_be_kept_is_read_anew(
    ways: Ways, first: str, then: str, lines: list[str]
) -> None:
    sent = [ways.request(f"/records/notes{query}", *lines) for query in (first, then)]
    assert (await second(ways, sent[0], sent[1], again=False)).startswith(b"HTTP/1.1 20")


async def test_what_is_each_reads_own_is_not_looked_at(ways: Ways) -> None:
    sent = [
        ways.request("/records/notes?rank=eq.1", TRACE.format(digit), f"x-forwarded-for: 10.0.0.{digit}", "via: 1.1 eu")
        for digit in (1, 2)
    ]
    await second(ways, sent[0], sent[1], again=True)


async def test_the_first_of_two_decisions_counts(ways: Ways) -> None:
    plain = ways.request("/records/notes?rank=eq.1")
    forged = ways.request("/records/notes?rank=eq.1", "domicile-decision: v1.k.e.e.e")
    assert (await second(ways, plain, forged, again=False)).startswith(b"HTTP/1.1 200 ")
    assert (await second(ways, forged, forged, again=False)).startswith(b"HTTP/1.1 200 ")


async def test_a_decision_is_looked_at_however_often_its_like_came(ways: Ways) -> None:
    target = "/records/notes?rank=eq.2"
    good = ways.request(target)
    for bad, status in [
        (ways.request(target, epoch=4), 409),
        (ways.request(target, epoch=6), 503),
        (ways.request(target, subject=mint_subject_id()), 503),
        (ways.request(target, actor=str(mint_subject_id())), 403),
        (good.replace(b"decision: v1.", b"decision: v2."), 403),
        (good.replace(b"decision: v1.", b"decision: v1.x"), 403),
        (good.replace(b"\r\n\r\n", b"x\r\n\r\n"), 403),
    ]:
        assert (await second(ways, good, bad, again=False)).startswith(b"HTTP/1.1 %d " % status)


async def test_another_persons_read_of_the_same_form_gives_their_own_rows(ways: Ways) -> None:
    stand, other = ways.stand, mint_subject_id()
    await stand.shard.raise_fence(other, home(stand.epoch))
    await stand.stored({"rank": 1, "body": "the other's"}, subject=other)
    target = "/records/notes?rank=eq.1&select=body"
    told = await second(ways, ways.request(target), ways.request(target, subject=other), again=True)
    assert told.endswith(b'\r\n\r\n[{"body":"the other\'s"}]')


async def test_many_rows_are_streamed_to_a_read_that_came_again(ways: Ways) -> None:
    subject, stand = mint_subject_id(), ways.stand
    await stand.shard.raise_fence(subject, home(stand.epoch))
    for begin in (0, 600):
        await stand.stored(*({"rank": number} for number in range(begin, begin + 600)), subject=subject)
    request = ways.request("/records/notes?rank=gte.0&order=rank", subject=subject)
    told = await second(ways, ways.request("/records/notes?rank=gte.5&order=rank"), request, again=True)
    assert told.count(b'"rank":') == 1_200


async def test_the_fence_of_the_rows_counts_for_a_read_that_came_again(ways: Ways) -> None:
    """The row in the shard is raised behind the service's back, as a cut beside it does."""
    subject, stand = mint_subject_id(), ways.stand
    await stand.shard.raise_fence(subject, home(stand.epoch))
    request = ways.request("/records/notes?rank=lt.9", subject=subject)
    await ways.settle()
    await kept_open(ways.ports[0], request)
    async with connect(stand.dsns.owner) as owner:
        await owner.execute("UPDATE domicile.home SET epoch = epoch + 1 WHERE subject_id = $1", subject)
    before = ways.lane.again
    told = await kept_open(ways.ports[0], request)
    assert told.startswith(b"HTTP/1.1 409 "), told
    assert b'"stale_epoch"' in told
    assert ways.lane.again == before + 1


async def test_limits_and_tables_hold_for_reads_that_come_again(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    async with (
        records_stand(postgres_server, tmp_path) as stand,
        one_way(stand, Limiter(Limits(subject_per_s=1, subject_burst=3), ManualClock())) as (lane, port),
    ):
        await stand.stored({"rank": 1})

        async def status() -> bytes:
            request = request_of("/records/notes?rank=eq.1", stand.headers(RECORDS, verb=Verb.READ))
            return (await kept_open(port, request))[:12]

        assert [await status() for _ in range(5)] == [b"HTTP/1.1 200"] * 3 + [b"HTTP/1.1 429"] * 2
        assert lane.again == 2  # after one that was read strictly

    async with (
        records_stand(postgres_server, tmp_path) as stand,
        one_way(stand, Limiter(Limits(), ManualClock())) as (lane, port),
    ):
        assert [await status() for _ in range(3)] == [b"HTTP/1.1 200"] * 3
        async with connect(stand.dsns.owner) as owner:
            await owner.execute("ALTER TABLE product.notes RENAME COLUMN rank TO place")
        await stand.shard.look()
        assert await status() == b"HTTP/1.1 503"
        assert lane.again == 1  # after one that found no connection free, and one that was read strictly

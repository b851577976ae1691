"""The feed and the published rules stay bounded, and nobody is told that a page is whole when part of it has gone."""

from pathlib import Path

import pytest

from directory.feed.pruning import Keep, prune
from foundation.mute import Secret
from foundation.postgres import connect
from tests.stands.directory import POLICY, running_directory
from tests.stands.service_tokens import ServiceIssuer

pytestmark = pytest.mark.anyio


async def test_what_is_too_much_goes_and_who_stands_before_it_begins_anew(
    database: Secret[str], tmp_path: Path
) -> None:
    async with running_directory(database, ServiceIssuer(tmp_path), workers=False) as one:
        callers, pool = one.callers, one.directory.services.pool
        await callers.publisher.publish()
        for number in range(9):
            await callers.operator.place(f"p{number}")
        whole = await callers.resolver.feed(0)
        assert await prune(pool, Keep(feed_max=4, feed_min=1)) == 6
        status = (await callers.operator.get("/v1/feed/status")).json()
        assert (status["head"], status["floor"], status["events"]) == (10, 6, 4)
        assert await prune(pool, Keep(feed_max=4, feed_min=1)) == 0
        for position in (0, 5):
            mark = {"mark": whole.events[position - 1].mark} if position else {}
            page = await callers.resolver.feed(position, **mark)
            assert (page.anew, page.events, page.head, page.history) == (True, (), 10, whole.history)
        for position in (6, 8, 10):
            page = await callers.resolver.feed(position, mark=whole.events[position - 1].mark)
            assert (page.anew, page.events) == (False, whole.events[position:])


async def test_what_is_too_old_goes_but_never_the_newest(database: Secret[str], tmp_path: Path) -> None:
    async with running_directory(database, ServiceIssuer(tmp_path), workers=False) as one:
        await one.callers.publisher.publish()
        for number in range(9):
            await one.callers.operator.place(f"p{number}")
        async with connect(database) as connection:
            await connection.execute("UPDATE directory.feed SET at = at - interval '2 days' WHERE seq <= 7")
        pool = one.directory.services.pool
        assert await prune(pool, Keep(feed_s=86_400.0, feed_min=1)) == 7
        assert await prune(pool, Keep(feed_s=0.0, feed_min=2)) == 1
        page = await one.callers.resolver.feed(8)
        assert [event.seq for event in page.events] == [9, 10]


async def test_rules_that_hold_outlive_every_pruning(database: Secret[str], tmp_path: Path) -> None:
    async with running_directory(database, ServiceIssuer(tmp_path), workers=False) as one:
        publisher = one.callers.publisher
        digests = [(await publisher.publish(f"{POLICY}# {number}\n")).json()["digest"] for number in range(5)]
        await publisher.publish(f"{POLICY}# 1\n")  # the second once more
        await prune(one.directory.services.pool, Keep(rules_max=2, feed_s=0.0, feed_min=0))
        statuses = [(await publisher.get(f"/v1/rules/{digest}")).status_code for digest in digests]
        assert statuses == [404, 200, 404, 404, 200]
        assert (await publisher.get("/v1/rules/current")).json()["digest"] == digests[1]
        assert len((await publisher.get("/v1/rules/history")).json()["entries"]) == 2
        assert (await one.callers.operator.place("ada")).status_code == 202

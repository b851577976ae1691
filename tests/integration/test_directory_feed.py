"""The feed under concurrent writers and readers, and several directory processes over one database."""

import asyncio
import secrets
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from directory.app import MIGRATIONS, TRACK
from directory.database import transaction
from directory.feed import store as feed_store
from foundation.mute import Secret
from foundation.postgres import connect, migrate, migrations_in
from foundation.words import RulesDigest
from tests.stands.directory import Callers, lookup_key, running_directory
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio


async def follow(callers: Callers, until: int) -> list[int]:
    """Numbers in the order a follower reads them, by short polls so that it races the writers."""
    seen: list[int] = []
    async with asyncio.timeout(30):
        while not seen or seen[-1] < until:
            page = await callers.resolver.feed(seen[-1] if seen else 0, limit=7, wait_ms=200)
            seen += [event.seq for event in page.events]
            assert page.head >= (seen[-1] if seen else 0)
    return seen


async def test_a_follower_sees_a_dense_feed_in_commit_order_while_two_processes_write(
    database: Secret[str], tmp_path: Path
) -> None:
    tokens = ServiceIssuer(tmp_path)
    async with running_directory(database, tokens) as one, running_directory(database, tokens) as two:
        await one.callers.publisher.publish()

        async def writer(callers: Callers, prefix: str) -> int:
            """Placements, of which every third loses its key to an earlier one, and so rolls back."""
            count = 0
            for n in range(12):
                name = f"{prefix}{n}" if n % 3 else "everybody"
                answer = await callers.operator.place(name)
                if answer.status_code == 202:
                    count += 1
                    held = answer.json()["placement"]
                    ack = await callers.cell.post(f"/v1/subjects/{held['subject_id']}/ack", {"epoch": held["epoch"]})
                    count += ack.status_code == 200
            return count

        async with asyncio.TaskGroup() as group:
            writers = [group.create_task(writer((one, two)[n % 2].callers, f"w{n}-")) for n in range(8)]
            followers = [group.create_task(follow(side.callers, 100)) for side in (one, two, one)]
        total = 1 + sum(task.result() for task in writers)
        for task in followers:
            assert task.result() == list(range(1, task.result()[-1] + 1))
        page = await two.callers.resolver.feed(0)
        assert [event.seq for event in page.events] == list(range(1, total + 1))
        assert page.head == total


async def test_a_waiting_poll_hears_what_another_process_commits(database: Secret[str], tmp_path: Path) -> None:
    tokens = ServiceIssuer(tmp_path)
    async with running_directory(database, tokens) as one, running_directory(database, tokens) as two:
        await one.callers.publisher.publish()
        async with asyncio.TaskGroup() as group:
            poll = group.create_task(two.callers.resolver.feed(1, wait_ms=20_000))
            placed = await one.callers.operator.place("ada")
        assert [event.placement.subject_id for event in poll.result().events] == [
            placed.json()["placement"]["subject_id"]
        ]


async def test_an_acknowledgement_in_one_process_ends_the_wait_in_another(
    database: Secret[str], tmp_path: Path
) -> None:
    tokens = ServiceIssuer(tmp_path)
    async with running_directory(database, tokens) as one, running_directory(database, tokens) as two:
        await one.callers.publisher.publish()

        async def cell() -> None:
            placement = (await two.callers.cell.feed(1, wait_ms=5000)).events[0].placement
            await two.callers.cell.post(f"/v1/subjects/{placement.subject_id}/ack", {"epoch": placement.epoch})

        async with asyncio.TaskGroup() as group:
            group.create_task(cell())
            placed = await one.callers.operator.place("ada", wait_ms=2000)
        assert placed.status_code == 201


async def test_two_processes_give_one_key_to_one_subject(database: Secret[str], tmp_path: Path) -> None:
    tokens = ServiceIssuer(tmp_path)
    async with running_directory(database, tokens) as one, running_directory(database, tokens) as two:
        await one.callers.publisher.publish()
        answers = await asyncio.gather(*((one, two)[n % 2].callers.operator.place("ada") for n in range(60)))
        assert Counter(answer.status_code for answer in answers) == {202: 1, 409: 59}
        found = [
            (await side.callers.resolver.post("/v1/resolve", {"keys": [lookup_key("ada")]})).json()
            for side in (one, two)
        ]
        assert found[0]["found"] == found[1]["found"]


async def test_two_processes_expire_a_reservation_once(database: Secret[str], tmp_path: Path) -> None:
    tokens = ServiceIssuer(tmp_path)
    fast = {"reservation_s": 0.0, "expiry_check_s": 0.01}
    async with running_directory(database, tokens, **fast) as one, running_directory(database, tokens, **fast) as two:
        await one.callers.publisher.publish()
        placed = [await one.callers.operator.place(f"p{n}") for n in range(10)]
        assert {answer.status_code for answer in placed} == {202}
        seen: list[str] = []
        async with asyncio.timeout(10):
            while len(seen) < 20:
                page = await two.callers.resolver.feed(1 + len(seen), wait_ms=1000)
                seen += [event.placement.state for event in page.events]
        assert Counter(seen) == {"reserved": 10, "erased": 10}
        async with connect(database) as db:
            assert await db.fetchval("SELECT count(*) FROM directory.lookup_key") == 0


async def test_a_poll_that_waits_ends_when_the_process_leaves(database: Secret[str], tmp_path: Path) -> None:
    async with running_directory(database, ServiceIssuer(tmp_path)) as one:
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            poll = group.create_task(one.callers.resolver.feed(0, wait_ms=25_000))
            one.directory.services.drain.begun = True
        assert poll.result().events == ()
        assert (await one.callers.http.get("/readyz")).status_code == 503


async def test_a_position_beyond_the_head_is_answered_at_once(database: Secret[str], tmp_path: Path) -> None:
    async with running_directory(database, ServiceIssuer(tmp_path)) as one, asyncio.timeout(10):
        page = await one.callers.resolver.feed(7, wait_ms=25_000)
        assert (page.events, page.head) == ((), 0)


async def test_starters_that_race_migrate_once(database: Secret[str]) -> None:
    migrations = migrations_in(MIGRATIONS)
    ran = await asyncio.gather(*(migrate(database, migrations, track=TRACK) for _ in range(4)))
    assert sorted(ran) == [0, 0, 0, len(migrations)]


async def test_an_event_is_invisible_until_every_earlier_one_is_committed(
    database: Secret[str], tmp_path: Path
) -> None:
    """With a plain sequence the second writer would commit 2 while 1 is still open, and a reader at 2 would never see 1."""
    digest = RulesDigest(f"sha256:{'0' * 64}")
    async with running_directory(database, ServiceIssuer(tmp_path), workers=False) as one:
        pool = one.directory.services.pool

        async def second() -> int:
            async with transaction(pool) as tx:
                return await feed_store.append_rules(tx, digest)

        async with asyncio.timeout(10), asyncio.TaskGroup() as group, transaction(pool) as first:
            assert await feed_store.append_rules(first, digest) == 1
            later = group.create_task(second())
            await eventually(lambda: waits_for_a_lock(database))
            assert (await one.callers.resolver.feed(0)).head == 0
        assert later.result() == 2
        assert [event.seq for event in (await one.callers.resolver.feed(0)).events] == [1, 2]


async def test_a_rollback_leaves_no_gap(database: Secret[str], tmp_path: Path) -> None:
    digest = RulesDigest(f"sha256:{'0' * 64}")
    async with running_directory(database, ServiceIssuer(tmp_path), workers=False) as one:
        pool = one.directory.services.pool

        async def broken_off() -> None:
            async with transaction(pool) as tx:
                assert await feed_store.append_rules(tx, digest) == 1
                raise LookupError

        with pytest.raises(LookupError):
            await broken_off()
        async with transaction(pool) as tx:
            assert await feed_store.append_rules(tx, digest) == 1


async def test_an_owner_that_is_no_superuser_is_enough(database: Secret[str], tmp_path: Path) -> None:
    parts = urlsplit(database.reveal())
    role = f"owner_{secrets.token_hex(4)}"
    async with connect(database) as db:
        await db.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'word'")
        await db.execute(f"ALTER DATABASE {parts.path[1:]} OWNER TO {role}")
    dsn = Secret(urlunsplit(parts._replace(netloc=f"{role}:word@{parts.hostname}:{parts.port}")))
    async with running_directory(dsn, ServiceIssuer(tmp_path)) as one:
        await one.callers.publisher.publish()
        assert (await one.callers.active("ada"))["state"] == "active"


async def waits_for_a_lock(database: Secret[str]) -> bool:
    async with connect(database) as db:
        return bool(
            await db.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
        )

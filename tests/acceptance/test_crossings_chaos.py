"""People of Frankfurt write through Virginia while processes die: whatever arrived was booked first, and each crossing once."""

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from foundation.http import client
from foundation.settings import SettingsError
from foundation.words import CellId
from gateway.cli.client import CellService
from gateway.cli.tour.stage import Stage
from tests.stands.load import Subject, signed_up, stage_of
from tests.stands.stack import Run, stack
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

EXPECTED = {0, 201, 502, 503, 504}
"""0: the client's own connection broke. Anything else is a fault of ours."""


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[tuple[Run, Stage]]:
    with stack(tmp_path / "st") as run:
        async with stage_of(tmp_path / "st") as stage:
            yield run, stage


@pytest.mark.timeout(120)
async def test_nothing_arrives_from_abroad_without_a_crossing_booked_before(
    running: tuple[Run, Stage], tmp_path: Path
) -> None:
    run, stage = running
    people = [one for one in await signed_up(stage, 3) if one.region == "eu"]
    travels = Travels(stage.gateway("us"))
    async with client(total_s=15.0) as http:
        first = await travels.write(http, people[0])
        assert first.status_code == 201, first.text
        assert first.headers["domicile-verdict"] == "hairpin"
        for name in ("cell-eu-de", "gateway-eu", "postgres-eu-de"):
            await travels.during(http, people, killed(run, name))
            await eventually(lambda: travels.arrives(http, people), s_max=30)
    assert set(travels.statuses) <= EXPECTED, travels.statuses
    assert travels.statuses.count(201) >= 20

    booked, arrived = await of_shards(stage, people)
    assert set(travels.answered) <= arrived
    assert arrived <= booked
    cell = CellService(tmp_path / "st", CellId("eu-de"))
    for person in people:
        newest = (await shown(cell, person))["entries"][0]
        assert (newest["kind"], newest["actor"], newest["subject_id"]) == ("crossing", "gateway:eu", person.id)
        assert (newest["details"]["from_region"], newest["details"]["from_country"]) == ("us", "US")


async def shown(cell: CellService, person: Subject) -> dict[str, Any]:
    """Once both shards are back: the reading is recorded in one that need not be the person's."""
    pages: list[dict[str, Any]] = []

    def asked() -> bool:
        try:
            pages.append(cell.get(f"/cell/subjects/{person.id}/crossings", limit=200))
        except SettingsError as exc:
            if "not_ready" not in str(exc):
                raise
        return bool(pages)

    await eventually(asked, s_max=30)
    return pages[0]


class Travels:
    """Orders through another region's gateway, each in a trace of its own that the order itself names."""

    def __init__(self, gateway: str) -> None:
        self._gateway = gateway
        self.statuses: list[int] = []
        self.answered: list[str] = []

    async def write(self, http: Any, person: Subject) -> httpx.Response:
        trace = secrets.token_hex(16)
        response: httpx.Response = await http.post(
            f"{self._gateway}/orders",
            headers={
                "authorization": f"Bearer {person.token}",
                "traceparent": f"00-{trace}-{secrets.token_hex(8)}-00",
            },
            json={"item": trace, "quantity": 1, "total_cents": 100, "currency": "EUR"},
        )
        self.statuses.append(response.status_code)
        if response.status_code == 201:
            self.answered.append(trace)
        return response

    async def arrives(self, http: Any, people: list[Subject]) -> bool:
        """Whether everybody's order arrives just now."""
        answers = await asyncio.gather(*(self.write(http, one) for one in people), return_exceptions=True)
        return all(isinstance(one, httpx.Response) and one.status_code == 201 for one in answers)

    async def during(self, http: Any, people: list[Subject], trouble: Any) -> None:
        """Everybody writes, four at a time each, until the trouble has passed."""
        passed = asyncio.Event()

        async def writing(person: Subject) -> None:
            while not passed.is_set():
                try:
                    await self.write(http, person)
                except httpx.HTTPError:
                    self.statuses.append(0)
                await asyncio.sleep(0.02)

        async with asyncio.TaskGroup() as group:
            for person in people * 4:
                group.create_task(writing(person))
            try:
                await trouble
            finally:
                passed.set()


async def killed(run: Run, name: str) -> None:
    """Kills the process and waits until its successor runs."""
    before = run.child(name)
    os.kill(before["pid"], signal.SIGKILL)

    def back() -> bool:
        child = run.child(name)
        return bool(child["restarts"] > before["restarts"] and child["state"] == "running")

    await eventually(back, s_max=30)


async def of_shards(stage: Stage, people: list[Subject]) -> tuple[set[str], set[str]]:
    """Traces of the booked crossings, and of the orders that arrived; each person's in their own shard only, and told to the ledger."""
    booked: set[str] = set()
    arrived: set[str] = set()
    for shard in ("s1", "s2"):
        owner = stage.owner_env("eu-de", shard)
        own = {one.id for one in people if one.shard == shard}
        crossings = await stage.sql(owner, "SELECT id, subject_id::text AS subject_id, trace_id FROM domicile.crossing")
        told = await stage.sql(owner, "SELECT id FROM domicile.outbox WHERE kind = 'crossing'")
        assert sorted(row["id"] for row in told) == sorted(f"crossing:{row['id']}" for row in crossings)
        orders = await stage.sql(owner, "SELECT subject_id::text AS subject_id, item FROM product.orders")
        assert {row["subject_id"] for row in crossings} <= own
        booked |= {row["trace_id"] for row in crossings}
        arrived |= {row["item"] for row in orders if row["subject_id"] in own}
    return booked, arrived

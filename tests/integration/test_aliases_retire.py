"""Retiring a blinding key: what goes is recorded with it, and nothing stays behind unsaid."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from directory.aliases import generations
from directory.placement.core import KeysChange, KeysEvent
from foundation.blinding import Blinder, BlindingKey
from foundation.mute import Secret
from foundation.postgres import connect
from tests.stands.directory import Running, running_directory
from tests.stands.service_tokens import ServiceIssuer

pytestmark = pytest.mark.anyio

OLD, NEW = BlindingKey("k1", Secret(b"o" * 32)), BlindingKey("k2", Secret(b"n" * 32))
BOTH = Blinder((NEW, OLD))
RECORDED = "SELECT actor, details FROM directory.outbox WHERE id LIKE 'blinding_key/%' ORDER BY position"


@pytest.fixture
async def running(database: Secret[str], tmp_path: Path) -> AsyncIterator[Running]:
    async with running_directory(database, ServiceIssuer(tmp_path)) as one:
        assert (await one.callers.publisher.publish()).status_code == 201
        yield one


async def place(running: Running, name: str, *, under: Blinder = BOTH) -> None:
    pairs = zip(under.kids, under.login("https://i", name), strict=True)
    keys = [{"kind": "login", "key": key, "kid": kid} for kid, key in pairs]
    assert (await running.callers.operator.place(name, keys=keys)).status_code < 300


async def retire(running: Running, *, lose: bool = False) -> dict[str, Any]:
    body = {"reason": "the host was stolen", "lose": lose}
    answer: dict[str, Any] = (await running.callers.operator.post("/v1/aliases/generations/k1/retire", body)).json()
    return answer


async def recorded(database: Secret[str]) -> list[tuple[str, dict[str, Any]]]:
    async with connect(database) as connection:
        return [(row["actor"], json.loads(row["details"])) for row in await connection.fetch(RECORDED)]


async def test_who_retired_a_key_why_and_what_was_lost_is_recorded_with_it_and_once(
    running: Running, database: Secret[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generations, "RETIRED_AT_ONCE", 4)
    for name in "abcde":
        await place(running, name)
    for name in "uvw":
        await place(running, name, under=Blinder((OLD,)))
    assert (await retire(running))["code"] == "conflict"
    assert await recorded(database) == []
    assert await retire(running, lose=True) == {"removed": 8, "left": False}
    assert await retire(running, lose=True) == {"removed": 0, "left": False}
    told = await recorded(database)
    said = {"kid": "k1", "reason": "the host was stolen", "lose": True}
    assert [(actor, {name: details[name] for name in said}) for actor, details in told] == [("operator:ops", said)] * 2
    assert sum(details["removed"] for _, details in told) == 8
    assert sum(details["lost"] for _, details in told) == 3
    events = [one for one in (await running.callers.resolver.feed(0)).events if isinstance(one, KeysEvent)]
    assert [one.change for one in events] == [KeysChange.RETIRED] * 2


async def test_what_cannot_be_recorded_is_not_retired(running: Running, database: Secret[str]) -> None:
    await place(running, "ada")
    async with connect(database) as connection:
        await connection.execute("ALTER TABLE directory.outbox ADD CHECK (id NOT LIKE 'blinding_key/%')")
        act = generations.Act(actor="operator:ops", reason="test", at=0.0, lose=False)
        with pytest.raises(asyncpg.CheckViolationError):
            await generations.retire(running.directory.services.pool, "k1", act)
        assert await connection.fetchval("SELECT count(*) FROM directory.lookup_key WHERE kid = 'k1'") == 1

"""Drains under load on a real directory and cell: nothing fails, and nobody new is placed from the answer on."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local.postgres import PostgresServer
from tests.stands.cell import Stand, stand

pytestmark = pytest.mark.anyio


@pytest.fixture
async def one(postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stand]:
    async with stand(postgres_server, tmp_path, monkeypatch) as built, built.running():
        yield built


async def drain(one: Stand, entry: str) -> None:
    body = b'{"reason": "upkeep", "drain": true}'
    answer = await one.directory.operator.raw("PUT", f"/v1/registry/{entry}", body, {"if-match": '"0"'})
    assert answer.status_code == 200, answer.text


async def test_a_shard_is_drained_under_load_without_one_error(one: Stand) -> None:
    """Sign-ups, reads and writes go on; whoever signs up afterwards is on the other shard."""
    people = [await one.place() for _ in range(8)]
    drained, stopped = asyncio.Event(), asyncio.Event()
    errors: list[str] = []
    after: set[str] = set()

    async def requests(at: int) -> None:
        subject, epoch = people[at]
        while not stopped.is_set():
            written = await one.call("POST", "/records/notes", one.decision(subject, epoch), json={"body": "x"})
            read = await one.call("GET", "/records/notes", one.decision(subject, epoch))
            errors.extend(answer.text for answer in (written, read) if answer.status_code not in (200, 201))

    async def sign_ups(worker: int) -> None:
        for number in range(12):
            if number == 6:
                await drained.wait()
            begun_after = drained.is_set()
            answer = await one.directory.operator.place(f"w{worker}-{number}", services=["orders"], wait_ms=2000)
            if answer.status_code not in (201, 202):
                errors.append(answer.text)
            elif begun_after:
                after.add(answer.json()["placement"]["shard"])

    async with asyncio.TaskGroup() as group:
        load = [group.create_task(requests(at)) for at in range(len(people))]
        signing = [group.create_task(sign_ups(worker)) for worker in range(4)]
        await drain(one, "cells/eu-de/shards/s1")
        drained.set()
        await asyncio.gather(*signing)
        stopped.set()
        await asyncio.gather(*load)
    assert errors == []
    assert after == {"s2"}


async def test_a_cell_that_is_drained_serves_everybody_who_is_there(one: Stand) -> None:
    subject, epoch = await one.place()
    await drain(one, "cells/eu-de")
    refused = await one.call("POST", "/cell/signup", one.signing_up("late"), json={})
    assert refused.status_code == 503
    written = await one.call("POST", "/records/notes", one.decision(subject, epoch), json={"body": "still here"})
    assert written.status_code == 201, written.text

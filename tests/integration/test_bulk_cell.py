"""An import through a real cell: fences on two shards, people served, deaths between two steps, and the feed's clients."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cells.service.imports import Imports
from deploy.local.postgres import PostgresServer
from directory.client.remote import DirectoryUnavailable
from foundation.words import SubjectId
from tests.stands.bulk import batch, job, rows
from tests.stands.cell import Stand, stand
from tests.stands.directory import lookup_key
from tests.stands.shard import rows as shard_rows
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
async def one(postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stand]:
    async with stand(postgres_server, tmp_path, monkeypatch) as built:
        yield built


async def imported(one: Stand, count: int, first: int = 0) -> str:
    ops = one.directory.operator
    job_id = await job(ops)
    told = await batch(ops, job_id, 0, rows(count, first=first))
    assert told["placed"] == count
    return job_id


async def waiting(one: Stand, job_id: str) -> int:
    return int((await one.directory.operator.get(f"/v1/bulk/{job_id}")).json()["waiting"])


async def unsettled(one: Stand) -> int:
    answers = [
        (await one.directory.cell.get("/v1/bulk/parts/waiting", cell="eu-de", shard=shard)).json()
        for shard in ("s1", "s2")
    ]
    return sum(len(answer["parts"]) for answer in answers)


async def fences(one: Stand) -> list[tuple[str, str, int]]:
    found = [
        (shard, row["state"], row["count"])
        for shard in ("s1", "s2")
        for row in await shard_rows(one.dsns[shard], "SELECT state, count(*) FROM domicile.home GROUP BY state")
    ]
    return sorted(found)


async def test_imported_people_are_active_on_their_shards_and_served(one: Stand) -> None:
    async with one.running():
        job_id = await imported(one, 300)
        await eventually(lambda: _settled(one, job_id))
        standing = await fences(one)
        assert [(shard, state) for shard, state, _ in standing] == [("s1", "active"), ("s2", "active")]
        assert sum(count for _, _, count in standing) == 300
        key = lookup_key("bulk-7")
        placement = (await one.directory.resolver.post("/v1/resolve", {"keys": [key]})).json()["found"][key]
        assert placement["state"] == "active"
        subject, epoch = SubjectId(placement["subject_id"]), placement["epoch"]
        headers = one.decision(subject, epoch)
        written = await one.call("POST", "/records/notes", headers, json={"body": "moved in"})
        assert written.status_code == 201, written.text


async def _settled(one: Stand, job_id: str) -> bool:
    return await waiting(one, job_id) == 0 and await unsettled(one) == 0


async def test_a_cell_that_was_away_raises_the_fences_when_it_comes(one: Stand) -> None:
    job_id = await imported(one, 50)
    assert await waiting(one, job_id) == 50
    async with one.running():
        await eventually(lambda: _settled(one, job_id))
    assert {state for _, state, _ in await fences(one)} == {"active"}


@pytest.mark.parametrize("step", ["acknowledge_part", "settle_part"])
async def test_a_cell_that_dies_before_a_step_loses_nothing(
    one: Stand, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with one.running() as cell:

        async def cut(*_: Any) -> Any:
            raise DirectoryUnavailable("refused")

        monkeypatch.setattr(cell.context.directory, step, cut)
        job_id = await imported(one, 40)
        expected = "reserved" if step == "acknowledge_part" else "active"

        async def reached() -> bool:
            standing = await fences(one)
            return {state for _, state, _ in standing} == {expected} and sum(n for *_, n in standing) == 40

        # the first part of each shard got that far and no further
        await eventually(reached)
    assert await unsettled(one) > 0
    async with one.running():
        await eventually(lambda: _settled(one, job_id))
    standing = await fences(one)
    assert {state for _, state, _ in standing} == {"active"}


async def test_who_was_changed_before_the_cell_came_stands_as_changed(one: Stand) -> None:
    job_id = await imported(one, 20)
    key = lookup_key("bulk-3")
    placement = (await one.directory.resolver.post("/v1/resolve", {"keys": [key]})).json()["found"][key]
    path = f"/v1/subjects/{placement['subject_id']}"
    assert (await one.directory.cell.post(f"{path}/ack", {"epoch": placement["epoch"]})).status_code == 200
    frozen = await one.directory.operator.post(f"{path}/freeze", {"epoch": placement["epoch"], "reason": "t"})
    assert frozen.status_code == 200
    async with one.running() as cell:
        await eventually(lambda: _settled(one, job_id))
        subject, epoch = SubjectId(placement["subject_id"]), frozen.json()["placement"]["epoch"]
        await eventually(lambda: one.stands(subject, epoch, "frozen"))
        held, _ = await cell.context.shards[cell.context.homes.get(subject).shard].fence(subject)  # type: ignore[union-attr]
        assert (held.epoch, held.state.value) == (epoch, "frozen")  # type: ignore[union-attr]


async def test_somebody_who_signs_up_during_an_import_is_active_at_once(
    one: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts are dealt with beside the feed: with every part held up, a single placement goes through."""

    async def held_up(*_: Any) -> None:
        raise DirectoryUnavailable("timeout")

    monkeypatch.setattr(Imports, "_settle", held_up)
    async with one.running():
        await imported(one, 200)
        await one.place("newcomer")


async def test_an_import_does_not_reset_what_guards_follow(one: Stand) -> None:
    async with one.running() as cell:
        before = cell.context.homes.newest
        job_id = await imported(one, 400)
        await eventually(lambda: _settled(one, job_id))
        assert cell.context.homes.newest == before
        assert len(cell.context.homes) == 400

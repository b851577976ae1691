"""Planted differences between a real directory and real shards are found by name, and repaired by raising fences."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from deploy.local.postgres import PostgresServer
from foundation.mute import Secret
from foundation.postgres import connect
from foundation.tokens import cell_audience
from foundation.words import SubjectId, mint_subject_id
from gateway.cli.main import cli
from tests.stands.cell import POLICY, Stand, stand
from tests.stands.servers import serving
from tests.stands.service_tokens import AUDIENCE
from tests.stands.shard import CELL
from tests.stands.shard import rows as shard_rows

pytestmark = pytest.mark.anyio


@pytest.fixture
async def one(postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stand]:
    async with stand(postgres_server, tmp_path, monkeypatch, policy=None) as built:
        built.tokens.token_file(tmp_path / "operator.jwt", "operator:ops", ["operator"])
        token = built.tokens.token("operator:ops", ["operator"], aud=cell_audience(AUDIENCE, CELL))
        (tmp_path / "cell.operator.jwt").write_text(token)
        await built.directory.publisher.publish(POLICY)
        async with built.running() as cell, serving(cell.app) as port:
            moved = POLICY.replace("127.0.0.1:7101", f"127.0.0.1:{port}")
            assert (await built.directory.publisher.publish(moved)).status_code == 201
            yield built


async def run(one: Stand, *arguments: str) -> tuple[int, str]:
    reach = ("--directory", one.directory_url, "--token-file", str(one.folder / "operator.jwt"))
    result = await asyncio.to_thread(CliRunner().invoke, cli, ["directory", *arguments, *reach])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout


async def reconcile(one: Stand, *more: str) -> tuple[int, dict[str, Any]]:
    token = str(one.folder / "cell.operator.jwt")
    status, told = await run(one, "reconcile", "--cell", "eu-de", "--json", "--cell-token-file", token, *more)
    return status, json.loads(told)


async def unfence(dsn: Secret[str], statement: str, *values: object) -> None:
    """As only somebody with the owner's rights could: past the trigger that lets fences only go up."""
    async with connect(dsn) as connection:
        await connection.execute("ALTER TABLE domicile.home DISABLE TRIGGER USER")
        await connection.execute(statement, *values)
        await connection.execute("ALTER TABLE domicile.home ENABLE TRIGGER USER")


async def home_of(one: Stand, subject: SubjectId) -> tuple[str, int]:
    placement = (await one.directory.resolver.get(f"/v1/subjects/{subject}")).json()["placement"]
    return placement["shard"], placement["epoch"]


async def test_where_nothing_differs_nothing_is_named(one: Stand) -> None:
    for _ in range(5):
        await one.place()
    assert await reconcile(one) == (0, {"cell": "eu-de", "compared": 10, "differences": [], "left": 0})


async def test_planted_differences_are_named_and_the_repairable_are_repaired(one: Stand) -> None:
    people = [(await one.place())[0] for _ in range(6)]
    missing, stale, settled, ahead, misplaced, _ = people
    wanted: dict[str, str] = {}
    for subject, name, statement in (
        (missing, "missing", "DELETE FROM domicile.home WHERE subject_id = $1::uuid"),
        (settled, "state", "UPDATE domicile.home SET state = 'reserved' WHERE subject_id = $1::uuid"),
        (ahead, "ahead", "UPDATE domicile.home SET epoch = epoch + 1000 WHERE subject_id = $1::uuid"),
    ):
        shard, _ = await home_of(one, subject)
        await unfence(one.dsns[shard].owner, statement, subject)
        wanted[subject] = name
    shard, epoch = await home_of(one, stale)
    renewed = await one.directory.operator.post(f"/v1/subjects/{stale}/epoch", {"epoch": epoch, "reason": "t"})
    new_epoch = renewed.json()["placement"]["epoch"]
    await _until(one, stale, shard, new_epoch)
    await unfence(
        one.dsns[shard].owner, "UPDATE domicile.home SET epoch = $2 WHERE subject_id = $1::uuid", stale, epoch
    )
    wanted[stale] = "stale_epoch"
    home, _ = await home_of(one, misplaced)
    other = "s2" if home == "s1" else "s1"
    stray = "INSERT INTO domicile.home (subject_id, epoch, state) VALUES ($1::uuid, 1, 'active')"
    await unfence(one.dsns[other].owner, stray, misplaced)
    wanted[misplaced] = "misplaced"
    stranger = mint_subject_id()
    await unfence(one.dsns["s1"].owner, stray, stranger)
    wanted[stranger] = "unknown_subject"

    status, told = await reconcile(one)
    assert status == 1
    assert {row["subject_id"]: row["differs"] for row in told["differences"]} == wanted
    assert told["left"] == 6
    status, told = await reconcile(one, "--repair")
    assert status == 1
    assert {row["differs"] for row in told["differences"] if row["repaired"]} == {
        "missing", "stale_epoch", "state", "misplaced",
    }  # fmt: skip
    status, told = await reconcile(one)
    assert {row["differs"] for row in told["differences"]} == {"ahead", "unknown_subject"}
    states = await shard_rows(one.dsns[other], "SELECT state FROM domicile.home WHERE subject_id = $1::uuid", misplaced)
    assert [row["state"] for row in states] == ["moved"]


async def _until(one: Stand, subject: SubjectId, shard: str, epoch: int) -> None:
    from tests.stands.waiting import eventually

    async def raised() -> bool:
        found = await shard_rows(
            one.dsns[shard], "SELECT epoch FROM domicile.home WHERE subject_id = $1::uuid", subject
        )
        return [row["epoch"] for row in found] == [epoch]

    await eventually(raised)


async def test_fences_are_shown_to_operators_of_this_cell_alone(one: Stand) -> None:
    for headers in (
        {},
        one.service("orders"),
        one.tokens.headers("operator:ops", ["operator"]),
        {"authorization": "Bearer " + one.tokens.token("gateway:eu", ["resolver"], aud=cell_audience(AUDIENCE, CELL))},
    ):
        assert (await one.http.get("/cell/fences", headers=headers)).status_code in (401, 403)
        compared = await one.http.post("/cell/fences/compare", headers=headers, json={"subjects": [mint_subject_id()]})
        assert compared.status_code in (401, 403)


async def test_a_cells_list_is_exported_page_by_page_in_order(one: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.cli.directory.fences.PAGE", 3)
    people = sorted([(await one.place())[0] for _ in range(7)])
    status, told = await run(one, "export", "--cell", "eu-de")
    listed = [json.loads(line) for line in told.splitlines()]
    assert status == 0
    assert [row["subject_id"] for row in listed] == people
    assert {row["state"] for row in listed} == {"active"}

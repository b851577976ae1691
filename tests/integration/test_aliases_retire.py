"""Retiring a blinding key: what goes is recorded with it, and nothing stays behind unsaid."""

import asyncio
import json
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from click.testing import CliRunner, Result

from directory.aliases import generations
from directory.placement.core import KeysChange, KeysEvent
from foundation.blinding import Blinder, BlindingKey
from foundation.mute import Secret
from foundation.postgres import connect
from foundation.words import LookupKey
from gateway.cli.main import cli
from tests.stands.bulk import batch, job, row
from tests.stands.directory import Running, running_directory
from tests.stands.servers import serving
from tests.stands.service_tokens import ServiceIssuer

pytestmark = pytest.mark.anyio

OLD, NEW = BlindingKey("k1", Secret(b"o" * 32)), BlindingKey("k2", Secret(b"n" * 32))
BOTH = Blinder((NEW, OLD))
HOLD = "SELECT 1 FROM directory.lookup_key WHERE key = $1 FOR UPDATE"
HOLD_SUBJECT = "SELECT 1 FROM directory.subject WHERE strpos(keys, $1) > 0 FOR UPDATE"
RECORDED = "SELECT actor, details FROM directory.outbox WHERE id LIKE 'blinding_key/%' ORDER BY position"


@pytest.fixture
def tokens(tmp_path: Path) -> ServiceIssuer:
    return ServiceIssuer(tmp_path)


@pytest.fixture
async def running(database: Secret[str], tokens: ServiceIssuer) -> AsyncIterator[Running]:
    async with running_directory(database, tokens) as one:
        assert (await one.callers.publisher.publish()).status_code == 201
        yield one


async def place(running: Running, name: str, *, under: Blinder = BOTH) -> None:
    pairs = zip(under.kids, under.login("https://i", name), strict=True)
    keys = [{"kind": "login", "key": key, "kid": kid} for kid, key in pairs]
    assert (await running.callers.operator.place(name, keys=keys)).status_code < 300


def old_key(name: str) -> LookupKey:
    return Blinder((OLD,)).login("https://i", name)[0]


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


async def test_keys_that_somebody_holds_just_now_are_said_to_be_left_and_go_later(
    running: Running, database: Secret[str]
) -> None:
    for name in "abc":
        await place(running, name)
    await place(running, "z", under=Blinder((OLD,)))
    async with connect(database) as other:
        async with other.transaction():
            await other.execute(HOLD, old_key("a"))
            assert await retire(running, lose=True) == {"removed": 3, "left": True}
            assert await retire(running, lose=True) == {"removed": 0, "left": True}
        assert await retire(running, lose=True) == {"removed": 1, "left": False}
    assert sum(details["removed"] for _, details in await recorded(database)) == 4


async def test_imported_keys_go_out_of_the_rows_of_their_subjects_too(running: Running, database: Secret[str]) -> None:
    ops = running.callers.operator
    logins = [BOTH.login("https://i", name) for name in "abc"] + [Blinder((OLD,)).login("https://i", "z")]
    keys = [
        [{"kind": "login", "key": one, "kid": kid} for one, kid in zip(found, kids, strict=True)]
        for found, kids in zip(logins, [BOTH.kids] * 3 + [("k1",)], strict=True)
    ]
    given = [row(number, keys=of_row) for number, of_row in enumerate(keys)]
    assert (await batch(ops, await job(ops), 0, given))["placed"] == 4
    async with connect(database) as other:
        async with other.transaction():
            await other.execute(HOLD_SUBJECT, old_key("a"))
            assert await retire(running, lose=True) == {"removed": 3, "left": True}
        assert await retire(running, lose=True) == {"removed": 1, "left": False}
        named = await other.fetch("SELECT keys FROM directory.subject")
    assert sorted(one["keys"] or "" for one in named) == sorted([*(found[0] for found in logins[:3]), ""])


async def test_an_identifier_that_came_meanwhile_under_the_old_key_alone_is_left_and_asked_about(
    running: Running, database: Secret[str]
) -> None:
    await place(running, "ada")
    async with connect(database) as other, other.transaction():
        await other.execute(HOLD, old_key("ada"))
        assert await retire(running) == {"removed": 0, "left": True}
        await place(running, "late", under=Blinder((OLD,)))
        assert (await retire(running))["code"] == "conflict"


async def test_the_command_says_retired_when_nothing_is_left(
    running: Running,
    database: Secret[str],
    tokens: ServiceIssuer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = import_module("gateway.cli.directory.keys")  # the package's name for it is the command
    monkeypatch.setattr(command, "BUSY_S", 0.02)
    monkeypatch.setattr(command, "BUSY_TRIES_MAX", 3)
    keyring, token = tmp_path / "blinding.json", tmp_path / "operator.jwt"
    keyring.touch(mode=0o600)
    keyring.write_text(json.dumps({"current": "k2", "keys": {"k2": "n" * 43, "k1": "o" * 43}}))
    tokens.token_file(token, "operator:ops", ["operator"])
    for name in "ab":
        await place(running, name)
    async with serving(running.directory.app) as port:
        words = ["directory", "keys", "retire", "k1", "--reason", "test", "--blinding-keyring", str(keyring)]
        words += ["--directory", f"http://127.0.0.1:{port}", "--token-file", str(token)]

        async def run() -> Result:
            return await asyncio.to_thread(CliRunner().invoke, cli, words, catch_exceptions=False)

        async with connect(database) as other, other.transaction():
            await other.execute(HOLD, old_key("a"))
            busy = await run()
            assert busy.exit_code == 1
            assert "k1 is not retired: 1 lookup keys are removed" in busy.output
        done = await run()
        assert (done.exit_code, "k1 is retired: 1 lookup keys removed" in done.output) == (0, True), done.output


async def test_what_cannot_be_recorded_is_not_retired(running: Running, database: Secret[str]) -> None:
    await place(running, "ada")
    async with connect(database) as connection:
        await connection.execute("ALTER TABLE directory.outbox ADD CHECK (id NOT LIKE 'blinding_key/%')")
        act = generations.Act(actor="operator:ops", reason="test", at=0.0, lose=False)
        with pytest.raises(asyncpg.CheckViolationError):
            await generations.retire(running.directory.services.pool, "k1", act)
        assert await connection.fetchval("SELECT count(*) FROM directory.lookup_key WHERE kid = 'k1'") == 1

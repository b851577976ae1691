"""`domicile directory keys` against a real directory: rotate, show, retire."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from foundation.blinding import Blinder
from foundation.mute import Secret
from gateway.cli.client import blinder_of
from gateway.cli.main import cli
from tests.stands.directory import Running, running_directory
from tests.stands.servers import serving
from tests.stands.service_tokens import ServiceIssuer

pytestmark = pytest.mark.anyio


class Stand:
    def __init__(self, running: Running, url: str, folder: Path, token: Path) -> None:
        self.running, self.folder = running, folder
        self.keyring = folder / "blinding.json"
        self._reach = ["--directory", url, "--token-file", str(token), "--blinding-keyring", str(self.keyring)]

    async def run(self, *words: str) -> Result:
        arguments = ["directory", "keys", *words, *self._reach]
        return await asyncio.to_thread(CliRunner().invoke, cli, arguments, catch_exceptions=False)

    async def status(self) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = json.loads((await self.run("status", "--json")).output)["generations"]
        return told

    @property
    def blinder(self) -> Blinder:
        return blinder_of(self.keyring)


@pytest.fixture
async def stand(database: Secret[str], tmp_path: Path) -> AsyncIterator[Stand]:
    tokens = ServiceIssuer(tmp_path)
    token = tmp_path / "operator.jwt"
    tokens.token_file(token, "operator:ops", ["operator"])
    async with running_directory(database, tokens) as running, serving(running.directory.app) as port:
        await running.callers.publisher.publish()
        built = Stand(running, f"http://127.0.0.1:{port}", tmp_path, token)
        built.keyring.touch(mode=0o600)
        built.keyring.write_text(json.dumps({"current": "k1", "keys": {"k1": "a" * 43}}))
        yield built


async def test_a_key_is_rotated_in_shown_and_retired(stand: Stand) -> None:
    old = stand.blinder
    keys = [{"kind": "login", "key": old.login("https://i", "ada")[0], "kid": "k1"}]
    ada = (await stand.running.callers.operator.place("ada", keys=keys)).json()["placement"]
    cell = stand.running.callers.cell
    await cell.post(f"/v1/subjects/{ada['subject_id']}/ack", {"epoch": ada["epoch"]})

    rotated = await stand.run("rotate")
    assert rotated.exit_code == 0, rotated.output
    assert stand.blinder.kids == ("k2", "k1")
    assert stand.keyring.stat().st_mode & 0o077 == 0
    assert await stand.status() == [
        {"kid": "k2", "keyring": "first", "keys": {}, "alone": 0},
        {"kid": "k1", "keyring": "live", "keys": {"login": 1}, "alone": 1},
    ]
    refused = await stand.run("retire", "k1", "--reason", "test")
    assert (refused.exit_code, "known under k1 alone" in refused.output) == (1, True), refused.output
    assert stand.blinder.kids == ("k2", "k1")
    first = await stand.run("retire", "k2", "--reason", "test")
    assert (first.exit_code, "rotate first" in first.output) == (2, True), first.output

    new, known = stand.blinder.login("https://i", "ada")
    await cell.post("/v1/aliases/twins", {"twins": [{"known": known, "keys": [{"kid": "k2", "key": new}]}]})
    retired = await stand.run("retire", "k1", "--reason", "test")
    assert (retired.exit_code, "1 lookup keys removed" in retired.output) == (0, True), retired.output
    assert stand.blinder.kids == ("k2",)
    assert await stand.status() == [{"kid": "k2", "keyring": "first", "keys": {"login": 1}, "alone": 1}]
    assert "login 1" in (await stand.run("status")).output


async def test_what_is_known_under_a_key_alone_goes_only_when_that_is_said(stand: Stand) -> None:
    keys = [{"kind": "login", "key": stand.blinder.login("https://i", "bob")[0], "kid": "k1"}]
    await stand.running.callers.operator.place("bob", keys=keys)
    await stand.run("rotate", "--kid", "autumn")
    lost = await stand.run("retire", "k1", "--lose", "--reason", "test")
    assert (lost.exit_code, await stand.status()) == (
        0,
        [{"kid": "autumn", "keyring": "first", "keys": {}, "alone": 0}],
    )
    assert (await stand.run("rotate", "--kid", "autumn")).exit_code == 2
    assert (await stand.run("retire", "no/kid", "--reason", "test")).exit_code == 2

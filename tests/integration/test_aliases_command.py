"""`domicile directory aliases` against a real directory: what nobody settles is listed, shown and released."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from foundation.blinding import Blinder, BlindingKey
from foundation.mute import Secret
from gateway.cli.main import cli
from tests.stands.directory import Callers, running_directory
from tests.stands.servers import serving
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

BLINDER = Blinder((BlindingKey("k1", Secret(b"o" * 32)),))


class Line:
    """The command line beside a running directory, and the cells' own callers."""

    def __init__(self, calls: Callers, url: str, tokens: ServiceIssuer, folder: Path) -> None:
        self.calls, self._url, self._tokens, self._folder = calls, url, tokens, folder

    async def __call__(self, *words: str, role: str = "operator") -> Result:
        token = self._folder / f"{role.replace(':', '-')}.jwt"
        self._tokens.token_file(token, f"{role}:ann", [role])
        arguments = ["directory", "aliases", *words, "--directory", self._url, "--token-file", str(token)]
        return await asyncio.to_thread(CliRunner().invoke, cli, arguments)

    async def listed(self, *words: str) -> list[str]:
        done = await self("list", *words, "--json")
        assert done.exit_code == 0, done.output
        return [claim["claim_id"] for claim in json.loads(done.output)["claims"]]

    async def claim(self, address: str, *, cell: str = "eu-de", **more: Any) -> str:
        claim_id = str(uuid.uuid4())
        key = {"kind": "email", "key": BLINDER.email(address)[0], "kid": "k1"}
        body = {"claim_id": claim_id, "cell": cell, "keys": [key], "reason": "claimed by the cell"}
        caller = self.calls.cell if cell == "eu-de" else self.calls.cell_us
        answer = await caller.post("/v1/aliases/claim", body | more)
        assert answer.status_code == 201, answer.text
        return claim_id

    async def unresolved(self, claim_id: str) -> None:
        async def ran_out() -> bool:
            return claim_id in await self.listed("--in-state", "unresolved")

        await eventually(ran_out)


@pytest.fixture
async def line(database: Secret[str], tmp_path: Path) -> AsyncIterator[Line]:
    tokens = ServiceIssuer(tmp_path)
    async with (
        running_directory(database, tokens, expiry_check_s=0.05) as running,
        serving(running.directory.app) as port,
    ):
        await running.callers.publisher.publish()
        yield Line(running.callers, f"http://127.0.0.1:{port}", tokens, tmp_path)


async def test_claims_that_nobody_settles_are_listed_by_cell_and_state_and_in_pages(line: Line) -> None:
    left = await line.claim("left@example.org", lease_s=1)
    held = await line.claim("held@example.org")
    other = await line.claim("other@example.org", cell="us-va")
    await line.unresolved(left)
    assert await line.listed("--in-state", "unresolved") == [left]
    assert await line.listed("--cell", "eu-de") == sorted([left, held])
    assert await line.listed("--cell", "us-va", "--in-state", "claimed") == [other]
    table = await line("list", "--limit", "2")
    assert (table.exit_code, "more with --cursor" in table.output, "not placed yet" in table.output) == (0, True, True)
    assert "none" in (await line("list", "--cell", "us-va", "--in-state", "unresolved")).output


async def test_a_released_claim_says_what_it_gave_back_and_the_alias_is_anybodys(line: Line) -> None:
    left = await line.claim("left@example.org", lease_s=1)
    await line.unresolved(left)
    done = await line("release", left, "--reason", "its shard was restored")
    assert done.exit_code == 0, done.output
    assert "given back: email, unresolved by cell eu-de for somebody not placed" in done.output
    again = await line("release", left, "--reason", "twice")
    assert (again.exit_code, "was released before; nothing is changed" in again.output) == (0, True)
    await line.claim("left@example.org", cell="us-va")

    shown = await line("show", left)
    assert shown.exit_code == 0, shown.output
    assert "its shard was restored" in shown.output
    entries = json.loads((await line("show", left, "--json")).output)["entries"]
    assert [(one["from"], one["to"], one["actor"]) for one in entries] == [
        (None, "claimed", "cell:eu-de"),
        ("claimed", "unresolved", "service:directory"),
        ("unresolved", "released", "operator:ann"),
    ]


async def test_a_release_of_what_is_confirmed_unknown_or_no_id_is_refused(line: Line) -> None:
    ada = await line.calls.active("ada")
    claim_id = await line.claim("ada@example.org", subject_id=ada["subject_id"])
    await line.calls.cell.post("/v1/aliases/confirm", {"claim_id": claim_id, "reason": "proven"})
    refused = await line("release", claim_id, "--reason", "test")
    assert refused.exit_code == 1, refused.output
    assert "only cell eu-de gives it back" in refused.output
    assert "confirmed" in (await line("show", claim_id)).output
    unknown = await line("release", str(uuid.uuid4()), "--reason", "test")
    assert (unknown.exit_code, "404 not_found" in unknown.output) == (1, True), unknown.output
    no_id = await line("release", "ada", "--reason", "test")
    assert (no_id.exit_code, "CLAIM_ID is a UUID" in no_id.output) == (2, True), no_id.output
    unsaid = await line("release", claim_id)
    assert (unsaid.exit_code, "--reason" in unsaid.output) == (2, True), unsaid.output

    key = BLINDER.email("ada@example.org")[0]
    found = (await line.calls.resolver.post("/v1/resolve", {"keys": [key]})).json()["found"]
    assert found[key]["subject_id"] == ada["subject_id"]


@pytest.mark.parametrize("role", ["resolver", "cell:us-va", "rules"])
async def test_nobody_but_operators_sees_or_releases_another_cells_claims(line: Line, role: str) -> None:
    held = await line.claim("held@example.org")
    for words in (("list",), ("show", held), ("release", held, "--reason", "test")):
        refused = await line(*words, role=role)
        assert refused.exit_code == 1, refused.output
        assert "given back" not in refused.output
    assert await line.listed("--in-state", "claimed") == [held]

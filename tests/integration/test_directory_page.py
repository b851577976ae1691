"""A subject's page on the command line: asked of the real directory and of the home cell, each under its own credential."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from deploy.local.layout import SERVICE_ISSUER, Paths
from deploy.local.postgres import PostgresServer
from foundation.words import SubjectId
from gateway.cli.main import cli
from tests.stands.cell import CELL, Stand, stand
from tests.stands.crossings import TWO_REGIONS, book, crossing, gateway
from tests.stands.servers import free_port, serving
from tests.stands.service_tokens import ServiceIssuer

pytestmark = pytest.mark.anyio


class Line:
    """The command line beside a running cell and directory."""

    def __init__(self, live: Stand, state: Path, tokens: ServiceIssuer) -> None:
        self.live = live
        self.tokens = tokens
        self._state = state

    def knows(self, cell_port: int) -> None:
        """Writes stack.json with these addresses."""
        document = {
            "directory": {"url": self.live.directory_url},
            "regions": {},
            "cells": {CELL: {"service": f"http://127.0.0.1:{cell_port}", "region": "eu"}},
        }
        Paths(self._state).stack.write_text(json.dumps(document))

    async def __call__(self, *arguments: str) -> Result:
        given = ("directory", *arguments, "--state", str(self._state))
        return await asyncio.to_thread(CliRunner().invoke, cli, given)

    async def elsewhere(self, folder: Path, *arguments: str) -> Result:
        """The same without a stack's folder: by the directory's URL and a token."""
        held = folder / "operator.jwt"
        self.tokens.token_file(held, "operator:ann", ["operator"])
        named = ("--directory", self.live.directory_url, "--token-file", str(held))
        return await asyncio.to_thread(CliRunner().invoke, cli, ("directory", *arguments, *named))

    async def page(self, subject: str) -> dict[str, Any]:
        done = await self("show", subject, "--json")
        assert done.exit_code == 0, done.output
        page: dict[str, Any] = json.loads(done.output)
        return page


@pytest.fixture(scope="module")
async def line(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Line]:
    folder = tmp_path_factory.mktemp("page")
    tokens = ServiceIssuer(folder, issuer=SERVICE_ISSUER)
    tokens.key_file(Paths(folder).service_issuer_key)
    port = free_port()
    policy = TWO_REGIONS.replace('"127.0.0.1:7101"', f'"127.0.0.1:{port}"')
    assert policy != TWO_REGIONS
    with pytest.MonkeyPatch.context() as patch:
        async with (
            stand(postgres_server, folder, patch, policy=policy, tokens=tokens) as live,
            live.running() as cell,
            serving(cell.app, port=port),
        ):
            line = Line(live, folder, tokens)
            line.knows(port)
            yield line
            line.knows(port)


def refusal(subject: SubjectId) -> dict[str, Any]:
    details = {
        "code": "residency_refused",
        "ground": "row us (as of 2026-02)",
        "service": "orders",
        "verb": "read",
        "region": "eu",
    }
    return {
        "id": f"refusal-{subject}",
        "at": 1_800_000_000.0,
        "kind": "refusal",
        "actor": subject,
        "subject_id": subject,
        "details": details,
    }


async def test_the_page_says_where_why_since_when_and_what_crossed(line: Line) -> None:
    live = line.live
    subject, _ = await live.place()
    made = crossing(live, subject)
    assert (await book(live, made)).status_code == 204
    told = await live.call("POST", "/cell/events", gateway(live), json={"events": [refusal(subject)]})
    assert told.status_code == 204, told.text

    page = await line.page(subject)
    assert page["placement"]["cell"] == CELL
    assert page["where"] == {"region": "eu", "country": "DE", "shard_country": "DE"}
    assert (page["why"]["basis"], page["why"]["law"][0]["regime"]) == ("declared", "eu")
    assert [entry["to"] for entry in page["history"]["entries"]] == ["reserved", "active"]
    assert page["since"] == page["history"]["entries"][0]["at"]
    records = page["records"]
    assert {entry["kind"] for entry in records["entries"]} == {"crossing", "refusal"}
    assert made["basis"] in {entry["details"].get("basis") for entry in records["entries"]}

    shown = (await line("show", subject)).output
    for words in (subject, "cell eu-de", "region eu, DE", "residence DE, declared", "2016/679", "residency_refused"):
        assert words in shown, (words, shown)
    assert made["basis"] in shown
    assert "Not legal advice" in shown


async def test_a_cell_that_cannot_be_asked_hides_nothing_else(line: Line) -> None:
    subject, _ = await line.live.place()
    whole = await line.page(subject)
    line.knows(free_port())
    page = await line.page(subject)
    assert "does not answer" in page["records"].pop("unavailable")
    assert page["records"] == {"cell": CELL}
    for part in ("placement", "where", "why", "since", "history"):
        assert page[part] == whole[part]
    shown = await line("show", subject)
    assert shown.exit_code == 0
    assert f"cell {CELL} cannot be asked" in shown.output


async def test_the_page_is_had_from_any_directory_and_its_records_by_a_token_for_the_cell(
    line: Line, tmp_path: Path
) -> None:
    subject, _ = await line.live.place()
    made = crossing(line.live, subject)
    assert (await book(line.live, made)).status_code == 204
    whole = await line.page(subject)
    mine = await line.elsewhere(tmp_path, "show", subject, "--json")
    assert mine.exit_code == 0, mine.output
    without = json.loads(mine.output)
    assert "--cell-token-file" in without.pop("records")["unavailable"]
    assert without == {name: part for name, part in whole.items() if name != "records"}

    shared, own = tmp_path / "shared.jwt", tmp_path / "cell.jwt"
    line.tokens.token_file(shared, "operator:ann", ["operator"])
    own.write_text(line.tokens.token("operator:ann", ["operator"], aud=f"domicile:cell:{CELL}"))
    refused = json.loads(
        (await line.elsewhere(tmp_path, "show", subject, "--json", "--cell-token-file", str(shared))).output
    )
    assert "unavailable" in refused["records"]
    found = json.loads(
        (await line.elsewhere(tmp_path, "show", subject, "--json", "--cell-token-file", str(own))).output
    )
    assert made["basis"] in {entry["details"].get("basis") for entry in found["records"]["entries"]}


async def test_services_are_listed_and_added(line: Line) -> None:
    subject, epoch = await line.live.place()
    listed = await line("services", subject)
    assert "orders" in listed.output
    added = await line("services", "add", subject, "analytics", "records", "--reason", "they asked", "--json")
    assert added.exit_code == 0, added.output
    placement = json.loads(added.output)["placement"]
    assert (placement["services"], placement["epoch"] > epoch) == (["analytics", "orders", "records"], True)
    assert json.loads((await line("services", "--json", subject)).output)["services"] == placement["services"]
    late = await line("services", "add", subject, "records", "--reason", "r", "--epoch", str(epoch))
    assert (late.exit_code, "precondition_failed" in late.output) == (1, True)
    refused = await line("services", "add", subject, "warehouse", "--reason", "r")
    assert (refused.exit_code, "451" in refused.output) == (1, True)
    assert (await line("services", "add", subject, "No Service", "--reason", "r")).exit_code == 2
    assert (await line("services", "add", subject, "--reason", "r")).exit_code == 2


async def test_nobodys_page_is_told_as_such(line: Line) -> None:
    done = await line("show", "00000000-0000-0000-0000-000000000000")
    assert (done.exit_code, "404 not_found" in done.output) == (1, True)

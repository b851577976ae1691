"""A cell with notes that may leave, which a module of tests shares, for modules to import: emptied before each test."""

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import Result

from deploy.local.postgres import PostgresServer
from foundation.postgres import connect
from tests.stands.cell import POLICY, Stand, stand
from tests.stands.egress_cell import DESTINATIONS, NOTES, command, prepared, write_settings
from tests.stands.ledger import kept_by

VISITS = """
table: visits
placed_by: subject_id
owner: person_id
access:
  services: {analytics: {read: [rank]}}
columns:
  subject_id: {type: uuid, class: pseudonymous}
  id:         {type: uuid, class: none}
  person_id:  {type: uuid, class: pseudonymous}
  rank:       {type: int, class: none, leaving: {default: keep}}
"""
"""Events alone: there is no such table."""


@pytest.fixture(scope="module")
async def shared(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    """One cell for all: starting it is most of a test's time."""
    folder = tmp_path_factory.mktemp("egress")
    with pytest.MonkeyPatch.context() as patch:
        async with stand(postgres_server, folder, patch, policy=POLICY + DESTINATIONS) as built:
            built.ledger = kept_by(folder)
            await prepared(built, folder / "contracts")
            (folder / "contracts" / "visits.yaml").write_text(VISITS)
            async with built.running(NOTES):
                write_settings(built)
                yield built


@pytest.fixture
async def live(shared: Stand) -> Stand:
    """The cell, with empty tables and without any run."""
    for dsns in shared.dsns.values():
        async with connect(dsns.owner) as db:
            await db.execute("TRUNCATE product.notes, product.consents")
    for name in ("out", "runs"):
        shutil.rmtree(shared.folder / name, ignore_errors=True)
    return shared


async def run(live: Stand, *words: str, to: str = "near") -> Result:
    asked = ("--to", to, "--for", "analytics", "--out", live.folder / "out", "--settings", live.folder / "cell.toml")
    return await command("run", "notes", *asked, "--json", *words)


def released(result: Result) -> tuple[Path, list[dict[str, Any]]]:
    assert result.exit_code == 0, result.output
    path = Path(json.loads(result.stdout)["folder"])
    lines = [line for part in sorted(path.glob("part-*")) for line in part.read_text().splitlines()]
    return path, sorted((json.loads(line) for line in lines), key=lambda one: one["rank"] or 0)


async def recorded(live: Stand) -> set[str]:
    """Ids of the releases that stand in an outbox."""
    found: set[str] = set()
    for dsns in live.dsns.values():
        async with connect(dsns.owner) as db:
            found |= {row["id"] for row in await db.fetch("SELECT id FROM domicile.outbox WHERE kind = 'release'")}
    return found


async def events(live: Stand, *given: dict[str, Any], service: str = "analytics", **more: Any) -> httpx.Response:
    body = {"contract": "notes", "to": "near", "purpose": "analytics", "events": list(given)} | more
    return await live.call("POST", "/cell/egress/events", live.service(service), json=body)

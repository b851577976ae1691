"""A cell's log: what happened on its shards, once; served to its operators; shown, proved and verified by the command."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from deploy.local.postgres import PostgresServer
from foundation.ledger.entries import event_digest
from foundation.postgres import connect
from foundation.tokens import cell_audience
from gateway.cli.main import cli
from tests.stands.cell import Stand, stand
from tests.stands.ledger import kept_by, reader, sources_in
from tests.stands.servers import serving
from tests.stands.shard import CELL
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
async def live(postgres_server: PostgresServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stand]:
    """A cell that keeps a log in folder/log."""
    async with stand(postgres_server, folder, monkeypatch) as built:
        built.ledger = kept_by(folder)
        async with built.running():
            yield built


async def outboxes(live: Stand) -> dict[str, list[tuple[int, str]]]:
    """Positions and events of each shard's outbox, in order."""
    held = {}
    for shard, dsns in live.dsns.items():
        async with connect(dsns.owner) as db:
            rows = await db.fetch("SELECT position, id FROM domicile.outbox ORDER BY position")
        held[shard] = [(row["position"], row["id"]) for row in rows]
    return held


async def caught_up(live: Stand) -> list[tuple[str, int, str]]:
    log, held = live.folder / "log", await outboxes(live)
    expected = {(shard, position, event_digest(event)) for shard, rows in held.items() for position, event in rows}
    await eventually(lambda: (log / "checkpoint").exists() and set(sources_in(log)) >= expected)
    return sources_in(log)


def operator(live: Stand, role: str = "operator", audience: str = "") -> dict[str, str]:
    token = live.tokens.token("operator:ann", [role], aud=audience or cell_audience("domicile", CELL))
    return {"authorization": f"Bearer {token}"}


async def command(*words: str | Path) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, cli, ["ledger", *map(str, words)])


async def test_what_happened_on_every_shard_stands_in_the_cells_log_once_and_in_its_order(live: Stand) -> None:
    for number in range(60):  # chance chooses the shard
        if number >= 6 and all((await outboxes(live)).values()):
            break
        await live.place(f"person {number}")
    logged = await caught_up(live)
    held = await outboxes(live)
    assert min(len(rows) for rows in held.values()) > 0
    for shard, rows in held.items():
        own = [(position, event) for source, position, event in logged if source == shard]
        assert own == [(position, event_digest(event)) for position, event in rows]
    assert len(logged) == sum(len(rows) for rows in held.values())
    assert reader(live.folder / "log").verify(folder=live.folder / "log").without == 0


async def test_operators_of_this_cell_read_its_files_and_nobody_else(live: Stand) -> None:
    await live.place("ada")
    size = len(await caught_up(live))
    for path in ("checkpoint", f"tile/0/000.p/{size}", f"tile/entries/000.p/{size}"):
        before = (live.folder / "log" / path).read_bytes()
        answer = await live.call("GET", f"/ledger/{path}", operator(live))
        # The log grows by who reads it: what was given out is as it was before or as it is after.
        after = (live.folder / "log" / path).read_bytes()
        assert answer.status_code == 200
        assert answer.content in (before, after)
        assert (await live.call("GET", f"/ledger/{path}", {})).status_code == 401
        assert (await live.call("GET", f"/ledger/{path}", operator(live, "resolver"))).status_code == 403
        assert (await live.call("GET", f"/ledger/{path}", operator(live, audience="domicile"))).status_code == 401
        assert (await live.call("GET", f"/ledger/{path}", live.service())).status_code in (401, 403)
    for path in ("tile/0/001", "tile/../lock", "lock", "wal-000000000001", "payload/000"):
        assert (await live.call("GET", f"/ledger/{path}", operator(live))).status_code == 404, path


async def test_the_command_shows_proves_and_verifies_a_folder(live: Stand, folder: Path) -> None:
    subject, _ = await live.place("ada")
    await caught_up(live)
    log, key = folder / "log", ("--key", folder / "log.vkey")
    shown = await command("show", log, *key, "--json", "--limit", "3")
    assert shown.exit_code == 0, shown.output
    newest = json.loads(shown.stdout)["entries"][0]
    assert (newest["kind"], newest["subject_id"]) == ("fence", subject)
    table = await command("show", log, *key)
    assert newest["id"] in table.output
    proved = await command(
        "prove", log, newest["id"], *key, "--out", folder / "p.tlog-proof", "--payload", folder / "opening"
    )
    assert proved.exit_code == 0, proved.output
    verified = await command("verify", folder / "p.tlog-proof", *key, "--payload", folder / "opening")
    assert verified.exit_code == 0, verified.output
    assert newest["id"] in verified.output
    whole = await command("verify", log, *key, "--save", folder / "saved")
    assert whole.exit_code == 0, whole.output
    await live.place("bea")
    await caught_up(live)
    later = await command("verify", log, *key, "--since", folder / "saved", "--json")
    assert json.loads(later.stdout)["earlier"] == reader_size(folder / "saved")
    raw = (folder / "opening").read_bytes()
    (folder / "opening").write_bytes(raw[:-1] + b" ")
    assert (await command("verify", folder / "p.tlog-proof", *key, "--payload", folder / "opening")).exit_code == 1


def reader_size(checkpoint: Path) -> int:
    return int(checkpoint.read_text().split("\n")[1])


async def test_the_command_reads_a_log_over_http(live: Stand, folder: Path) -> None:
    await live.place("ada")
    logged = await caught_up(live)
    event = (await outboxes(live))["s1"] or (await outboxes(live))["s2"]
    token = folder / "operator.jwt"
    token.write_text(operator(live)["authorization"].removeprefix("Bearer "))
    async with serving(live.cell.app) as port:
        there = (f"http://127.0.0.1:{port}/ledger", "--key", folder / "log.vkey", "--token-file", token)
        verified = await command("verify", *there, "--json")
        assert verified.exit_code == 0, verified.output
        found = json.loads(verified.stdout)
        assert found["size"] >= len(logged)
        assert found["payloads"] == 0
        proved = await command("prove", *there[:1], event[0][1], *there[1:], "--out", folder / "far.tlog-proof")
        assert proved.exit_code == 0, proved.output
        assert (await command("verify", folder / "far.tlog-proof", "--key", folder / "log.vkey")).exit_code == 0
        token.write_text(operator(live, "resolver")["authorization"].removeprefix("Bearer "))
        refused = await command("show", *there)
        assert (refused.exit_code, "403" in refused.output) == (1, True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("show", "nowhere"), "no folder, no URL"),
        (("show", "eu-de", "--state", "nowhere"), "no log of eu-de"),
        (("show", "."), "--key"),
        (("verify", "https://nobody.invalid/ledger"), "--token-file"),
        (("show", ".", "--key", "nowhere.vkey"), "cannot be read"),
        (("show", ".", "--key", "pyproject.toml"), "no public key"),
        (("verify", "pyproject.toml"), "a proof goes with --key"),
    ],
)
async def test_what_the_command_cannot_read_is_said_in_one_line(words: tuple[str, ...], says: str) -> None:
    refused = await command(*words)
    assert refused.exit_code == 1
    assert says in refused.output
    assert len(refused.output.strip().splitlines()) == 1

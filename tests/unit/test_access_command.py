"""`domicile access`: a replay of the ledger alone, and what the command makes without a cell."""

import asyncio
import importlib
import json
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from cells.breakglass.certificates.authority import FileAuthority
from foundation.ledger import payloads
from foundation.ledger.log import Log
from gateway.cli.access import COMMANDS
from gateway.cli.main import cli
from tests.stands.access import SUBJECT
from tests.stands.access_cell import AccessStand, access_stand, recorded
from tests.stands.ledger import SIGNER, reader, rows

pytestmark = pytest.mark.anyio


@pytest.fixture
async def stand(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AccessStand]:
    (folder / "log.vkey").write_text(SIGNER.verifier.text)
    async with access_stand(folder, monkeypatch) as built:
        yield built


async def command(*words: str | Path) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, cli, ["access", *map(str, words)])


async def test_a_replay_of_the_ledger_comes_to_what_the_cell_says_and_reports_the_same_bytes(
    stand: AccessStand, folder: Path
) -> None:
    grant = await stand.approved()
    await stand.certified(grant)
    await stand.post(f"grants/{grant}/revoke", stand.who("bob", "approver"), {"reason": "found it"})
    log = ("--log", folder / "log", "--key", folder / "log.vkey", "--offline", "--json")
    replayed = await command("replay", *log)
    assert replayed.exit_code == 0, replayed.output
    state = (await stand.get("state", stand.who("ida", "auditor"))).json()
    assert {name: json.loads(replayed.stdout)[name] for name in state} == state
    until = str(stand.access.calls._keeper.now_us())
    told = await stand.get("report", stand.who("ida", "auditor"), until_us=until, subject=SUBJECT)
    again = await command("replay", *log, "--report", "--until-us", until, "--subject", SUBJECT)
    assert again.exit_code == 0, again.output
    assert msgspec.json.format(told.content, indent=2).decode() == again.stdout.strip()
    for_people = await command("replay", *log[:-1], "--report")
    assert f"{grant} revoked" in for_people.output
    assert "approved by engineer:bob" in for_people.output


async def test_a_report_is_the_same_bytes_though_later_steps_bear_the_time_that_it_is_of(
    stand: AccessStand, folder: Path
) -> None:
    """As where the clock of one process is behind what another has recorded: all its steps bear that time, until it comes."""
    await stand.approved()
    auditor = stand.who("ida", "auditor")
    first = await stand.get("report", auditor)
    asked = first.json()["asked"]
    await stand.asked()
    assert stand.steps.kept[-1].taken.at_us == asked["until_us"]
    same = {name: asked[name] for name in ("until_us", "size", "steps")}
    assert (await stand.get("report", auditor, **same)).content == first.content
    words = [word for name, value in same.items() for word in ("--" + name.replace("_", "-"), str(value))]
    log = ("--log", folder / "log", "--key", folder / "log.vkey", "--offline", "--json")
    again = await command("replay", *log, "--report", *words)
    assert msgspec.json.format(first.content, indent=2).decode() == again.stdout.strip()
    assert (await stand.get("report", auditor, steps=4)).status_code == 400
    assert "has 3 steps" in (await command("replay", *log, "--report", "--steps", "4")).output


async def test_a_ledger_that_lacks_a_payload_or_holds_a_step_that_could_not_be_is_not_replayed(
    stand: AccessStand, folder: Path
) -> None:
    grant = await stand.approved()
    log = ("--log", folder / "log", "--key", folder / "log.vkey", "--offline")
    stand.steps.kept[1] = msgspec.structs.replace(stand.steps.kept[1], id=f"grant:{grant}:7")
    other = folder / "other"
    with Log(other, SIGNER) as written:
        twice = msgspec.structs.replace(stand.steps.kept[1], position=3)
        written.append({"s1": [recorded(row) for row in (*stand.steps.kept, twice)]})
        written.append({"s2": rows(1, 3)})
        written.publish()
    unfit = await command("replay", "--log", other, *log[2:])
    assert (unfit.exit_code, "step 2" in unfit.output) == (1, True), unfit.output
    found = reader(folder / "log").find(f"grant:{grant}:1")
    assert found is not None
    assert payloads.erase(folder / "log", [found.index])
    erased = await command("replay", *log)
    assert (erased.exit_code, "was erased" in erased.output) == (1, True), erased.output


async def test_an_authority_is_made_once_with_a_key_that_is_closed_to_others(folder: Path) -> None:
    files = ("--key-out", folder / "ca.key", "--out", folder / "ca.pem")
    assert (await command("authority", "eu-de", *files)).exit_code == 0
    assert stat.S_IMODE((folder / "ca.key").stat().st_mode) == 0o600
    assert "eu-de" in FileAuthority(folder / "ca.key", folder / "ca.pem").certificate.subject.rfc4514_string()
    again = await command("authority", "eu-de", *files)
    assert (again.exit_code, "not written over" in again.output) == (1, True)
    assert (await command("authority", "EU", *files)).exit_code == 1


def test_help_says_of_each_command_what_its_own_help_begins_with_and_imports_none() -> None:
    for name, lazy in COMMANDS.items():
        found = getattr(importlib.import_module(lazy.module), lazy.attribute)
        assert (found.name, " ".join(found.help.split("\n\n")[0].split())) == (name, lazy.summary)
    program = (
        "import sys, gateway.cli.main as m\n"
        "try: m.cli(['access', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'httpx', 'asyncpg', 'cryptography', 'gateway.cli.access.psql'} & set(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert shown.stdout.splitlines()[-1] == "[]"
    assert all(name in shown.stdout for name in COMMANDS)


async def test_what_the_command_cannot_ask_is_said_in_one_line(folder: Path) -> None:
    for words, says in (
        (("list", "--state", folder), "no stack"),
        (("list", "--url", "http://127.0.0.1:1"), "--token-file"),
        (("replay", "--state", folder, "--offline"), "no log"),
    ):
        refused = await command(*words)
        assert (refused.exit_code, says in refused.output) == (1, True), refused.output
        assert len(refused.output.strip().splitlines()) == 1

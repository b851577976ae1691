"""A report of access says who saw what, the same bytes from the ledger, and what was erased."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from cells.breakglass.door.ports import Column, Outcome
from cells.breakglass.statements import recorder
from foundation.ledger.beside import speaking_of
from gateway.cli.main import cli
from tests.stands.access import SUBJECT
from tests.stands.ledger import SIGNER, reader
from tests.stands.recorded_door import Door, recorded_door, statement
from tests.stands.sessions import on_record

pytestmark = pytest.mark.anyio
KEY = SIGNER.verifier


@pytest.fixture
async def door(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Door]:
    async with recorded_door(folder, monkeypatch) as built:
        yield built


async def test_a_report_tells_who_saw_which_columns_and_a_replay_of_the_ledger_gives_the_same_bytes(
    door: Door, folder: Path
) -> None:
    session = await door.opened()
    email = Column(name="email", table=7, attribute=2, source="live.orders.email", masked=True)
    for number, columns in ((1, (email,)), (2, (email, Column(name="count"))), (3, ())):
        await on_record(door.recorder, statement(session, number, f"SELECT {number}"))
        door.recorder.ended(
            Outcome(session=session.id, number=number, tag=f"SELECT {number}", rows=number, bytes=10, columns=columns)
        )
    await door.recorder.closed(session.id, "left")
    auditor, until = door.stand.who("ida", "auditor"), int(door.stand.clock.unix_s() * 1_000_000)
    door.log.publish()
    told = await door.stand.get("report", auditor, until_us=until, statements=1)
    (seen,) = told.json()["grants"][0]["sessions"]
    assert (seen["subjects"], seen["statements"], seen["rows"], seen["bytes"]) == ([SUBJECT], 3, 6, 30)
    assert [(one["name"], one["source"], one["masked"]) for one in seen["columns"]] == [
        ("count", "", False),
        ("email", "live.orders.email", True),
    ]
    assert [(one["text"], one["tag"]) for one in seen["ran"]] == [(f"SELECT {n}", f"SELECT {n}") for n in (1, 2, 3)]
    assert seen["end"]["why"] == "left"
    size = str(told.json()["asked"]["size"])
    door.stand.clock.advance(1)
    await door.opened(id="0f" * 16)
    door.log.publish()
    again = await door.stand.get("report", auditor, until_us=until, size=size, statements=1)
    assert again.content == told.content
    (folder / "log.vkey").write_text(KEY.text)
    log = ("--log", str(folder / "log"), "--key", str(folder / "log.vkey"), "--offline", "--report")
    words = ["access", "replay", *log, "--until-us", str(until), "--size", size, "--statements"]
    replayed = await asyncio.to_thread(CliRunner().invoke, cli, [*words, "--json"])
    assert msgspec.json.format(told.content, indent=2).decode() == replayed.stdout.strip(), replayed.output
    for_people = await asyncio.to_thread(CliRunner().invoke, cli, words)
    assert "saw live.orders.email, masked" in for_people.stdout


async def test_a_report_says_what_was_erased_and_of_whom_nothing_is_left(door: Door) -> None:
    session = await door.opened()
    await on_record(door.recorder, statement(session, text="SELECT 'somebody@example.com'"))
    door.log.publish()
    spoken = [found.index for found in speaking_of(reader(door.folder), door.folder, SUBJECT)]
    found = [one.index for one in reader(door.folder).newest() if one.entry.source == recorder.SOURCE]
    assert set(found).issubset(spoken)
    door.log.erase(*found)
    told = (await door.stand.get("report", door.stand.who("ida", "auditor"))).json()
    assert (told["erased"], told["grants"][0]["sessions"]) == (2, [])

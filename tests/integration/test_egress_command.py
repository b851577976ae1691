"""A release by the command, from real shards through the real directory to a folder that verifies; and who and what stays behind."""

import asyncio
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from cells.egress.reading import FIRST, page, standing
from cells.egress.runs import Part
from directory.placement.core import State
from foundation.ledger.entries import event_digest
from foundation.postgres import connect
from gateway.cli.egress import running
from gateway.cli.egress.means import contract_digest
from gateway.cli.main import cli
from tests.stands.cell import Stand
from tests.stands.egress_cell import PLANTED, answers, command, freeze, person
from tests.stands.egress_live import live, recorded, released, run, shared
from tests.stands.ledger import sources_in
from tests.stands.waiting import eventually

__all__ = ["live", "shared"]
pytestmark = pytest.mark.anyio

MIB_MAX = 64
"""What a release as NDJSON may take, on the contract's path alone."""
MANY = """
INSERT INTO product.notes (subject_id, body, rank, total, price, due, extra)
SELECT $1::uuid, 'body ' || n, n, n, 9.90, '2026-04-03 12:00Z', jsonb_build_object('theme', 'theme ' || n)
FROM generate_series(2, $2::int + 1) AS n
"""
WATCHED = """
import atexit, sys
from gateway.cli.main import main
def told():
    line = next(one for one in open("/proc/self/status") if one.startswith("VmHWM:"))
    sys.stderr.write(line.split()[1])
atexit.register(told)
main()
"""
"""The command, which says at its end how many KiB it was resident with at most."""


async def test_a_table_leaves_as_its_contract_says_and_only_of_people_who_may_and_did_not_say_no(live: Stand) -> None:
    for rank in range(1, 7):
        await person(live, rank)
    await person(live, 7, given=True)
    await person(live, 8, given=False)
    await freeze(live, *await person(live, 9))
    result = await run(live)
    path, rows = released(result)
    assert [one["rank"] for one in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert "part 1 of s1: " in result.stderr
    one = rows[0]
    assert len(one.pop("subject_id")) == 32
    assert one == {
        "rank": 1,
        "total": 1200,
        "price": "9.90",
        "done": False,
        "due": "2026-04",
        "extra": {"theme": "dark"},
    }
    assert PLANTED.encode() not in b"".join(file.read_bytes() for file in path.iterdir())
    document = json.loads((path / "manifest.json").read_bytes())
    assert document["rows"]["stayed"] == {"the person has said no to analytics": 1}
    assert document["counts"]["extra"] == {"passed": 7, "unnamed": 7}
    assert document["counts"][""] == {"unnamed": 2 * 8}  # stay and epoch, of every row that was read


async def test_the_whole_command_takes_no_more_memory_than_was_promised(live: Stand) -> None:
    ann, _ = await person(live, 1)
    home = live.cell.context.homes.get(ann)
    assert home is not None
    async with connect(live.dsns[home.shard].owner) as db:
        await db.execute(MANY, ann, 20_000)
    asked = ["egress", "run", "notes", "--to", "near", "--for", "analytics", "--out", str(live.folder / "out")]
    settings = live.folder / "unscanned.toml"
    settings.write_text((live.folder / "cell.toml").read_text().replace('scan = "always"', 'scan = "none"'))
    words = [*asked, "--settings", str(settings), "--json"]
    ended = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-P", "-c", WATCHED, *words], capture_output=True, check=True, timeout=300
    )
    assert json.loads(ended.stdout)["rows"] == 20_001
    assert int(ended.stderr.split()[-1]) / 1024 < MIB_MAX


async def test_nobody_in_any_other_state_than_active_is_read_or_answered_for(live: Stand) -> None:
    ann, _ = await person(live, 1)
    others = {state: (await person(live, 2))[0] for state in State if state is not State.ACTIVE}
    for state, subject in others.items():
        home = live.cell.context.homes.get(subject)
        assert home is not None
        async with connect(live.dsns[home.shard].owner) as db:
            await db.execute("UPDATE domicile.home SET state = $2 WHERE subject_id = $1::uuid", subject, state.value)
    everybody, read, active = [ann, *others.values()], set(), set()
    for dsns in live.dsns.values():
        async with connect(dsns.records) as db:
            found = await page(db, live.cell.contracts["notes"], [], purpose="analytics", after=FIRST)
            said = await standing(db, [], subjects=everybody, owners=[], purpose="analytics")
        read |= set(found.subjects)
        active |= said.active
    assert read == active == {ann}
    _, rows = released(await run(live))
    assert [one["rank"] for one in rows] == [1]


async def test_a_release_verifies_offline_against_its_key_and_the_cells_log(live: Stand) -> None:
    await person(live, 1)
    path, _ = released(await run(live))
    key = ("--key", live.folder / "egress.vkey")
    event = f"release:{path.name}"
    await eventually(lambda: event_digest(event) in {digest for _, _, digest in sources_in(live.folder / "log")})
    proof, payload, log_key = live.folder / "r.proof", live.folder / "r.payload", live.folder / "log.vkey"
    words = ["prove", live.folder / "log", event, "--key", log_key, "--out", proof, "--payload", payload]
    proved = await asyncio.to_thread(CliRunner().invoke, cli, ["ledger", *map(str, words)])
    assert proved.exit_code == 0, proved.output
    shown = ("--proof", proof, "--payload", payload, "--log-key", log_key)
    verified = await command("verify", path, *key, *shown, "--json")
    assert verified.exit_code == 0, verified.output
    assert json.loads(verified.stdout)["logged"] >= 0
    document = json.loads((path / "manifest.json").read_bytes())
    assert document["contract"] == contract_digest(live.cell.contracts["notes"])
    explained = await command("explain", path)
    assert "1 rows released" in explained.output
    part = next(path.glob("part-*"))
    part.write_bytes(part.read_bytes().replace(b"1200", b"1300"))
    spoilt = await command("verify", part, *key)
    assert (spoilt.exit_code, "is not what was released" in spoilt.output) == (1, True)


RESTORED = """
ALTER TABLE product.notes ALTER COLUMN total TYPE bigint USING total::bigint, ADD COLUMN due timestamptz, DROP COLUMN mail
"""


async def test_a_column_that_changed_its_type_stays_and_the_rest_leaves(live: Stand) -> None:
    await person(live, 1)
    for dsns in live.dsns.values():
        async with connect(dsns.owner) as db:
            await db.execute(
                "ALTER TABLE product.notes ALTER COLUMN total TYPE text, DROP COLUMN due, ADD COLUMN mail text"
            )
            await db.execute("UPDATE product.notes SET mail = $1", PLANTED)
    result = await run(live)
    for dsns in live.dsns.values():
        async with connect(dsns.owner) as db:
            await db.execute(RESTORED)
    path, rows = released(result)
    assert (rows[0]["rank"], rows[0]["total"], rows[0]["due"], rows[0]["price"]) == (1, None, None, "9.90")
    counts = json.loads((path / "manifest.json").read_bytes())["counts"]
    assert counts["total"] == counts["due"] == {"changed_type": 1}
    assert PLANTED.encode() not in b"".join(file.read_bytes() for file in path.iterdir())


async def test_where_the_law_refuses_or_policy_does_not_know_nothing_is_released_and_the_reason_is_said(
    live: Stand,
) -> None:
    await person(live, 1)
    before = await recorded(live)
    far = await run(live, to="far")
    assert (far.exit_code, "nothing was released: no row may go: eu -> " in far.output) == (1, True)
    unknown = await run(live, to="nearr")
    assert "no destination nearr; did you mean near?" in unknown.output
    asked = ("--to", "near", "--for", "sale", "--out", live.folder / "out", "--settings", live.folder / "cell.toml")
    other = await command("run", "notes", *asked)
    assert "destinations.near is for analytics, not for sale" in other.output
    assert list((live.folder / "out").glob("rel-*")) == []
    assert await recorded(live) == before


async def test_without_the_directory_nothing_is_released_and_the_same_command_goes_on(live: Stand) -> None:
    await person(live, 1)
    settings = live.folder / "cell.toml"
    text = settings.read_text()
    settings.write_text(text.replace(live.directory_url, "http://127.0.0.1:1"))
    away = await run(live)
    assert (away.exit_code, "the directory cannot be asked: refused" in away.output) == (1, True)
    settings.write_text(text)
    path, rows = released(await run(live))
    assert len(rows) == 1
    status = await command("status", "--settings", settings, "--json")
    assert [(one["id"], one["state"], one["rows"]) for one in json.loads(status.stdout)] == [(path.name, "released", 1)]


async def test_a_plan_shows_what_each_field_would_become_before_anything_moves(live: Stand) -> None:
    await person(live, 1)
    asked = ("notes", "--to", "near", "--for", "analytics", "--settings", live.folder / "cell.toml")
    shown = await command("plan", *asked, "--sample", "1")
    assert shown.exit_code == 0, shown.output
    (total,) = (line.split() for line in shown.output.partition("sample")[2].splitlines() if " total " in line)
    assert total[-2:] == ["1234", "1200"]
    unseen = await command("plan", *asked, "--sample", "1", "--json")
    assert (unseen.exit_code, "leave --json away" in unseen.output) == (2, True)
    planned = json.loads((await command("plan", *asked, "--residence", "DE", "--json")).stdout)
    becomes = {one["name"]: (one["treatment"]["kind"], one["why"]) for one in planned[0]["plan"]["fields"]}
    assert becomes["total"] == ("bin", "stated")
    assert becomes["body"] == ("drop", "stated")
    assert becomes["card"] == ("drop", "sealed")
    assert becomes["shadow"] == ("drop", "unclassified")
    assert not (live.folder / "out").exists()


async def test_who_says_no_or_is_frozen_while_the_export_runs_is_not_in_it(
    live: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rank in range(1, 4):
        await person(live, rank)
    ann, _ = await person(live, 4, given=True)
    ben, epoch = await person(live, 5)
    here, happened = asyncio.get_running_loop(), []

    async def happens() -> None:
        await answers(live, ann, given=False)
        await freeze(live, ben, epoch)

    def told(_part: Part) -> None:
        if not happened:
            happened.append(asyncio.run_coroutine_threadsafe(happens(), here).result())

    monkeypatch.setattr(running, "_progress", told)
    path, rows = released(await run(live))
    assert happened
    assert [one["rank"] for one in rows] == [1, 2, 3]
    assert json.loads((path / "manifest.json").read_bytes())["rows"]["released"] == 3

"""A release by the command, from real shards through the real directory to a folder that verifies; and who and what stays behind."""

import asyncio
import datetime
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from cells.egress.reading import FIRST, page, standing
from cells.egress.runs import Part
from cells.egress.worlds import ShardSource
from cells.records.contracts import parse
from deploy.local.postgres import PostgresServer
from directory.placement.core import State
from foundation.http import client
from foundation.ledger.entries import event_digest
from foundation.postgres import connect
from foundation.tokens import cell_audience
from foundation.words import CellId, ShardId, SubjectId
from gateway.cli.egress import running
from gateway.cli.main import cli
from routing_rules.release import Consent
from tests.stands.cell import POLICY, Stand, stand
from tests.stands.documented import CONFORMING, NO_FAULT, explore
from tests.stands.egress_cell import (
    DESTINATIONS,
    NOTES,
    PLANTED,
    answers,
    command,
    freeze,
    person,
    prepared,
    write_settings,
)
from tests.stands.ledger import kept_by, sources_in
from tests.stands.servers import serving
from tests.stands.service_tokens import AUDIENCE
from tests.stands.streaming import Streaming
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio


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


async def recorded(live: Stand) -> set[str]:
    """Ids of the releases that stand in an outbox."""
    found: set[str] = set()
    for dsns in live.dsns.values():
        async with connect(dsns.owner) as db:
            found |= {row["id"] for row in await db.fetch("SELECT id FROM domicile.outbox WHERE kind = 'release'")}
    return found


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
    assert "1234" in shown.output
    assert "1200" in shown.output
    planned = json.loads((await command("plan", *asked, "--residence", "DE", "--json")).stdout)
    becomes = {one["name"]: (one["treatment"]["kind"], one["why"]) for one in planned[0]["plan"]["fields"]}
    assert becomes["total"] == ("bin", "stated")
    assert becomes["body"] == ("drop", "stated")
    assert becomes["card"] == ("drop", "sealed")
    assert becomes["shadow"] == ("drop", "unclassified")
    assert not (live.folder / "out").exists()


async def events(live: Stand, *given: dict[str, Any], service: str = "analytics", **more: Any) -> httpx.Response:
    body = {"contract": "notes", "to": "near", "purpose": "analytics", "events": list(given)} | more
    return await live.call("POST", "/cell/egress/events", live.service(service), json=body)


async def test_events_come_back_as_they_may_leave_and_the_answer_says_what_stayed(live: Stand) -> None:
    ann, _ = await person(live, 1)
    ben, _ = await person(live, 2, given=False)
    event = {"rank": 5, "total": 777, "due": "2026-04-03T12:00:00Z", "body": PLANTED, "card": PLANTED, "mail": PLANTED}
    strangers = ["00000000-0000-0000-0000-00000000000a", None, 7, "nobody"]
    answer = await events(live, *({**event, "subject_id": one} for one in (ann, ben, *strangers)))
    assert answer.status_code == 200, answer.text
    said = answer.json()
    (left,) = said["events"]
    assert (left["rank"], left["total"], left["due"], len(left["subject_id"])) == (5, 700, "2026-04", 32)
    assert PLANTED not in answer.text
    assert said["stayed"] == {
        "the person has said no to analytics": 1,
        "it is not known whose law the person is under": 4,
    }
    assert said["duties"] == []  # nothing leaves the European Union
    assert said["counts"]["body"] == {"dropped:stated": 1}
    assert said["counts"][""] == {"unnamed": 6}
    assert said["release"] in await recorded(live)


AIM = {"contract": "notes", "to": "near", "purpose": "analytics"}
ARROW = "application/vnd.apache.arrow.stream"
EXTRA = {"theme": "dark", "mail": PLANTED}


async def test_events_as_record_batches_come_back_as_such_and_are_recorded(live: Stand) -> None:
    pa = pytest.importorskip("pyarrow")
    from tests.stands.arrow import stream

    ann, _ = await person(live, 1)
    ben, _ = await person(live, 2, given=False)
    claire, _ = await person(live, 3, residence="FR")
    dora, epoch = await person(live, 4)
    await freeze(live, dora, epoch)
    whose = [ann, claire, ben, dora, None, ann]
    count, due = len(whose), datetime.datetime(2026, 4, 3, 12, tzinfo=datetime.UTC)
    columns = {
        "subject_id": pa.array(whose, pa.string()),
        "rank": pa.array(range(count), pa.int32()),
        "total": pa.array([777] * count),
        "due": pa.array([due] * count, pa.timestamp("us", tz="UTC")),
        "body": pa.array([PLANTED] * count).dictionary_encode(),
        "mail": pa.array([PLANTED] * count),
        "extra": pa.array([json.dumps(EXTRA)] * count),
    }
    headers = live.service("analytics") | {"content-type": f"{ARROW}; x=y"}
    async with serving(live.cell.app) as port, client(f"http://127.0.0.1:{port}") as http:
        answer = await http.post("/cell/egress/events", params=AIM, headers=headers, content=stream(columns, 2))
        assert (answer.status_code, answer.headers["content-type"]) == (200, ARROW), answer.text
        assert answer.headers["cache-control"] == "no-store"
        reader = pa.ipc.open_stream(answer.content)
        said, rows = json.loads(reader.schema.metadata[b"domicile"]), reader.read_all().to_pylist()
        spoilt = await http.post("/cell/egress/events", params=AIM, headers=headers, content=b"x" + stream(columns))
        unaimed = await http.post("/cell/egress/events", headers=headers, content=stream(columns))
        other = headers | {"content-type": "application/json"}
        as_json = await http.post("/cell/egress/events", params=AIM, headers=other, content=stream(columns))
    assert [one.status_code for one in (spoilt, unaimed, as_json)] == [400] * 3
    assert "send what a writer of the stream format has closed" in spoilt.json()["detail"]
    event = {"total": 777, "due": due.isoformat(), "body": PLANTED, "mail": PLANTED, "extra": EXTRA}
    given = [event | {"subject_id": one, "rank": rank} for rank, one in enumerate(whose)]
    by_json = (await events(live, *given)).json()
    assert [one["rank"] for one in rows] == [0, 5, 1]
    assert [one | {"extra": json.loads(one["extra"])} for one in rows] == by_json.pop("events")
    assert {one["extra"] for one in rows} == {'{"theme":"dark"}'}
    assert PLANTED.encode() not in answer.content
    assert sum(said["stayed"].values()) == 3
    assert said | {"release": ""} == by_json | {"release": ""}
    booked = await the_event(live, said["release"])
    assert (booked["events"], booked["stayed"], booked["held"]) == (3, 3, 0)
    assert booked["payload"] == f"sha256:{hashlib.sha256(answer.content).hexdigest()}"


async def the_event(live: Stand, release: str) -> dict[str, Any]:
    """What an outbox has of it."""
    for dsns in live.dsns.values():
        async with connect(dsns.owner) as db:
            for row in await db.fetch("SELECT details::text AS details FROM domicile.outbox WHERE id = $1", release):
                found: dict[str, Any] = json.loads(row["details"])
                return found
    raise LookupError(release)


async def test_without_pyarrow_record_batches_are_refused_and_json_is_not(
    live: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, _ = await person(live, 1)
    monkeypatch.setitem(sys.modules, "cells.egress.batches", None)
    headers = live.service("analytics") | {"content-type": ARROW}
    answer = await live.call("POST", "/cell/egress/events", headers, params=AIM, content=b"x")
    assert (answer.status_code, "no pyarrow and reads no Arrow; send JSON" in answer.text) == (400, True)
    assert (await events(live, {"subject_id": ann, "rank": 1})).status_code == 200


async def test_record_batches_for_what_nobody_declared_are_refused(live: Stand) -> None:
    pa = pytest.importorskip("pyarrow")
    from tests.stands.arrow import stream

    ann, _ = await person(live, 1)
    raw = stream({"subject_id": pa.array([ann]), "rank": pa.array([1])})

    async def status(service: str = "analytics", content: bytes = raw, **change: str) -> int:
        headers = live.service(service) | {"content-type": ARROW}
        answer = await live.call("POST", "/cell/egress/events", headers, params=AIM | change, content=content)
        return answer.status_code

    before = await recorded(live)
    assert await status(service="orders") == await status(contract="none") == 403
    assert await status(to="nowhere") == await status(purpose="sale") == 451
    assert await status(content=b"") == await status(content=raw[:-1]) == await status(more="x") == 400
    assert await status(content=b"x" * ((4 << 20) + 1)) == 413
    assert await recorded(live) == before
    assert await status() == 200


def shard_of(live: Stand, subject: SubjectId) -> ShardId:
    home = live.cell.context.homes.get(subject)
    assert home is not None
    return home.shard


async def elsewhere(live: Stand, ann: SubjectId) -> SubjectId:
    """Somebody on another shard than she is on."""
    while True:
        subject, _ = await person(live, 2)
        if shard_of(live, subject) != shard_of(live, ann):
            return subject


async def test_what_an_events_owner_said_decides_not_what_is_said_by_whom_it_is_placed_by(live: Stand) -> None:
    ann, _ = await person(live, 1, given=True)
    ben = await elsewhere(live, ann)
    of = {"subject_id": ann, "rank": 1}

    async def left(*given: dict[str, Any]) -> tuple[int, dict[str, int]]:
        said = (await events(live, *given, contract="visits")).json()
        return len(said["events"]), said["stayed"]

    assert await left(of | {"person_id": ben}, of | {"person_id": ann}) == (2, {})
    await answers(live, ben, given=False)
    no = {"the person has said no to analytics": 1}
    assert await left(of | {"person_id": ben}, of | {"person_id": ann}) == (1, no)
    assert await left(of, of | {"person_id": "nobody"}) == (0, {"it is not said whose it is": 2})
    assert await left(of | {"person_id": "00000000-0000-0000-0000-00000000000a"}) == (1, {}), "who lives nowhere"
    leaving, epoch = await person(live, 3)
    await freeze(live, leaving, epoch)
    unheard = {"its owner may have said no where this cell does not hear it": 1}
    assert await left(of | {"person_id": leaving}, of | {"person_id": ann}) == (1, unheard)
    assert await left({"rank": 1, "person_id": ann}) == (0, {"it is not known whose law the person is under": 1})


OWNED = NOTES.replace("owner: subject_id", "owner: person_id").replace(
    "  rank:       {type: int", "  person_id:  {type: uuid, class: pseudonymous}\n  rank:       {type: text"
)
"""A type that the table does not have: so it is read itself, and not its view."""


async def test_what_the_owner_of_a_row_said_on_another_shard_counts_for_a_release(live: Stand) -> None:
    ann, _ = await person(live, 1, given=True)
    ben = await elsewhere(live, ann)
    shard, contract = shard_of(live, ann), parse(OWNED, where="notes.yaml")
    async with AsyncExitStack() as stack:
        opened = {one: await stack.enter_async_context(connect(dsns.owner)) for one, dsns in live.dsns.items()}
        connections = {
            ShardId(one): await stack.enter_async_context(connect(dsns.records)) for one, dsns in live.dsns.items()
        }
        for db in opened.values():
            await db.execute("ALTER TABLE product.notes ADD COLUMN person_id uuid")
        try:
            await opened[shard].execute("UPDATE product.notes SET person_id = $1", ben)
            source = ShardSource(connections, contract, live.cell.contracts, "analytics")
            for given in (None, True, False):
                if given is not None:
                    await answers(live, ben, given=given)
                expected = {None: Consent.UNSAID, True: Consent.GIVEN, False: Consent.WITHHELD}[given]
                stands = await source.standing(shard, [ann], [ben])
                assert set((await source.page(shard, FIRST)).consents) == {expected}
                assert stands.consents.get(ben, Consent.UNSAID) is expected
            await opened[shard].execute("UPDATE product.notes SET person_id = NULL")
            found = await source.page(shard, FIRST)
            assert set(found.owners) == {None}
            assert set(found.consents) == {Consent.UNSAID}
        finally:
            for db in opened.values():
                await db.execute("ALTER TABLE product.notes DROP COLUMN person_id")


async def test_a_withdrawal_holds_from_the_next_batch_on(live: Stand) -> None:
    ann, _ = await person(live, 1, given=True)
    before = await events(live, {"subject_id": ann, "rank": 1})
    await answers(live, ann, given=False)
    after = await events(live, {"subject_id": ann, "rank": 2})
    assert ([one["rank"] for one in before.json()["events"]], after.json()["events"]) == ([1], [])


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


async def test_events_of_a_stream_come_back_as_they_may_leave_and_a_withdrawal_holds_from_the_next_on(
    live: Stand,
) -> None:
    ann, _ = await person(live, 1, given=True)
    ben, _ = await person(live, 2)
    event = json.dumps({"subject_id": ann, "rank": 1, "body": PLANTED}).encode() + b"\n"
    other = json.dumps({"subject_id": ben, "rank": 2, "mail": PLANTED}).encode() + b"\n"
    query = {"contract": "notes", "to": "near", "purpose": "analytics"}
    async with serving(live.cell.app) as port, Streaming(port, query, live.service("analytics")) as streaming:
        first = await streaming.asked(event + other)
        await answers(live, ann, given=False)
        second = await streaming.asked(event + b"[]\n")
        last = await streaming.ended()
    assert [one["rank"] for one in first["batch"]["events"]] == [1, 2]
    assert second["batch"]["events"] == []
    assert second["batch"]["stayed"] == {"the person has said no to analytics": 1}
    assert PLANTED not in json.dumps([first, second, last])
    end = last["end"]
    assert (end["batches"], end["events"], end["unreadable"]) == (2, 2, 1)
    assert {first["batch"]["release"], second["batch"]["release"]} <= await recorded(live)


@pytest.mark.parametrize(
    ("change", "status"), [({"to": "nowhere"}, 451), ({"contract": "none"}, 403), ({"purpose": ""}, 400)]
)
async def test_a_stream_for_what_nobody_declared_is_refused_before_anything_of_it_is_read(
    live: Stand, change: dict[str, str], status: int
) -> None:
    query = {"contract": "notes", "to": "near", "purpose": "analytics"} | change
    answer = await live.call("POST", "/cell/egress/stream", live.service("analytics"), params=query, content=b"{}")
    assert answer.status_code == status


async def test_events_for_what_nobody_declared_are_refused(live: Stand) -> None:
    ann, _ = await person(live, 1)
    event = {"subject_id": ann, "rank": 1}
    assert (await events(live, event, service="orders")).status_code == 403
    assert (await events(live, event, contract="none")).status_code == 403
    assert (await events(live, event, to="nowhere")).status_code == 451
    assert (await events(live, event, purpose="sale")).status_code == 451
    assert (await events(live)).status_code == 400
    far = await events(live, event, to="far")
    assert (far.status_code, far.json()["events"], sum(far.json()["stayed"].values())) == (200, [], 1)


def operating(live: Stand, cell: str | None = None) -> dict[str, str]:
    audience = cell_audience(AUDIENCE, CellId(cell or live.name))
    token = live.tokens.token("operator:ann", ["operator"], aud=audience)
    return {"authorization": f"Bearer {token}"}


async def test_an_operator_asks_what_would_leave_and_how_releases_stand_and_nobody_else_does(live: Stand) -> None:
    await person(live, 1)
    path, _ = released(await run(live))

    async def asked(of: str, **query: str) -> Any:
        answer = await live.call("GET", f"/cell/egress/{of}", operating(live), params=query)
        assert answer.status_code == 200, answer.text
        assert PLANTED not in answer.text
        return answer.json()

    (listed,) = (await asked("runs"))["runs"]
    assert (listed["id"], listed["state"], listed["rows"], "report" in listed) == (path.name, "released", 1, False)
    report = (await asked(f"runs/{path.name}"))["report"]
    assert (report["read"], report["fields"]["body"], report["held"]) == (1, {"dropped:stated": 1}, [])
    aim = {"contract": "notes", "to": "near", "purpose": "analytics"}
    plan = await asked("plan", **aim, residence="DE")
    becomes = {one["name"]: one["treatment"]["kind"] for one in plan["plan"]["fields"]}
    assert (plan["goes"], becomes["total"], becomes["body"], becomes["shadow"]) == (True, "bin", "drop", "drop")
    assert not (await asked("plan", **aim, residence="DE", consent="withheld"))["goes"]
    for of in ("runs", f"runs/{path.name}", "plan"):
        for headers, status in (
            ({}, 401),
            (live.service("analytics"), 401),
            (operating(live, "us-va"), 401),
        ):
            assert (await live.call("GET", f"/cell/egress/{of}", headers)).status_code == status
    assert (await live.call("GET", "/cell/egress/runs/rel-0", operating(live))).status_code == 404


async def test_what_is_answered_is_according_to_the_document(live: Stand) -> None:
    ann, _ = await person(live, 1)
    await run(live)
    document = (await live.call("GET", "/cell/egress/openapi.json", {})).json()
    del document["paths"]["/cell/egress/stream"]  # nothing makes bodies of NDJSON; other tests stream

    async def send(request: httpx.Request) -> httpx.Response:
        """With everybody's credentials, and of somebody whom there is."""
        own = operating(live) if request.method == "GET" else live.service("analytics")
        request.headers.update(own)
        return await live.http.send(request)

    del document["paths"]["/cell/egress/events"]["post"]["requestBody"]["content"][ARROW]  # nor of Arrow
    seen = await explore(document, send, [*CONFORMING, *NO_FAULT], fitting=3, violating=2)
    assert any(status == 200 for _, status in seen), seen
    answer = await events(live, {"subject_id": ann, "rank": 1})
    shape = document["components"]["schemas"]["EgressAnswer"]
    assert set(shape["required"]) <= set(answer.json()) <= set(shape["properties"])


async def test_a_gateway_hands_no_release_over(live: Stand) -> None:
    forged = {"id": "release:rel-1", "at": 1.0, "kind": "access", "actor": "a", "subject_id": None, "details": {}}
    headers = live.tokens.headers("gateway:eu", ["gateway:eu"])
    answer = await live.call("POST", "/cell/events", headers, json={"events": [forged]})
    assert (answer.status_code, "the cell's own" in answer.text) == (400, True)

"""A release by the command, from real shards through the real directory to a folder that verifies; and who and what stays behind."""

import asyncio
import base64
import json
import secrets
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from click.testing import CliRunner, Result

from cells.egress.settings import EgressSettings
from deploy.local.postgres import PostgresServer
from deploy.local.render import toml
from foundation.ledger.entries import event_digest
from foundation.ledger.notes import Signer
from foundation.mute import Secret
from foundation.postgres import connect
from foundation.settings import KeyringFile
from foundation.words import SubjectId
from gateway.cli.main import cli
from tests.stands.cell import POLICY, Stand, stand
from tests.stands.ledger import kept_by, sources_in
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio
PLANTED = "planted-7f3a@leak.example"
SIGNER = Signer("egress.test/eu-de", Secret(secrets.token_bytes(32)))
DESTINATIONS = """
[destinations.near]
country = "FR"
purposes = ["analytics"]
recipient_classes = []
[destinations.far]
country = "US"
purposes = ["analytics"]
recipient_classes = []
"""
NOTES = """
table: notes
placed_by: subject_id
owner: subject_id
access:
  services: {analytics: {read: [rank]}}
columns:
  subject_id: {type: uuid, class: pseudonymous, leaving: {default: token}}
  id:         {type: uuid, class: none}
  body:       {type: text, class: free_text, leaving: {default: drop}}
  rank:       {type: int, class: none, leaving: {default: keep}}
  total:      {type: bigint, class: none, leaving: {default: bin(100)}}
  price:      {type: numeric, class: none, leaving: {default: keep}}
  done:       {type: boolean, class: none, leaving: {default: keep}}
  due:        {type: timestamptz, class: none, leaving: {default: month}}
  extra:      {type: jsonb, class: none, leaving: {default: walk}, members: {theme: {type: text, class: none, leaving: {default: keep}}}}
  span:       {type: int4range, class: none}
  card:       {type: text, class: direct, sealed: true}
  shadow:     {type: text}
"""
CONSENTS = """
table: consents
placed_by: subject_id
owner: subject_id
consent: {purpose: purpose, given: given}
columns:
  subject_id: {type: uuid, class: pseudonymous}
  id:         {type: uuid, class: none}
  purpose:    {type: text, class: none}
  given:      {type: boolean, class: none}
"""
CONSENTS_DDL = """
CREATE TABLE product.consents (
    subject_id uuid NOT NULL, id uuid NOT NULL DEFAULT gen_random_uuid(), purpose text, given boolean, PRIMARY KEY (subject_id, id));
GRANT SELECT, INSERT, UPDATE, DELETE ON product.consents TO domicile_records;
"""
ROW = """
INSERT INTO product.notes (subject_id, body, rank, total, price, due, extra, span, card, shadow)
VALUES ($1, $2, $3, 1234, 9.90, '2026-04-03 12:00Z', jsonb_build_object('theme', 'dark', 'mail', $2::text), '[1,5)', $2, $2)
"""


@pytest.fixture(scope="module")
async def shared(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    """One cell for all: starting it is most of a test's time."""
    folder = tmp_path_factory.mktemp("egress")
    with pytest.MonkeyPatch.context() as patch:
        async with stand(postgres_server, folder, patch, policy=POLICY + DESTINATIONS) as built:
            built.ledger, built.egress = kept_by(folder), keys_in(folder)
            for dsns in built.dsns.values():
                async with connect(dsns.owner) as db:
                    await db.execute(CONSENTS_DDL)
            (folder / "contracts").mkdir()
            (folder / "contracts" / "consents.yaml").write_text(CONSENTS)
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


def keys_in(folder: Path) -> EgressSettings:
    """The keys of the cell's releases, and where their journals lie."""
    ring = KeyringFile(current="k1", keys={"k1": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()})
    for name, content in (("egress.key", SIGNER.text.reveal()), ("egress.json", msgspec.json.encode(ring).decode())):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(content)
    (folder / "egress.vkey").write_text(SIGNER.verifier.text)
    return EgressSettings(
        folder=str(folder / "runs"),
        origin=SIGNER.verifier.name,
        key_file=str(folder / "egress.key"),
        keyring=str(folder / "egress.json"),
        scan="always",
    )


def write_settings(live: Stand) -> None:
    """The cell service's own settings, as its machine has them."""
    held = live.settings(NOTES)
    keys = ("cell", "host", "port", "directory", "token_file", "cell_root_keyring", "contracts")
    stated = {key: getattr(held, key) for key in keys}
    stated["service_issuers"] = [msgspec.to_builtins(one) for one in held.service_issuers]
    stated["egress"] = msgspec.to_builtins(held.egress)
    (live.folder / "cell.toml").write_text(toml(stated))


async def person(live: Stand, rank: int, *, given: bool | None = None) -> tuple[SubjectId, int]:
    """Somebody who is placed here, with a note, and maybe with an answer to analytics."""
    subject, epoch = await live.place()
    home = live.cell.context.homes.get(subject)
    assert home is not None
    async with connect(live.dsns[home.shard].owner) as db:
        await db.execute(ROW, subject, PLANTED, rank)
        if given is not None:
            said = "INSERT INTO product.consents (subject_id, purpose, given) VALUES ($1, 'analytics', $2)"
            await db.execute(said, subject, given)
    return subject, epoch


async def command(live: Stand, *words: str | Path) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, cli, ["egress", *map(str, words)])


async def run(live: Stand, *words: str, to: str = "near") -> Result:
    asked = ("--to", to, "--for", "analytics", "--out", live.folder / "out", "--settings", live.folder / "cell.toml")
    return await command(live, "run", "notes", *asked, "--json", *words)


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
    frozen, epoch = await person(live, 9)
    answer = await live.directory.operator.post(f"/v1/subjects/{frozen}/freeze", {"epoch": epoch, "reason": "t"})
    assert answer.status_code == 200, answer.text
    await eventually(lambda: live.stands(frozen, answer.json()["placement"]["epoch"], "frozen"))
    path, rows = released(await run(live))
    assert [one["rank"] for one in rows] == [1, 2, 3, 4, 5, 6, 7]
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
    verified = await command(live, "verify", path, *key, *shown, "--json")
    assert verified.exit_code == 0, verified.output
    assert json.loads(verified.stdout)["logged"] >= 0
    explained = await command(live, "explain", path)
    assert "1 rows released" in explained.output
    part = next(path.glob("part-*"))
    part.write_bytes(part.read_bytes().replace(b"1200", b"1300"))
    spoilt = await command(live, "verify", part, *key)
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
    other = await command(live, "run", "notes", *asked)
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
    status = await command(live, "status", "--settings", settings, "--json")
    assert [(one["id"], one["state"], one["rows"]) for one in json.loads(status.stdout)] == [(path.name, "released", 1)]


async def test_a_plan_shows_what_each_field_would_become_before_anything_moves(live: Stand) -> None:
    await person(live, 1)
    asked = ("notes", "--to", "near", "--for", "analytics", "--settings", live.folder / "cell.toml")
    shown = await command(live, "plan", *asked, "--sample", "1")
    assert shown.exit_code == 0, shown.output
    assert "1234" in shown.output
    assert "1200" in shown.output
    planned = json.loads((await command(live, "plan", *asked, "--residence", "DE", "--json")).stdout)
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


async def test_a_withdrawal_holds_from_the_next_batch_on(live: Stand) -> None:
    ann, _ = await person(live, 1, given=True)
    before = await events(live, {"subject_id": ann, "rank": 1})
    home = live.cell.context.homes.get(ann)
    assert home is not None
    async with connect(live.dsns[home.shard].owner) as db:
        await db.execute("UPDATE product.consents SET given = false WHERE subject_id = $1", ann)
    after = await events(live, {"subject_id": ann, "rank": 2})
    assert ([one["rank"] for one in before.json()["events"]], after.json()["events"]) == ([1], [])


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


async def test_a_gateway_hands_no_release_over(live: Stand) -> None:
    forged = {"id": "release:rel-1", "at": 1.0, "kind": "access", "actor": "a", "subject_id": None, "details": {}}
    headers = live.tokens.headers("gateway:eu", ["gateway:eu"])
    answer = await live.call("POST", "/cell/events", headers, json={"events": [forged]})
    assert (answer.status_code, "the cell's own" in answer.text) == (400, True)

"""Break-glass on a real cell: its directory, Postgres, log and HTTP, asked by the command as people do."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization

from cells.breakglass.keeper import Keeper
from cells.breakglass.roles import audited
from cells.breakglass.settings import AccessSettings, Tickets
from cells.breakglass.steps import Locked
from cells.breakglass.store import ROWS, PostgresSteps
from cells.breakglass.words import engineer_of
from deploy.local import access as stack_access
from deploy.local.layout import SERVICE_ISSUER, Paths
from deploy.local.postgres import PostgresServer
from foundation.clock import SystemClock
from foundation.ledger.settings import LedgerSettings
from foundation.postgres import connect
from foundation.problems import ProblemError
from gateway.cli.main import cli
from tests.stands.access import CELL, authority
from tests.stands.access_cell import OWNER
from tests.stands.cell import Stand, stand
from tests.stands.ledger import kept_by, reader
from tests.stands.servers import serving
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.shard import database_of
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio


class Office:
    """A running cell with break-glass, and people's tokens in files."""

    def __init__(self, live: Stand, staff: ServiceIssuer, folder: Path) -> None:
        self.live = live
        self.folder = folder
        self.port = 0
        self._staff = staff

    def token(self, name: str, *roles: str, at: str = "DE", home: str = "DE") -> str:
        return self._staff.token(name, roles, home_country=home, observed_country=at)

    def on_call(self, name: str) -> Path:
        file = self.folder / f"{name}.duty"
        file.write_text(self._staff.token(name, [], aud=stack_access.duty_audience(CELL), on_call=True))
        return file

    def head(self, name: str, *roles: str, at: str = "DE") -> dict[str, str]:
        return {"authorization": f"Bearer {self.token(name, *roles, at=at)}", "domicile-declared": at}

    async def command(self, who: str, role: str, *words: str | Path, at: str = "DE") -> Result:
        """`domicile access WORDS` by somebody."""
        file = self.folder / f"{who}.jwt"
        file.write_text(self.token(who, role, at=at))
        there = ("--url", f"http://127.0.0.1:{self.port}", "--token-file", str(file), "--from", at)
        return await asyncio.to_thread(CliRunner().invoke, cli, ["access", *map(str, words), *there])

    async def told(self, who: str, role: str, *words: str | Path, at: str = "DE") -> Any:
        done = await self.command(who, role, *words, "--json", at=at)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)


async def logins(server: PostgresServer) -> tuple[str, ...]:
    """Whoever may log in to the server of all tests, before somebody else may."""
    async with connect(server.dsn()) as admin:
        rows = await admin.fetch("SELECT rolname FROM pg_catalog.pg_roles WHERE rolcanlogin")
    return tuple(row["rolname"] for row in rows)


@pytest.fixture(scope="module")
async def office(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Office]:
    folder = tmp_path_factory.mktemp("office")
    with pytest.MonkeyPatch.context() as patch:
        async with opened_office(postgres_server, folder, patch, kept_by(folder)) as made:
            yield made


@asynccontextmanager
async def opened_office(
    server: PostgresServer, folder: Path, patch: pytest.MonkeyPatch, ledger: LedgerSettings
) -> AsyncIterator[Office]:
    # One key signs for both audiences, as the stack's does.
    staff = ServiceIssuer(folder, issuer=SERVICE_ISSUER, audience=stack_access.audience(CELL))
    authority(folder)
    (folder / "owner.vkey").write_text(OWNER.verifier.text)
    (folder / "owner.key").touch(mode=0o600)
    (folder / "owner.key").write_text(OWNER.text.reveal())
    (folder / "tickets.json").write_text(json.dumps({"OPS-7": "open"}))
    async with stand(server, folder, patch) as built:
        built.ledger = ledger
        built.access = AccessSettings(
            issuer=staff.issuer,
            on_call=msgspec.structs.replace(staff.issuer, audience=stack_access.duty_audience(CELL)),
            authority_key=str(folder / f"{CELL}.ca-key"),
            authority_certificate=str(folder / f"{CELL}.ca.pem"),
            tickets=Tickets(file=str(folder / "tickets.json")),
            exception_keys=(str(folder / "owner.vkey"),),
            logins=await logins(server),
        )
        async with built.running() as cell, serving(cell.app) as port:
            made = Office(built, staff, folder)
            made.port = port
            paths = Paths(folder / "state")
            staff.key_file(paths.service_issuer_key)
            cells = {CELL: {"service": f"http://127.0.0.1:{port}"}}
            paths.stack.write_text(json.dumps({"directory": {}, "regions": {}, "cells": cells}))
            yield made


MINUTES = """
UPDATE domicile.outbox SET details = jsonb_set(details, '{terms,minutes}', to_jsonb($1::int))
WHERE kind = 'grant' AND details->>'step' = 'requested' AND details->>'grant' = $2
"""
REQUEST = ("request", "--purpose", "debugging", "--ticket", "OPS-7", "--reason", "wrong totals")


async def test_an_engineer_far_away_gets_a_certificate_by_an_approval_inside_and_loses_it(
    office: Office, folder: Path
) -> None:
    subject, _ = await office.live.place()
    asked = await office.told("alice", "engineer", *REQUEST, "--subjects", subject, at="US")
    grant = asked["grant"]["id"]
    assert (asked["phase"], asked["grant"]["presence"]["inside"]) == ("requested", False)
    far = await office.told("dan", "approver", "approve", grant, "--version", "1", at="US")
    assert far["phase"] == "requested"
    near = await office.told("bob", "approver", "approve", grant, "--version", "1")
    assert near["phase"] == "approved"
    files = ("--out", folder / "a.pem", "--key-out", folder / "a.key")
    certified = await office.told("alice", "engineer", "certificate", grant, *files, at="US")
    intent = certified["told"]["grant"]["intents"][0]
    found = reader(office.folder / "log").find(f"grant:{grant}:2")
    assert found is not None
    assert found.index == intent["index"]
    checked = await office.told("alice", "engineer", "check", folder / "a.pem", at="US")
    assert checked["told"]["phase"] == "active"
    again = await office.command("alice", "engineer", "certificate", grant, *files, at="US")
    assert (again.exit_code, "not written over" in again.output) == (1, True)
    ended = await office.told("bob", "approver", "revoke", grant, "--reason", "found it")
    assert ended["phase"] == "revoked"
    refused = await office.command("alice", "engineer", "check", folder / "a.pem", at="US")
    assert (refused.exit_code, "opens nothing" in refused.output) == (1, True)
    shown = await office.command("ida", "auditor", "list")
    assert (grant in shown.output, "revoked" in shown.output) == (True, True)
    reported = await office.command("ida", "auditor", "report", "--subject", subject)
    assert "approved by engineer:bob" in reported.output
    await held_against_the_ledger(office)


async def held_against_the_ledger(office: Office) -> None:
    """A replay of the log comes to what the cell says, once it has taken everything in."""
    log = ("--log", office.folder / "log", "--key", office.folder / "log.vkey")

    async def same() -> bool:
        return (await office.command("ida", "auditor", "replay", *log)).exit_code == 0

    await eventually(same)
    told = await office.told("ida", "auditor", "replay", *log)
    assert (told["same"], told["steps"] > 0) == (True, True)


async def test_the_log_of_a_cell_whose_database_says_otherwise_is_not_what_the_cell_says(office: Office) -> None:
    subject, _ = await office.live.place()
    asked = await office.told("alice", "engineer", *REQUEST, "--subjects", subject)
    await held_against_the_ledger(office)
    async with connect(office.live.dsns["s1"].owner) as owner:
        await owner.execute(MINUTES, 60, asked["grant"]["id"])
    keeper = Keeper(PostgresSteps(office.live.cell.context.event_shard), SystemClock())
    changed = (await keeper.book())[0]
    assert changed.grants[asked["grant"]["id"]].terms.minutes == 60
    office.live.cell.access.calls._keeper._forget()  # type: ignore[union-attr]  # as a restart does
    log = ("--log", office.folder / "log", "--key", office.folder / "log.vkey")
    other = await office.command("ida", "auditor", "replay", *log)
    assert (other.exit_code, "the cell says" in other.output) == (1, True), other.output
    async with connect(office.live.dsns["s1"].owner) as owner:
        await owner.execute(MINUTES, 15, asked["grant"]["id"])
    office.live.cell.access.calls._keeper._forget()  # type: ignore[union-attr]
    await held_against_the_ledger(office)


async def test_an_emergency_and_its_review_and_a_lock(office: Office, folder: Path) -> None:
    subject, _ = await office.live.place()
    words = (*REQUEST, "--subjects", subject, "--minutes", "30", "--emergency", "--on-call", office.on_call("alice"))
    told = await office.told("alice", "engineer", *words, at="US")
    grant = told["grant"]["id"]
    assert told["phase"] == "approved"
    files = ("--out", folder / "e.pem", "--key-out", folder / "e.pk8")
    await office.told("alice", "engineer", "certificate", grant, *files, at="US")
    assert serialization.load_der_private_key((folder / "e.pk8").read_bytes(), None).key_size == 256  # type: ignore[union-attr]
    review = ("review", grant, "--verdict", "justified", "--note", "the export was wrong")
    assert (await office.command("alice", "approver", *review)).exit_code == 1
    assert (await office.told("sam", "security", *review))["grant"]["review"]["verdict"] == "justified"
    await office.told("sam", "security", "lock", "engineer:alice", "--reason", "laptop stolen")
    await eventually(lambda: _told(office))
    listed = await office.command("ida", "auditor", "locks")
    assert ("engineer:alice" in listed.output, "this cell's are told" in listed.output) == (True, True), listed.output
    refused = await office.command("alice", "engineer", "check", folder / "e.pem", at="US")
    assert (refused.exit_code, "locked" in refused.output) == (1, True)
    assert (await office.told("sam", "security", "unlock", "engineer:alice", "--reason", "found"))["locks"] == []
    await office.told("alice", "engineer", "check", folder / "e.pem", at="US")
    await held_against_the_ledger(office)


async def _told(office: Office) -> bool:
    return bool((await office.told("ida", "auditor", "locks"))["feed"]["told"])


async def test_a_request_is_edited_denied_closed_and_an_exception_lifts_a_rule_by_the_command(
    office: Office, folder: Path
) -> None:
    subject, _ = await office.live.place()
    words = (*REQUEST, "--subjects", subject)

    async def asked(at: str = "DE") -> str:
        return str((await office.told("alice", "engineer", *words, at=at))["grant"]["id"])

    first = await asked()
    edit = ("edit", first, *words[1:], "--minutes", "60")
    assert (await office.told("alice", "engineer", *edit))["grant"]["version"] == 2
    stale = await office.command("bob", "approver", "approve", first, "--version", "1")
    assert (stale.exit_code, "edited meanwhile" in stale.output) == (1, True)
    assert (await office.told("bob", "approver", "deny", first, "--reason", "no"))["phase"] == "denied"
    second = await asked()
    assert (await office.told("alice", "engineer", "close", second, "--reason", "found it"))["phase"] == "closed"
    exempt = ("exempt", "--cell", CELL, "--engineer", "engineer:alice", "--rule", "inside_approver")
    how = ("--purpose", "debugging", "--days", "7", "--reason", "nobody is in", "--key", office.folder / "owner.key")
    kept = await office.told("sam", "security", *exempt, *how)
    third = await asked(at="US")
    lifted = await office.told("bob", "approver", "approve", third, "--version", "1", at="US")
    assert (lifted["phase"], lifted["grant"]["votes"][0]["exceptions"]) == (
        "approved",
        [kept["exception"]["exception"]],
    )
    gone = await office.command("sam", "security", "withdraw", kept["exception"]["exception"], "--reason", "Monday")
    assert (gone.exit_code, "False" in gone.output) == (0, True)
    fourth = await asked(at="US")
    assert (await office.told("bob", "approver", "approve", fourth, "--version", "1", at="US"))["phase"] == "requested"
    shown = await office.command("alice", "engineer", "list")
    assert all(one in shown.output for one in (first, second, third, fourth))
    await held_against_the_ledger(office)


async def test_on_a_stack_a_command_asks_as_whom_it_names(office: Office) -> None:
    subject, _ = await office.live.place()

    async def on_stack(*words: str) -> Result:
        there = ("--state", str(office.folder / "state"), "--json")
        return await asyncio.to_thread(CliRunner().invoke, cli, ["access", *words, *there])

    asked = await on_stack(*REQUEST, "--subjects", subject, "--as", "alice", "--home", "US")
    assert asked.exit_code == 0, asked.output
    told = json.loads(asked.output)["grant"]
    assert (told["engineer"], told["presence"]["observed"], told["presence"]["declared"]) == (
        "engineer:alice",
        "US",
        "US",
    )
    own = await on_stack("approve", told["id"], "--version", "1", "--as", "alice")
    assert (own.exit_code, "403" in own.output) == (1, True)
    approved = await on_stack("approve", told["id"], "--version", "1", "--as", "bob")
    assert json.loads(approved.output)["phase"] == "approved"
    urgent = await on_stack(*REQUEST, "--subjects", subject, "--minutes", "5", "--emergency", "--as", "alice")
    assert json.loads(urgent.output)["phase"] == "approved"
    unknown = await on_stack("list", "--cell", "us-va")
    assert (unknown.exit_code, "no cell us-va" in unknown.output) == (1, True)


async def test_two_processes_of_a_cell_take_turns_and_lose_no_step(office: Office) -> None:
    steps = PostgresSteps(office.live.cell.context.event_shard)
    keepers = [Keeper(steps, SystemClock()) for _ in range(2)]
    people = [engineer_of(f"p{number}") for number in range(20)]

    async def lock(number: int) -> None:
        keeper = keepers[number % 2]
        await keeper.act(engineer_of("sam"), lambda _book, _at: (Locked(person=people[number], reason="x"),))

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(lock(number))
    books = [(await keeper.book())[0] for keeper in keepers]
    assert set(books[0].locks) == set(people)
    assert books[0].digest() == books[1].digest()


async def test_steps_are_read_by_an_index_of_their_own(office: Office) -> None:
    async with connect(office.live.dsns["s1"].owner) as connection:
        await connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
        await connection.execute(f"PREPARE asked AS {ROWS}")
        plan = "\n".join(row[0] for row in await connection.fetch("EXPLAIN EXECUTE asked(5, 10)"))
    assert "outbox_of_breakglass" in plan
    assert "Sort" not in plan


async def test_while_the_shard_is_lost_nothing_is_granted_and_afterwards_nothing_is_forgotten(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = office.live
    subject, _ = await live.place()
    terms = {"subjects": [subject], "purpose": "debugging", "ticket": "OPS-7", "minutes": 15, "reason": "x"}
    asked = await live.call("POST", "/access/grants", office.head("alice", "engineer"), json={"terms": terms})
    assert asked.status_code == 201, asked.text
    grant = asked.json()["grant"]["id"]
    keeper = live.cell.access.calls._keeper  # type: ignore[union-attr]

    async def broken(*_: object) -> None:
        async with connect(live.dsns["s1"].owner) as owner:
            await owner.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'domicile_cell' AND datname = $1",
                database_of(live.dsns["s1"]),
            )

    real = keeper._written

    async def cut_off(*given: Any) -> None:
        await broken()
        await real(*given)

    path, body = f"/access/grants/{grant}/approve", {"version": 1}
    with monkeypatch.context() as patch:
        patch.setattr(keeper, "_written", cut_off)
        assert (await live.call("POST", path, office.head("bob", "approver"), json=body)).status_code == 503
    await eventually(lambda: live.cell.context.shards["s1"].up is not None)  # type: ignore[index]

    async def phase() -> str:
        answer = await live.call("GET", f"/access/grants/{grant}", office.head("alice", "engineer"))
        return str(answer.json().get("phase"))

    async def requested() -> bool:
        return await phase() == "requested"

    await eventually(requested)
    assert (await live.call("POST", path, office.head("bob", "approver"), json=body)).status_code == 200
    assert await phase() == "approved"


async def test_nobody_holds_a_standing_login_until_somebody_does(
    office: Office, postgres_server: PostgresServer
) -> None:
    clean = await office.told("ida", "auditor", "audit-roles")
    assert [(shard["shard"], shard["standing"]) for shard in clean["shards"]] == [("s1", []), ("s2", [])]
    found = {login["role"]: login["may"] for shard in clean["shards"] for login in shard["services"]}
    assert {"domicile", "domicile_cell", "domicile_owner", "domicile_records"} <= set(found)
    assert ("superuser" in found["domicile"], found["domicile_cell"]) == (True, [])
    bare = await audited(office.live.cell.context.shards, ())
    assert (bare.clean, "domicile" in {one.role for one in bare.shards[0].standing}) == (False, True)
    assert "domicile_cell" not in {one.role for shard in bare.shards for one in shard.standing}
    name = f"dba_{secrets.token_hex(4)}"
    async with connect(postgres_server.dsn()) as admin:
        await admin.execute(f"CREATE ROLE {name} LOGIN CREATEROLE")
    try:
        done = await office.command("ida", "auditor", "audit-roles")
        assert (done.exit_code, name in done.output, "create roles" in done.output) == (1, True, True)
        assert (await office.command("alice", "engineer", "audit-roles")).exit_code == 1
    finally:
        async with connect(postgres_server.dsn()) as admin:
            await admin.execute(f"DROP ROLE {name}")
    assert (await office.told("ida", "auditor", "audit-roles"))["clean"] is True


async def test_a_shard_that_is_down_proves_nothing(office: Office) -> None:
    shard = office.live.cell.context.shards["s2"]  # type: ignore[index]
    held, shard.up = shard.up, None
    try:
        answer = await office.live.call("GET", "/access/roles", office.head("ida", "auditor"))
        assert answer.status_code == 503
        with pytest.raises(ProblemError):
            shard.require()
    finally:
        shard.up = held

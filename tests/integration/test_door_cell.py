"""The SQL door of a real cell: its wall, its record, its ledger; psql by the command, psycopg with libpq's own TLS."""

import asyncio
import json
import os
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest

from cells.breakglass.door.settings import DoorSettings, DoorTls
from cells.breakglass.settings import AccessSettings, Tickets
from cells.breakglass.statements.entries import Intended, Opened
from cells.breakglass.statements.reading import kept
from cells.breakglass.wall.server import preparation
from deploy.local import access as stack_access
from deploy.local.layout import SERVICE_ISSUER, Paths
from deploy.local.postgres import PostgresServer
from foundation.clock import SystemClock
from foundation.postgres import connect
from tests.integration.test_access_cell import REQUEST, Office, logins
from tests.stands.access import CELL, authority
from tests.stands.cell import stand
from tests.stands.certificates import Authority
from tests.stands.ledger import kept_by, reader
from tests.stands.servers import serving
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.shard import database_of
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

BODY = "call me at home"
MASKED = f"*** ({len(BODY)} characters)"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"}


class DoorOffice(Office):
    """The same with a door."""

    authorities: Path

    @property
    def door(self) -> int:
        access = self.live.cell.access
        assert access is not None
        assert access.door is not None
        return access.door.port

    async def granted(self, subject: str, *, at: str = "DE") -> str:
        asked = await self.told("alice", "engineer", *REQUEST, "--subjects", subject, at=at)
        grant = str(asked["grant"]["id"])
        await self.told("bob", "approver", "approve", grant, "--version", "1")
        return grant

    async def certified(self, subject: str, *, at: str = "DE") -> tuple[str, Path, Path]:
        grant = await self.granted(subject, at=at)
        files = self.folder / f"{grant}.pem", self.folder / f"{grant}.key"
        await self.told("alice", "engineer", "certificate", grant, "--out", files[0], "--key-out", files[1], at=at)
        return grant, *files

    def conninfo(self, certificate: Path, key: Path, shard: str, **more: Any) -> str:
        given = {
            "host": "127.0.0.1",
            "port": self.door,
            "dbname": shard,
            "user": "alice",
            "sslmode": "verify-full",
            "sslrootcert": self.authorities,
            "sslcert": certificate,
            "sslkey": key,
        } | more
        return " ".join(f"{name}='{value}'" for name, value in given.items())

    async def person(self) -> tuple[str, str]:
        """A subject with a note, and its shard."""
        subject, _ = await self.live.place()
        home = self.live.cell.context.homes.get(subject)
        assert home is not None
        async with connect(self.live.dsns[home.shard].owner) as owner:
            await owner.execute("INSERT INTO product.notes (subject_id, body, rank) VALUES ($1, $2, 1)", subject, BODY)
        return str(subject), str(home.shard)

    def recorded(self, grant: str) -> list[str]:
        """Texts of statements that stand in the ledger for the sessions of a grant, in their order."""
        log = self.folder / "log"
        said = [one.said for one in kept(reader(log), log)]
        sessions = {one.session for one in said if isinstance(one, Opened) and one.grant == grant}
        return [one.text for one in said if isinstance(one, Intended) and one.session in sessions]


@pytest.fixture(scope="module")
async def office(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[DoorOffice]:
    folder = tmp_path_factory.mktemp("door-office")
    staff = ServiceIssuer(folder, issuer=SERVICE_ISSUER, audience=stack_access.audience(CELL))
    authority(folder, at_us=int(SystemClock().unix_s()) * 1_000_000)
    (folder / "tickets.json").write_text(json.dumps({"OPS-7": "open"}))
    files = Authority(folder, "door").sign("127.0.0.1")
    with pytest.MonkeyPatch.context() as patch:
        async with stand(postgres_server, folder, patch) as built:
            for dsns in built.dsns.values():
                async with connect(postgres_server.dsn(database_of(dsns))) as admin:
                    await admin.execute(preparation())
            built.ledger = kept_by(folder)
            built.access = AccessSettings(
                issuer=staff.issuer,
                authority_key=str(folder / f"{CELL}.ca-key"),
                authority_certificate=str(folder / f"{CELL}.ca.pem"),
                tickets=Tickets(file=str(folder / "tickets.json")),
                logins=await logins(postgres_server),
                door=DoorSettings(host="127.0.0.1", port=0, tls=DoorTls(certificate=files[0], key=files[1])),
            )
            async with built.running() as cell, serving(cell.app) as port:
                made = DoorOffice(built, staff, folder)
                made.port, made.authorities = port, folder / "door.pem"
                paths = Paths(folder / "state")
                staff.key_file(paths.service_issuer_key)
                assert cell.access is not None
                assert cell.access.door is not None
                await cell.access.door.listens.wait()
                cells = {CELL: {"service": f"http://127.0.0.1:{port}", "door": f"127.0.0.1:{made.door}"}}
                paths.stack.write_text(json.dumps({"directory": {}, "regions": {}, "cells": cells}))
                shown = stack_access.door_certificate(paths, CELL)
                shown.parent.mkdir(parents=True, exist_ok=True)
                shown.write_bytes(made.authorities.read_bytes())
                yield made


async def test_psql_shows_masked_rows_under_a_grant_and_each_statement_stands_in_the_ledger(office: DoorOffice) -> None:
    subject, _ = await office.person()
    grant = await office.granted(subject)
    text = "SELECT body FROM wall.notes"
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-c", "from gateway.cli.main import cli; cli()", "access", "psql", grant),
        *("--as", "alice", "--state", str(office.folder / "state"), "--"),
        *("-X", "-A", "-t", "-c", text, "-c", "SELECT current_database() IS NULL"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=ENVIRONMENT,
    )
    out, err = await asyncio.wait_for(child.communicate(), 60)
    assert (child.returncode, out.decode().split("\n")[0]) == (0, MASKED), (out, err)
    await eventually(lambda: text in office.recorded(grant))


async def test_psycopg_comes_in_with_libpqs_own_tls_and_is_recorded_in_pipelines_too(office: DoorOffice) -> None:
    subject, shard = await office.person()
    grant, certificate, key = await office.certified(subject)
    async with await psycopg.AsyncConnection.connect(
        office.conninfo(certificate, key, shard), autocommit=True, prepare_threshold=0
    ) as connection:
        assert connection.pgconn.ssl_in_use
        shown = await connection.execute("SELECT body FROM wall.notes WHERE subject_id = %s", [subject])
        assert await shown.fetchall() == [(MASKED,)]
        async with connection.pipeline():
            cursors = [await connection.execute("SELECT %s::int + 1", [number]) for number in range(5)]
            assert [(await one.fetchone()) for one in cursors] == [(n + 1,) for n in range(5)]
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            async with connection.cursor().copy("COPY (SELECT 1) TO STDOUT"):
                pass
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute("SELECT body FROM product.notes")
        async with connection.transaction():
            await connection.execute("SELECT 1")
    await eventually(lambda: len(office.recorded(grant)) >= 9)
    # Five runs, and the name that psycopg gives it meanwhile.
    assert office.recorded(grant).count("SELECT $1::int + 1") == 6


async def test_from_outside_less_is_shown_and_libpq_negotiates_at_once_and_3_2_down(office: DoorOffice) -> None:
    subject, shard = await office.person()
    _, certificate, key = await office.certified(subject, at="US")
    assert psycopg.pq.version() >= 180_000
    for more in ({"sslnegotiation": "direct"}, {"max_protocol_version": "3.2"}):
        async with await psycopg.AsyncConnection.connect(
            office.conninfo(certificate, key, shard, **more)
        ) as connection:
            assert (await (await connection.execute("SELECT body FROM wall.notes")).fetchone()) == ("***",)


@pytest.mark.parametrize("how", ["revoked", "locked", "ticket"])
async def test_a_session_ends_within_a_second_of_what_lets_it_in(office: DoorOffice, how: str) -> None:
    subject, shard = await office.person()
    grant, certificate, key = await office.certified(subject)
    async with await psycopg.AsyncConnection.connect(
        office.conninfo(certificate, key, shard), autocommit=True
    ) as connection:
        await connection.execute("SELECT 1")
        match how:
            case "revoked":
                await office.told("bob", "approver", "revoke", grant, "--reason", "found it")
            case "locked":
                await office.told("sam", "security", "lock", "engineer:alice", "--reason", "laptop stolen")
            case _:
                (office.folder / "tickets.json").write_text(json.dumps({"OPS-7": "closed"}))
        try:
            await eventually(lambda: not _sessions(office), s_max=3.0)
            with pytest.raises(psycopg.errors.AdminShutdown):
                await connection.execute("SELECT 2")
        finally:
            (office.folder / "tickets.json").write_text(json.dumps({"OPS-7": "open"}))
            if how == "locked":
                await office.told("sam", "security", "unlock", "engineer:alice", "--reason", "found")
    await eventually(lambda: office.recorded(grant)[-1:] == ["SELECT 1"])


def _sessions(office: DoorOffice) -> int:
    access = office.live.cell.access
    assert access is not None
    assert access.door is not None
    return len(access.door._cancels)


async def test_a_subject_that_is_not_the_grants_is_not_there(office: DoorOffice) -> None:
    subject, shard = await office.person()
    while True:
        other, elsewhere = await office.person()
        if elsewhere == shard:
            break
    _, certificate, key = await office.certified(subject)
    context = ssl.create_default_context(cafile=office.authorities)
    context.load_cert_chain(certificate, key)
    connection = await asyncpg.connect(  # noqa: TID251
        host="127.0.0.1", port=office.door, database=shard, user="alice", ssl=context, timeout=10
    )
    try:
        seen = {str(row["subject_id"]) for row in await connection.fetch("SELECT subject_id FROM wall.notes")}
        assert (subject in seen, other in seen) == (True, False)
    finally:
        await connection.close()

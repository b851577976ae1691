"""Two cells with break-glass before one real directory, from which each can be cut off. The first has an SQL door; the second is started by
the test."""

import asyncio
import json
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cells.breakglass.door.settings import DoorSettings, DoorTls
from cells.breakglass.locks.elsewhere import Elsewhere
from cells.breakglass.settings import AccessSettings, Tickets
from cells.breakglass.wall.server import preparation
from deploy.local.postgres import PostgresServer
from directory.app import opened as opened_directory
from foundation.clock import SystemClock
from foundation.http import HttpClient
from foundation.postgres import connect
from foundation.words import CellId
from tests.stands.access import authority, signing_request
from tests.stands.access_cell import terms
from tests.stands.cell import Stand
from tests.stands.certificates import Authority
from tests.stands.directory import Callers
from tests.stands.ledger import kept_by
from tests.stands.servers import serving
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.shard import database_of, drop_database, make_shard_database
from tests.stands.waiting import eventually
from tests.stands.wire import Wire

HERE, FAR = CellId("eu-de"), CellId("us-va")
COUNTRY = {HERE: "DE", FAR: "US"}
SHARDS = {HERE: ("s1", "s2"), FAR: ("s1",)}


class OfficeCell(Stand):
    """A cell whose engineers sign in at `staff`. `wire`: its way to the directory."""

    wire: Wire
    staff: ServiceIssuer

    def who(self, name: str, *roles: str) -> dict[str, str]:
        country = COUNTRY[self.name]
        token = self.staff.token(name, roles or ("engineer",), home_country=country, observed_country=country)
        return {"authorization": f"Bearer {token}", "domicile-declared": country}

    async def post(self, path: str, head: dict[str, str], body: Any) -> httpx.Response:
        return await self.http.post(f"/access/{path}", headers=head, json=body)

    async def lock(self, name: str, path: str = "locks") -> None:
        body = {"person": f"engineer:{name}", "reason": "laptop stolen"}
        answer = await self.post(path, self.who("sam", "security"), body)
        assert answer.status_code == 200, answer.text

    async def locks(self) -> dict[str, Any]:
        answer = await self.http.get("/access/locks", headers=self.who("sam", "security"))
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    @property
    def heard(self) -> Elsewhere:
        assert self.cell.access is not None
        return self.cell.access.locks.elsewhere

    async def asked(self, subject: str, *, on_call: bool = False) -> httpx.Response:
        """Alice's request."""
        body: dict[str, Any] = {"terms": terms(subjects=[subject])}
        if on_call:
            body["on_call"] = self.staff.token("alice", [], aud="on-call", on_call=True)
        return await self.post("grants", self.who("alice"), body)

    async def approved(self, subject: str) -> str:
        asked = await self.asked(subject)
        assert asked.status_code == 201, asked.text
        grant = str(asked.json()["grant"]["id"])
        answer = await self.post(f"grants/{grant}/approve", self.who("bob", "approver"), {"version": 1})
        assert answer.status_code == 200, answer.text
        return grant

    async def certificate(self, grant: str) -> tuple[Path, Path]:
        """Alice's under a grant, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        answer = await self.post(f"grants/{grant}/certificate", self.who("alice"), {"request": signing_request(key)})
        assert answer.status_code == 201, answer.text
        files = self.folder / f"{grant}.pem", self.folder / f"{grant}.key"
        files[0].write_text(answer.json()["certificate"])
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        files[1].touch(mode=0o600)
        files[1].write_bytes(private)
        return files

    @asynccontextmanager
    async def session(
        self, subject: str, files: tuple[Path, Path]
    ) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """Through the door."""
        access, home = self.cell.access, self.cell.context.homes.get(subject)  # type: ignore[arg-type]
        assert access is not None
        assert access.door is not None
        assert home is not None
        context = ssl.create_default_context(cafile=self.folder / "door.pem")
        context.load_cert_chain(*files)
        given: dict[str, Any] = {"database": home.shard, "user": "alice", "ssl": context, "timeout": 60}
        connection = await asyncpg.connect(host="127.0.0.1", port=access.door.port, **given)  # noqa: TID251
        try:
            yield connection
        finally:
            connection.terminate()


class TwoOffices(msgspec.Struct, frozen=True):
    here: OfficeCell
    far: OfficeCell
    calls: Callers


@asynccontextmanager
async def two_offices(
    server: PostgresServer, folder: Path, patch: pytest.MonkeyPatch, policy: str
) -> AsyncIterator[TwoOffices]:
    names = [f"dir_{secrets.token_hex(6)}"]
    async with connect(server.dsn()) as admin:
        await admin.execute(f"CREATE DATABASE {names[0]}")
    tokens = ServiceIssuer(folder)
    staff = ServiceIssuer(folder, issuer="https://staff.example.com", audience="access")
    cells: dict[CellId, OfficeCell] = {}
    try:
        async with (
            opened_directory(server.dsn(names[0]), [tokens.issuer]) as directory,
            asyncio.TaskGroup() as group,
            serving(directory.app) as port,
            HttpClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http,
        ):
            tasks = [group.create_task(worker()) for worker in directory.workers.values()]
            calls = Callers(http, tokens)
            await eventually(lambda: directory.services.commits.problem() is None, s_max=60)
            published = await calls.publisher.publish(policy)
            assert published.status_code == 201, published.text
            for cell in SHARDS:
                cells[cell] = await _cell(server, folder, patch, cell, tokens, port, names)
                cells[cell].staff, cells[cell].directory = staff, calls
                cells[cell].ledger = kept_by(cells[cell].folder)
                cells[cell].access = _access(cells[cell].folder, cell, staff, door=cell == HERE)
            async with cells[HERE].running() as running:
                assert running.access is not None
                assert running.access.door is not None
                await running.access.door.listens.wait()
                yield TwoOffices(cells[HERE], cells[FAR], calls)
            for task in tasks:
                task.cancel()
    finally:
        for one in cells.values():
            await one.wire.cut()
        for name in names:
            await drop_database(server, name)


async def _cell(
    server: PostgresServer,
    folder: Path,
    patch: pytest.MonkeyPatch,
    cell: CellId,
    tokens: ServiceIssuer,
    port: int,
    names: list[str],
) -> OfficeCell:
    dsns = {}
    for shard in SHARDS[cell]:
        name, dsns[shard] = await make_shard_database(server)
        names.append(name)
        async with connect(server.dsn(database_of(dsns[shard]))) as admin:
            await admin.execute(preparation())
        prefix = f"{cell.upper().replace('-', '_')}_{shard.upper()}"
        for suffix in ("owner", "cell", "records"):
            patch.setenv(f"{prefix}_{suffix.upper()}", getattr(dsns[shard], suffix).reveal())
    own = folder / cell
    own.mkdir()
    wire = Wire("127.0.0.1", port)
    await wire.mend()
    url = f"http://127.0.0.1:{wire.port}"
    built = OfficeCell(folder=own, tokens=tokens, directory_url=url, dsns=dsns, name=cell)
    built.wire = wire
    return built


def _access(folder: Path, cell: CellId, staff: ServiceIssuer, *, door: bool) -> AccessSettings:
    authority(folder, cell, at_us=int(SystemClock().unix_s()) * 1_000_000)
    (folder / "tickets.json").write_text(json.dumps({"OPS-7": "open"}))
    files = Authority(folder, "door").sign("127.0.0.1")
    tls = DoorTls(certificate=files[0], key=files[1])
    opens = DoorSettings(host="127.0.0.1", port=0, tls=tls, startup_s=60)
    return AccessSettings(
        issuer=staff.issuer,
        on_call=msgspec.structs.replace(staff.issuer, audience="on-call"),
        authority_key=str(folder / f"{cell}.ca-key"),
        authority_certificate=str(folder / f"{cell}.ca.pem"),
        tickets=Tickets(file=str(folder / "tickets.json")),
        door=opens if door else None,
    )

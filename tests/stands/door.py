"""The SQL door before a real Postgres, with certificates of real grants; a wall and a record that do the least that the ports promise."""

import asyncio
import secrets
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cells.breakglass.door.assembly import door_of
from cells.breakglass.door.door import Door
from cells.breakglass.door.ports import Column, Ending, NotRun, Outcome, Session, Spent, Statement
from cells.breakglass.door.settings import RECORDED_BYTES_MAX, DoorSettings, DoorTls
from cells.breakglass.statements.reading import DoorLog, Finding
from cells.breakglass.statements.recorder import Recorder
from cells.breakglass.statements.spending import Spending
from deploy.local.postgres import PostgresServer
from foundation.mute import Secret
from foundation.postgres import connect
from tests.stands.access import CELL, signing_request
from tests.stands.access_cell import AccessStand, access_stand
from tests.stands.certificates import Authority
from tests.stands.ledger import SIGNER

KEY = SIGNER.verifier
ROLE = "door_test_engineer"
PASSWORD = Secret("only-in-tests")
DDL = f"""
CREATE TABLE people (id int PRIMARY KEY, name text NOT NULL, born date);
INSERT INTO people SELECT n, 'name ' || n, date '2000-01-01' + n FROM generate_series(1, 300) AS n;
CREATE TABLE notes (id serial PRIMARY KEY, body text);
CREATE TABLE admitted (session text, pid int);
GRANT SELECT ON people TO {ROLE};
GRANT SELECT, INSERT ON notes TO {ROLE};
GRANT USAGE ON SEQUENCE notes_id_seq TO {ROLE};
"""


class TableWall:
    """Admits by a row in a table of the shard that the role cannot see."""

    def __init__(self, admin: Secret[str], engineer: Secret[str]) -> None:
        self._admin = admin
        self._engineer = engineer
        self.refuses = False

    async def credentials(self, shard: str, *, inside: bool) -> Secret[str]:
        return self._engineer

    async def admit(self, session: Session, pid: int) -> float:
        if self.refuses:
            raise NotRun(Ending.WALL)
        async with connect(self._admin) as admin:
            await admin.execute("INSERT INTO admitted (session, pid) VALUES ($1, $2)", session.id, pid)
            started = "SELECT extract(epoch FROM backend_start)::float8 FROM pg_stat_activity WHERE pid = $1"
            return float(await admin.fetchval(started, pid))

    async def leave(self, session_id: str) -> None:
        async with connect(self._admin) as admin:
            await admin.execute("DELETE FROM admitted WHERE session = $1", session_id)

    def named(self, session: Session, columns: tuple[Column, ...]) -> tuple[Column, ...]:
        return tuple(msgspec.structs.replace(one, masked=one.name == "name") for one in columns)


class Stalling:
    """An intent of the record below."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def give_up(self) -> None:
        self._task.cancel()


class ListRecord:
    """In memory. `goes_on` is cleared where recording stalls; `before`: what each grant has had already."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.statements: list[Statement] = []
        self.outcomes: list[Outcome] = []
        self.closings: dict[str, str] = {}
        self.ends: dict[str, Callable[[Ending], None]] = {}
        self.refuses: Ending | None = None
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.waiting = 0
        self.before = Spent()

    async def spent(self, grant: str) -> Spent:
        return self.before

    async def opened(self, session: Session, backend: str, end: Callable[[Ending], None]) -> None:
        self.sessions[session.id] = session
        self.ends[session.id] = end

    def intend(self, statement: Statement, then: Callable[[Ending | None], None]) -> "Stalling":
        return Stalling(asyncio.get_running_loop().create_task(self._intended(statement, then)))

    async def _intended(self, statement: Statement, then: Callable[[Ending | None], None]) -> None:
        self.waiting += 1
        try:
            await self.goes_on.wait()
        finally:
            self.waiting -= 1
        if self.refuses is None:
            self.statements.append(statement)
        then(self.refuses)

    def ended(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    async def closed(self, session_id: str, why: str) -> None:
        self.closings[session_id] = why
        del self.ends[session_id]

    def end(self, ending: Ending) -> None:
        for end in list(self.ends.values()):
            end(ending)

    def texts(self) -> list[str]:
        return [one.text for one in self.statements]


class DoorStand:
    """A door that listens, and what a client needs to come in."""

    def __init__(
        self,
        folder: Path,
        settings: DoorSettings,
        access: AccessStand,
        door: Door,
        wall: TableWall,
        record: ListRecord,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.access = access
        self.door = door
        self.wall = wall
        self.record = record
        self.admin: Secret[str]
        self.grant = ""
        self.certificate = folder / "engineer.pem"
        self.key = folder / "engineer.key"
        self.authorities = folder / "door.pem"

    @asynccontextmanager
    async def restarted(self) -> AsyncIterator[None]:
        """Inside it clients come to the door of the next process, which knows of this one what the ledger says."""
        recording, clock, log = self.access.access.recording, self.access.clock, DoorLog(self.folder / "log", KEY)
        finding, spending = Finding(self.access.writer, log), Spending(RECORDED_BYTES_MAX)
        recorder = Recorder(recording.committer, recording.watch, clock, finding, spending)
        authority, before = self.folder / f"{CELL}.ca.pem", self.door
        self.door = door_of(self.settings, authority, self.access.access.issuing, self.wall, recorder, clock)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(worker()) for worker in (recorder.run, self.door.run)]
                await self.door.listens.wait()
                yield
                for task in tasks:
                    task.cancel()
        finally:
            self.door = before

    async def certified(self, **terms: Any) -> None:
        """Another certificate, under a grant of its own."""
        self.grant = await self.access.approved(**terms)
        key = ec.generate_private_key(ec.SECP256R1())
        told = await self.access.certified(self.grant, request=signing_request(key))
        assert told.status_code == 201, told.text
        self.certificate.write_text(told.json()["certificate"])
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.key.touch(mode=0o600)
        self.key.write_bytes(private)

    def context(self, *, shown: bool = True) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=self.authorities)
        if shown:
            made.load_cert_chain(self.certificate, self.key)
        return made

    @asynccontextmanager
    async def asyncpg(self, **more: Any) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        given: dict[str, Any] = {"database": "s1", "user": "alice", "ssl": self.context(), "timeout": 10} | more
        connection = await asyncpg.connect(host="127.0.0.1", port=self.door.port, **given)  # noqa: TID251
        try:
            yield connection
        finally:
            connection.terminate()

    def conninfo(self, **more: Any) -> str:
        """For libpq."""
        given = {
            "host": "127.0.0.1",
            "port": self.door.port,
            "dbname": "s1",
            "user": "alice",
            "sslmode": "verify-full",
            "sslrootcert": self.authorities,
            "sslcert": self.certificate,
            "sslkey": self.key,
            "connect_timeout": 10,
        } | more
        return " ".join(f"{name}='{value}'" for name, value in given.items())

    async def rows(self, sql: str, *arguments: Any) -> list[Any]:
        """As the server's owner, past the door."""
        async with connect(self.admin) as admin:
            return list(await admin.fetch(sql, *arguments))

    async def backends(self) -> int:
        """Sessions of the engineers' role."""
        found = await self.rows("SELECT count(*) AS n FROM pg_stat_activity WHERE usename = $1", ROLE)
        return int(found[0]["n"])


class Raw:
    """A client of bytes, inside TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *messages: bytes) -> None:
        self.writer.write(b"".join(messages))

    async def message(self) -> tuple[bytes, bytes]:
        """Empty at the end."""
        try:
            head = await self.reader.readexactly(5)
        except (asyncio.IncompleteReadError, OSError):
            return b"", b""
        return head[:1], await self.reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)

    async def until(self, kind: bytes) -> list[tuple[bytes, bytes]]:
        """Messages up to one of a kind, or to the end."""
        found = [await self.message()]
        while found[-1][0] not in (kind, b""):
            found.append(await self.message())
        return found


def startup_packet(code: int = 196_608, /, **given: str) -> bytes:
    body = struct.pack("!i", code) + b"".join(f"{key}\0{value}\0".encode() for key, value in given.items()) + b"\0"
    return struct.pack("!i", len(body) + 4) + body


SSL_REQUEST = struct.pack("!ii", 8, 80_877_103)
GSS_REQUEST = struct.pack("!ii", 8, 80_877_104)


@asynccontextmanager
async def raw(stand: DoorStand, *, shown: bool = True) -> AsyncIterator[Raw]:
    """Inside TLS, before the startup packet."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stand.door.port)
    try:
        writer.write(SSL_REQUEST)
        assert await reader.readexactly(1) == b"S"
        await writer.start_tls(stand.context(shown=shown), server_hostname="127.0.0.1")
        yield Raw(reader, writer)
    finally:
        writer.transport.abort()


def asking(dsn: Secret[str], asked: str) -> Secret[str]:
    """The same with what is `asked` in the place of what it asks itself; "" leaves it as it is."""
    return Secret(f"{dsn.reveal().partition('?')[0]}?{asked}") if asked else dsn


async def database(server: PostgresServer, asked: str) -> tuple[str, Secret[str], Secret[str]]:
    """Its name, its owner's DSN, the engineers'."""

    def dsn(name: str = "postgres", **more: Any) -> Secret[str]:
        return asking(server.dsn(name, **more), asked)

    name = f"door_{secrets.token_hex(6)}"
    async with connect(dsn()) as admin:
        made = f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD.reveal()}'"
        await admin.execute(f"DO $$ BEGIN {made}; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        await admin.execute(f"CREATE DATABASE {name}")
    async with connect(dsn(name)) as admin:
        await admin.execute(DDL)
    return name, dsn(name), dsn(name, user=ROLE, password=PASSWORD)


@asynccontextmanager
async def door_stand(
    server: PostgresServer,
    folder: Path,
    patch: pytest.MonkeyPatch,
    *,
    ledger: bool = False,
    asked: str = "",
    **changes: Any,
) -> AsyncIterator[DoorStand]:
    """Changes are those of `[access.door]`. `ledger`: the record is the cell's own, and not in memory. `asked`: of the way to the shard, as
    a DSN has it."""
    name, admin, engineer = await database(server, asked)
    files = Authority(folder, "door").sign("127.0.0.1")
    usual: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "tls": DoorTls(certificate=files[0], key=files[1])}
    try:
        async with access_stand(folder, patch) as access, asyncio.TaskGroup() as group:
            wall, record = TableWall(admin, engineer), ListRecord()
            issuing, recording = access.access.issuing, access.access.recording
            used = recording.recorder if ledger else record
            authority = folder / f"{CELL}.ca.pem"
            settings = DoorSettings(**(usual | changes))
            door = door_of(settings, authority, issuing, wall, used, access.clock)
            stand = DoorStand(folder, settings, access, door, wall, record)
            stand.admin = admin
            await stand.certified()
            running = [group.create_task(door.run())]
            if ledger:
                running += [group.create_task(worker()) for worker in recording.workers.values()]
            await door.listens.wait()
            yield stand
            for task in running:
                task.cancel()
    finally:
        async with connect(asking(server.dsn(), asked)) as owner:
            await owner.execute(f"DROP DATABASE {name} WITH (FORCE)")

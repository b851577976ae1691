"""A whole cell for tests: the real directory and cell service over HTTP, two shard databases on real Postgres, callers in their roles."""

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from cells.app import Cell, opened
from cells.breakglass.settings import AccessSettings
from cells.egress.settings import EgressSettings
from cells.settings import CellSettings
from deploy.local.postgres import PostgresServer
from directory.app import opened as opened_directory
from foundation.blinding import LOGIN
from foundation.clock import SystemClock
from foundation.decision import Decision, ProvenKey, RootKey
from foundation.decision_header import Minter, new_decision_id
from foundation.http import HttpClient
from foundation.ledger.settings import LedgerSettings
from foundation.mute import Secret
from foundation.postgres import connect
from foundation.tasks import ended
from foundation.words import (
    RECORDS,
    ActorId,
    CellId,
    Country,
    Epoch,
    RulesDigest,
    ServiceId,
    SubjectId,
    Verb,
)
from tests.stands.directory import Callers, lookup_key
from tests.stands.servers import serving
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.shard import CELL, NOTES, Dsns, drop_database, folder_of, make_shard_database
from tests.stands.waiting import eventually

ORDERS = ServiceId("orders")
NEVER_S = 3_600.0
ROOT = RootKey("k1", Secret(b"c" * 32))
POLICY = """
[product]
citizenship = "residence"
decision_s = 12
[directory]
country = "DE"
[operator]
country = "DE"
sectors = []
recipient_classes = []
overlays = []
[regions.eu]
country = "DE"
origin = "https://eu.example.com"
[cells.eu-de]
region = "eu"
jurisdiction = "eu"
serves = ["eu"]
shards = { s1 = { dsn_env = "EU_DE_S1", country = "DE" }, s2 = { dsn_env = "EU_DE_S2", country = "DE" } }
[services.records]
purpose = "service"
hosts = { eu-de = ["127.0.0.1:7101"] }
[services.orders]
purpose = "service"
signup = ["/orders/sign-up"]
jobs = { verbs = ["read"], purpose = "service" }
hosts = { eu-de = ["127.0.0.1:7201"] }
[services.analytics]
purpose = "analytics"
hosts = { eu-de = ["127.0.0.1:7301"] }
"""


class Stand:
    """A running cell and its directory."""

    def __init__(
        self, *, folder: Path, tokens: ServiceIssuer, directory_url: str, dsns: dict[str, Dsns], name: CellId = CELL
    ) -> None:
        self.name = name
        self.folder = folder
        self.tokens = tokens
        self.directory_url = directory_url
        self.dsns = dsns
        self.minter = Minter(name, ROOT)
        self.ledger: LedgerSettings | None = None
        self.root = ROOT
        self.access: AccessSettings | None = None
        self.egress: EgressSettings | None = None
        self.directory: Callers
        self.cell: Cell
        self.http: HttpClient

    def settings(self, contracts: str = NOTES) -> CellSettings:
        ring = self.folder / "root.json"
        keys = {self.root.kid: base64.urlsafe_b64encode(self.root.key.reveal()).decode().rstrip("=")}
        ring.touch(mode=0o600)
        ring.write_text(json.dumps({"current": self.root.kid, "keys": keys}))
        token = self.folder / "cell.jwt"
        self.tokens.token_file(token, f"cell:{self.name}", ["resolver", f"cell:{self.name}", f"signup:{self.name}"])
        return CellSettings(
            cell=self.name,
            host="127.0.0.1",
            port=1,
            directory=self.directory_url,
            token_file=str(token),
            service_issuers=(self.tokens.issuer,),
            cell_root_keyring=str(ring),
            contracts=str(folder_of(self.folder / "contracts", contracts)),
            ledger=self.ledger,
            access=self.access,
            egress=self.egress,
        )

    def service(self, service: str = "orders") -> dict[str, str]:
        return self.tokens.headers(f"service:{service}", [f"service:{service}@{self.name}"])

    def decision(
        self,
        subject: SubjectId | None,
        epoch: int | None,
        *,
        service: str = RECORDS,
        verb: Verb = Verb.WRITE,
        actor: str | None = None,
        purpose: str = "service",
        rules: str | None = None,
        keys: tuple[ProvenKey, ...] = (),
        residence: str | None = None,
        minter: Minter | None = None,
        cell: CellId | None = None,
        **declared: Any,
    ) -> dict[str, str]:
        """The Domicile-Decision header of a request."""
        current = self.cell.context.rules.current
        decision = Decision(
            cell=cell or self.name,
            service=ServiceId(service),
            subject=subject,
            actor=ActorId(actor) if actor else (ActorId(subject) if subject else None),
            epoch=None if epoch is None else Epoch(epoch),
            verb=verb,
            purpose=purpose,
            rules=RulesDigest(rules) if rules else (current.digest if current else RulesDigest("sha256:" + "0" * 64)),
            expires=SystemClock().unix_s() + 15,
            id=new_decision_id(),
            keys=keys,
            residence=Country(residence) if residence else None,
            **declared,
        )
        return {"domicile-decision": (minter or self.minter).mint(decision)}

    def signing_up(self, name: str, residence: str = "DE", service: str = "orders", **declared: Any) -> dict[str, str]:
        header = self.decision(
            None,
            None,
            service=service,
            verb=Verb.SIGNUP,
            keys=(ProvenKey(LOGIN, lookup_key(name)),),
            residence=residence,
            **declared,
        )
        return header | self.service(service)

    async def place(
        self, name: str | None = None, services: tuple[str, ...] = ("orders",), residence: str = "DE"
    ) -> tuple[SubjectId, int]:
        """An active subject of this cell."""
        answer = await self.directory.operator.place(
            name or secrets.token_hex(8), residence=residence, services=list(services), wait_ms=2000
        )
        assert answer.status_code == 201, answer.text
        placement = answer.json()["placement"]
        subject, epoch = SubjectId(placement["subject_id"]), placement["epoch"]
        await eventually(lambda: self.stands(subject, epoch, "active"))
        return subject, epoch

    def stands(self, subject: SubjectId, epoch: int, state: str) -> bool:
        home = self.cell.context.homes.get(subject)
        return home is not None and home.epoch == epoch and home.state.value == state

    async def call(self, method: str, path: str, headers: dict[str, str], **more: Any) -> httpx.Response:
        return await self.http.request(method, path, headers=headers | more.pop("extra", {}), **more)

    @asynccontextmanager
    async def running(self, contracts: str = NOTES) -> AsyncIterator[Cell]:
        """A cell service process's inside: application and workers; ready when entered."""
        async with opened(self.settings(contracts)) as cell, asyncio.TaskGroup() as group:
            tasks = [group.create_task(worker()) for worker in cell.workers.values()]
            self.cell = cell
            transport = httpx.ASGITransport(app=cell.app)
            async with HttpClient(transport=transport, base_url="http://cell") as self.http:
                await eventually(lambda: cell.ready() is None, s_max=60)
                if cell.access is not None:
                    heard = cell.access.locks.elsewhere
                    await eventually(lambda: heard.fresh, s_max=60)
                    heard.stale_s_max = NEVER_S  # else a machine that is busy elsewhere lets nobody in
                yield cell
            await ended(tasks)


@asynccontextmanager
async def stand(
    server: PostgresServer,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    policy: str | None = POLICY,
    tokens: ServiceIssuer | None = None,
) -> AsyncIterator[Stand]:
    """Directory and shard databases, rules published; the cell service is started by `running`."""
    names: list[str] = []
    dsns: dict[str, Dsns] = {}
    for shard in ("s1", "s2"):
        name, dsns[shard] = await make_shard_database(server)
        names.append(name)
        for suffix, dsn in (("OWNER", dsns[shard].owner), ("CELL", dsns[shard].cell), ("RECORDS", dsns[shard].records)):
            monkeypatch.setenv(f"EU_DE_{shard.upper()}_{suffix}", dsn.reveal())
    directory_name = f"dir_{secrets.token_hex(6)}"
    async with connect(server.dsn()) as admin:
        await admin.execute(f"CREATE DATABASE {directory_name}")
    names.append(directory_name)
    tokens = tokens or ServiceIssuer(folder)
    try:
        async with (
            opened_directory(server.dsn(directory_name), [tokens.issuer]) as directory,
            asyncio.TaskGroup() as group,
        ):
            tasks = [group.create_task(worker()) for worker in directory.workers.values()]
            async with (
                serving(directory.app) as port,
                HttpClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http,
            ):
                url = f"http://127.0.0.1:{port}"
                built = Stand(folder=folder, tokens=tokens, directory_url=url, dsns=dsns)
                built.directory = Callers(http, tokens)
                if policy is not None:
                    published = await built.directory.publisher.publish(policy)
                    assert published.status_code == 201, published.text
                yield built
            await ended(tasks)
    finally:
        for name in names:
            await drop_database(server, name)


def decided(response: httpx.Response) -> Decision:
    """The decision inside an answer, unverified."""
    payload = response.json()["decision"].split(".")[2]
    return msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=Decision)

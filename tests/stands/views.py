"""Gateways of two regions before a real cell and a real directory, for what people show to others: policy, contracts, people at home."""

import base64
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from starlette.types import Receive, Scope, Send

from cells.egress.settings import EgressSettings
from deploy.local.postgres import PostgresServer
from directory.placement.core import Placement
from foundation.decision import RootKey
from foundation.decision_header import cell_root
from foundation.http import HttpClient
from foundation.ledger.notes import Signer
from foundation.mute import Secret
from foundation.postgres import connect
from foundation.settings import KeyringFile
from foundation.words import RegionId, SubjectId
from tests.stands.cell import Stand, stand
from tests.stands.edge import REGION_ROOT
from tests.stands.egress_cell import CONSENTS, CONSENTS_DDL
from tests.stands.servers import free_port, serving
from tests.stands.shard import CELL, rows
from tests.stands.travel import EU, GROUNDS, World, world

VIEWS = """
[services.views]
purpose = "public_view"
hosts = { eu-de = ["127.0.0.1:$port"], us-va = [] }
[destinations.us-readers]
country = "US"
purposes = ["public_view", "support"]
recipient_classes = []
readers = ["us-va"]
[destinations.eu-readers]
country = "DE"
purposes = ["public_view"]
recipient_classes = []
readers = ["eu-de"]
"""
NOTES = """
table: notes
placed_by: subject_id
owner: subject_id
rows: all_of_subject
access:
  person: {read: "*"}
public: [body, rank, done]
columns:
  subject_id: {type: uuid, class: pseudonymous}
  id:         {type: uuid, class: none}
  body:       {type: text, class: direct, leaving: {default: initials, "to:eu": keep, "purpose:support": keep}}
  rank:       {type: int, class: none, leaving: {default: keep}}
  total:      {type: bigint, class: none, leaving: {default: keep}}
  done:       {type: boolean, class: none, leaving: {"to:eu": keep}}
  card:       {type: text, class: direct, sealed: true}
"""


@dataclass
class Showing:
    """`gateways`: of eu and us, which know the homes of whoever was placed here. `cell`: eu-de."""

    gateways: World
    cell: Stand
    http: HttpClient

    async def placed(self, *, residence: str = "DE", **more: Any) -> tuple[str, Placement]:
        """Somebody active in the cell of their residence: the name in their token, and their placement."""
        name, calls = secrets.token_hex(6), self.cell.directory
        if residence == "DE":
            subject = await self._in_germany(name, **more)
        else:
            made = (await calls.operator.place(name, residence=residence, **more)).json()["placement"]
            subject = made["subject_id"]
            acknowledged = await calls.cell_us.post(f"/v1/subjects/{subject}/ack", {"epoch": made["epoch"]})
            assert acknowledged.status_code == 200, acknowledged.text
        answer = await calls.operator.get(f"/v1/subjects/{subject}")
        placement = msgspec.convert(answer.json()["placement"], Placement)
        self.gateways.settle(name, placement)
        return name, placement

    async def _in_germany(self, name: str, **more: Any) -> SubjectId:
        answer = await self.cell.directory.operator.place(name, wait_ms=2000, **more)
        assert answer.status_code == 201, answer.text
        return SubjectId(answer.json()["placement"]["subject_id"])

    async def read(self, reader: str, of: str, *, by: RegionId = EU, table: str = "notes") -> httpx.Response:
        """As the reader's client asks the gateway of region `by`."""
        side = self.gateways.eu if by == EU else self.gateways.us
        return await self.http.get(f"{side.url}/views/{table}/{of}", headers=self.gateways.bearer(reader))

    async def write(self, subject: str, sql: str, *arguments: object) -> None:
        """On the shard of the cell, as the owner of its tables; `$1` is the subject."""
        async with connect(self.cell.dsns["s1"].owner) as db:
            await db.execute(sql, subject, *arguments)

    async def note(self, subject: str, body: str, rank: int | None = 1) -> None:
        sql = (
            "INSERT INTO product.notes (subject_id, body, rank, total, done, card) VALUES ($1, $2, $3, 1234, true, $2)"
        )
        await self.write(subject, sql, body, rank)

    async def recorded(self, subject: str, kind: str) -> list[dict[str, Any]]:
        """Events of the cell about the subject."""
        sql = "SELECT id, actor, details::text AS details FROM domicile.outbox WHERE subject_id = $1 AND kind = $2"
        found = await rows(self.cell.dsns["s1"], sql, subject, kind)
        return [dict(one) | {"details": msgspec.json.decode(one["details"])} for one in found]

    async def crossings(self, subject: str) -> list[dict[str, Any]]:
        sql = "SELECT * FROM domicile.crossing WHERE subject_id = $1::uuid"
        return [dict(one) for one in await rows(self.cell.dsns["s1"], sql, subject)]


def keys_in(folder: Path) -> EgressSettings:
    signer = Signer("egress.test/eu-de", Secret(secrets.token_bytes(32)))
    ring = KeyringFile(current="k1", keys={"k1": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()})
    for name, content in (("egress.key", signer.text.reveal()), ("egress.json", msgspec.json.encode(ring).decode())):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(content)
    return EgressSettings(
        folder=str(folder / "runs"),
        origin="egress.test/eu-de",
        key_file=str(folder / "egress.key"),
        keyring=str(folder / "egress.json"),
    )


async def _nothing(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def showing(server: PostgresServer, folder: Path, patch: pytest.MonkeyPatch) -> AsyncIterator[Showing]:
    port = free_port()
    grounds = GROUNDS + VIEWS.replace("$port", str(port))
    (folder / "gateways").mkdir()
    async with (
        world(folder / "gateways", eu_orders=_nothing, grounds=grounds, cell_ports={"eu-de": port}) as gateways,
        stand(server, folder, patch, policy=gateways.policy) as cell,
        HttpClient() as http,
    ):
        cell.root = RootKey("r1", Secret(cell_root(REGION_ROOT, CELL)))
        cell.egress = keys_in(folder)
        async with connect(cell.dsns["s1"].owner) as db:
            await db.execute(CONSENTS_DDL)
        (folder / "contracts").mkdir()
        (folder / "contracts" / "consents.yaml").write_text(CONSENTS)
        async with cell.running(NOTES), serving(cell.cell.app, port=port):
            yield Showing(gateways, cell, http)

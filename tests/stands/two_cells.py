"""Two cells for tests: their real services over HTTP, each on shard databases of its own, before one real directory; and all that stands
written in them."""

import base64
import json
import os
import secrets
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from cells.settings import CellSettings
from deploy.local.postgres import PostgresServer
from foundation.blinding import LOGIN
from foundation.decision import ProvenKey
from foundation.http import HttpClient
from foundation.mute import Secret
from foundation.postgres import connect
from foundation.words import CellId, Verb
from tests.stands.cell import Stand
from tests.stands.directory import Callers, lookup_key
from tests.stands.servers import free_port, running
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.shard import Dsns, drop_database, make_shard_database
from tests.stands.waiting import eventually

SHARDS = {CellId("eu-de"): ("s1", "s2"), CellId("us-va"): ("s1",)}
RESIDENCE = {CellId("eu-de"): "DE", CellId("us-va"): "US"}
KEY = b"b" * 32
TRIES_MAX = 8

# purpose: aliases of a shard, by what became of them
_ALIASES = "SELECT claim_id::text AS claim_id, subject_id::text AS subject_id, state FROM domicile.alias"

# purpose: fences of a shard
_FENCES = "SELECT subject_id::text AS subject_id, epoch, state FROM domicile.home"

# purpose: what the product keeps on a shard, and of whom
_NOTES = "SELECT subject_id::text AS subject_id, body FROM product.notes"

# purpose: what the directory says of everybody
_PLACED = "SELECT subject_id::text AS subject_id, cell, shard, epoch, state FROM directory.subject"

# purpose: whom every e-mail key leads to
_KEYS = "SELECT key, subject_id::text AS subject_id FROM directory.lookup_key WHERE kind = 'email'"

# purpose: claims by state
_CLAIMS = "SELECT cell, state FROM directory.alias_claim"


async def answers(http: HttpClient) -> bool:
    try:
        return (await http.get("/readyz")).status_code == 200
    except httpx.HTTPError:
        return False


class BlindCell(Stand):
    """A cell that holds a blinding key."""

    blinding_key = KEY

    def settings(self, *args: Any, **more: Any) -> CellSettings:
        ring = self.folder / "blinding.json"
        ring.touch(mode=0o600)
        key = base64.urlsafe_b64encode(self.blinding_key).decode()
        ring.write_text(json.dumps({"current": "k1", "keys": {"k1": key}}))
        return msgspec.structs.replace(super().settings(*args, **more), blinding_keyring=str(ring))


class TwoCells(msgspec.Struct, frozen=True):
    """`services`: the product service's token in each cell. `directory`: the DSN of the directory's database."""

    cells: dict[CellId, BlindCell]
    services: dict[CellId, dict[str, str]]
    calls: Callers
    directory: Secret[str]

    def signing_up(self, cell: CellId, name: str) -> dict[str, str]:
        """What a gateway forwards of one person's sign-up, and the product service's token."""
        stand = self.cells[cell]
        proven = (ProvenKey(LOGIN, lookup_key(name)),)
        decision = stand.decision(
            None, None, service="orders", verb=Verb.SIGNUP, keys=proven, residence=RESIDENCE[cell]
        )
        return decision | self.services[cell]

    async def sign_up(self, cell: CellId, headers: dict[str, str], email: str) -> httpx.Response:
        """As a product does it: what may pass is asked again under the same decision; who is placed gets a first row."""
        stand = self.cells[cell]
        body = {"services": ["orders", "records"], "aliases": [{"kind": "email", "value": email}]}
        for _ in range(TRIES_MAX):
            answer = await stand.http.post("/cell/signup", headers=headers, json=body)
            if answer.status_code < 500:
                break
        if answer.status_code == 201:
            first = self.services[cell] | {"domicile-decision": answer.json()["decision"]}
            written = await stand.http.post("/records/notes", headers=first, json={"body": email})
            assert written.status_code == 201, written.text
        return answer


@asynccontextmanager
async def two_cells(
    server: PostgresServer, folder: Path, monkeypatch: pytest.MonkeyPatch, *, keys: dict[str, bytes] | None = None
) -> AsyncIterator[TwoCells]:
    """`keys`: blinding keys of cells that differ from the others'."""
    names = [f"dir_{secrets.token_hex(6)}"]
    async with connect(server.dsn()) as admin:
        await admin.execute(f"CREATE DATABASE {names[0]}")
    tokens = ServiceIssuer(folder)
    dsn = server.dsn(names[0])
    try:
        async with AsyncExitStack() as stack:
            calls = await stack.enter_async_context(_directory(folder, dsn, tokens))
            published = await calls.publisher.publish()
            assert published.status_code == 201, published.text
            url = str(calls.http.base_url).rstrip("/")
            cells: dict[CellId, BlindCell] = {}
            for cell, shards in SHARDS.items():
                dsns: dict[str, Dsns] = {}
                for shard in shards:
                    name, dsns[shard] = await make_shard_database(server)
                    names.append(name)
                    _to_environment(monkeypatch, cell, shard, dsns[shard])
                own = folder / cell
                own.mkdir()
                built = BlindCell(folder=own, tokens=tokens, directory_url=url, dsns=dsns, name=cell)
                built.blinding_key = (keys or {}).get(cell, KEY)
                await stack.enter_async_context(built.running())
                cells[cell] = built
            services = {cell: built.service() for cell, built in cells.items()}
            yield TwoCells(cells, services, calls, dsn)
    finally:
        for name in names:
            await drop_database(server, name)


@asynccontextmanager
async def _directory(folder: Path, dsn: Secret[str], tokens: ServiceIssuer) -> AsyncIterator[Callers]:
    """A process of its own: with the two cells it would share one interpreter's time."""
    port, issuer = free_port(), tokens.issuer
    settings = folder / "directory.toml"
    settings.write_text(
        f'host = "127.0.0.1"\nport = {port}\ndsn_env = "TEST_DIRECTORY_DSN"\n'
        f'service_issuers = [{{ issuer = "{issuer.issuer}", audience = "{issuer.audience}", jwks = "{issuer.jwks}" }}]\n'
    )
    environment = os.environ | {"TEST_DIRECTORY_DSN": dsn.reveal()}
    command = [sys.executable, "-m", "directory", "--settings", str(settings)]
    with running(command, env=environment):
        async with HttpClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            await eventually(lambda: answers(http), s_max=60)
            yield Callers(http, tokens)


def _to_environment(monkeypatch: pytest.MonkeyPatch, cell: CellId, shard: str, dsns: Dsns) -> None:
    prefix = f"{cell.upper().replace('-', '_')}_{shard.upper()}"
    for suffix, dsn in (("OWNER", dsns.owner), ("CELL", dsns.cell), ("RECORDS", dsns.records)):
        monkeypatch.setenv(f"{prefix}_{suffix}", dsn.reveal())


class Written(msgspec.Struct, frozen=True):
    """Everything that stands written, read by SQL: rows of each shard, rows of the directory."""

    aliases: dict[tuple[CellId, str], list[dict[str, Any]]]
    fences: dict[tuple[CellId, str], list[dict[str, Any]]]
    notes: dict[tuple[CellId, str], list[dict[str, Any]]]
    placed: dict[str, dict[str, Any]]
    keys: dict[str, str | None]
    claims: Counter[tuple[str, str]]


async def written(both: TwoCells) -> Written:
    tables: list[dict[tuple[CellId, str], list[dict[str, Any]]]] = [{}, {}, {}]
    for cell, stand in both.cells.items():
        for shard, dsns in stand.dsns.items():
            async with connect(dsns.owner) as connection:
                for table, sql in zip(tables, (_ALIASES, _FENCES, _NOTES), strict=True):
                    table[cell, shard] = [dict(row) for row in await connection.fetch(sql)]
    async with connect(both.directory) as connection:
        placed = {row["subject_id"]: dict(row) for row in await connection.fetch(_PLACED)}
        keys = {row["key"]: row["subject_id"] for row in await connection.fetch(_KEYS)}
        claims = Counter((row["cell"], row["state"]) for row in await connection.fetch(_CLAIMS))
    aliases, fences, notes = tables
    return Written(aliases, fences, notes, placed, keys, claims)

"""A gateway's edge for tests: real uvicorn servers on loopback, a directory in memory, people's tokens of a key of our own."""

import asyncio
import base64
import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.types import ASGIApp

from directory.placement.core import Facts, Placement, State
from foundation.blinding import Blinder, BlindingKey
from foundation.clock import SystemClock
from foundation.decision import RootKey
from foundation.decision_header import CellVerifier, ServiceVerifier, cell_root, service_key
from foundation.mute import Secret
from foundation.server import Drain
from foundation.tls import Credentials
from foundation.tokens import Issuer, Jwks, TokenVerifier, fetch_jwks_file
from foundation.words import (
    CellId,
    Country,
    Epoch,
    FeedSeq,
    JurisdictionId,
    LookupKey,
    RegionId,
    ServiceId,
    ShardId,
    SubjectId,
    mint_subject_id,
)
from gateway.edge.assembly import lane
from gateway.edge.book import Book
from gateway.edge.desk import Desk
from gateway.edge.door import EdgeDoor
from gateway.edge.events import Recorder
from gateway.edge.limits.gate import Gate
from gateway.edge.ports import Home, Homeless
from gateway.edge.upstream.pool import Pools
from gateway.identity.address import networks
from gateway.identity.tokens import Identities
from gateway.settings import RecordSettings, Upstream, Websockets
from routing_rules.rules import load
from tests.stands.servers import serving

ISSUER = "https://issuer.example"
AUDIENCE = "shop"
REGION_ROOT = b"r" * 32
CLOCK = SystemClock()


def policy_text(orders: dict[str, str], records: dict[str, str]) -> str:
    """A policy of two regions; `orders` and `records` are addresses by cell."""

    def hosts(addresses: dict[str, str]) -> str:
        return ", ".join(f'{cell} = ["{address}"]' for cell, address in addresses.items())

    return f"""
[product]
citizenship = "residence"
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
[regions.us]
country = "US"
origin = "https://us.example.com"
[cells.eu-de]
region = "eu"
jurisdiction = "eu"
serves = ["eu"]
shards = {{ s1 = {{ dsn_env = "EU_DE_S1", country = "DE" }} }}
[cells.us-va]
region = "us"
jurisdiction = "us"
serves = ["us"]
shards = {{ s1 = {{ dsn_env = "US_VA_S1", country = "US" }} }}
[services.orders]
purpose = "service"
anonymous = ["/orders/health"]
signup = ["/orders/sign-up"]
hosts = {{ {hosts(orders)} }}
[services.records]
purpose = "service"
hosts = {{ {hosts(records)} }}
"""


class People:
    """An issuer of people's tokens with an ES256 key and a JWKS file."""

    def __init__(self, folder: Path, issuer: str = ISSUER, audience: str = AUDIENCE) -> None:
        self.issuer, self.audience = issuer, audience
        self._key = ec.generate_private_key(ec.SECP256R1())
        numbers = self._key.public_key().public_numbers()
        self.jwks = folder / f"people-{secrets.token_hex(4)}.json"
        x, y = (base64.urlsafe_b64encode(n.to_bytes(32, "big")).rstrip(b"=").decode() for n in (numbers.x, numbers.y))
        key = {"kty": "EC", "crv": "P-256", "kid": "p1", "use": "sig", "alg": "ES256", "x": x, "y": y}
        self.jwks.write_text(json.dumps({"keys": [key]}))

    def token(self, sub: str, *, ttl_s: float = 600, **claims: Any) -> str:
        now = time.time()  # noqa: TID251
        body = {"iss": self.issuer, "aud": self.audience, "sub": sub, "iat": now, "exp": now + ttl_s, **claims}
        return jwt.encode(body, self._key, algorithm="ES256", headers={"kid": "p1"})

    def as_issuer(self) -> Issuer:
        """As it stands in settings."""
        return Issuer(issuer=self.issuer, audience=self.audience, jwks=str(self.jwks))

    def verifier(self) -> TokenVerifier:
        return TokenVerifier({self.issuer: (self.audience, Jwks(fetch_jwks_file(self.jwks), CLOCK))}, CLOCK)


@dataclass
class MemoryHomes:
    """The port `gateway.edge.ports.Homes` in memory: `cached` is what a gateway knows, `truth` what the directory would say."""

    truth: dict[LookupKey, Placement] = field(default_factory=dict)
    cached: dict[LookupKey, Home] = field(default_factory=dict)
    dark: bool = False
    refreshed: int = 0
    resolved: int = 0

    def lookup(self, key: LookupKey) -> Home | None:
        return self.cached.get(key)

    async def resolve(self, key: LookupKey) -> Home:
        self.resolved += 1
        return self._ask(key)

    async def refresh(self, key: LookupKey, *, newer_than: Epoch) -> Home:
        self.refreshed += 1
        return self._ask(key)

    async def subject(self, subject_id: SubjectId) -> Home:
        if self.dark:
            return Homeless.UNKNOWN
        return next((home for home in self.truth.values() if home.subject_id == subject_id), Homeless.NONE)

    def held(self, subject_id: SubjectId) -> Epoch | None:
        known = [home for home in self.cached.values() if isinstance(home, Placement)]
        return next((home.epoch for home in known if home.subject_id == subject_id), None)

    async def refresh_subject(self, subject_id: SubjectId, *, newer_than: Epoch) -> Home:
        self.refreshed += 1
        return await self.subject(subject_id)

    def _ask(self, key: LookupKey) -> Home:
        if self.dark:
            return Homeless.UNKNOWN
        found = self.truth.get(key)
        if found is None:
            return Homeless.NONE
        self.cached[key] = found
        return found


def placement(
    cell: str = "eu-de", *, epoch: int = 1, state: State = State.ACTIVE, services: tuple[str, ...] = ("orders",)
) -> Placement:
    regime = {"eu-de": "eu", "us-va": "us"}[cell]
    residence = {"eu-de": "DE", "us-va": "US"}[cell]
    return Placement(
        subject_id=mint_subject_id(),
        cell=CellId(cell),
        shard=ShardId("s1"),
        epoch=Epoch(epoch),
        state=state,
        services=tuple(ServiceId(s) for s in services),
        facts=Facts(facts_id=0, regimes=(JurisdictionId(regime),), residence=Country(residence)),
    )


def service_verifier(cell: str, service: str) -> ServiceVerifier:
    key = service_key(cell_root(REGION_ROOT, CellId(cell)), ServiceId(service))
    return ServiceVerifier(CellId(cell), ServiceId(service), {"r1": Secret(key)})


def cell_verifier(cell: str) -> CellVerifier:
    return CellVerifier(CellId(cell), (RootKey("r1", Secret(cell_root(REGION_ROOT, CellId(cell)))),))


class _NoCountries:
    def of(self, address: object) -> Country | None:
        return Country("FR")


@dataclass
class Stand:
    """A running edge: `url` for clients, and its parts for the test to turn."""

    url: str
    port: int
    people: People
    homes: MemoryHomes
    desk: Desk
    pools: Pools
    recorder: Recorder
    blinder: Blinder
    app: ASGIApp

    def settle(self, sub: str, home: Placement, *, cached: bool = True) -> SubjectId:
        key = self.blinder.login(self.people.issuer, sub)[0]
        self.homes.truth[key] = home
        if cached:
            self.homes.cached[key] = home
        return home.subject_id

    def bearer(self, sub: str, **claims: Any) -> dict[str, str]:
        return {"authorization": f"Bearer {self.people.token(sub, **claims)}"}


@asynccontextmanager
async def tcp(handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]) -> AsyncIterator[int]:
    """A raw TCP server, for upstreams that misbehave; yields the port."""
    writers: set[asyncio.StreamWriter] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await handler(reader, writer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


@asynccontextmanager
async def edge(
    folder: Path,
    orders_port: int,
    *,
    records_port: int = 9,
    region: str = "eu",
    limits: Upstream | None = None,
    proxies: tuple[str, ...] = (),
    pending_max: int = 100,
    http: type[EdgeDoor] = EdgeDoor,
    tls: Credentials | None = None,
    drain: Drain | None = None,
    beside: Stand | None = None,
    gate: Gate | None = None,
    websockets: Websockets | None = None,
    records: RecordSettings | None = None,
) -> AsyncIterator[Stand]:
    """A gateway of `region` in front of one orders service (of its own cell); the other cell's address leads nowhere.

    `beside`: another gateway, whose people and homes are this one's too. `drain`: makes it not ready.
    """
    people, homes = (People(folder), MemoryHomes()) if beside is None else (beside.people, beside.homes)
    blinder = Blinder((BlindingKey("b1", Secret(b"b" * 32)),))
    limits = limits or Upstream(connect_s=1.0, first_byte_s=2.0, stall_s=2.0, total_s=20.0)
    own = {"eu": "eu-de", "us": "us-va"}[region]
    cells = {cell: f"127.0.0.1:{orders_port if cell == own else 9}" for cell in ("eu-de", "us-va")}
    services = {cell: f"127.0.0.1:{records_port if cell == own else 9}" for cell in ("eu-de", "us-va")}
    rules = load(policy_text(cells, services))
    desk = Desk(RegionId(region), Identities(people.verifier(), blinder, CLOCK), homes)
    desk.book = Book(rules, FeedSeq(1), region=RegionId(region), root=("r1", Secret(REGION_ROOT)), clock=CLOCK)
    pools = Pools(limits)
    kept = records or RecordSettings(pending_max=pending_max)
    recorder = Recorder(lambda: [services[own]], pending_max=kept.pending_max, when_full=kept.when_full)
    app = lane(
        desk=desk,
        pools=pools,
        limits=limits,
        recorder=recorder,
        own=kept.own,
        countries=_NoCountries(),
        proxies=networks(proxies),
        clock=CLOCK,
        ready=lambda: (drain and drain.problem()) or recorder.problem(),
        gate=gate,
        websockets=websockets,
    )
    async with asyncio.TaskGroup() as group:
        sweeper = group.create_task(pools.sweep())
        async with serving(app, http=http, tls=tls) as port:
            url = f"{'http' if tls is None else 'https'}://127.0.0.1:{port}"
            yield Stand(url, port, people, homes, desk, pools, recorder, blinder, app)
        sweeper.cancel()

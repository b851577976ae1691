"""Two regions for tests: a gateway each on real servers, one issuer of people's tokens, what each knows of homes, a shared hop keyring."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from cells.crossings.core import Crossing
from directory.placement.core import Placement
from foundation.blinding import Blinder, BlindingKey
from foundation.clock import Clock
from foundation.http import HttpClient
from foundation.mute import Secret
from foundation.tokens import Jwks, TokenVerifier, fetch_jwks_file
from foundation.words import FeedSeq, RegionId, SubjectId
from gateway.edge.assembly import lane
from gateway.edge.book import Book
from gateway.edge.desk import Desk
from gateway.edge.door import EdgeDoor
from gateway.edge.events import Recorder
from gateway.edge.limits.gate import Gate
from gateway.edge.upstream.pool import Pools
from gateway.identity.actors import Actors
from gateway.identity.country import CountryDatabase
from gateway.identity.tokens import Identities
from gateway.settings import Upstream
from gateway.travel.assembly import Travel
from gateway.travel.bookings import Bookings
from gateway.travel.carrier import Carrier
from gateway.travel.hops import Hops
from gateway.travel.nonces import Nonces
from gateway.travel.routes import Routes
from routing_rules.rules import load
from tests.stands.edge import CLOCK, REGION_ROOT, MemoryHomes, People, policy_text
from tests.stands.servers import free_port, serving
from tests.stands.service_tokens import ServiceIssuer

EU, US = RegionId("eu"), RegionId("us")
CELLS = {EU: "eu-de", US: "us-va"}
RING = (("h1", Secret(b"h" * 32)),)
NOWHERE = "127.0.0.1:9"
LIMITS = Upstream(connect_s=1.0, first_byte_s=2.0, stall_s=2.0, total_s=30.0)
HOP_LIMITS = Upstream(
    connections_max=4, waiters_max=4, wait_s=0.5, connect_s=1.0, first_byte_s=3.0, stall_s=3.0, total_s=30.0
)
GROUNDS = """
[actors.support-desk]
country = "DE"
services = ["orders"]
jurisdictions = ["eu"]
verbs = ["read"]
[actors.us-desk]
country = "US"
services = ["orders"]
jurisdictions = ["eu", "us"]
verbs = ["read", "write"]
[[instruments]]
from = "eu"
to = "us"
gateway = "scc"
ref = "TEST-SCC"
since = 2026-03-01
until = 2129-02-28
[[instruments]]
from = "eu"
to = "us"
gateway = "impact_assessment"
ref = "TEST-TIA"
since = 2026-03-01
until = 2129-02-28
[travellers]
default = "hairpin"
"""


class CellBooks:
    """A cell service as gateways see it: takes crossings and events. `status` other than 204 takes none; `gate` holds answers back."""

    def __init__(self) -> None:
        self.crossings: list[Crossing] = []
        self.events: list[dict[str, Any]] = []
        self.status = 204
        self.gate: asyncio.Event | None = None
        self.asked = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        document, status = msgspec.json.decode(body), self.status
        if scope["path"] == "/cell/crossings":
            self.asked += 1
            if self.gate is not None:
                await self.gate.wait()
            crossing = msgspec.convert(document["crossing"], Crossing)
            known = [one for one in self.crossings if one.id == crossing.id]
            if known and known[0] != crossing:
                status = 409
            elif status == 204 and not known:
                self.crossings.append(crossing)
        else:
            self.events.extend(document["events"])
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


@dataclass
class Side:
    """One region's gateway and what stands behind it."""

    region: RegionId
    port: int
    homes: MemoryHomes
    desk: Desk
    recorder: Recorder
    cell: CellBooks
    travel: Travel
    app: ASGIApp
    serving: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        await self.serving.enter_async_context(serving(self.app, port=self.port, http=EdgeDoor))

    async def stop(self) -> None:
        """As a process that dies: every connection breaks off."""
        await self.serving.aclose()


@dataclass
class World:
    """`eu` and `us`; `settle` makes a person at home somewhere, known to both regions."""

    people: People
    blinder: Blinder
    tokens: ServiceIssuer
    eu: Side
    us: Side
    rewrite: Callable[..., None]
    policy: str

    def settle(self, sub: str, home: Placement, *, known_to: tuple[RegionId, ...] = (EU, US)) -> SubjectId:
        key = self.blinder.login(self.people.issuer, sub)[0]
        for side in (self.eu, self.us):
            if side.region in known_to:
                side.homes.truth[key] = side.homes.cached[key] = home
        return home.subject_id

    def bearer(self, sub: str, **claims: Any) -> dict[str, str]:
        return {"authorization": f"Bearer {self.people.token(sub, **claims)}"}

    def actor(self, name: str, **claims: Any) -> dict[str, str]:
        token = self.tokens.token(f"service:{name}", [f"actor:{name}"], **claims)
        return {"authorization": f"Bearer {token}"}

    def hop(self, request: "Sent", *, by: RegionId = US, to: RegionId = EU, **more: Any) -> dict[str, str]:
        """A Domicile-Hop header as a gateway of `by` would make it."""
        sealed = {"scheme": "https", "host": "us.example.com", "country": None, "client": "192.0.2.7", "trace": "none"}
        hops = Hops(by, {to: more.pop("ring", RING)}, more.pop("clock", CLOCK))
        parts = {"method": request.method, "target": request.target.encode(), "authorization": request.authorization}
        digest = "sha256:" + "0" * 64
        return {"domicile-hop": hops.mint(to, rules=digest, **parts, **(sealed | more))}


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


@dataclass
class Sent:
    """What a hop is sealed over."""

    method: str
    target: str
    authorization: bytes


def policy(text: str, *, orders: dict[str, int], cells: dict[str, int], origins: dict[RegionId, str]) -> str:
    """The two regions' policy at these ports with `text` for travellers and the like."""
    made = policy_text(
        {cell: f"127.0.0.1:{port}" for cell, port in orders.items()},
        {cell: f"127.0.0.1:{port}" for cell, port in cells.items()},
    )
    for region, origin in origins.items():
        made = made.replace(f"https://{region}.example.com", origin)
    return made + text


@asynccontextmanager
async def world(
    folder: Path,
    *,
    eu_orders: ASGIApp,
    us_orders: ASGIApp | None = None,
    grounds: str = GROUNDS,
    product: str = "",
    limits: Upstream = LIMITS,
    hop_limits: Upstream = HOP_LIMITS,
    clock: Clock = CLOCK,
    pending_max: int = 100,
    nonces_max: int = 100,
    gates: Mapping[RegionId, Gate] | None = None,
    cell_ports: Mapping[str, int] | None = None,
) -> AsyncIterator[World]:
    """Both gateways up, each in front of its region's orders service and cell service (at `cell_ports`, where a test has its own)."""
    people, tokens = People(folder), ServiceIssuer(folder)
    blinder = Blinder((BlindingKey("b1", Secret(b"b" * 32)),))
    books = {EU: CellBooks(), US: CellBooks()}
    ports = {EU: free_port(), US: free_port()}
    async with AsyncExitStack() as stack, HttpClient() as to_cells:
        orders = {"eu-de": await stack.enter_async_context(serving(eu_orders))}
        orders["us-va"] = await stack.enter_async_context(serving(us_orders or eu_orders))
        cells = {cell: await stack.enter_async_context(serving(books[region])) for region, cell in CELLS.items()}
        cells |= cell_ports or {}
        origins = {region: f"http://127.0.0.1:{port}" for region, port in ports.items()}

        def policy_of(text: str) -> str:
            made = policy(text, orders=orders, cells=cells, origins=origins)
            return made.replace("[product]\n", f"[product]\n{product}\n", 1)

        def rules(text: str) -> Any:
            return load(policy_of(text))

        def rewrite(side: Side, text: str) -> None:
            side.desk.book = Book(
                rules(text), FeedSeq(2), region=side.region, root=("r1", Secret(REGION_ROOT)), clock=clock
            )

        group = await stack.enter_async_context(asyncio.TaskGroup())
        tasks: list[asyncio.Task[None]] = []

        def side(region: RegionId, peer: RegionId) -> Side:
            homes = MemoryHomes()
            desk = Desk(region, Identities(people.verifier(), blinder, clock), homes)
            keys = Jwks(fetch_jwks_file(Path(tokens.issuer.jwks)), clock)
            verifier = TokenVerifier({tokens.issuer.issuer: (tokens.issuer.audience, keys)}, clock)
            desk.actors = Actors(verifier, clock)
            recorder = Recorder(lambda: [f"127.0.0.1:{cells[CELLS[region]]}"], pending_max=pending_max)
            pools, away_pools = Pools(limits), Pools(hop_limits)
            hops = Hops(region, {peer: RING}, clock, Nonces(nonces_max))
            carrier = Carrier(hops, Routes({}), plain=away_pools, secure=away_pools, limits=hop_limits)
            bookings = Bookings(to_cells, lambda cell: (f"127.0.0.1:{cells[cell]}",), clock)
            away = Travel(hops, carrier, bookings, (away_pools,))
            app = lane(
                desk=desk, pools=pools, limits=limits, recorder=recorder,
                countries=stack.enter_context(CountryDatabase()), proxies=(), clock=clock, ready=recorder.problem, travel=away,
                gate=(gates or {}).get(region),
            )  # fmt: skip
            tasks.extend(group.create_task(each.sweep()) for each in (pools, away_pools))
            made = Side(region, ports[region], homes, desk, recorder, books[region], away, app)
            rewrite(made, grounds)
            return made

        eu, us = side(EU, US), side(US, EU)
        await eu.start()
        await us.start()
        try:
            yield World(people, blinder, tokens, eu, us, rewrite, policy_of(grounds))
        finally:
            await us.stop()
            await eu.stop()
            for task in tasks:
                task.cancel()

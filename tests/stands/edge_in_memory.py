"""A gateway's edge without sockets: one client before it, one service behind, on connections in memory.

The protocols are the product's own, on both sides.
"""

import base64
import json
import re
from collections.abc import Sequence
from typing import Any, cast

import msgspec
import uvicorn
from prometheus_client import REGISTRY

from foundation.blinding import Blinder, BlindingKey
from foundation.clock import ManualClock, SystemClock
from foundation.mute import Secret
from foundation.tokens import Jwks, TokenVerifier, fetch_jwks_file
from foundation.wire.serving import State
from foundation.words import FeedSeq, LookupKey, RegionId
from gateway.edge.assembly import lane
from gateway.edge.book import Book
from gateway.edge.desk import Desk
from gateway.edge.door import EdgeDoor
from gateway.edge.events import Recorder
from gateway.edge.limits.assembly import gate_of, unlimited
from gateway.edge.limits.table import Wanting
from gateway.edge.ports import Home
from gateway.edge.upstream.pool import Pools
from gateway.identity.address import networks
from gateway.identity.tokens import Identities
from gateway.settings import Limits, Upstream
from routing_rules.rules import Rules
from tests.stands.accesses import accesses_in
from tests.stands.edge import REGION_ROOT, MemoryHomes, People, cell_verifier, service_verifier
from tests.stands.memory_wire import Loop, Pipe

BOUNDS = Upstream(connect_s=1.0, first_byte_s=2.0, stall_s=2.0, total_s=20.0)
PATIENCE_S = 5.0
"""Longer than any bound above: by then whatever was asked is answered, refused or broken off."""
NOW = SystemClock().unix_s()
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
_COUNTED = ("domicile_gateway_", "domicile_refusals")
_DECISION = re.compile(rb"domicile-decision: ([^\r]+)")
_TRACE = re.compile(rb"traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-")


class Answer(msgspec.Struct, frozen=True):
    """What the service says to one request, in these pieces, a moment between them; then: go on, "leave" or "reset"."""

    pieces: tuple[bytes, ...]
    then: str = "go on"


class Service:
    """The service behind the edge: keeps what it was asked and answers by the script, then with OK."""

    def __init__(self, loop: Loop, answers: Sequence[Answer]) -> None:
        self._loop = loop
        self._answers = list(answers)
        self.asked: list[bytes] = []
        self.connections = 0

    def accept(self, pipe: Pipe) -> None:
        self.connections += 1
        read = 0

        def heard() -> None:
            nonlocal read
            whole = _whole_request(bytes(pipe.sent[read:]))
            if whole is not None:
                read += len(whole)
                self.asked.append(whole)
                self._answer(pipe)

        pipe.heard = heard

    def _answer(self, pipe: Pipe) -> None:
        answer = self._answers.pop(0) if self._answers else Answer((OK,))
        at = 0.0
        for piece in answer.pieces:
            self._loop.call_later(at, pipe.give, piece)
            at += 0.001
        if answer.then != "go on":
            pipe.heard = _nothing  # who is about to go answers nobody: else it is chance which of two ends comes first
            self._loop.call_later(at, pipe.leave, ConnectionResetError() if answer.then == "reset" else None)


def _nothing() -> None:
    """Is told, and does nothing."""


def _whole_request(data: bytes) -> bytes | None:
    end = data.find(b"\r\n\r\n") + 4
    if end < 4:
        return None
    head = data[:end]
    if b"\r\ntransfer-encoding: chunked\r\n" in head:
        end = data.find(b"0\r\n\r\n", end) + 5
        return data[:end] if end >= 5 else None
    found = re.search(rb"\r\ncontent-length: ([0-9]+)\r\n", head)
    end += int(found[1]) if found else 0
    return data[:end] if len(data) >= end else None


class Seen(msgspec.Struct, frozen=True):
    """All that a run left behind, but for what chance chose: names of traces, spans and decisions."""

    client: bytes
    ended: str | None
    asked: list[bytes]
    connections: int
    idle: int
    under_way: int
    recorded: list[dict[str, Any]]
    accesses: list[dict[str, Any]]
    lookups: tuple[int, int]


class World(msgspec.Struct, frozen=True, kw_only=True):
    """What both ways are given alike: the rules, an issuer of tokens, and homes by sub, as this gateway knows them and as they are."""

    rules: Rules
    people: People
    cached: dict[str, Home]
    truth: dict[str, Home]
    limits: Limits | None = None
    own: bool = False

    def __repr__(self) -> str:
        session = self.rules.policy.product.session_cookie
        return f"World({session=}, limits={self.limits is not None}, own={self.own}, truth={self.truth.get('ann')})"


BLINDER = Blinder((BlindingKey("b1", Secret(b"b" * 32)),))


class Edge:
    """One gateway with one client. `http`: by which protocol it reads; `walked`: how many of its requests a task answered."""

    def __init__(
        self, world: World, answers: Sequence[Answer], http: type[EdgeDoor] = EdgeDoor, pipe: type[Pipe] = Pipe
    ) -> None:
        self.loop = Loop()
        self.walked = self.heads_read = 0
        self._service = Service(self.loop, answers)
        self.loop.accept = self._service.accept
        self._clock = ManualClock(NOW)
        self._recorder = Recorder(list, pending_max=100)
        self._homes = MemoryHomes(_by_key(world, world.truth), _by_key(world, world.cached))
        edge = self

        class Counting(http):  # type: ignore[valid-type, misc]
            def run(self, *arguments: Any) -> None:
                edge.walked += 1
                super().run(*arguments)

            def read(self, *arguments: Any) -> Any:
                edge.heads_read += 1
                return super().read(*arguments)

        app = self.loop.run_until_complete(self._assembled(world))
        config = uvicorn.Config(
            app, http=Counting, proxy_headers=False, lifespan="off", ws="none", timeout_keep_alive=75, log_config=None
        )
        config.load()
        state = State()
        state.default_headers = [(b"date", b"today")]
        self._door = Counting(config, state, {}, self.loop)
        self.client = pipe(self._door, self.loop)
        self._door.connection_made(self.client)

    async def _assembled(self, world: World) -> Any:
        verifier = TokenVerifier(
            {world.people.issuer: (world.people.audience, Jwks(fetch_jwks_file(world.people.jwks), self._clock))},
            self._clock,
        )
        desk = Desk(RegionId("eu"), Identities(verifier, BLINDER, self._clock), self._homes)
        for sub in world.cached:
            await desk.identities.establish(bearer(world.people, sub))
        desk.book = Book(
            world.rules, FeedSeq(1), region=RegionId("eu"), root=("r1", Secret(REGION_ROOT)), clock=self._clock
        )
        self._pools = Pools(BOUNDS)
        self._sweeper = self.loop.create_task(self._pools.sweep())
        gate = unlimited(self._clock)
        if world.limits is not None:
            gate = gate_of(world.limits, Wanting(), (), self._clock)
        return lane(
            desk=desk,
            pools=self._pools,
            limits=BOUNDS,
            recorder=self._recorder,
            own=world.own,
            countries=cast("Any", _Nowhere()),
            proxies=networks(()),
            clock=self._clock,
            ready=lambda: None,
            gate=gate,
        )

    def ask(self, *pieces: bytes, seconds: float = PATIENCE_S) -> None:
        for piece in pieces:
            self.loop.call_soon(self.client.give, piece)
            self.loop.go_on(0.01)
        self.loop.go_on(seconds)

    def leave(self) -> None:
        self.loop.call_soon(self.client.leave, ConnectionResetError())
        self.loop.go_on(PATIENCE_S)

    def seen(self) -> Seen:
        pools = self._pools.all()
        return Seen(
            client=bytes(self.client.sent),
            ended=self.client.ended,
            asked=[_without_chance(one) for one in self._service.asked],
            connections=self._service.connections,
            idle=sum(pool.idle for pool in pools),
            under_way=sum(connection.busy for pool in pools for connection in pool._open),
            recorded=[_event(one) for one in self._recorder._pending],
            accesses=[_event(one) for one in accesses_in(self._recorder)],
            lookups=(self._homes.refreshed, self._homes.resolved),
        )

    def close(self) -> None:
        self.loop.call_soon(self.client.leave, ConnectionResetError())
        self._sweeper.cancel()
        self.loop.go_on(PATIENCE_S)
        self.loop.close()


class _Nowhere:
    def of(self, _address: object) -> None:
        return None


def _by_key(world: World, homes: dict[str, Home]) -> dict[LookupKey, Any]:
    return {BLINDER.login(world.people.issuer, sub)[0]: home for sub, home in homes.items()}


def bearer(people: People, sub: str) -> bytes:
    """The same token each time it is asked for."""
    token = _TOKENS.get((str(people.jwks), sub))
    if token is None:
        token = _TOKENS[str(people.jwks), sub] = f"Bearer {people.token(sub, iat=NOW, exp=NOW + 600)}".encode()
    return token


_TOKENS: dict[tuple[str, str], bytes] = {}


def counted() -> dict[str, float]:
    """What the edge counts, as `/metrics` says it."""
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in REGISTRY.collect()
        if family.name.startswith(_COUNTED) and family.type in ("counter", "histogram")
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def since(before: dict[str, float]) -> dict[str, float]:
    return {
        name: round(value - before.get(name, 0.0), 6)
        for name, value in counted().items()
        if value != before.get(name, 0.0)
    }


def _without_chance(request: bytes) -> bytes:
    """A request as the service got it, its decision checked and opened, without the names that are drawn for each."""
    return _TRACE.sub(b"traceparent: -", _DECISION.sub(_opened, request))


def _opened(found: re.Match[bytes]) -> bytes:
    header = found[1].decode("ascii")
    payload = header.split(".")[2]
    decision = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    cell, service = decision["cell"], decision["service"]
    service_verifier(cell, service).verify(header, NOW)
    cell_verifier(cell).verify(header, NOW, service=service)
    return b"domicile-decision: " + json.dumps(decision | {"id": "-"}).encode()


def _event(event: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(event))
    return found | {"id": "-", "details": found["details"] | {"trace_id": "-"}}

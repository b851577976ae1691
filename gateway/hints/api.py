"""`POST /.well-known/domicile/home`: a sign-in hint. Members and strangers get the same status, headers, length and time.

Every request does the same: both limits are asked, the directory is asked for every live lookup key (whatever is known here of some), the
decoy is drawn, and the answer, ready by then, goes out at one set time after the request came. Where the directory has not said by then
where each key leads, nobody is told anything: 503 for members and strangers alike.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta
from prometheus_client import Counter
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from foundation.blinding import Blinder
from foundation.clock import Clock
from foundation.http import body_json
from foundation.identifiers import EMAIL_CHARS_MAX, Identifier, IdentifierKind, MalformedIdentifier, parse
from foundation.problems import Code, Problem, ProblemError, refuse
from foundation.rates import Rate
from foundation.words import CellId, Country, LookupKey
from gateway.edge.book import Book
from gateway.edge.ports import Home, Homeless
from gateway.hints.core import decoy, encode, own_region, region_shares
from gateway.hints.limiter import Ask
from gateway.identity.address import Network, client_address, counted_as

PATH = "/.well-known/domicile/home"
BODY_BYTES_MAX = 2_048
PREFIX_CHARS = 5
"""Of the drawing key: 30 bits, so that the counter cannot be read as a list of who was asked for."""
ASKS = Counter("domicile_gateway_hints_total", "Sign-in hints asked for", ["outcome"])


class Limits(Protocol):
    """`gateway.hints.limiter.Limiter`."""

    async def wait_s(self, asks: Sequence[Ask]) -> int: ...


class Asked(Protocol):
    """`gateway.edge.homes.DirectoryHomes`."""

    async def ask(self, key: LookupKey) -> Home:
        """The directory's own word, past everything known here; UNKNOWN where it has none. Takes and fails alike for all keys."""
        ...


class HintRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`country`: of a phone number without +. `system`: who gave an external id out."""

    kind: IdentifierKind
    value: Annotated[str, Meta(max_length=EMAIL_CHARS_MAX)]
    country: Annotated[str, Meta(pattern="^[A-Z]{2}$", max_length=2)] | None = None
    system: Annotated[str, Meta(max_length=40)] | None = None


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """`answer_s`: after which every answer goes out. `resolve_s`: how long of it the directory has."""

    answer_s: float
    resolve_s: float


class Hints:
    """The handler. `blinder` gives lookup keys under every live blinding key, `drawing` what decoys are drawn by."""

    def __init__(
        self,
        *,
        book: Callable[[], Book | Problem],
        blinder: Callable[[], Blinder],
        drawing: Blinder,
        homes: Asked,
        shares: Callable[[], dict[CellId, float] | None],
        limits: Limits,
        proxies: tuple[Network, ...],
        clock: Clock,
        times: Times,
        per_address: Rate,
        per_key: Rate,
    ) -> None:
        self._book = book
        self._blinder = blinder
        self._drawing = drawing
        self._homes = homes
        self._shares = shares
        self._limits = limits
        self._proxies = proxies
        self._clock = clock
        self._times = times
        self._per_address = per_address
        self._per_key = per_key

    def routes(self) -> list[Route]:
        return [Route(PATH, self.home, methods=["POST"])]

    async def home(self, request: Request) -> Response:
        asked = await body_json(request, HintRequest, bytes_max=BODY_BYTES_MAX)
        started = self._clock.monotonic_s()
        identifier = _identifier(asked)
        book, shares = self._book(), self._shares()
        if isinstance(book, Problem):
            raise ProblemError(book)
        if shares is None:
            raise refuse(Code.NOT_READY, "how people lie over the regions is not known yet", retry_after_s=1)
        await self._limit(request, identifier)
        stranger = decoy(identifier, self._drawing, region_shares(shares, book.policy))
        if stranger is None:
            raise refuse(Code.NOT_READY, "policy has no cells yet", retry_after_s=1)
        homes = await self._said(self._blinder().alias(identifier))
        body = encode(own_region(homes, book.policy) or stranger, book.policy)
        await asyncio.sleep(max(0.0, started + self._times.answer_s - self._clock.monotonic_s()))
        if any(home is Homeless.UNKNOWN for home in homes):
            ASKS.labels("unknown").inc()
            raise refuse(Code.HOME_UNKNOWN, "nobody's home can be told just now", retry_after_s=1)
        ASKS.labels("answered").inc()
        return Response(body, media_type="application/json", headers={"cache-control": "no-store"})

    async def _limit(self, request: Request, identifier: Identifier) -> None:
        forwarded_for = [value for name, value in request.headers.raw if name == b"x-forwarded-for"]
        peer = request.client.host if request.client else ""
        whence = counted_as(client_address(peer, forwarded_for, self._proxies))
        name = self._drawing.blind("hints", "address", whence)[0]
        prefix = self._drawing.blind("hints", identifier.kind.value, self._drawing.alias(identifier)[0])[0][
            :PREFIX_CHARS
        ]
        wait_s = await self._limits.wait_s(
            [Ask(f"domicile:hints:a:{name}", self._per_address), Ask(f"domicile:hints:k:{prefix}", self._per_key)]
        )
        if wait_s:
            ASKS.labels("limited").inc()
            raise refuse(Code.RATE_LIMITED, "hints are asked for too often; wait", retry_after_s=wait_s)

    async def _said(self, keys: Sequence[LookupKey]) -> Sequence[Home]:
        """What the directory says of every key within the time there is."""
        try:
            async with asyncio.timeout(self._times.resolve_s), asyncio.TaskGroup() as group:
                asked = [group.create_task(self._homes.ask(key), name="hint") for key in keys]
        except TimeoutError:
            return [Homeless.UNKNOWN]
        return [task.result() for task in asked]


def times_of(answer_ms: int, *, resolve_ms: float | None = None) -> Times:
    """Of the time until the answer, the directory has seven tenths unless it is said otherwise."""
    return Times(answer_s=answer_ms / 1000, resolve_s=(0.7 * answer_ms if resolve_ms is None else resolve_ms) / 1000)


def _identifier(asked: HintRequest) -> Identifier:
    country = None if asked.country is None else Country(asked.country)
    try:
        return parse(asked.kind, asked.value, country=country, system=asked.system)
    except MalformedIdentifier as exc:
        raise refuse(Code.BAD_REQUEST, str(exc)) from exc

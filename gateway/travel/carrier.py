"""Carries a request home: to the gateways of the home region, and their answer back. Never to any other place.

A try that broke before anything came back is repeated once where that is safe (as towards services), with a hop of its own. Pools are
per address and apart from those of the region's own services, so a region that is slow or dead fills nothing but its own queue.
"""

import asyncio
import math
from functools import partial
from typing import assert_never

import msgspec
from starlette.types import Send

from foundation import logs
from foundation.hop_header import HOST_CHARS_MAX, SCHEME_CHARS_MAX
from foundation.problems import Code, Problem
from foundation.wire.head import StatusHead
from foundation.words import Country, RegionId
from gateway.edge.body import Body
from gateway.edge.observed import CARRIED, FAULTS, RETRIES
from gateway.edge.outbound import framed, request_line, via
from gateway.edge.outcome import RETRY_AFTER_S, Carried
from gateway.edge.relay import STALLED, TOO_LARGE, ClientLeft, Helper, read_small, relay
from gateway.edge.request import Request
from gateway.edge.upstream.exchange import Sending
from gateway.edge.upstream.fault import Fault, UpstreamFailed
from gateway.edge.upstream.forwarder import Forwarder, may_repeat
from gateway.edge.upstream.pool import Pools
from gateway.identity.address import Address
from gateway.settings import Upstream
from gateway.travel.hops import Hops
from gateway.travel.routes import Route, Routes

log = logs.get(__name__)

HOP_REFUSED = b"hop"
"""`Domicile-Refusal` of a home gateway that did not take the hop: nothing the client did or can do."""
_TOLD = (b"domicile-cell", b"domicile-epoch", b"domicile-verdict")


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """The client as this gateway sees it; goes along in the hop, sealed."""

    client: Address | None
    country: Country | None
    scheme: str
    host: str


class Carrier:
    """One per gateway. `plain` and `secure`: pools of connections to gateways of other regions, without TLS and with it."""

    def __init__(self, hops: Hops, routes: Routes, *, plain: Pools, secure: Pools, limits: Upstream) -> None:
        self._hops = hops
        self._routes = routes
        self._forwarders = {False: Forwarder(plain), True: Forwarder(secure)}
        self._limits = limits

    async def carry(self, request: Request, carried: Carried, seen: Seen, body: Body, send: Send) -> Problem | None:
        """Sends the home region's answer, or returns the problem to answer with. Raises ClientLeft, AnswerBroken."""
        region = carried.verdict.region
        route = self._routes.of(region, carried.verdict.home)
        if route is None or not self._hops.knows(region):
            log.error("no_way_home", region=region, trace_id=request.trace.trace_id)
            return Problem(code=Code.CELL_UNREACHABLE, detail=f"no way from here to region {region} is set up")
        if len(seen.host) > HOST_CHARS_MAX or len(seen.scheme) > SCHEME_CHARS_MAX:
            return Problem(code=Code.BAD_REQUEST, detail="the Host header, or a proxy's X-Forwarded-Proto, is too long")
        wait_s = self._forwarders[route.secure].barred_s(route.addresses)
        if wait_s is not None:
            FAULTS.labels(Fault.OPEN.value).inc()
            return _unreachable(region, wait_s)
        unread = await read_small(body, self._limits)
        if unread is not None:
            return unread
        again = False
        while True:
            try:
                return await self._try(request, carried, seen, route, body, send, fresh=again)
            except UpstreamFailed as exc:
                FAULTS.labels(exc.fault.value).inc()
                if not again and may_repeat(exc, method=request.method, whole=body.whole is not None):
                    again = True
                    RETRIES.labels("hop").inc()
                    continue
                return _problem_of(exc, region, request)

    async def _try(
        self, request: Request, carried: Carried, seen: Seen, route: Route, body: Body, send: Send, *, fresh: bool
    ) -> Problem | None:
        region = carried.verdict.region
        loop = asyncio.get_running_loop()
        started = loop.time()
        exchange = await self._forwarders[route.secure].open(
            route.addresses,
            Sending(
                line=request_line(request),
                rest=partial(self._rest, request, carried, seen, body),
                head_only=request.method == "HEAD",
                done=body.whole is not None,
            ),
            fresh=fresh,
        )
        helper = Helper(loop, body, exchange)
        try:
            head = await exchange.head()
            if (b"domicile-refusal", HOP_REFUSED) in head.fields:
                log.error("hop_not_taken", region=region, trace_id=request.trace.trace_id)
                return Problem(code=Code.UPSTREAM_BROKEN, detail=f"region {region} did not take the request from here")
            await relay(request, head, _told(head), exchange, body, helper, send, {"region": region})
        except UpstreamFailed as exc:
            if exc.fault is Fault.CLIENT_GONE:
                raise ClientLeft from exc
            raise
        finally:
            helper.leave()
            exchange.end()
        CARRIED.labels(region).observe(loop.time() - started)
        return None

    def _rest(self, request: Request, carried: Carried, seen: Seen, body: Body) -> bytes:
        """Header fields from the hop on. The client's own forwarding fields end here: what is known of the client is in the hop."""
        authorization = request.fields.authorization or b""
        hop = self._hops.mint(
            carried.verdict.region,
            method=request.method,
            target=request.sent,
            authorization=authorization,
            scheme=seen.scheme,
            host=seen.host,
            country=seen.country,
            client=None if seen.client is None else str(seen.client),
            trace=request.trace.header(),
            rules=carried.verdict.digest,
        )
        own = b"authorization: %b\r\ndomicile-hop: %b\r\ntraceparent: %b\r\nvia: %b\r\n" % (
            authorization,
            hop.encode("ascii"),
            request.trace.header().encode("ascii"),
            via(request.fields),
        )
        return b"".join((*request.fields.kept, own, framed(request.fields, body.whole)))


def _told(head: StatusHead) -> list[tuple[bytes, bytes]]:
    """What the home gateway says of its verdict; the client gets it from nobody else."""
    return [(name, value) for name, value in head.fields if name in _TOLD]


def _problem_of(failed: UpstreamFailed, region: RegionId, request: Request) -> Problem:
    if failed.fault is not Fault.OPEN:
        log.warning("hop_failed", reason=failed.fault.value, region=region, trace_id=request.trace.trace_id)
    match failed.fault:
        case Fault.BUSY:
            return Problem(
                code=Code.NOT_READY, detail=f"too many requests wait for region {region}", retry_after_s=RETRY_AFTER_S
            )
        case Fault.CONNECT | Fault.OPEN:
            return _unreachable(region, failed.wait_s)
        case Fault.TIMEOUT:
            return Problem(code=Code.UPSTREAM_TIMEOUT, detail=f"home region {region}")
        case Fault.CLIENT_STALLED:
            return STALLED
        case Fault.TOO_LARGE:
            return TOO_LARGE
        case Fault.RESET | Fault.PROTOCOL | Fault.CLIENT_GONE | Fault.OUTDATED:
            return Problem(code=Code.UPSTREAM_BROKEN, detail=f"home region {region}")
        case _:
            assert_never(failed.fault)


def _unreachable(region: RegionId, wait_s: float) -> Problem:
    """`wait_s`: for so long asking again is refused here."""
    retry_after_s = max(RETRY_AFTER_S, math.ceil(wait_s))
    detail = f"home region {region} cannot be reached"
    return Problem(code=Code.CELL_UNREACHABLE, detail=detail, retry_after_s=retry_after_s)

"""Has the home cell book a crossing before anything of it is forwarded: durable there, or the request goes no further.

Its id is the hop's nonce, and a cell takes no second crossing under an id: a hop that came to two gateways of the region is booked, and
forwarded, by one of them.
"""

import asyncio
from collections.abc import Callable, Sequence

import httpx
import msgspec

from foundation import logs
from foundation.clock import Clock
from foundation.hop_header import Hop
from foundation.http import HttpClient
from foundation.problems import Code, Problem
from foundation.words import CellId
from gateway.edge.outcome import RETRY_AFTER_S, Admitted
from gateway.edge.request import Request
from routing_rules.policy import Policy
from routing_rules.verdicts import Hairpin

log = logs.get(__name__)

TRIES = 2
"""The second is for a kept connection that was closed meanwhile; the crossing's id makes both one."""
BOOKING_S_MAX = 2.0
"""All tries together, however slowly an answer trickles in."""
_TEXT_CHARS_MAX = 1000
_NOT_BOOKED = Problem(
    code=Code.NOT_READY,
    detail="the home cell could not book the crossing; nothing was forwarded",
    retry_after_s=RETRY_AFTER_S,
)

Services = Callable[[CellId], Sequence[str]]
"""Addresses (`host:port`) of a cell's service, as policy states them now."""


class Bookings:
    """One per gateway; `http` shows the gateway's own service token."""

    def __init__(self, http: HttpClient, services: Services, clock: Clock) -> None:
        self._http = http
        self._services = services
        self._clock = clock
        self._turn = 0

    async def book(
        self, request: Request, hop: Hop, admitted: Admitted, crosses: Hairpin, policy: Policy
    ) -> Problem | None:
        """None once the cell has it durably."""
        addresses = self._services(admitted.cell)
        ingress = policy.regions.get(hop.origin)
        if not addresses or ingress is None:
            return _NOT_BOOKED
        crossing = {
            "id": hop.nonce,
            "at": round(self._clock.unix_s(), 6),
            "subject_id": admitted.subject,
            "kind": "hairpin",
            "from_region": hop.origin,
            "from_country": ingress.country,
            "home_cell": admitted.cell,
            "service": admitted.service,
            "verb": admitted.verb,
            "purpose": admitted.purpose,
            "ground": crosses.ground[:_TEXT_CHARS_MAX],
            "basis": crosses.basis[:_TEXT_CHARS_MAX],
            "rules": crosses.digest,
            "observed_country": hop.country,
            "trace_id": request.trace.trace_id,
        }
        try:
            async with asyncio.timeout(BOOKING_S_MAX):
                reason = await self._tried(addresses, msgspec.json.encode({"crossing": crossing}))
        except TimeoutError:
            reason = "timeout"
        if reason is None:
            return None
        log.warning("crossing_not_booked", reason=reason, cell=admitted.cell, trace_id=request.trace.trace_id)
        return _NOT_BOOKED

    async def _tried(self, addresses: Sequence[str], content: bytes) -> str | None:
        """None when booked, else why not."""
        reason = "nobody was asked"
        for _ in range(TRIES):
            self._turn += 1
            answer = await self._ask(addresses[self._turn % len(addresses)], content)
            if answer is None:
                return None
            reason, repeat = answer
            if not repeat:
                break
        return reason

    async def _ask(self, address: str, content: bytes) -> tuple[str, bool] | None:
        """None when booked, else why not and whether another try may help."""
        try:
            response = await self._http.post(
                f"http://{address}/cell/crossings",
                content=content,
                headers={"content-type": "application/json"},
                timeout=BOOKING_S_MAX,
            )
        except (httpx.HTTPError, OSError) as exc:
            return type(exc).__name__, isinstance(exc, httpx.ReadError | httpx.RemoteProtocolError | httpx.ConnectError)
        return None if response.status_code == 204 else (f"status {response.status_code}", False)

"""How what the gateway must not forget is handed over: in its order, each body until a cell service of the region has it.

A body that a cell may have taken, since its answer was lost, goes to that cell again, which knows it by its ids: so it stands in one cell's
ledger. Only where that cell does not answer for UNANSWERED_MAX tries another one is asked; then it may stand in both, under the same ids.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeAlias

import httpx
import msgspec

from foundation import logs
from foundation.http import HttpClient
from foundation.tasks import Backoff
from gateway.edge.room import Room

log = logs.get(__name__)

GATHER_S = 0.2
"""How long what is to be handed over may gather company."""
LAST_S_MAX = 2.0
"""For what has gathered when the process ends."""
UNANSWERED_MAX = 5
"""Tries at one address in a row of which nobody knows whether it took what it was handed."""

Addresses = Callable[[], Sequence[str]]
"""The cell services of this region that take what is handed over, as policy states them now (`host:port`)."""
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class NotTaken(msgspec.Struct, frozen=True):
    """`perhaps`: it may have been taken after all. `unfit`: for what it holds, so that nobody else will take it."""

    reason: str
    perhaps: bool = False
    unfit: bool = False


Post: TypeAlias = Callable[[bytes], Awaitable[NotTaken | None]]
"""Hands a body over: None when it was taken."""


class Way:
    """To the cell services of this region, for bodies that follow one another."""

    def __init__(self, http: HttpClient, path: str, addresses: Addresses) -> None:
        self._http = http
        self._path = path
        self._addresses = addresses
        self._turn = 0
        self._unanswered = 0
        """Tries in a row since the body at hand may have been taken."""
        self._doubted = ""
        """Where, while there are any."""

    async def __call__(self, body: bytes) -> NotTaken | None:
        address = self._address()
        if address is None:
            return NotTaken("no cell service in this region")
        not_taken = await self._posted(address, body)
        if not_taken is None or not_taken.unfit:
            self._unanswered = 0
        elif not_taken.perhaps or self._unanswered:
            self._doubted = address
            self._unanswered += 1
        else:
            self._turn += 1
        if self._unanswered >= UNANSWERED_MAX:
            self._turn += 1
            self._unanswered = 0
        return not_taken

    def _address(self) -> str | None:
        addresses = self._addresses()
        if self._unanswered and self._doubted in addresses:
            return self._doubted
        return addresses[self._turn % len(addresses)] if addresses else None

    async def _posted(self, address: str, body: bytes) -> NotTaken | None:
        url = f"http://{address}{self._path}"
        try:
            response = await self._http.post(url, content=body, headers={"content-type": "application/json"})
        except (httpx.HTTPError, OSError) as exc:
            return NotTaken(type(exc).__name__, perhaps=not isinstance(exc, _NOT_SENT))
        status = response.status_code
        return (
            None if status == 204 else NotTaken(f"status {status}", perhaps=status >= 500, unfit=status in (400, 413))
        )


async def deliver(some: asyncio.Event, give: Callable[[], Awaitable[NotTaken | None]], room: Room) -> None:
    """For ever. `give`, while there is `some`: hands over what has gathered, None when nothing is left of it, else why not the next. When
    cancelled once more, as far as that can be had quickly."""
    backoff = Backoff()
    try:
        while True:
            await some.wait()
            await asyncio.sleep(GATHER_S)
            some.clear()
            not_taken = await give()
            if not_taken is None:
                backoff.reset()
                continue
            some.set()
            wait_s = backoff.next_s()
            room.observe()
            log.warning("records_not_taken", reason=not_taken.reason, pending=room.taken, wait_s=wait_s)
            await asyncio.sleep(wait_s)
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_S_MAX):
                await give()

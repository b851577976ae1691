"""What the gateway must not forget: refusals by residency, in bounded batches to the region's cell service."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import httpx
import msgspec

from foundation import logs
from foundation.http import HttpClient
from foundation.ledger.port import Event
from foundation.problems import Code, Problem
from foundation.tasks import Backoff
from gateway.edge.observed import RECORDS_LEFT_OUT, RECORDS_PENDING

log = logs.get(__name__)

PENDING_MAX = 10_000
BATCH_MAX = 500
GATHER_S = 0.2
"""How long a batch may gather company."""

_FOR_WHAT_IT_HOLDS = ("status 400", "status 413")

Addresses = Callable[[], Sequence[str]]
"""The cell services of this region that take events, as policy states them now (`host:port`)."""


class Recorder:
    """A bounded buffer in memory; a full one means not ready, and refusals that cannot be recorded turn into 503."""

    def __init__(self, addresses: Addresses, *, pending_max: int = PENDING_MAX) -> None:
        self._addresses = addresses
        self._pending: deque[Event] = deque()
        self._pending_max = pending_max
        self._some = asyncio.Event()

    def add(self, event: Event) -> bool:
        """False when the buffer is full and the event is not remembered."""
        if len(self._pending) >= self._pending_max:
            return False
        self._pending.append(event)
        self._some.set()
        return True

    def add_if_roomy(self, event: Event) -> None:
        """For what strangers can cause at will: taken while half of the room is free, else counted only."""
        if len(self._pending) < self._pending_max // 2:
            self.add(event)
        else:
            RECORDS_LEFT_OUT.inc()

    @property
    def pending(self) -> int:
        return len(self._pending)

    def problem(self) -> Problem | None:
        if len(self._pending) < self._pending_max:
            return None
        return Problem(code=Code.NOT_READY, detail="records cannot be handed to a cell service", retry_after_s=1)

    async def deliver(self, http: HttpClient) -> None:
        """Hands batches over, in order, each until a cell service has it durably; a worker of the process.

        A batch refused for what it holds is halved until the event is found that no cell service will ever take: that one is left
        out, logged and counted, so that it holds up no other.
        """
        backoff = Backoff()
        turn = 0
        size = BATCH_MAX
        while True:
            await self._some.wait()
            await asyncio.sleep(GATHER_S)
            batch = [self._pending[index] for index in range(min(size, len(self._pending)))]
            reason = await self._hand_over(http, batch, turn)
            if reason in _FOR_WHAT_IT_HOLDS and len(batch) > 1:
                size = len(batch) // 2
                continue
            if reason in _FOR_WHAT_IT_HOLDS:
                trace_id = str(batch[0].details.get("trace_id"))
                log.error("record_refused", reason=reason, kind=batch[0].kind.value, trace_id=trace_id)
                RECORDS_LEFT_OUT.inc()
                reason = None
            if reason is None:
                size = min(BATCH_MAX, size * 2)
                for _ in batch:
                    self._pending.popleft()
                backoff.reset()
                if not self._pending:
                    self._some.clear()
            else:
                turn += 1
                wait_s = backoff.next_s()
                log.warning("records_not_taken", reason=reason, pending=len(self._pending), wait_s=wait_s)
                await asyncio.sleep(wait_s)
            RECORDS_PENDING.set(len(self._pending))

    async def _hand_over(self, http: HttpClient, batch: list[Event], turn: int) -> str | None:
        """None when taken, else why not."""
        addresses = self._addresses()
        if not addresses:
            return "no cell service in this region"
        url = f"http://{addresses[turn % len(addresses)]}/cell/events"
        body = msgspec.json.encode({"events": batch})
        try:
            response = await http.post(url, content=body, headers={"content-type": "application/json"})
        except (httpx.HTTPError, OSError) as exc:
            return type(exc).__name__
        return None if response.status_code == 204 else f"status {response.status_code}"

"""What the gateway must not forget: refusals by residency and accesses, in bounded batches to the region's cell service."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

import httpx
import msgspec

from foundation import logs
from foundation.http import HttpClient
from foundation.ledger.port import Event
from foundation.problems import Problem
from foundation.tasks import Backoff
from gateway.edge.accesses import FOR_WHAT_IT_HOLDS, GATHER_S, LAST_S_MAX, Accesses
from gateway.edge.accesses import PATH as ACCESSES_PATH
from gateway.edge.observed import RECORDS_LEFT_OUT
from gateway.edge.room import PENDING_MAX, Room, WhenFull

log = logs.get(__name__)

BATCH_MAX = 500
EVENTS_PATH = "/cell/events"

Addresses = Callable[[], Sequence[str]]
"""The cell services of this region that take events, as policy states them now (`host:port`)."""


class Recorder:
    """What has not been handed over, in bounded room: refusals one by one, accesses gathered. `room` says what becomes of one for which
    there is none."""

    def __init__(
        self, addresses: Addresses, *, pending_max: int = PENDING_MAX, when_full: WhenFull = WhenFull.REFUSE
    ) -> None:
        self.room = Room(pending_max, when_full)
        self.accesses = Accesses(self.room)
        self._addresses = addresses
        self._pending: deque[Event] = deque()
        self._size = BATCH_MAX
        self._some = asyncio.Event()

    def add(self, event: Event) -> bool:
        """False when there is no room and what it tells of must not happen."""
        if self.room.is_full:
            return self.accesses.overflow()
        self._pending.append(event)
        self.room.taken += 1
        self._some.set()
        return True

    def add_if_roomy(self, event: Event) -> None:
        """For what strangers can cause at will: taken while half of the room is free, else counted only."""
        if self.room.taken < self.room.most // 2:
            self.add(event)
        else:
            RECORDS_LEFT_OUT.inc()

    @property
    def pending(self) -> int:
        return self.room.taken

    def problem(self) -> Problem | None:
        return self.room.problem()

    async def deliver(self, http: HttpClient) -> None:
        """Hands over what there is, for ever; a worker of the process."""

        async def accesses(body: bytes, turn: int) -> str | None:
            return await self._post(http, ACCESSES_PATH, body, turn)

        async with asyncio.TaskGroup() as group:
            group.create_task(self._deliver_events(http), name="refusals")
            group.create_task(self.accesses.deliver(accesses), name="accesses")

    async def _deliver_events(self, http: HttpClient) -> None:
        """Batches, in order, each until a cell service has it durably; when cancelled, what there is, as far as that can be had quickly.

        A batch refused for what it holds is halved until the event is found that no cell service will ever take: that one is left
        out, logged and counted, so that it holds up no other.
        """
        backoff = Backoff()
        turn = 0
        try:
            while True:
                await self._some.wait()
                await asyncio.sleep(GATHER_S)
                reason = await self._give_batch(http, turn)
                if reason is None:
                    backoff.reset()
                    continue
                turn += 1
                wait_s = backoff.next_s()
                self.room.observe()
                log.warning("records_not_taken", reason=reason, pending=self.pending, wait_s=wait_s)
                await asyncio.sleep(wait_s)
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_S_MAX):
                    while self._pending and await self._give_batch(http, turn) is None:
                        pass

    async def _give_batch(self, http: HttpClient, turn: int) -> str | None:
        """One batch, or half of it where it was refused for what it holds. None when it went on, else why not."""
        batch = [self._pending[index] for index in range(min(self._size, len(self._pending)))]
        reason = await self._hand_over(http, batch, turn)
        if reason in FOR_WHAT_IT_HOLDS and len(batch) > 1:
            self._size = len(batch) // 2
            return None
        if reason in FOR_WHAT_IT_HOLDS:
            trace_id = str(batch[0].details.get("trace_id"))
            log.error("record_refused", reason=reason, kind=batch[0].kind.value, trace_id=trace_id)
            self.accesses.lose(1)
        elif reason is not None:
            return reason
        self._size = min(BATCH_MAX, self._size * 2)
        for _ in batch:
            self._pending.popleft()
        self.room.give_back(len(batch))
        if not self._pending:
            self._some.clear()
        return None

    async def _hand_over(self, http: HttpClient, batch: list[Event], turn: int) -> str | None:
        """None when taken, else why not."""
        return await self._post(http, EVENTS_PATH, msgspec.json.encode({"events": batch}), turn)

    async def _post(self, http: HttpClient, path: str, body: bytes, turn: int) -> str | None:
        """The same, of what is written already."""
        addresses = self._addresses()
        if not addresses:
            return "no cell service in this region"
        url = f"http://{addresses[turn % len(addresses)]}{path}"
        try:
            response = await http.post(url, content=body, headers={"content-type": "application/json"})
        except (httpx.HTTPError, OSError) as exc:
            return type(exc).__name__
        return None if response.status_code == 204 else f"status {response.status_code}"

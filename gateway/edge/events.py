"""What the gateway must not forget: refusals by residency and accesses, in bounded batches to the region's cell service."""

import asyncio
from collections import deque

import msgspec

from foundation import logs
from foundation.http import HttpClient
from foundation.ledger.port import Event
from foundation.problems import Problem
from gateway.edge.accesses import PATH as ACCESSES_PATH
from gateway.edge.accesses import Accesses
from gateway.edge.delivering import Addresses, NotTaken, Post, Way, deliver
from gateway.edge.observed import RECORDS_LEFT_OUT
from gateway.edge.room import PENDING_MAX, Room, WhenFull

log = logs.get(__name__)

BATCH_MAX = 500
EVENTS_PATH = "/cell/events"


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
        events = Way(http, EVENTS_PATH, self._addresses)
        async with asyncio.TaskGroup() as group:
            group.create_task(deliver(self._some, lambda: self._hand_over(events), self.room), name="refusals")
            group.create_task(self.accesses.deliver(Way(http, ACCESSES_PATH, self._addresses)), name="accesses")

    async def _hand_over(self, post: Post) -> NotTaken | None:
        """What there is, in batches, each until a cell service has it durably.

        A batch refused for what it holds is halved until the event is found that no cell service will ever take: that one is left
        out, logged and counted, so that it holds up no other.
        """
        while self._pending:
            batch = [self._pending[index] for index in range(min(self._size, len(self._pending)))]
            not_taken = await post(msgspec.json.encode({"events": batch}))
            if not_taken is not None and not not_taken.unfit:
                return not_taken
            if not_taken is not None and len(batch) > 1:
                self._size = len(batch) // 2
                continue
            if not_taken is not None:
                trace_id = str(batch[0].details.get("trace_id"))
                log.error("record_refused", reason=not_taken.reason, kind=batch[0].kind.value, trace_id=trace_id)
                self.accesses.lose(1)
            self._size = min(BATCH_MAX, self._size * 2)
            for _ in batch:
                self._pending.popleft()
            self.room.give_back(len(batch))
        return None

"""Access records, gathered: what many say alike is kept once, and they are handed over together, to stand in the ledger under one root."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeAlias

import msgspec

from foundation import logs
from foundation.decision_header import new_decision_id
from foundation.ledger.handed import RECORDS_MAX, Handed, Row, Shared
from foundation.tasks import Backoff
from foundation.words import ActorId, CellId, Country, RegionId, RulesDigest, ServiceId
from gateway.edge.room import Room

log = logs.get(__name__)

GATHER_S = 0.2
"""How long records may gather company."""
LAST_S_MAX = 2.0
"""For what has gathered when the process ends."""
FOR_WHAT_IT_HOLDS = ("status 400", "status 413")
PATH = "/cell/records"


Alike: TypeAlias = tuple[
    ActorId | None, ServiceId, str, str, RulesDigest | None, CellId, RegionId, RegionId, Country | None
]
"""What many accesses have in common: the service that acts (None: each subject itself), then what `_SHARED` names. A bare tuple, since
one is made for each request."""
_SHARED = ("service", "verb", "purpose", "rules", "cell", "region", "ingress", "observed_country")


def shared(alike: Alike) -> Shared:
    return Shared(kind="access", actor=alike[0], details=dict(zip(_SHARED, alike[1:], strict=True)))


class Closed(msgspec.Struct, frozen=True):
    """Handed over as it is, as often as it takes: a cell service that has it already knows it by its id."""

    body: bytes
    count: int
    lost: int


Post: TypeAlias = Callable[[bytes, int], Awaitable[str | None]]
"""Hands a body over, at one of the addresses by turns: None when it was taken, else why not."""


class Accesses:
    """One per gateway; of its event loop."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._numbers: dict[Alike, int] = {}
        self._rows: list[Row] = []
        self._closed: deque[Closed] = deque()
        self._some = asyncio.Event()

    def add(self, alike: Alike, at_us: int, subject: str, epoch: int, trace_id: str) -> bool:
        """False when there is no room and the access must not happen."""
        room = self._room
        if room.taken >= room.most:
            return self.overflow()
        number = self._numbers.get(alike)
        if number is None:
            number = self._numbers[alike] = len(self._numbers)
            self._some.set()
        rows = self._rows
        rows.append((number, at_us, subject, epoch, trace_id))
        room.taken += 1
        if len(rows) >= RECORDS_MAX:
            self._close()
        return True

    def overflow(self) -> bool:
        """For a record of any kind for which there is no room: False where it has to be refused."""
        took = self._room.overflow()
        if took:
            self._some.set()
        return took

    def lose(self, count: int) -> None:
        """Records of any kind that no cell service takes: said by what is handed over next."""
        self._room.lose(count)
        self._some.set()

    async def deliver(self, post: Post) -> None:
        """For ever, in order, each until a cell service has it durably; when cancelled, what there is, as far as that can be had quickly.

        What a cell service refuses for what it holds no other will take: it is left out, logged, and counted as lost."""
        backoff = Backoff()
        turn = 0
        try:
            while True:
                await self._some.wait()
                await asyncio.sleep(GATHER_S)
                reason = await self._hand_over(post, turn)
                if reason is None:
                    backoff.reset()
                    continue
                turn += 1
                wait_s = backoff.next_s()
                self._room.observe()
                log.warning("records_not_taken", reason=reason, pending=self._room.taken, wait_s=wait_s)
                await asyncio.sleep(wait_s)
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_S_MAX):
                    await self._hand_over(post, turn)

    async def _hand_over(self, post: Post, turn: int) -> str | None:
        """What has gathered so far. None when nothing of it is left, else why the next of it was not taken."""
        self._close()
        self._some.clear()
        while self._closed:
            closed = self._closed[0]
            reason = await post(closed.body, turn)
            if reason in FOR_WHAT_IT_HOLDS and closed.count:
                log.error("record_refused", reason=reason, kind="access", count=closed.count)
                self.lose(closed.count)
                self._room.untold += closed.lost
            elif reason is not None:
                self._some.set()
                return reason
            self._closed.popleft()
            self._room.give_back(closed.count)
        if self._room.untold:
            self._some.set()
        return None

    def _close(self) -> None:
        if not self._rows and (self._closed or not self._room.untold):
            return  # what is only to be told of as lost goes with the next
        lost, self._room.untold = self._room.untold, 0
        handed = Handed(shared=tuple(map(shared, self._numbers)), rows=tuple(self._rows), lost=lost)
        body = msgspec.json.encode({"id": new_decision_id(), "records": handed})
        self._closed.append(Closed(body, len(self._rows), lost))
        self._numbers.clear()
        self._rows.clear()

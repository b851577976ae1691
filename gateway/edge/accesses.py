"""Access records, gathered: what many say alike is kept once, and they are handed over together, to stand in the ledger under one root."""

import asyncio
from collections import deque
from typing import TypeAlias

import msgspec

from foundation import logs
from foundation.decision_header import new_decision_id
from foundation.ledger.handed import RECORDS_MAX, Handed, Row, Shared
from foundation.words import ActorId, CellId, Country, RegionId, RulesDigest, ServiceId
from gateway.edge.delivering import NotTaken, Post, deliver
from gateway.edge.room import Room

log = logs.get(__name__)

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
        """For ever, each until a cell service has it durably.

        What a cell service refuses for what it holds no other will take: it is left out, logged, and counted as lost."""
        await deliver(self._some, lambda: self._hand_over(post), self._room)

    async def _hand_over(self, post: Post) -> NotTaken | None:
        """What has gathered so far."""
        self._close()
        while self._closed:
            closed = self._closed[0]
            not_taken = await post(closed.body)
            if not_taken is not None and not_taken.unfit and closed.count:
                log.error("record_refused", reason=not_taken.reason, kind="access", count=closed.count)
                self.lose(closed.count)
                self._room.untold += closed.lost
            elif not_taken is not None:
                return not_taken
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

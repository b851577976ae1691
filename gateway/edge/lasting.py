"""What outlives its verdict: exchanges that last, by subject, each ended once a newer epoch of its subject is heard of.

Whoever waits once for more of an exchange enters it here; most answers arrive with their head and never do. An answer that is nearly
through is let through: it ends MOMENT_S after it was entered, not before. When nobody would say any more that a home has changed
(the feed is too old, or was begun anew), all end: they come again and are decided anew, or refused.
"""

import asyncio
import enum
from collections.abc import Callable

from directory.placement.core import FeedEvent, PlacementEvent
from foundation import logs
from foundation.words import Epoch, FeedSeq, SubjectId

log = logs.get(__name__)

MOMENT_S = 5.0
"""How long an exchange may run on under an older epoch from when it began to last: no longer than a guard may, whose lease is as long."""
LOOK_S = 0.5


class Why(enum.Enum):
    """Why an exchange ends that nobody of those who have it has ended."""

    EPOCH = "epoch"
    """The home changed."""
    STALE = "stale"
    """It might have, and nobody would say so."""


End = Callable[[Why], None]


class Entry:
    """One exchange. `from_s`: of the loop's clock; it ends then or later."""

    __slots__ = ("end", "epoch", "from_s", "subject", "timer")

    def __init__(self, subject: SubjectId, epoch: Epoch, end: End, from_s: float) -> None:
        self.subject = subject
        self.epoch = epoch
        self.end = end
        self.from_s = from_s
        self.timer: asyncio.Handle | None = None


class Lasting:
    """One per gateway. `held`: the newest epoch known here of a subject, without waiting; None where nothing is known (any more)."""

    def __init__(self, held: Callable[[SubjectId], Epoch | None]) -> None:
        self._held = held
        self._entries: dict[SubjectId, set[Entry]] = {}

    def __len__(self) -> int:
        return sum(len(entries) for entries in self._entries.values())

    def enter(self, subject: SubjectId, epoch: Epoch, end: End, *, moment_s: float | None = None) -> Entry:
        """`end` is called at most once, and not after `leave`. What was admitted under an epoch that is old by now ends as well."""
        moment_s = MOMENT_S if moment_s is None else moment_s
        entry = Entry(subject, epoch, end, asyncio.get_running_loop().time() + moment_s)
        self._entries.setdefault(subject, set()).add(entry)
        held = self._held(subject)
        if held is None or held > epoch:
            self._end(entry, Why.STALE if held is None else Why.EPOCH)
        return entry

    def leave(self, entry: Entry) -> None:
        if entry.timer is not None:
            entry.timer.cancel()
        entries = self._entries.get(entry.subject)
        if entries is not None:
            entries.discard(entry)
            if not entries:
                del self._entries[entry.subject]

    def heard(self, event: FeedEvent) -> None:
        """A listener of the feed."""
        if isinstance(event, PlacementEvent):
            for entry in tuple(self._entries.get(event.placement.subject_id, ())):
                if event.placement.epoch > entry.epoch:
                    self._end(entry, Why.EPOCH)

    def begun_anew(self, _position: FeedSeq | None = None) -> None:
        """The feed could not be followed, so that events were missed."""
        self._end_all()

    async def watch(self, stale: Callable[[], bool]) -> None:
        """Ends all while nothing here may be decided by; a worker of the process."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self._entries and stale():
                self._end_all()

    def _end_all(self) -> None:
        if self._entries:
            log.warning("lasting_ended", reason=Why.STALE.value, count=len(self))
        for entries in tuple(self._entries.values()):
            for entry in tuple(entries):
                self._end(entry, Why.STALE)

    def _end(self, entry: Entry, why: Why) -> None:
        """At its moment; what ends later already is not put off."""
        if entry.timer is None:
            loop = asyncio.get_running_loop()
            if entry.from_s <= loop.time():
                entry.timer = loop.call_soon(self._ring, entry, why)
            else:
                entry.timer = loop.call_at(entry.from_s, self._ring, entry, why)

    def _ring(self, entry: Entry, why: Why) -> None:
        self.leave(entry)
        entry.end(why)

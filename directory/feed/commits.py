"""What this process has heard of the feed: its head, which subjects changed, and whether it hears at all. No I/O."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from foundation.problems import Code, Problem
from foundation.words import FeedSeq, SubjectId

WAITERS_MAX = 2_000


class Commits:
    """Wakes those who wait for the feed to move or for a subject to change. Told by this process's own commits and by the listener.

    Hints only: whoever wakes asks the database. A hint may be lost (a reconnect), so every wait is bounded and asks again.
    """

    def __init__(self) -> None:
        self.head = FeedSeq(0)
        self._moved = asyncio.Event()
        self._watchers: dict[SubjectId, set[asyncio.Event]] = {}
        self._waiting = 0
        self._hearing = False

    @property
    def full(self) -> bool:
        """Whether as many wait for the feed as may; a further one is answered at once."""
        return self._waiting >= WAITERS_MAX

    def hearing(self, value: bool) -> None:
        """The listener says whether it holds a live connection."""
        self._hearing = value

    def problem(self) -> Problem | None:
        """Why the process would not take traffic, or None."""
        if self._hearing:
            return None
        return Problem(code=Code.NOT_READY, detail="the directory's database is not reachable", retry_after_s=1)

    def committed(self, seq: FeedSeq, subject_id: SubjectId | None = None) -> None:
        """Event `seq` is committed, and with it every one before."""
        for event in self._watchers.get(subject_id, ()) if subject_id else ():
            event.set()
        if seq > self.head:
            self.confirmed(seq)

    def confirmed(self, head: FeedSeq) -> None:
        """The database's own word. It may be lower than what was heard, when the database was restored from an older backup."""
        moved, self.head = head > self.head, head
        if moved:
            self._moved.set()
            self._moved = asyncio.Event()

    async def beyond(self, after: FeedSeq, wait_s: float) -> bool:
        """Waits until the head is beyond `after`, at most `wait_s`; whether it is."""
        if self.head > after:
            return True
        self._waiting += 1
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    while self.head <= after:
                        await self._moved.wait()
        finally:
            self._waiting -= 1
        return self.head > after

    @contextmanager
    def watch(self, subject_id: SubjectId) -> Iterator[asyncio.Event]:
        """An event set at each change of the subject from now on; the watcher clears it before it looks."""
        event = asyncio.Event()
        watchers = self._watchers.setdefault(subject_id, set())
        watchers.add(event)
        try:
            yield event
        finally:
            watchers.discard(event)
            if not watchers:
                self._watchers.pop(subject_id, None)

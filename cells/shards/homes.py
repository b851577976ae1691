"""What the cell service knows of its shards' fence rows, in memory, and the numbered log of changes that guards follow.

Numbers are this process's own: they start above those of any earlier process, so a number from before a restart is recognised.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from cells.shards.core import Home, supersedes
from foundation.words import SubjectId

CHANGES_KEPT = 10_000
CHANGES_PAGE = 1_000


class Changes(NamedTuple):
    """Changes after a number, oldest first. `reset`: too much is forgotten; forget all that was held and go on from `next`."""

    changes: list[tuple[SubjectId, Home]]
    next: int
    reset: bool


class Homes:
    """Homes by subject id; whoever puts a newer one wakes those who wait for changes."""

    def __init__(self, *, started_unix_s: float, kept_max: int = CHANGES_KEPT) -> None:
        self._homes: dict[SubjectId, Home] = {}
        self._first = int(started_unix_s * 1000) * 1000
        """The number that stands before this process's first change."""
        self._log: deque[tuple[int, SubjectId, Home]] = deque(maxlen=kept_max)
        self.newest = self._first
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._homes)

    def get(self, subject: SubjectId) -> Home | None:
        return self._homes.get(subject)

    def put(self, subject: SubjectId, home: Home) -> bool:
        """Takes `home` unless something newer is known; True when it was taken."""
        if not supersedes(home, self._homes.get(subject)):
            return False
        self._homes[subject] = home
        self.newest += 1
        self._log.append((self.newest, subject, home))
        self.wake()
        return True

    def wake(self) -> None:
        """Whoever waits looks again."""
        self._changed.set()
        self._changed = asyncio.Event()

    def put_new(self, subject: SubjectId, home: Home) -> None:
        """The same for a subject that may be unknown so far: then there is nobody to tell, since nothing is held of it anywhere."""
        if subject in self._homes:
            self.put(subject, home)
        else:
            self._homes[subject] = home

    def put_all_new(self, homes: dict[SubjectId, Home]) -> None:
        """`put_new` of many."""
        for subject in self._homes.keys() & homes.keys():
            self.put(subject, homes.pop(subject))
        self._homes.update(homes)

    def after(self, number: int) -> Changes:
        """The changes that followed `number`, at most CHANGES_PAGE of them."""
        oldest = self._log[0][0] - 1 if self._log else self.newest
        if not oldest <= number <= self.newest:
            return Changes([], self.newest, reset=True)
        skip = number - oldest
        page = list(islice(self._log, skip, skip + CHANGES_PAGE))
        return Changes([(subject, home) for _, subject, home in page], page[-1][0] if page else number, reset=False)

    async def changes(self, number: int, *, wait_s: float) -> Changes:
        """The same, waiting up to `wait_s` until there is one."""
        await self.wait_until(lambda: self.newest != number, wait_s=wait_s)
        return self.after(number)

    async def wait_until(self, holds: Callable[[], bool], *, wait_s: float) -> bool:
        """Waits until `holds` does, asked again after each change; False when `wait_s` ran out first."""
        try:
            async with asyncio.timeout(wait_s):
                while not holds():
                    await self._changed.wait()
        except TimeoutError:
            return holds()
        return True

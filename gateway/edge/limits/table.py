"""The names of one limit in this process, and those of them for which leases are wanted. Bounded; no I/O."""

import asyncio
from collections import deque

from gateway.edge.limits.core import Share, Terms

NAMES_MAX = 65_536
"""Names remembered a limit; the one asked for longest ago is forgotten first, and begins anew. Each takes some 300 bytes."""
WANTING_MAX = 8_192
"""Names that wait for a lease, of all limits; one beyond that waits for its next request."""


class Wanting:
    """Shares that want a lease, in the order in which they came to. `wake` is set while there are any."""

    def __init__(self) -> None:
        self._queue: deque[tuple[Table, str, Share]] = deque()
        self.wake = asyncio.Event()

    def add(self, table: "Table", name: str, share: Share) -> None:
        if len(self._queue) < WANTING_MAX:
            share.wanting = True
            self._queue.append((table, name, share))
            self.wake.set()

    def take(self, count_max: int) -> "list[tuple[Table, str, Share]]":
        taken = [self._queue.popleft() for _ in range(min(count_max, len(self._queue)))]
        if not self._queue:
            self.wake.clear()
        return taken


class Table:
    """One limit: `kind` names it, `terms` are its budget's. Names are ids, keys or addresses, as they came."""

    def __init__(self, kind: str, terms: Terms, wanting: Wanting, *, names_max: int = NAMES_MAX) -> None:
        self.kind = kind
        self.terms = terms
        self._wanting = wanting
        self._names_max = names_max
        self._shares: dict[str, Share] = {}

    def __len__(self) -> int:
        return len(self._shares)

    def take(self, name: str, now_ms: float) -> float:
        """Milliseconds to wait, and 0 where it is granted. Never waits itself: what runs short is leased meanwhile."""
        shares, terms = self._shares, self.terms
        share = shares.pop(name, None)
        if share is None:
            share = Share(now_ms)
            while len(shares) >= self._names_max:
                del shares[next(iter(shares))]
        shares[name] = share
        wait_ms = share.take(terms, now_ms)
        if share.wants(terms, now_ms):
            self._wanting.add(self, name, share)
        return wait_ms

    def speaks(self, name: str, now_ms: float, *, every_ms: float) -> bool:
        """Whether a refusal of this name is to be logged: once in `every_ms`."""
        share = self._shares.get(name)
        if share is None or now_ms < share.quiet_ms:
            return False
        share.quiet_ms = now_ms + every_ms
        return True

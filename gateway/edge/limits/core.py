"""What one process may grant of a budget that its region shares. Pure; time is an argument.

A budget is a rate r with a burst B (`foundation.rates`). A process grants a part of it by itself: A = max(1, B // parts) at once and r·A/B
a second. Beyond that it grants what it holds: leases, of at most A each, from the region's bucket, which keeps to r and B whoever asks; a
lease runs out after `LEASE_MS`. With a lease it also tells what it has granted by itself, so that this counts too.

So N processes together grant at most (B + r·(t + LEASE_MS)) + N·(A + r·t·A/B) in any time t. The first half is what was leased, the second
what each grants by itself. All of the second comes on top only where it is never told of: for a name that keeps above half of A at each
process. A name that wants more leases, and then counts as in one bucket, but for what is not told of yet, and what the bucket still owes
for: at most A each a process, however long it goes on. While the region's bucket cannot be asked there is the second half alone.
"""

import math
from typing import NamedTuple

from foundation.rates import SLACK_MS, Rate

LEASE_MS = 1_000.0
"""How long leased grants may be spent; counted from before they were asked for."""
AHEAD_MS = 500.0
"""A lease is for what the name will be asked for in this time, at its pace of late."""
AGAIN_MS = 50.0
"""Least time before the next lease of a name that got less than it wanted."""


class Terms(NamedTuple):
    """A budget as each process keeps to it: `region` for all of them together, `own` for what one grants by itself.

    Of the own bucket: it grants while it is full again within `room_ms`, and is short when that takes more than `short_ms`."""

    region: Rate
    own: Rate
    room_ms: float
    short_ms: float


def terms_of(*, per_s: int, burst: int, parts: int) -> Terms:
    own = max(1, burst // parts)
    interval_ms = 1_000 / per_s
    own_ms = interval_ms * burst / own
    room_ms = own_ms * (own - 1)
    return Terms(Rate(interval_ms, burst), Rate(own_ms, own), room_ms, min(room_ms, own_ms * own / 2))


class Share:
    """What a process knows of one name."""

    __slots__ = ("again_ms", "asked", "full_ms", "held", "quiet_ms", "since_ms", "told", "until_ms", "wanting")

    def __init__(self, now_ms: float) -> None:
        self.full_ms = now_ms
        """When this process's own bucket is full again (`foundation.rates`)."""
        self.told = 0
        """Grants of the own bucket that the region is yet to be told of; at most the own burst."""
        self.held = 0
        """Leased grants, good until `until_ms`."""
        self.until_ms = now_ms
        self.asked = 0
        """Requests since `since_ms`."""
        self.since_ms = now_ms
        self.wanting = False
        """A lease is being asked for."""
        self.again_ms = now_ms
        """No lease is asked for before."""
        self.quiet_ms = now_ms
        """No refusal is logged before."""

    def take(self, terms: Terms, now_ms: float) -> float:
        """Milliseconds to wait, and 0 where it is granted, which alone counts. After that wait one would be granted here."""
        self.asked += 1
        if self.held:
            if now_ms < self.until_ms:
                self.held -= 1
                return 0.0
            self.held = 0
        if self.full_ms <= now_ms:
            # A full bucket owes nothing: who asks now and then is never told of.
            self.full_ms, self.told, self.asked, self.since_ms = now_ms, 0, 1, now_ms
        wait = self.full_ms - now_ms - terms.room_ms
        if wait > SLACK_MS:
            return wait
        self.full_ms += terms.own.interval_ms
        if self.told < terms.own.burst:
            self.told += 1
        return 0.0

    def wants(self, terms: Terms, now_ms: float) -> bool:
        """Whether to ask for a lease: less than half of the own bucket is left, or than one, and none is held or on its way."""
        return self.full_ms - now_ms > terms.short_ms and not (self.held or self.wanting or now_ms < self.again_ms)

    def want(self, terms: Terms, now_ms: float) -> int:
        """How many to ask for."""
        elapsed_ms = max(now_ms - self.since_ms, AGAIN_MS)
        return max(1, min(math.ceil(self.asked * AHEAD_MS / elapsed_ms), terms.own.burst))

    def leased(self, granted: int, *, wanted: int, told: int, wait_ms: float, asked_ms: float, now_ms: float) -> None:
        """The region's answer to what was asked at `asked_ms`: `wait_ms` until its bucket has one more."""
        self.wanting = False
        self.told = max(0, self.told - told)
        self.held, self.until_ms = granted, asked_ms + LEASE_MS
        self.asked, self.since_ms = 0, now_ms
        if granted < wanted:
            self.again_ms = now_ms + max(wait_ms, AGAIN_MS)

    def unanswered(self) -> None:
        """The region could not be asked; what was granted meanwhile is told later."""
        self.wanting = False

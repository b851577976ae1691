"""How many of which witnesses have to cosign a checkpoint before it is relied on, and since when one is missing. Pure."""

import enum
from collections import deque
from collections.abc import Collection

import msgspec

FOLDER = "cosigned"
"""Below a log's: the newest note that has each quorum, by its name."""
SEEN_MAX = 1_024


class Reach(enum.StrEnum):
    """`near`: met inside the log's own jurisdiction, enough for work that cannot wait. `wide`: beyond it, and follows in a stated time."""

    NEAR = "near"
    WIDE = "wide"

    @property
    def file(self) -> str:
        return f"{FOLDER}/{self.value}"


class Quorum(msgspec.Struct, frozen=True, kw_only=True):
    """`needed` of the witnesses `of`: more than half of them, since two halves could cosign two histories and neither would be lying.
    `within_s`: how long an entry may wait for it before that is an alarm."""

    of: tuple[str, ...]
    needed: int
    within_s: float

    def mistake(self) -> str | None:
        if len(set(self.of)) < len(self.of) or not self.of:
            return "of names each witness once, and at least one"
        if not len(self.of) < 2 * self.needed <= 2 * len(self.of):
            return f"needed is more than half of the {len(self.of)} witnesses, and no more than there are"
        if not self.within_s > 0:
            return "within_s is more than 0"
        return None

    def met(self, by: Collection[str]) -> bool:
        return len(set(self.of).intersection(by)) >= self.needed


class Waiting:
    """Since when the oldest entry waits that no quorum covers: sizes of the log as they were seen, until they are covered."""

    def __init__(self, covered: int = 0) -> None:
        self.covered = covered
        self._seen: deque[tuple[int, float]] = deque()

    def seen(self, size: int, at_s: float) -> None:
        """The log has so many entries. Beyond SEEN_MAX sizes the last two become one, under the earlier time."""
        if size <= max(self.covered, self._seen[-1][0] if self._seen else 0):
            return
        if len(self._seen) >= SEEN_MAX:
            at_s = self._seen.pop()[1]
        self._seen.append((size, at_s))

    def cover(self, size: int) -> None:
        self.covered = max(self.covered, size)
        while self._seen and self._seen[0][0] <= self.covered:
            self._seen.popleft()

    def since(self, at_s: float) -> None:
        """What waits the longest has done so since then, at least."""
        if self._seen:
            size, seen_s = self._seen[0]
            self._seen[0] = (size, min(seen_s, at_s))

    def age_s(self, now_s: float) -> float:
        """0 where everything is covered."""
        return now_s - self._seen[0][1] if self._seen else 0.0

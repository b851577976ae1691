"""Nonces of hops that have come, so that none comes twice. Pure: time is an argument.

Bounded per direction. A nonce is remembered until its hop cannot pass any more, on a clock that may be set back by the skew bound; a
full memory refuses new hops and never forgets early.
"""

import enum

from foundation.clock import SKEW_S_MAX
from foundation.words import RegionId

NONCES_MAX = 65_536
"""Per direction: over 9,000 hops a second at the longest life of a hop."""


class Told(enum.Enum):
    NEW = "new"
    SEEN = "seen"
    FULL = "full"


class Nonces:
    """What came from each peer region, in order of arrival."""

    def __init__(self, nonces_max: int = NONCES_MAX) -> None:
        self._max = nonces_max
        self._seen: dict[RegionId, dict[str, float]] = {}

    def tell(self, origin: RegionId, nonce: str, expires: float, now_unix_s: float) -> Told:
        """Remembers a nonce whose hop has been verified."""
        seen = self._seen.setdefault(origin, {})
        if nonce in seen:
            return Told.SEEN
        self._forget(seen, now_unix_s - SKEW_S_MAX)
        if len(seen) >= self._max:
            return Told.FULL
        seen[nonce] = expires
        return Told.NEW

    def __len__(self) -> int:
        return sum(len(seen) for seen in self._seen.values())

    @staticmethod
    def _forget(seen: dict[str, float], before: float) -> None:
        """From the oldest arrival on; one that still counts ends the walk, so that each call costs what it frees."""
        while seen:
            nonce = next(iter(seen))
            if seen[nonce] >= before:
                return
            del seen[nonce]

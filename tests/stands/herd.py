"""One of many clients of a directory that goes away and comes back: the real client, and on its way there a count of what it asks."""

from directory.client.client import RESOLVE_S_MAX, ClientLimits, DirectoryClient
from directory.client.remote import Directory
from directory.client.table import Absent
from directory.feed.client import FeedFollower
from directory.placement.core import FeedPage, Placement, Resolved, ResolvedSubjects
from foundation.clock import Clock
from foundation.tasks import Chance
from foundation.words import FeedSeq, LookupKey, SubjectId


class Member:
    """`asked`: resolve questions so far. `beside`: the most that were under way at once. `polls`: when feed questions were sent."""

    def __init__(
        self,
        directory: Directory,
        clock: Clock,
        *,
        stale_s_max: float,
        wait_ms: int,
        chance: Chance,
        resolve_s_max: float = RESOLVE_S_MAX,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._stale_s_max = stale_s_max
        self._under_way = 0
        self.asked = self.beside = 0
        self.polls: list[float] = []
        self.follower = FeedFollower(self, clock, wait_ms=wait_ms, chance=chance)
        limits = ClientLimits(stale_s_max=stale_s_max, resolve_s_max=resolve_s_max)
        self.client = DirectoryClient(self, self.follower, clock, limits=limits, chance=chance)

    async def resolve(self, keys: list[LookupKey]) -> Resolved:
        self.asked += 1
        self._under_way += 1
        self.beside = max(self.beside, self._under_way)
        try:
            return await self._directory.resolve(keys)
        finally:
            self._under_way -= 1

    async def resolve_subjects(self, subjects: list[SubjectId]) -> ResolvedSubjects:
        return await self._directory.resolve_subjects(subjects)

    async def feed(self, after: FeedSeq, *, limit: int, wait_ms: int, mark: str = "") -> FeedPage:
        self.polls.append(self._clock.monotonic_s())
        return await self._directory.feed(after, limit=limit, wait_ms=wait_ms, mark=mark)

    def knows(self, key: LookupKey) -> Placement | Absent | None:
        """What is served without asking. Raises AssertionError for anything that is older than the bound."""
        age_s = self.follower.age_s()
        found = self.client.lookup(key)
        assert found is None or age_s <= self._stale_s_max, f"served after {age_s} s in the dark"
        return found

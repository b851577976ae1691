"""The directory's client as the edge's port: its answers in the edge's words, and nothing served beyond policy's staleness bound."""

from collections.abc import Callable
from typing import assert_never

from directory.client.client import Answer, DirectoryClient, Known, Unknown, Why
from directory.client.table import ABSENT, Absent
from directory.feed.client import FeedFollower
from foundation.words import Epoch, LookupKey, SubjectId
from gateway.edge.ports import Home, Homeless


class DirectoryHomes:
    """Implements `gateway.edge.ports.Homes`. `stale_s_max` is asked each time, since policy may change it."""

    def __init__(self, client: DirectoryClient, follower: FeedFollower, stale_s_max: Callable[[], float]) -> None:
        self._client = client
        self._follower = follower
        self._stale_s_max = stale_s_max

    @property
    def _stale(self) -> bool:
        return self._follower.age_s() > self._stale_s_max()

    def lookup(self, key: LookupKey) -> Home | None:
        if self._follower.age_s() > self._stale_s_max():  # as `_stale`, for each request
            return Homeless.UNKNOWN
        found = self._client.lookup(key)
        return Homeless.NONE if found is ABSENT else found

    async def resolve(self, key: LookupKey) -> Home:
        return Homeless.UNKNOWN if self._stale else _home(await self._client.resolve(key))

    async def refresh(self, key: LookupKey, *, newer_than: Epoch) -> Home:
        return Homeless.UNKNOWN if self._stale else _home(await self._client.refresh_key(key, newer_than=newer_than))

    async def ask(self, key: LookupKey) -> Home:
        """`gateway.hints.api.Asked`: what the directory itself says. A key that is claimed and settled for nobody yet leads nowhere."""
        if self._stale:
            return Homeless.UNKNOWN
        answer = await self._client.ask_key(key)
        return Homeless.NONE if answer == Unknown(Why.UNRESOLVED) else _home(answer)

    async def subject(self, subject_id: SubjectId) -> Home:
        return Homeless.UNKNOWN if self._stale else _home(await self._client.subject(subject_id))

    def held(self, subject_id: SubjectId) -> Epoch | None:
        found = None if self._stale else self._client.lookup_subject(subject_id)
        return None if found is None or found is ABSENT else found.epoch

    async def refresh_subject(self, subject_id: SubjectId, *, newer_than: Epoch) -> Home:
        if self._stale:
            return Homeless.UNKNOWN
        return _home(await self._client.refresh(subject_id, newer_than=newer_than))


def _home(answer: Answer) -> Home:
    match answer:
        case Known():
            return answer.placement
        case Absent.ABSENT:
            return Homeless.NONE
        case Unknown():
            return Homeless.UNKNOWN
        case _:
            assert_never(answer)

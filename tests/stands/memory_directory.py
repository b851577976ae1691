"""A directory in memory: the second implementation of `directory.client.remote.Directory`, and the same behind HTTP.

It can lose, delay and disorder what it says: tests hold its answers back and cut its feed.
"""

import asyncio
import itertools
import secrets
import uuid

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from directory.client.remote import DirectoryUnavailable
from directory.placement.core import (
    Facts,
    FeedEvent,
    FeedPage,
    Placement,
    PlacementEvent,
    Resolved,
    ResolvedSubjects,
    RulesDocument,
    RulesEvent,
    State,
)
from foundation.words import (
    CellId,
    Country,
    Epoch,
    FeedSeq,
    JurisdictionId,
    LookupKey,
    RulesDigest,
    ServiceId,
    ShardId,
    SubjectId,
)
from routing_rules.rules import load

FACTS = Facts(facts_id=1, regimes=(JurisdictionId("eu"),), residence=Country("DE"))


def a_key() -> LookupKey:
    return LookupKey(secrets.token_urlsafe(24))


def a_subject() -> SubjectId:
    return SubjectId(str(uuid.UUID(bytes=secrets.token_bytes(16))))


def placed(subject_id: SubjectId, epoch: int, *, cell: str = "eu-de", state: State = State.ACTIVE) -> Placement:
    return Placement(
        subject_id=subject_id,
        cell=CellId(cell),
        shard=ShardId("s1"),
        epoch=Epoch(epoch),
        state=state,
        services=(ServiceId("orders"),),
        facts=FACTS,
    )


class MemoryDirectory:
    """Truth and feed. `down` makes every call fail with that reason; `questions` counts the batches asked."""

    def __init__(self) -> None:
        self.events: list[FeedEvent] = []
        self.placements: dict[SubjectId, Placement] = {}
        self.keys: dict[LookupKey, SubjectId] = {}
        self.current_rules: RulesDocument | None = None
        self.documents: dict[RulesDigest, RulesDocument] = {}
        self.down: str | None = None
        self.questions: list[int] = []
        self.hold: asyncio.Event | None = None
        self._epochs = itertools.count(1)
        self._changed = asyncio.Event()

    @property
    def head(self) -> FeedSeq:
        return FeedSeq(len(self.events))

    def place(self, *keys: LookupKey, subject_id: SubjectId | None = None, cell: str = "eu-de") -> Placement:
        """A new subject with these keys."""
        placement = placed(subject_id or a_subject(), next(self._epochs), cell=cell)
        return self.change(placement, added=keys)

    def move(self, subject_id: SubjectId, cell: str, state: State = State.ACTIVE) -> Placement:
        """The subject under a new epoch in another cell."""
        return self.change(placed(subject_id, next(self._epochs), cell=cell, state=state))

    def change(
        self, placement: Placement, *, added: tuple[LookupKey, ...] = (), removed: tuple[LookupKey, ...] = ()
    ) -> Placement:
        self.placements[placement.subject_id] = placement
        for key in removed:
            self.keys.pop(key, None)
        for key in added:
            self.keys[key] = placement.subject_id
        event = PlacementEvent(
            seq=FeedSeq(len(self.events) + 1), at=0.0, placement=placement, keys_added=added, keys_removed=removed
        )
        self._tell(event)
        return placement

    def publish(self, policy: str) -> RulesDocument:
        """These rules from now on. Tests take documents away or change them."""
        digest, seq = load(policy).digest, FeedSeq(len(self.events) + 1)
        document = RulesDocument(digest=digest, policy=policy, seq=seq, published_at=0.0, actor="operator:test")
        self.current_rules = self.documents[digest] = document
        self._tell(RulesEvent(seq=seq, at=0.0, digest=digest))
        return document

    def _tell(self, event: FeedEvent) -> None:
        self.events.append(event)
        self._changed.set()
        self._changed = asyncio.Event()

    def resolve_now(self, keys: list[LookupKey]) -> Resolved:
        found = {key: self.placements[self.keys[key]] for key in keys if key in self.keys}
        return Resolved(as_of=self.head, found=found, absent=tuple(key for key in keys if key not in found))

    def resolve_subjects_now(self, subjects: list[SubjectId]) -> ResolvedSubjects:
        found = {one: self.placements[one] for one in subjects if one in self.placements}
        return ResolvedSubjects(as_of=self.head, found=found, absent=tuple(one for one in subjects if one not in found))

    # --- the port ------------------------------------------------------------------------------------------------------------

    async def resolve(self, keys: list[LookupKey]) -> Resolved:
        await self._asked(len(keys))
        answer = self.resolve_now(keys)
        await self._held()
        return answer

    async def resolve_subjects(self, subjects: list[SubjectId]) -> ResolvedSubjects:
        await self._asked(len(subjects))
        answer = self.resolve_subjects_now(subjects)
        await self._held()
        return answer

    async def feed(self, after: FeedSeq, *, limit: int, wait_ms: int) -> FeedPage:
        self._check()
        if len(self.events) == after and wait_ms:
            changed = self._changed
            try:
                async with asyncio.timeout(wait_ms / 1000):
                    await changed.wait()
            except TimeoutError:
                pass
        self._check()
        return FeedPage(events=tuple(self.events[after : after + limit]), head=self.head)

    async def rules(self, digest: RulesDigest | None = None) -> RulesDocument:
        self._check()
        found = self.current_rules if digest is None else self.documents.get(digest)
        if found is None:
            raise DirectoryUnavailable("status-404")
        return found

    async def _asked(self, count: int) -> None:
        self._check()
        self.questions.append(count)

    async def _held(self) -> None:
        if self.hold is not None:
            await self.hold.wait()
        self._check()

    def _check(self) -> None:
        if self.down is not None:
            raise DirectoryUnavailable(self.down)

    # --- over HTTP -----------------------------------------------------------------------------------------------------------

    def app(self) -> Starlette:
        async def resolve(request: Request) -> Response:
            body = msgspec.json.decode(await request.body())
            if "keys" in body:
                return _json(await self.resolve(body["keys"]))
            return _json(await self.resolve_subjects(body["subjects"]))

        async def feed(request: Request) -> Response:
            query = request.query_params
            return _json(
                await self.feed(FeedSeq(int(query["after"])), limit=int(query["limit"]), wait_ms=int(query["wait_ms"]))
            )

        return Starlette(routes=[Route("/v1/resolve", resolve, methods=["POST"]), Route("/v1/feed", feed)])


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")

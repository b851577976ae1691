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
from directory.feed.marks import NUMBERS_GAP, Claim, Standing, begin_at, judge, mark
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

_MARK_KEY = b"m" * 16
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
    """Truth and feed. `down` makes every call fail with that reason; `questions` counts the batches asked.

    Histories are judged as the real one does it; `marks=False` is a directory that knows nothing of them.
    """

    def __init__(self, *, marks: bool = True) -> None:
        self.events: list[FeedEvent] = []
        """Those after `floor`."""
        self.floor = FeedSeq(0)
        self.history = "h0" if marks else ""
        self._nonces: dict[int, bytes] = {0: secrets.token_bytes(16)}
        self._past: dict[int, tuple[dict[LookupKey, SubjectId], dict[SubjectId, Placement]]] = {0: ({}, {})}
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
        return FeedSeq(self.floor + len(self.events))

    def events_after(self, seq: FeedSeq) -> list[FeedEvent]:
        return self.events[seq - self.floor :] if seq >= self.floor else []

    def mark_of(self, seq: FeedSeq) -> str:
        return mark(_MARK_KEY, seq, self._nonces[seq]) if self.history else ""

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
            seq=FeedSeq(self.head + 1), at=0.0, placement=placement, keys_added=added, keys_removed=removed
        )
        self._tell(event)
        return placement

    def restore(self, seq: FeedSeq) -> None:
        """The directory as it was after event `seq`, and it does not know that it was more. Epochs go back as well."""
        self.events = self.events[: seq - self.floor]
        keys, placements = self._past[seq]
        self.keys, self.placements = dict(keys), dict(placements)
        self._epochs = itertools.count(max((one.epoch for one in placements.values()), default=0) + 1)

    def prune(self, seq: FeedSeq) -> None:
        """Events up to `seq` are gone."""
        self.events, self.floor = self.events[seq - self.floor :], seq

    def begin_history(self, after: FeedSeq) -> None:
        """A new one, above `after` and everything known here."""
        self.floor, self.events = begin_at(self._standing(), after), []
        self.history = f"h{self.floor}"
        self._nonces[self.floor] = secrets.token_bytes(16)
        self._past[self.floor] = dict(self.keys), dict(self.placements)
        self._epochs = itertools.count(next(self._epochs) + NUMBERS_GAP)
        self._wake()

    def _standing(self) -> Standing:
        return Standing(history=self.history, head=self.head, floor=self.floor, key=_MARK_KEY)

    def publish(self, policy: str) -> RulesDocument:
        """These rules from now on. Tests take documents away or change them."""
        digest, seq = load(policy).digest, FeedSeq(self.head + 1)
        document = RulesDocument(digest=digest, policy=policy, seq=seq, published_at=0.0, actor="operator:test")
        self.current_rules = self.documents[digest] = document
        self._tell(RulesEvent(seq=seq, at=0.0, digest=digest))
        return document

    def _tell(self, event: FeedEvent) -> None:
        self._nonces[event.seq] = secrets.token_bytes(16)
        self._past[event.seq] = dict(self.keys), dict(self.placements)
        self.events.append(msgspec.structs.replace(event, mark=self.mark_of(event.seq)))
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def resolve_now(self, keys: list[LookupKey]) -> Resolved:
        found = {key: self.placements[self.keys[key]] for key in keys if key in self.keys}
        return Resolved(
            as_of=self.head, history=self.history, found=found, absent=tuple(key for key in keys if key not in found)
        )

    def resolve_subjects_now(self, subjects: list[SubjectId]) -> ResolvedSubjects:
        found = {one: self.placements[one] for one in subjects if one in self.placements}
        absent = tuple(one for one in subjects if one not in found)
        return ResolvedSubjects(as_of=self.head, history=self.history, found=found, absent=absent)

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

    async def feed(self, after: FeedSeq, *, limit: int, wait_ms: int, mark: str = "") -> FeedPage:
        self._check()
        page = self.page_now(after, limit, mark)
        if page.head == after and wait_ms:
            changed = self._changed
            try:
                async with asyncio.timeout(wait_ms / 1000):
                    await changed.wait()
            except TimeoutError:
                pass
            self._check()
            page = self.page_now(after, limit, mark)
        return page

    def page_now(self, after: FeedSeq, limit: int, shown: str = "") -> FeedPage:
        if not self.history:
            return FeedPage(events=tuple(self.events_after(after)[:limit]), head=self.head)
        claim = judge(self._standing(), after, shown, self._nonces.get(after) if after <= self.head else None)
        if claim is Claim.LOST:
            self.begin_history(after)
        follows = claim is Claim.FOLLOWS
        return FeedPage(
            events=tuple(self.events_after(after)[:limit]) if follows else (),
            head=self.head,
            history=self.history,
            mark=self.mark_of(self.head),
            anew=not follows,
        )

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
            after, limit, wait_ms = (int(query[name]) for name in ("after", "limit", "wait_ms"))
            return _json(await self.feed(FeedSeq(after), limit=limit, wait_ms=wait_ms, mark=query.get("mark", "")))

        return Starlette(routes=[Route("/v1/resolve", resolve, methods=["POST"]), Route("/v1/feed", feed)])


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")

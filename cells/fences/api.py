"""`/cell/fences`: for operators of this cell, its fence rows in the order of their ids, and how they differ from the directory."""

from typing import Annotated

import asyncpg
import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cells.fences.core import Difference, Differs, differences
from cells.service.context import Context
from cells.shards import store
from cells.shards.core import Home
from cells.shards.shard import LOST, Shard, unreachable
from directory.client.remote import DirectoryUnavailable
from directory.placement.core import State
from foundation import logs
from foundation.http import ServiceAuth, body_json, json_response, query_int
from foundation.problems import Code, refuse
from foundation.words import Epoch, ShardId, SubjectId, parse_subject_id

log = logs.get(__name__)

OPERATOR = "operator"
PAGE_MAX = 1_000
SUBJECTS_MAX = 1_000
_BEFORE_ALL = SubjectId("00000000-0000-0000-0000-000000000000")


class Fence(msgspec.Struct, frozen=True, kw_only=True):
    subject_id: SubjectId
    epoch: Epoch
    state: State


class FencePage(msgspec.Struct, frozen=True, kw_only=True):
    """Fence rows of one shard in the order of their ids; `next`: the id to go on after, null where these were the last."""

    shard: ShardId
    fences: tuple[Fence, ...]
    next: SubjectId | None


class CompareRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`repair`: raise the fences that differ to what the directory says, where that mends them."""

    subjects: Annotated[tuple[Annotated[str, Meta(max_length=36)], ...], Meta(min_length=1, max_length=SUBJECTS_MAX)]
    repair: bool = False


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A difference. `repaired`: the fence stands as the directory says by now; `repairable`: raising it would do that."""

    subject_id: SubjectId
    shard: ShardId
    differs: Differs
    directory: tuple[Epoch, State] | None
    fence: tuple[Epoch, State] | None
    repairable: bool
    repaired: bool


class CompareAnswer(msgspec.Struct, frozen=True, kw_only=True):
    compared: int
    differences: tuple[Told, ...]


def routes(context: Context, operators: ServiceAuth) -> list[Route]:
    """`operators`: authenticates tokens whose audience is this cell (`foundation.tokens.cell_audience`)."""
    calls = FenceCalls(context, operators)
    return [
        Route("/cell/fences", calls.shards, methods=["GET"]),
        Route("/cell/fences/compare", calls.compare, methods=["POST"]),
        Route("/cell/fences/{shard}", calls.page, methods=["GET"]),
    ]


class FenceCalls:
    """Handlers over one cell's context."""

    def __init__(self, context: Context, operators: ServiceAuth) -> None:
        self._context = context
        self._operators = operators

    async def shards(self, request: Request) -> Response:
        await self._operator(request)
        return json_response({"shards": sorted(self._context.shards)})

    async def page(self, request: Request) -> Response:
        await self._operator(request)
        shard = self._context.shards.get(ShardId(request.path_params["shard"]))
        if shard is None:
            raise refuse(Code.NOT_FOUND, "this cell has no such shard")
        limit = query_int(request, "limit", PAGE_MAX, low=1, high=PAGE_MAX)
        after = request.query_params.get("after")
        rows = await _read(shard, None, _BEFORE_ALL if after is None else parse_subject_id(after), limit)
        fences = tuple(Fence(subject_id=subject, epoch=home.epoch, state=home.state) for subject, home in rows.items())
        following = fences[-1].subject_id if len(fences) == limit else None
        return json_response(FencePage(shard=shard.id, fences=fences, next=following))

    async def compare(self, request: Request) -> Response:
        """The fences are read first: what the directory says then is no older, and a feed that is followed raises no false alarm."""
        caller = await self._operator(request)
        asked = await body_json(request, CompareRequest)
        subjects = list(dict.fromkeys(parse_subject_id(one) for one in asked.subjects))
        before = await self._differences(subjects)
        # The feed may have been on its way: only what differs when looked at again does.
        again = await self._differences(sorted({one.subject_id for one in before})) if before else []
        standing = [one for one in again if one in before]
        told = [await self._told(one, repair=asked.repair) for one in standing]
        repaired = sum(one.repaired for one in told)
        if repaired:
            log.info("fences_repaired", count=repaired, actor=caller)
        return json_response(CompareAnswer(compared=len(subjects), differences=tuple(told)))

    async def _differences(self, subjects: list[SubjectId]) -> list[Difference]:
        context = self._context
        if not context.shards:
            raise refuse(Code.NOT_READY, "no shard is known yet", retry_after_s=1)
        held = {
            name: await _read(shard, subjects, _BEFORE_ALL, len(subjects)) for name, shard in context.shards.items()
        }
        try:
            answer = await context.directory.resolve_subjects(subjects)
        except DirectoryUnavailable as exc:
            raise refuse(Code.NOT_READY, "the directory cannot be asked just now", retry_after_s=1) from exc
        return [
            one
            for subject in subjects
            for one in differences(
                subject,
                answer.found.get(subject),
                {name: fences.get(subject) for name, fences in held.items()},
                context.cell,
            )
        ]

    async def _told(self, one: Difference, *, repair: bool) -> Told:
        repaired = False
        if repair and one.repair is not None:
            try:
                await self._context.shards[one.shard].raise_fence(one.subject_id, one.repair)
                repaired = True
            except asyncpg.QueryCanceledError:  # a writer holds it: the next run, or the feed, raises it
                log.warning("cut_held_up", shard=one.shard, epoch=one.repair.epoch)
            except LOST as exc:
                raise unreachable(one.shard) from exc
        return Told(
            subject_id=one.subject_id,
            shard=one.shard,
            differs=one.differs,
            directory=one.directory,
            fence=one.fence,
            repairable=one.repair is not None,
            repaired=repaired,
        )

    async def _operator(self, request: Request) -> str:
        caller = await self._operators.caller(request)
        caller.require(OPERATOR)
        return caller.actor


async def _read(shard: Shard, subjects: list[SubjectId] | None, after: SubjectId, limit: int) -> dict[SubjectId, Home]:
    """Fence rows out of the database itself. Raises ProblemError."""
    try:
        return await store.fences(shard.require().cell, shard.id, subjects, after=after, limit=limit)
    except LOST as exc:
        raise unreachable(shard.id) from exc

"""`/v1/bulk`: operators hand over batches of existing users; cells raise their fences part by part."""

import asyncio
import secrets
import uuid
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from directory.bulk import parts, store
from directory.bulk.answers import (
    BATCH_BYTES_MAX,
    PARTS_PAGE_MAX,
    AcknowledgedPart,
    BatchAnswer,
    BatchRequest,
    BulkJob,
    CheckRequest,
    JobRequest,
    Part,
    PartsAnswer,
    SettledPart,
)
from directory.bulk.importing import Importing
from directory.bulk.kept import Kept
from directory.bulk.packed import PACKED, PACKED_PART, PackedBatch, PackedCheck, PackedPart, wrong
from directory.operations import Operation, Parameter, scoped
from directory.services import Services
from foundation.http import Caller, body_bytes, body_json, json_response
from foundation.problems import Code, Problem, ProblemError, refuse
from foundation.words import CellId, MalformedWord, ShardId, parse_slug, parse_subject_id

_PART_MAX = 2**63 - 1

One = TypeVar("One")
Other = TypeVar("Other", PackedBatch, PackedCheck)


class BulkCalls:
    """Handlers; each is entered by a caller that holds one of the call's roles."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._kept = Kept()
        self._importing = Importing(services, self._kept)

    async def begin(self, request: Request, caller: Caller) -> Response:
        asked = await body_json(request, JobRequest)
        job_id = str(uuid.UUID(bytes=secrets.token_bytes(16)))
        await store.begin(self._services.pool, job_id, actor=caller.actor, reason=asked.reason)
        return json_response(await self._job(job_id), 201, {"location": f"/v1/bulk/{job_id}"})

    async def job(self, request: Request, _: Caller) -> Response:
        return json_response(await self._job(_job_id(request)))

    async def take(self, request: Request, caller: Caller) -> Response:
        job_id = _job_id(request)
        batch = await _body(request, BatchRequest, PackedBatch)
        return _told(await self._importing.take(job_id, batch.number, batch.rows, actor=caller.actor))

    async def check(self, request: Request, _: Caller) -> Response:
        asked = await _body(request, CheckRequest, PackedCheck)
        return _told(await self._importing.check(asked.rows))

    async def waiting(self, request: Request, caller: Caller) -> Response:
        cell = CellId(parse_slug(request.query_params.get("cell", ""), "cell"))
        shard = ShardId(parse_slug(request.query_params.get("shard", ""), "shard"))
        _demand(caller, cell)
        found = await parts.waiting(self._services.pool, cell, shard, PARTS_PAGE_MAX + 1)
        return json_response(PartsAnswer(parts=found[:PARTS_PAGE_MAX], more=len(found) > PARTS_PAGE_MAX))

    async def part(self, request: Request, caller: Caller) -> Response:
        pool, number, packed = self._services.pool, _part(request), request.headers.get("accept") == PACKED_PART
        found = await (parts.packed(pool, number, self._kept) if packed else parts.part(pool, number))
        if found is None:
            raise _no_part()
        _demand(caller, found.cell)
        return Response(msgspec.msgpack.encode(found), media_type=PACKED_PART) if packed else json_response(found)

    async def acknowledge(self, request: Request, caller: Caller) -> Response:
        services = self._services
        done = await parts.acknowledge(
            services.pool, services.clock, _part(request), cells=scoped(caller, "cell"), actor=caller.actor
        )
        if done is None:
            raise _no_part()
        if isinstance(done, parts.NotYours):
            raise refuse(Code.FORBIDDEN, "only the cell that a part lies in acknowledges it")
        services.commits.committed(done.as_of)
        return json_response(done)

    async def settle(self, request: Request, caller: Caller) -> Response:
        number = _part(request)
        if not await parts.settle(self._services.pool, number, cells=scoped(caller, "cell")):
            raise refuse(Code.NOT_FOUND, "this cell has no such part that it acknowledged")
        self._kept.drop(number)
        return json_response(SettledPart(part=number))

    async def _job(self, job_id: str) -> BulkJob:
        found = await store.job(self._services.pool, job_id)
        if found is None:
            raise refuse(Code.NOT_FOUND, "no job has this id")
        return found


def operations(services: Services) -> list[Operation]:
    calls = BulkCalls(services)
    return [*_of_operators(calls), *_of_cells(calls)]


def _of_operators(calls: BulkCalls) -> list[Operation]:
    return [
        Operation(
            method="POST",
            path="/v1/bulk",
            name="beginBulk",
            summary="Begin a job of placing existing users",
            roles=("operator",),
            handler=calls.begin,
            body=JobRequest,
            answers={201: BulkJob},
        ),
        # Before the jobs: a route is taken by the first pattern that fits.
        Operation(
            method="POST",
            path="/v1/bulk/check",
            name="checkBulk",
            summary="What would become of these rows; nothing is stored",
            roles=("operator",),
            handler=calls.check,
            body=CheckRequest,
            forms={PACKED: PackedCheck},
            answers={200: BatchAnswer},
            refusals=(Code.TOO_LARGE,),
        ),
        Operation(
            method="GET",
            path="/v1/bulk/{job_id}",
            name="bulkJob",
            summary="Where a job stands",
            roles=("operator",),
            handler=calls.job,
            answers={200: BulkJob},
            refusals=(Code.NOT_FOUND,),
        ),
        Operation(
            method="POST",
            path="/v1/bulk/{job_id}/batches",
            name="placeBatch",
            summary="Place a batch of existing users, each where the rules allow, in one transaction; a refused row stops no other",
            roles=("operator",),
            handler=calls.take,
            body=BatchRequest,
            forms={PACKED: PackedBatch},
            answers={200: BatchAnswer},
            refusals=(Code.NOT_FOUND, Code.IDEMPOTENCY_MISMATCH, Code.TOO_LARGE),
        ),
    ]


def _of_cells(calls: BulkCalls) -> list[Operation]:
    return [
        Operation(
            method="GET",
            path="/v1/bulk/parts/waiting",
            name="waitingParts",
            summary="Parts of batches on one shard whose fences its cell has not said to stand, the oldest first",
            roles=("cell:*",),
            handler=calls.waiting,
            parameters=(
                Parameter(name="cell", schema={"type": "string"}, description="the caller's cell"),
                Parameter(name="shard", schema={"type": "string"}, description="one of its shards"),
            ),
            answers={200: PartsAnswer},
        ),
        Operation(
            method="GET",
            path="/v1/bulk/parts/{part}",
            name="part",
            summary="A part's members that nothing else has changed since",
            roles=("cell:*",),
            handler=calls.part,
            answers={200: Part},
            forms={PACKED_PART: PackedPart},
            refusals=(Code.NOT_FOUND,),
        ),
        Operation(
            method="POST",
            path="/v1/bulk/parts/{part}/ack",
            name="acknowledgePart",
            summary="The owning cell has raised the fences of this part: its reservations become active, under one event",
            roles=("cell:*",),
            handler=calls.acknowledge,
            answers={200: AcknowledgedPart},
            refusals=(Code.NOT_FOUND,),
        ),
        Operation(
            method="POST",
            path="/v1/bulk/parts/{part}/settled",
            name="settlePart",
            summary="The fences of this part stand as acknowledged; the cell need not be told of it again",
            roles=("cell:*",),
            handler=calls.settle,
            answers={200: SettledPart},
            refusals=(Code.NOT_FOUND,),
        ),
    ]


async def _body(request: Request, shape: type[One], packed: type[Other]) -> One | Other:
    """The rows of a request, one by one (JSON) or in columns. Raises ProblemError."""
    if request.headers.get("content-type") != PACKED:
        return await body_json(request, shape, bytes_max=BATCH_BYTES_MAX)
    raw = await body_bytes(request, bytes_max=BATCH_BYTES_MAX)
    try:
        found = msgspec.msgpack.decode(raw, type=packed)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise refuse(Code.BAD_REQUEST, f"the columns are not as expected: {exc}") from exc
    problem = await asyncio.to_thread(wrong, found.rows)
    if problem is not None:
        raise refuse(Code.BAD_REQUEST, f"the columns are not as expected: {problem}")
    return found


def _told(answer: BatchAnswer | Problem) -> Response:
    if isinstance(answer, Problem):
        raise ProblemError(answer)
    return json_response(answer)


def _demand(caller: Caller, cell: CellId) -> None:
    """Raises ProblemError."""
    if cell not in scoped(caller, "cell"):
        raise refuse(Code.FORBIDDEN, "a cell service asks for the parts of its own cell")


def _job_id(request: Request) -> str:
    try:
        return str(parse_subject_id(request.path_params["job_id"]))
    except MalformedWord as exc:
        raise refuse(Code.BAD_REQUEST, "a job's id is a UUID") from exc


def _part(request: Request) -> int:
    text = request.path_params["part"]
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= _PART_MAX):
        raise refuse(Code.BAD_REQUEST, "a part is a whole number")
    return int(text)


def _no_part() -> Exception:
    return refuse(Code.NOT_FOUND, "no part has this number")

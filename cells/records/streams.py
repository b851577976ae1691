"""Large answers: rows go out as they are read, so that a million of them take no more memory than a thousand."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import asyncpg
import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from cells.records import answers, errors, ranges
from cells.records.limits import Limiter
from cells.records.media import Media
from cells.records.preferences import Preferences
from cells.records.ranges import Page
from cells.records.statements import Statement
from cells.shards.reading import Pieces, Readers
from cells.shards.shard import Shard
from foundation.problems import Code, ProblemError, refuse
from foundation.words import SubjectId, Verb

BUFFERED_ROWS_MAX = 1_000
"""Answers of so many rows are held whole: one round trip, and their number is known before the head is written."""
STREAM_S_MAX = 120.0


class Large(msgspec.Struct, frozen=True, kw_only=True):
    """A read to be streamed. `check`: raises ProblemError unless its first row says that the fence stood."""

    subject: SubjectId
    shard: Shard
    table: str
    statement: Statement
    page: Page
    preferences: Preferences
    media: Media
    check: Callable[[asyncpg.Record], Awaitable[None]]


class Streamed(Response):
    """Answers a large read. Until the first row is there it may still become a refusal; what breaks later breaks the answer off."""

    def __init__(self, large: Large, readers: Readers, limiter: Limiter) -> None:
        super().__init__()
        self._large = large
        self._readers = readers
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        large = self._large
        try:
            async with (
                asyncio.timeout(STREAM_S_MAX),
                self._limiter.stream(large.subject),
                self._readers.reading(large.shard, large.statement.sql, large.statement.arguments) as pieces,
            ):
                answer = await _begun(large, pieces)
                await answer(scope, receive, watched)
        except ClientDisconnect:
            return
        except (ProblemError, asyncpg.PostgresError, TimeoutError) as exc:
            if started:
                raise
            refused = await _refused(large, exc)
            await errors.response(refused.problem)(scope, receive, send)


async def _refused(large: Large, exc: Exception) -> ProblemError:
    """Raises what is a fault of ours."""
    if isinstance(exc, asyncpg.PostgresError):
        try:
            await large.shard.met(large.table, Verb.READ, exc)
        except ProblemError as changed:
            return changed
    match exc:
        case ProblemError():
            return exc
        case asyncpg.PostgresError() if (problem := errors.of_postgres(exc)) is not None:
            return problem
        case TimeoutError():
            return refuse(Code.UPSTREAM_TIMEOUT, "the rows were not found in time")
        case _:
            raise exc


async def _begun(large: Large, pieces: Pieces) -> StreamingResponse:
    """The answer with its head made: the total is counted in the same snapshot, so the number of rows is known. Raises ProblemError."""
    first = await pieces.next()
    await large.check(first[0])
    total = first[0]["total"]
    number = ranges.number(large.page, total)
    counted = total if large.preferences.counted else None
    status, headers = answers.read_head(large.page, number, counted, large.preferences, large.media)
    return StreamingResponse(
        _object(first[0]["row"]) if large.media.single else _document(first, pieces),
        status_code=status,
        media_type=large.media.content_type,
        headers=headers,
    )


async def _object(row: str) -> AsyncIterator[str]:
    """The one row that there is."""
    yield row


async def _document(first: Sequence[asyncpg.Record], pieces: Pieces) -> AsyncIterator[str]:
    rows, before = first, "["
    while rows:
        text = ",".join(row["row"] for row in rows if row["row"] is not None)
        if text:
            yield before + text
            before = ","
        rows = await pieces.next()
    yield "[]" if before == "[" else "]"

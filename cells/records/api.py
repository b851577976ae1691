"""`/records/{table}`: one decided request, one fenced statement, an answer as PostgREST gives it."""

from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from typing import Any

import asyncpg
import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from cells.records import answers, body, errors, single
from cells.records.answers import Answer, Found
from cells.records.asking import Asked, Asking
from cells.records.contracts import Contract
from cells.records.limits import Limiter, Limits, Turn
from cells.records.ranges import Page
from cells.records.root import Root
from cells.records.statements import HELD_BYTES_MAX, Builder, Statement
from cells.records.streams import BUFFERED_ROWS_MAX, Large, Streamed
from cells.records.texts import Texts
from cells.service.context import Context
from cells.shards.connections import Lease
from cells.shards.core import Refused, check
from cells.shards.reading import Readers
from foundation import logs
from foundation.http import body_bytes
from foundation.problems import Code, ProblemError
from foundation.wire.head import Fields
from foundation.words import Verb

log = logs.get(__name__)


def routes(
    context: Context, contracts: Mapping[str, Contract], rows_max: int, limits: Limits | None = None
) -> list[Route]:
    limiter = Limiter(limits or Limits(), context.clock)
    root = Root(context, contracts, rows_max, limiter).handle
    return [
        Route("/records/{table}", Records(context, contracts, rows_max, limiter), methods=list(errors.METHODS)),
        Route("/records/", root, methods=["GET"]),
        Route("/records", root, methods=["GET"]),
        Route("/records/rpc/{function}", no_functions, methods=["GET", "HEAD", "POST"]),
    ]


async def no_functions(request: Request) -> Response:
    """The dialect's calls of functions: there are none here, for any caller."""
    return errors.response(errors.dialect(errors.NO_FUNCTIONS, "functions (rpc) are not supported here").problem)


Rows = list[asyncpg.Record]


class Begun(msgspec.Struct, frozen=True):
    """A request that is under way without a task (`cells.records.lane`): what is left to be done is awaited in one."""

    asked: Asked
    rows: Coroutine[Any, Any, Rows]


BEGUN = "domicile.records.begun"
"""Under which extension of the scope it stands."""


class Records:
    """The handler over one cell's context and contracts."""

    def __init__(self, context: Context, contracts: Mapping[str, Contract], rows_max: int, limiter: Limiter) -> None:
        self._context = context
        self._limiter = limiter
        self._asking = Asking(context, contracts, rows_max, limiter)
        self._texts = Texts()
        self._readers = Readers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As an ASGI application: a route that is one needs no wrapping."""
        begun: Begun | None = scope.get("extensions", {}).get(BEGUN)
        try:
            if begun is None:
                self._limiter.begin()
        except ProblemError as exc:
            await errors.response(exc.problem)(scope, receive, send)
            return
        try:
            answer = await (
                self._answered(Request(scope, receive)) if begun is None else self._answer(begun.asked, begun.rows)
            )
            await answer(scope, receive, send)
        finally:
            self._limiter.end()

    # --- at once ---------------------------------------------------------------------------------------------------------------

    def begin(self, method: str, table: str, query: bytes, headers: Fields, raw: bytes) -> Begun | None:
        """A request that came whole and has nothing to wait for but Postgres; `end` it, or give it to `__call__`. None, and nothing has
        happened, where anything has to be waited for first, or is refused."""
        try:
            asked = self._asking.understood_now(method, table, query, headers)
            if asked is None:
                return None
            statement = self._statement(asked, raw)
        except ProblemError:
            return None
        lease = asked.shard.lease_now(asked.contract.table, asked.verb)
        if lease is None:
            return None
        turn = self._limiter.begin_now(asked.subject)
        if turn is None:
            lease.unused()
            return None
        return Begun(asked, self._rows(asked, statement, turn, lease=lease))

    def answer_now(self, asked: Asked, rows: Rows) -> Answer | None:
        """The answer, where the fence stood as decided and the rows are all there; None: more is to be asked or said."""
        if not _stood(asked, rows[0]) or _many(asked, rows):
            return None
        try:
            return _answer(asked, _found(rows))
        except ProblemError:
            return None

    def end(self) -> None:
        """What was begun has been answered."""
        self._limiter.end()

    # --- in a task -------------------------------------------------------------------------------------------------------------

    async def _answered(self, request: Request) -> ASGIApp:
        try:
            asked = await self._asking.understood(request)
            statement = self._statement(asked, await _body(request, asked))
        except ProblemError as exc:
            return errors.response(exc.problem)
        return await self._answer(asked, self._rows(asked, statement, self._limiter.statement(asked.subject)))

    async def _answer(self, asked: Asked, rows: Awaitable[Rows]) -> ASGIApp:
        try:
            found = await self._find(asked, rows)
            if found is None:
                return Streamed(self._streamed(asked), self._readers, self._limiter)
            return _answer(asked, found)
        except ProblemError as exc:
            return errors.response(exc.problem)

    def _statement(self, asked: Asked, raw: bytes) -> Statement:
        """`raw`: the body. Raises ProblemError."""
        query, preferences = asked.query, asked.preferences
        granted = asked.contract, asked.granted, asked.bound
        columns, defaults, returned = query.columns, preferences.defaults, preferences.returned
        match asked.method:
            case "POST":
                rows = body.inserted(raw, *granted, columns=columns, defaults=defaults)
                return self._builder(asked).insert(rows, query, returned, preferences.resolution)
            case "PATCH":
                changes = body.changed(raw, *granted, columns=columns, defaults=defaults)
                return self._builder(asked).update(changes, query, returned)
            case "PUT":
                key = single.key_of(query, asked.contract, asked.bound)
                row = body.replaced(raw, *granted, key=key, defaults=defaults)
                return self._builder(asked).put(row, key, query, returned)
            case "DELETE":
                return self._builder(asked).delete(query, returned)
            case "HEAD":
                return self._builder(asked).count(query)
            case _:
                return self._read(asked)

    def _read(self, asked: Asked) -> Statement:
        """Of a GET. Raises ProblemError."""
        # A second row is enough to know that there is not one; how many there are is counted.
        # Likewise one row more than is held tells that there are many: those are then read anew, as a stream.
        page, single = asked.page, asked.media.single
        most = 2 if single else BUFFERED_ROWS_MAX + 1
        some = page if page.limit <= most else Page(offset=page.offset, limit=most)
        counted = asked.preferences.counted or single
        return self._texts.read(asked.known_as, self._builder(asked), asked.query, some, counted=counted)

    def _builder(self, asked: Asked) -> Builder:
        stripped = asked.media.stripped
        return Builder(asked.contract, asked.granted, asked.bound, stripped=stripped)

    def _streamed(self, asked: Asked) -> Large:
        # What is counted says whether the first row is the only one.
        some = msgspec.structs.replace(asked.page, limit=1) if asked.media.single else asked.page
        statement = self._builder(asked).read(asked.query, some, counted=True, held=False)

        async def check(first: asyncpg.Record) -> None:
            await self._check_read(asked, first)

        return Large(
            subject=asked.subject,
            shard=asked.shard,
            table=asked.contract.table,
            statement=statement,
            page=asked.page,
            preferences=asked.preferences,
            media=asked.media,
            check=check,
        )

    async def _rows(self, asked: Asked, statement: Statement, turn: Turn, *, lease: Lease | None = None) -> Rows:
        """What the statement answers, at least one row. Raises ProblemError, asyncpg.PostgresError."""

        def check(rows: Sequence[asyncpg.Record]) -> None:
            refused = answers.check_written(rows[0]["total"], asked.preferences, asked.media)
            if rows[0]["held"] and refused is not None:
                raise refused

        undoes = asked.verb is Verb.WRITE and (asked.media.single or asked.preferences.affected_max is not None)
        async with turn:
            return await asked.shard.fetch(
                statement.sql,
                statement.arguments,
                table=asked.contract.table,
                verb=asked.verb,
                check=check if undoes else None,
                lease=lease,
            )

    async def _find(self, asked: Asked, awaited: Awaitable[Rows]) -> Found | None:
        """What was found or written; None for a read whose rows are too many or too long to be held. Raises ProblemError.

        A statement whose fence did not hold has done nothing.
        """
        try:
            rows = await awaited
        except asyncpg.PostgresError as exc:
            async with self._limiter.statement(asked.subject):
                await asked.shard.met(asked.contract.table, asked.verb, exc)
            problem = errors.of_postgres(exc)
            if problem is None:
                raise
            raise problem from exc
        if not _stood(asked, rows[0]):
            async with self._limiter.statement(asked.subject):
                raise await self._why(asked)
        return None if _many(asked, rows) else _found(rows)

    async def _check_read(self, asked: Asked, first: asyncpg.Record) -> None:
        """Raises ProblemError unless the fence stood, in the snapshot of the read, as decided."""
        if not _stood(asked, first):
            raise await self._why(asked)

    async def _why(self, asked: Asked) -> ProblemError:
        """What the fence says now; a cut in progress, or one that has just ended, asks for another try."""
        home, closing = await asked.shard.fence(asked.subject)
        if home is not None:
            self._context.homes.put(asked.subject, home)
        refused = None if closing else check(home, asked.epoch, asked.verb)
        return errors.fenced(refused or Refused(Code.CELL_BEHIND, "the fence is being raised"))


def _stood(asked: Asked, first: asyncpg.Record) -> bool:
    """Whether the fence stood as decided: of a write it was held, of a read it was so in the snapshot of its rows."""
    if asked.verb is Verb.WRITE:
        held: bool = first["held"]
        return held
    return first["epoch"] == asked.epoch and first["state"] in ("active", "frozen")


def _many(asked: Asked, rows: Rows) -> bool:
    """Whether a read's rows are too many or too long to be held."""
    return asked.method == "GET" and (len(rows) > BUFFERED_ROWS_MAX or (rows[-1]["bytes"] or 0) > HELD_BYTES_MAX)


def _found(rows: Rows) -> Found:
    first = rows[0]
    return Found(
        rows=[row["row"] for row in rows if row["row"] is not None],
        total=first["total"],
        existed=first.get("existed", False),
    )


async def _body(request: Request, asked: Asked) -> bytes:
    """What is sent with a request; of one that is refused without it, nothing is read. Raises ProblemError."""
    if asked.method == "PUT":
        single.key_of(asked.query, asked.contract, asked.bound)
    return await body_bytes(request) if asked.method in ("POST", "PATCH", "PUT") else b""


def _answer(asked: Asked, found: Found) -> Answer:
    """Raises ProblemError."""
    preferences, media = asked.preferences, asked.media
    match asked.method:
        case "GET":
            return answers.read(asked.page, found, preferences, media)
        case "HEAD":
            return answers.head(asked.page, found, preferences, media)
        case method:
            return answers.written(method, asked.contract.table, found, preferences, media)

"""`/records/{table}`: one decided request, one fenced statement, an answer as PostgREST gives it."""

from collections.abc import Coroutine, Mapping
from typing import Any

import asyncpg
import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from cells.records import answers, errors, running, single
from cells.records.again import Again
from cells.records.answers import Answer, Found
from cells.records.asking import Asked, Asking
from cells.records.contracts import Contract
from cells.records.familiar import Came
from cells.records.limits import Limiter, Limits, Turn
from cells.records.making import Making, streamed
from cells.records.root import Root
from cells.records.running import Rows, Running
from cells.records.statements import Statement
from cells.records.streams import Large, Streamed
from cells.service.context import Context
from cells.shards.connections import Lease
from cells.shards.reading import Readers
from foundation.http import body_bytes
from foundation.problems import ProblemError
from foundation.wire.head import Fields


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


class Begun(msgspec.Struct, frozen=True):
    """A request that is under way without a task (`cells.records.lane`): what is left to be done is awaited in one. `turn`: its subject's,
    which it holds until it has been answered, or is known to be a stream."""

    asked: Asked
    rows: Coroutine[Any, Any, Rows]
    turn: Turn


BEGUN = "domicile.records.begun"
"""Under which extension of the scope it stands."""


class Records:
    """The handler over one cell's context and contracts."""

    def __init__(self, context: Context, contracts: Mapping[str, Contract], rows_max: int, limiter: Limiter) -> None:
        self._limiter = limiter
        self._asking = Asking(context, contracts, rows_max, limiter)
        self._again = Again(context)
        self._making = Making()
        self._running = Running(context)
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
            answer = await (self._answered(Request(scope, receive)) if begun is None else self._went_on(begun))
            await answer(scope, receive, send)
        finally:
            self._limiter.end()

    # --- at once ---------------------------------------------------------------------------------------------------------------

    def begin_again(self, came: Came) -> Begun | None:
        """The same for a read whose like came before."""
        understood = self._again.understood(came)
        if understood is None:
            return None
        asked, statement = understood
        lease = asked.shard.lease_now(asked.contract.table, asked.verb)
        return None if lease is None else self._with_turn(asked, statement, lease)

    def begin(
        self, method: str, table: str, query: bytes, headers: Fields, raw: bytes, came: Came | None = None
    ) -> Begun | None:
        """A request that came whole and has nothing to wait for but Postgres; `end` it, or give it to `__call__`. None, and nothing has
        happened, where anything has to be waited for first, or is refused: limits are looked at before the body, as by a task. `came`: the
        same, where reads that are like it may be begun again."""
        try:
            asked = self._asking.understood_now(method, table, query, headers)
        except ProblemError:
            return None
        if asked is None:
            return None
        lease = asked.shard.lease_now(asked.contract.table, asked.verb)
        if lease is None:
            return None
        statement = None
        try:
            statement = self._making.statement(asked, raw)
        except ProblemError:
            return None  # the task that answers instead says why
        finally:
            if statement is None:
                lease.unused()
        begun = self._with_turn(asked, statement, lease)
        if begun is not None and came is not None:
            self._again.familiar.learn(came, headers, asked, statement)
        return begun

    def _with_turn(self, asked: Asked, statement: Statement, lease: Lease) -> Begun | None:
        """None where the subject has no turn free just now: the connection is given back then, and where anything is raised."""
        begun = None
        try:
            turn = self._limiter.begin_now(asked.subject)
            if turn is not None:
                begun = Begun(asked, self._running.rows(asked, statement, lease=lease), turn)
        finally:
            if begun is None:
                lease.unused()
        return begun

    def answer_now(self, asked: Asked, rows: Rows) -> Answer | None:
        """The answer, where the fence stood as decided and the rows are all there; None: more is to be asked or said."""
        if not running.stood(asked, rows[0]) or running.many(asked, rows):
            return None
        try:
            return _answer(asked, running.found_in(rows))
        except ProblemError:
            return None

    def end(self, turn: Turn) -> None:
        """What was begun has been answered."""
        turn.leave()
        self._limiter.end()

    # --- in a task -------------------------------------------------------------------------------------------------------------

    async def _answered(self, request: Request) -> ASGIApp:
        try:
            asked = await self._asking.understood(request)
            statement = self._making.statement(asked, await _body(request, asked))
            async with self._limiter.statement(asked.subject):
                found = await self._running.found(asked, self._running.rows(asked, statement))
            return self._told(asked, found)
        except ProblemError as exc:
            return errors.response(exc.problem)

    async def _went_on(self, begun: Begun) -> ASGIApp:
        """The same of a request whose statement was begun."""
        try:
            async with begun.turn:
                found = await self._running.found(begun.asked, begun.rows)
            return self._told(begun.asked, found)
        except ProblemError as exc:
            return errors.response(exc.problem)

    def _told(self, asked: Asked, found: Found | None) -> ASGIApp:
        """`found`: None where it is a stream. Raises ProblemError."""
        if found is not None:
            return _answer(asked, found)
        return Streamed(self._large(asked, streamed(asked)), self._readers, self._limiter)

    def _large(self, asked: Asked, statement: Statement) -> Large:
        async def check(first: asyncpg.Record) -> None:
            await self._running.check_stood(asked, first)

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

"""`/records/{table}`: one decided request, one fenced statement, an answer as PostgREST gives it."""

from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from typing import Any

import asyncpg
import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from cells.records import answers, body, errors, media, single
from cells.records.admission import Admitted, admitted, admitted_now, first_of, text
from cells.records.answers import Found
from cells.records.contracts import Contract
from cells.records.core import Bound, Grant, bind, grant
from cells.records.dialect import parse_query
from cells.records.limits import Limiter, Limits, Turn
from cells.records.media import Media
from cells.records.preferences import Preferences, parse_preferences
from cells.records.query import Query
from cells.records.ranges import Page, page
from cells.records.root import Root
from cells.records.statements import HELD_BYTES_MAX, Builder, Statement
from cells.records.streams import BUFFERED_ROWS_MAX, Large, Streamed
from cells.service.context import Context
from cells.shards.connections import Lease
from cells.shards.core import Refused, check
from cells.shards.reading import Readers
from cells.shards.shard import Shard
from foundation import logs
from foundation.decision_header import Decision
from foundation.http import body_bytes
from foundation.problems import Code, Problem, ProblemError
from foundation.wire.head import Fields
from foundation.words import Epoch, ServiceId, SubjectId, Verb

log = logs.get(__name__)

GRANTS_MAX = 10_000
"""Grants remembered, one for each table, audience and purpose that was decided for."""


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


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request as understood before its body is read."""

    decision: Decision
    subject: SubjectId
    epoch: Epoch
    verb: Verb
    contract: Contract
    shard: Shard
    granted: Grant
    bound: Bound
    query: Query
    page: Page
    preferences: Preferences
    media: Media
    method: str

    @property
    def streams(self) -> bool:
        """Whether the answer may be streamed: rows or one object, and not a head alone."""
        return self.method == "GET"


Rows = list[asyncpg.Record]


class Begun(msgspec.Struct, frozen=True):
    """A read that is under way without a task (`cells.records.lane`): what is left to be done is awaited in one."""

    asked: Asked
    rows: Coroutine[Any, Any, Rows]


BEGUN = "domicile.records.begun"
"""Under which extension of the scope it stands."""


class Records:
    """The handler over one cell's context and contracts."""

    def __init__(self, context: Context, contracts: Mapping[str, Contract], rows_max: int, limiter: Limiter) -> None:
        self._context = context
        self._contracts = contracts
        self._rows_max = rows_max
        self._limiter = limiter
        self._readers = Readers()
        self._grants: dict[tuple[str, ServiceId, str], Grant] = {}

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

    def begin(self, table: str, query: bytes, headers: Fields) -> Begun | None:
        """A GET whose rows have nothing to wait for but Postgres; `end` it, or give it to `__call__`. None, and nothing has happened,
        where anything has to be waited for first, or is refused."""
        try:
            who = admitted_now(self._context, first_of(headers), "GET")
            if who is None:
                return None
            asked = self._understood(who, "GET", table, query, headers)
            statement = self._read(asked)
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

    def answer_now(self, asked: Asked, rows: Rows) -> answers.Read | None:
        """The answer, where the fence stood as decided and the rows are all there; None: more is to be asked or said."""
        if not _stood(asked, rows[0]) or _many(asked, rows):
            return None
        try:
            return answers.read(asked.page, _found(rows), asked.preferences, asked.media)
        except ProblemError:
            return None

    def end(self) -> None:
        """What was begun has been answered."""
        self._limiter.end()

    # --- in a task -------------------------------------------------------------------------------------------------------------

    async def _answered(self, request: Request) -> ASGIApp:
        try:
            asked = await self._ask(request)
            statement = await self._statement(request, asked)
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

    async def _ask(self, request: Request) -> Asked:
        """Everything that can be refused at the head. Raises ProblemError."""
        who = await admitted(self._context, request, self._limiter)
        scope = request.scope
        return self._understood(
            who, request.method, request.path_params["table"], scope["query_string"], scope["headers"]
        )

    def _understood(self, who: Admitted, method: str, table: str, sent: bytes, headers: Fields) -> Asked:
        """Raises ProblemError."""
        decision, verb = who.decision, who.verb
        contract = self._contract(table)
        shard = self._context.shard_of(who.home)
        shard.require().tables.require(contract.table, verb)
        bound = bind(contract, decision)
        if isinstance(bound, Problem):
            raise ProblemError(bound)
        query = parse_query(_query_string(sent))
        fields = who.fields
        if verb is Verb.WRITE and method != "DELETE":
            media.check_sent(fields.get(b"content-type", b"application/json").decode("latin-1"))
        ranged = (text(fields, b"range"), text(fields, b"range-unit")) if verb is Verb.READ else (None, None)
        rows_asked = page(query, self._rows_max, header=ranged[0], unit=ranged[1])
        accepted = media.accepted(fields.get(b"accept", b"*/*").decode("latin-1"))
        return Asked(
            decision=decision,
            subject=who.subject,
            epoch=who.epoch,
            verb=verb,
            contract=contract,
            shard=shard,
            granted=self._grant(contract, who.service, decision.purpose),
            bound=bound,
            query=query,
            page=rows_asked,
            preferences=parse_preferences(_preferred(headers) if b"prefer" in fields else []),
            media=accepted,
            method=method,
        )

    def _grant(self, contract: Contract, service: ServiceId, purpose: str) -> Grant:
        named = (contract.table, service, purpose)
        known = self._grants.get(named)
        if known is None:
            if len(self._grants) >= GRANTS_MAX:
                self._grants.clear()
            known = self._grants[named] = grant(contract, service, purpose)
        return known

    def _contract(self, table: str) -> Contract:
        contract = self._contracts.get(table)
        if contract is None:
            message = f"Could not find the table '{table}' in the schema cache"
            raise errors.dialect(errors.NO_TABLE, message, code=Code.NOT_FOUND)
        return contract

    async def _statement(self, request: Request, asked: Asked) -> Statement:
        query, preferences = asked.query, asked.preferences
        builder = self._builder(asked)
        match request.method:
            case "POST":
                raw = await body_bytes(request)
                rows = body.inserted(
                    raw,
                    asked.contract,
                    asked.granted,
                    asked.bound,
                    columns=query.columns,
                    defaults=preferences.defaults,
                )
                return builder.insert(rows, query, preferences.returned, preferences.resolution)
            case "PATCH":
                raw = await body_bytes(request)
                changes = body.changed(
                    raw,
                    asked.contract,
                    asked.granted,
                    asked.bound,
                    columns=query.columns,
                    defaults=preferences.defaults,
                )
                return builder.update(changes, query, preferences.returned)
            case "PUT":
                key = single.key_of(query, asked.contract, asked.bound)
                raw = await body_bytes(request)
                row = body.replaced(
                    raw, asked.contract, asked.granted, asked.bound, key=key, defaults=preferences.defaults
                )
                return builder.put(row, key, query, preferences.returned)
            case "DELETE":
                return builder.delete(query, preferences.returned)
            case "HEAD":
                return builder.count(query)
            case _:
                return self._read(asked)

    def _read(self, asked: Asked) -> Statement:
        """Of a GET. Raises ProblemError."""
        # A second row is enough to know that there is not one; how many there are is counted.
        # Likewise one row more than is held tells that there are many: those are then read anew, as a stream.
        page, single = asked.page, asked.media.single
        most = 2 if single else BUFFERED_ROWS_MAX + 1
        some = page if page.limit <= most else Page(offset=page.offset, limit=most)
        return self._builder(asked).read(asked.query, some, counted=asked.preferences.counted or single)

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
    return asked.streams and (len(rows) > BUFFERED_ROWS_MAX or (rows[-1]["bytes"] or 0) > HELD_BYTES_MAX)


def _found(rows: Rows) -> Found:
    first = rows[0]
    return Found(
        rows=[row["row"] for row in rows if row["row"] is not None],
        total=first["total"],
        existed=first.get("existed", False),
    )


def _preferred(headers: Fields) -> list[str]:
    return [value.decode("latin-1") for name, value in headers if name == b"prefer"]


def _query_string(raw: bytes) -> str:
    """Raises ProblemError for what no target of a request may hold (RFC 3986 section 2)."""
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError as exc:
        raise errors.dialect(errors.QUERY, "characters beyond ASCII are percent-encoded in a query string") from exc


def _answer(asked: Asked, found: Found) -> ASGIApp:
    """Raises ProblemError."""
    preferences, media = asked.preferences, asked.media
    match asked.method:
        case "GET":
            return answers.read(asked.page, found, preferences, media)
        case "HEAD":
            return answers.head(asked.page, found, preferences, media)
        case method:
            return answers.written(method, asked.contract.table, found, preferences, media)

"""`POST /cell/crossings` for gateways of the region, `GET /cell/subjects/{id}/crossings` for operators of this cell."""

import asyncpg
import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cells.crossings import store
from cells.crossings.bookings import Bookings, unbooked
from cells.crossings.core import Crossing, page, place_of, problem_of
from cells.crossings.store import Booking
from cells.service.context import Context
from cells.service.core import gateway_problem
from cells.shards.shard import LOST, unreachable
from foundation.decision_header import new_decision_id
from foundation.http import ServiceAuth, body_json, json_response, query_int, trace_of
from foundation.ledger.port import Event, Kind
from foundation.problems import Code, ProblemError, refuse
from foundation.words import ActorId, MalformedWord, SubjectId, parse_subject_id

BODY_BYTES_MAX = 16_384
PAGE_MAX = 200
PAGE_USUAL = 50
OPERATOR = "operator"


class CrossingRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    crossing: Crossing


class RecordsOfSubject(msgspec.Struct, frozen=True, kw_only=True):
    """`entries`: newest first, each of kind `crossing` or `refusal`. `next`: the cursor for older ones, None when there are none."""

    subject_id: SubjectId
    entries: tuple[Event, ...]
    next: str | None


def routes(context: Context, bookings: Bookings, operators: ServiceAuth) -> list[Route]:
    """`operators`: authenticates tokens whose audience is this cell (`foundation.tokens.cell_audience`)."""
    calls = CrossingCalls(context, bookings, operators)
    return [
        Route("/cell/crossings", calls.book, methods=["POST"]),
        Route("/cell/subjects/{subject_id}/crossings", calls.show, methods=["GET"]),
    ]


class CrossingCalls:
    """Handlers over one cell's context."""

    def __init__(self, context: Context, bookings: Bookings, operators: ServiceAuth) -> None:
        self._context = context
        self._bookings = bookings
        self._operators = operators

    async def book(self, request: Request) -> Response:
        context = self._context
        caller = await context.auth.caller(request)
        rules = context.rules.require()
        refused = gateway_problem(caller, rules.policy, context.cell)
        if refused is not None:
            raise ProblemError(refused)
        crossing = (await body_json(request, CrossingRequest, bytes_max=BODY_BYTES_MAX)).crossing
        if not context.rules.accepts(crossing.rules, context.clock.monotonic_s()):
            raise refuse(Code.CELL_BEHIND, "decided under rules that do not hold here", retry_after_s=1)
        refused = problem_of(crossing, cell=context.cell, policy=rules.policy, now_s=context.clock.unix_s())
        if refused is not None:
            raise ProblemError(refused)
        home = context.known(crossing.subject_id)
        if home is None:
            raise refuse(Code.NO_HOME, "this subject has no home in this cell")
        outcome = await self._bookings.book(context.shard_of(home), Booking(crossing, ActorId(caller.actor)))
        refused = unbooked(outcome, crossing.verb)
        if refused is not None:
            raise ProblemError(refused)
        return Response(status_code=204)

    async def show(self, request: Request) -> Response:
        """Answers only when the reading itself is recorded."""
        context = self._context
        caller = await self._operators.caller(request)
        caller.require(OPERATOR)
        subject = _subject(request.path_params["subject_id"])
        limit = query_int(request, "limit", PAGE_USUAL, low=1, high=PAGE_MAX)
        under = place_of(request.query_params.get("after"))
        home = context.known(subject)
        kept = context.event_shard()
        access = Event(
            id=f"access:{new_decision_id()}",
            at=context.clock.unix_s(),
            kind=Kind.ACCESS,
            actor=caller.actor,
            subject_id=subject,
            details={"read": "crossings", "limit": limit, "trace_id": trace_of(request).trace_id},
        )
        own = None if home is None else context.shard_of(home)
        try:
            await kept.record([access])
            found = await store.events(kept.require().cell, subject, under, limit + 1)
            if own is not None:
                found += await store.crossings(own.require().cell, subject, under, limit + 1)
        except (*LOST, asyncpg.PostgresError) as exc:
            raise unreachable(kept.id if own is None else own.id) from exc
        entries, following = page(found, limit)
        answer = RecordsOfSubject(subject_id=subject, entries=tuple(entries), next=following)
        return json_response(answer, headers={"cache-control": "no-store"})


def _subject(text: str) -> SubjectId:
    try:
        return parse_subject_id(text)
    except MalformedWord as exc:
        raise refuse(Code.BAD_REQUEST, str(exc)) from exc

"""`/cell/…`: sign-up, epochs and changes for guards, decisions for jobs, events and records of gateways."""

from typing import Annotated

import asyncpg
import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cells.aliases.claims import Aliases
from cells.crossings.core import EVENT_PREFIX
from cells.service.context import Context
from cells.service.core import gateway_problem, job_decision
from cells.service.signup import SignUp
from cells.shards.core import Home
from foundation import logs
from foundation.decision_header import new_decision_id
from foundation.http import Caller, body_json, json_response, query_int
from foundation.ledger import handed
from foundation.ledger.entries import AT_S_MAX
from foundation.ledger.handed import Handed
from foundation.ledger.port import Event, Kind
from foundation.problems import Code, Problem, ProblemError, refuse
from foundation.words import MalformedWord, SubjectId, Verb, parse_subject_id

log = logs.get(__name__)

LEASE_MS = 5_000
"""How long a guard may trust what it holds without hearing again."""
WAIT_MS_MAX = 2_500
"""Longest wait of one question for changes: half the lease, so that one lost answer does not end it."""
EVENTS_MAX = 500
DETAILS_BYTES_MAX = 4_096
GATEWAY_KINDS = frozenset({Kind.CROSSING, Kind.REFUSAL, Kind.ACCESS})
OWN_PREFIXES = (
    EVENT_PREFIX,
    "access:",
    "erasure:",
    "exception:",
    "fence:",
    "grant:",
    "job:",
    "ledger_read:",
    "lock:",
    "release:",
    handed.EVENT_PREFIX,
    "sign_in:",
    "signup:",
    "view:",
)
"""What ids of the cell's own events begin with: an event handed over under such an id would stand in for one of those."""


class JobRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    subject_id: Annotated[str, Meta(max_length=36)]
    verb: Verb


class EventsRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    events: Annotated[tuple[Event, ...], Meta(max_length=EVENTS_MAX)]


class RecordsRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`id`: the gateway's own, the same whenever it hands the same over."""

    id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{16,64}$(?!\n)")]
    records: Handed


def routes(context: Context, aliases: Aliases) -> list[Route]:
    calls = CellCalls(context)
    return [
        Route("/cell/signup", SignUp(context, aliases).signup, methods=["POST"]),
        Route("/cell/epochs/{subject_id}", calls.epoch, methods=["GET"]),
        Route("/cell/changes", calls.changes, methods=["GET"]),
        Route("/cell/jobs/decisions", calls.job, methods=["POST"]),
        Route("/cell/events", calls.events, methods=["POST"]),
        Route("/cell/records", calls.records, methods=["POST"]),
    ]


class CellCalls:
    """Handlers over one cell's context."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def epoch(self, request: Request) -> Response:
        await self._context.product_service(request)
        subject = _subject(request.path_params["subject_id"])
        change = self._context.homes.newest
        home = self._context.known(subject)
        if home is None:
            raise refuse(Code.NO_HOME, "this subject has no home in this cell")
        return json_response({**_told(subject, home), "change": change, "lease_ms": LEASE_MS})

    async def changes(self, request: Request) -> Response:
        await self._context.product_service(request)
        after = query_int(request, "after", 0, low=0, high=2**53)
        wait_ms = query_int(request, "wait_ms", 0, low=0, high=60_000)
        found = await self._context.homes.changes(after, wait_s=min(wait_ms, WAIT_MS_MAX) / 1000)
        told = [_told(subject, home) for subject, home in found.changes]
        return json_response({"changes": told, "next": found.next, "reset": found.reset, "lease_ms": LEASE_MS})

    async def job(self, request: Request) -> Response:
        context = self._context
        service = await context.product_service(request)
        asked = await body_json(request, JobRequest)
        subject = _subject(asked.subject_id)
        rules = context.rules.require()
        home = context.known(subject)
        decision = job_decision(
            rules.policy,
            cell=context.cell,
            service=service,
            subject=subject,
            home=home,
            verb=asked.verb,
            rules=rules.digest,
            expires=context.clock.unix_s() + rules.policy.product.decision_s,
            decision_id=new_decision_id(),
        )
        if isinstance(decision, Problem) or home is None:
            raise ProblemError(decision if isinstance(decision, Problem) else Problem(code=Code.NO_HOME, detail=""))
        event = Event(
            id=f"job:{decision.id}",
            at=context.clock.unix_s(),
            kind=Kind.JOB_DECISION,
            actor=f"service:{service}",
            subject_id=subject,
            details={"verb": asked.verb.value, "purpose": decision.purpose, "epoch": decision.epoch},
        )
        await context.shard_of(home).record([event])
        return json_response({"decision": context.minter.mint(decision)})

    async def _gateway(self, request: Request) -> Caller:
        """A gateway of this cell's region. Raises ProblemError."""
        caller = await self._context.auth.caller(request)
        refused = gateway_problem(caller, self._context.rules.require().policy, self._context.cell)
        if refused is not None:
            raise ProblemError(refused)
        return caller

    async def records(self, request: Request) -> Response:
        """Accesses that stand in the ledger under one root."""
        context = self._context
        caller = await self._gateway(request)
        asked = await body_json(request, RecordsRequest)
        mistake = asked.records.mistake()
        if mistake is not None:
            raise refuse(Code.BAD_REQUEST, mistake)
        event = Event(
            id=f"{handed.EVENT_PREFIX}{asked.id}",
            at=context.clock.unix_s(),
            kind=Kind.SHEAF,
            actor=caller.actor,
            details=msgspec.to_builtins(asked.records),
        )
        await context.event_shard().record([event])
        return Response(status_code=204)

    async def events(self, request: Request) -> Response:
        context = self._context
        await self._gateway(request)
        events = (await body_json(request, EventsRequest)).events
        for event in events:
            _check_event(event)
        try:
            if events:
                await context.event_shard().record(events)
        except asyncpg.DataError as exc:  # such as a NUL in a text, which JSON has and Postgres has not
            raise refuse(Code.BAD_REQUEST, "an event holds what a database cannot keep") from exc
        return Response(status_code=204)


def _check_event(event: Event) -> None:
    if event.kind not in GATEWAY_KINDS:
        raise refuse(Code.BAD_REQUEST, "a gateway hands over crossings, refusals and accesses", kind=event.kind.value)
    if not 1 <= len(event.id) <= 200 or not 1 <= len(event.actor) <= 200 or not 0 < event.at < AT_S_MAX:
        raise refuse(
            Code.BAD_REQUEST, "an event has an id and an actor of at most 200 characters and a time in unix seconds"
        )
    if event.id.startswith(OWN_PREFIXES):
        raise refuse(Code.BAD_REQUEST, "ids of events that begin like this are the cell's own")
    if event.subject_id is not None:
        _subject(event.subject_id)
    if len(msgspec.json.encode(event.details)) > DETAILS_BYTES_MAX:
        raise refuse(Code.BAD_REQUEST, f"details of an event are at most {DETAILS_BYTES_MAX} bytes long")


def _subject(text: str) -> SubjectId:
    try:
        return parse_subject_id(text)
    except MalformedWord as exc:
        raise refuse(Code.BAD_REQUEST, str(exc)) from exc


def _told(subject: SubjectId, home: Home) -> dict[str, object]:
    return {"subject_id": subject, "epoch": home.epoch, "state": home.state.value}

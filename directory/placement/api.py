"""`/v1/resolve` and `/v1/subjects`: the calls about placements."""

import re
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from directory import paging
from directory.metrics import CHANGES
from directory.operations import scoped
from directory.paged import limit_of
from directory.placement import store
from directory.placement.anew import PlacingAnew
from directory.placement.answers import (
    WAIT_MS_MAX,
    AckRequest,
    ChangeRequest,
    HistoryPage,
    PlacementAnswer,
    PlaceRequest,
    ResolveRequest,
    ServicesRequest,
    SubjectPage,
)
from directory.placement.core import State
from directory.placement.outcomes import Done
from directory.placement.placing import Placing
from directory.placement.preconditions import epoch_held, etag
from directory.placement.transitions import Action
from directory.placement.transitions import Request as Transition
from directory.services import Services
from foundation import logs
from foundation.http import Caller, body_json, json_response, query_int
from foundation.problems import Code, Problem, ProblemError, refuse
from foundation.words import (
    CellId,
    ServiceId,
    SubjectId,
    parse_epoch,
    parse_lookup_key,
    parse_slug,
    parse_subject_id,
)

log = logs.get(__name__)

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,200}\Z")


class PlacementCalls:
    """Handlers; each is entered by a caller that holds one of the call's roles."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._placing = Placing(services)
        self._anew = PlacingAnew(services)

    async def resolve(self, request: Request, _: Caller) -> Response:
        asked = await body_json(request, ResolveRequest)
        if asked.keys is not None and asked.subjects is None:
            keys = list(dict.fromkeys(parse_lookup_key(one) for one in asked.keys))
            return json_response(await store.resolve_keys(self._services.pool, keys))
        if asked.subjects is not None and asked.keys is None:
            subjects = list(dict.fromkeys(parse_subject_id(one) for one in asked.subjects))
            return json_response(await store.resolve_subjects(self._services.pool, subjects))
        raise refuse(Code.BAD_REQUEST, 'ask for either "keys" or "subjects"')

    async def subject(self, request: Request, _: Caller) -> Response:
        found = await store.subject(self._services.pool, _subject_id(request))
        if found is None:
            raise refuse(Code.NOT_FOUND, "no subject has this id")
        return _answer(found)

    async def subjects(self, request: Request, caller: Caller) -> Response:
        cell = _cell(request)
        if "operator" not in caller.roles and cell not in scoped(caller, "cell"):
            raise refuse(Code.FORBIDDEN, "a cell service lists the subjects of its own cell: send cell=")
        limit = limit_of(request)
        after = paging.decode_subject(request.query_params.get("cursor"))
        found = await store.subjects(
            self._services.pool, cell=cell, state=_state(request), after=after, limit=limit + 1
        )
        page, following = paging.page_of(found, limit, "subject", lambda one: one.subject_id)
        return json_response(SubjectPage(subjects=page, next=following))

    async def history(self, request: Request, _: Caller) -> Response:
        subject_id = _subject_id(request)
        limit = limit_of(request)
        after = paging.decode_number(request.query_params.get("cursor"))
        entries = await store.history(self._services.pool, subject_id, after=after, limit=limit + 1)
        if not entries and await store.subject(self._services.pool, subject_id) is None:
            raise refuse(Code.NOT_FOUND, "no subject has this id")
        page, following = paging.page_of(entries, limit, "number", lambda one: one.number)
        return json_response(HistoryPage(entries=page, next=following))

    async def place(self, request: Request, caller: Caller) -> Response:
        asked = await body_json(request, PlaceRequest)
        if len({one.key for one in asked.keys}) != len(asked.keys):
            raise refuse(Code.BAD_REQUEST, "a lookup key stands twice in this request")
        among = None if "operator" in caller.roles else frozenset(CellId(one) for one in scoped(caller, "signup"))
        placed = await self._placing.place(
            asked,
            actor=caller.actor,
            among=among,
            idempotency_key=_idempotency_key(request),
            wait_s=query_int(request, "wait_ms", WAIT_MS_MAX, low=0, high=WAIT_MS_MAX) / 1000,
        )
        if isinstance(placed, Problem):
            raise ProblemError(placed)
        placement = placed.answer.placement
        headers = {"location": f"/v1/subjects/{placement.subject_id}"}
        if placed.replayed:
            headers["idempotent-replayed"] = "true"
        return _answer(placed.answer, 202 if placement.state is State.RESERVED else 201, headers)

    async def acknowledge(self, request: Request, caller: Caller) -> Response:
        asked = await body_json(request, AckRequest)
        transition = Transition(
            action=Action.ACKNOWLEDGE,
            epoch=parse_epoch(asked.epoch),
            cells=frozenset(CellId(one) for one in scoped(caller, "cell")),
        )
        return await self._changed(request, caller, transition, reason="fence raised")

    def change(self, action: Action) -> Callable[[Request, Caller], Awaitable[Response]]:
        """The handler of a compare-and-set change by an operator."""

        async def handler(request: Request, caller: Caller) -> Response:
            asked = await body_json(request, ChangeRequest)
            held = epoch_held(request.headers.get("if-match"), asked.epoch)
            return await self._changed(request, caller, Transition(action=action, epoch=held), reason=asked.reason)

        return handler

    async def add_services(self, request: Request, caller: Caller) -> Response:
        asked = await body_json(request, ServicesRequest)
        done = await self._anew.add(
            _subject_id(request),
            frozenset(ServiceId(one) for one in asked.add),
            held=epoch_held(request.headers.get("if-match"), asked.epoch),
            actor=caller.actor,
            reason=asked.reason,
        )
        return self._told(done, Action.ADD_SERVICES)

    async def _changed(self, request: Request, caller: Caller, transition: Transition, *, reason: str) -> Response:
        done = await self._services.changes.change(_subject_id(request), transition, actor=caller.actor, reason=reason)
        return self._told(done, transition.action)

    def _told(self, done: Done | Problem, action: Action) -> Response:
        if isinstance(done, Problem):
            raise ProblemError(done)
        announce(self._services, done, action)
        return _answer(PlacementAnswer(as_of=done.seq, placement=done.placement))


def announce(services: Services, done: Done, action: Action) -> None:
    """After the commit: wakes this process's waiters at once (others hear it from the database) and counts."""
    services.commits.committed(done.seq, done.placement.subject_id)
    CHANGES.labels(action.value).inc()
    log.info(
        "placement_changed",
        subject_id=done.placement.subject_id,
        cell=done.placement.cell,
        epoch=done.placement.epoch,
        state=done.placement.state.value,
        reason=action.value,
        seq=done.seq,
    )


def _answer(answer: PlacementAnswer, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return json_response(answer, status, {"etag": etag(answer.placement.epoch), **(headers or {})})


def _subject_id(request: Request) -> SubjectId:
    return parse_subject_id(request.path_params["subject_id"])


def _cell(request: Request) -> CellId | None:
    text = request.query_params.get("cell")
    return None if text is None else CellId(parse_slug(text, "cell"))


def _state(request: Request) -> State | None:
    text = request.query_params.get("state")
    try:
        return None if text is None else State(text)
    except ValueError as exc:
        raise refuse(Code.BAD_REQUEST, f"state is one of: {', '.join(State)}") from exc


def _idempotency_key(request: Request) -> str | None:
    text = request.headers.get("idempotency-key")
    if text is not None and not _IDEMPOTENCY_KEY.match(text):
        raise refuse(Code.BAD_REQUEST, "an Idempotency-Key is 1 to 200 visible ASCII characters")
    return text

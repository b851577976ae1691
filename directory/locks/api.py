"""`/v1/locks`: what cells tell of who is locked out of break-glass, told to the other cells as soon as it changes."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from directory import paging
from directory.locks import store
from directory.locks.core import (
    LOCKS_MAX,
    STATE_CHARS,
    WAIT_MS_MAX,
    LockPage,
    TellRequest,
    ToldAnswer,
    Verdict,
    twice,
)
from directory.locks.metrics import TOLD, WAITERS
from directory.operations import Operation, Parameter, scoped
from directory.paged import PAGED, limit_of
from directory.placement.answers import Reason
from directory.services import Services
from foundation import logs
from foundation.http import Caller, body_json, json_response, query_int
from foundation.problems import Code, refuse
from foundation.words import CellId, parse_slug

log = logs.get(__name__)

LOOK_S = 0.5
"""A waiting poll looks this often for what nobody rang for, and whether the process is leaving."""


class ForgetRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`unknown`: also a cell of which nothing is held, since the directory was restored to before its first telling."""

    reason: Reason
    unknown: bool = False


class LockHistoryPage(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first."""

    entries: tuple[store.LockChange, ...]
    next: str | None


class LockCalls:
    """Handlers; each is entered by a caller that holds one of the call's roles."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def page(self, request: Request, _: Caller) -> Response:
        held = request.query_params.get("held", "")
        if held and (len(held) != STATE_CHARS or not held.isascii()):
            raise refuse(Code.BAD_REQUEST, f"a state has {STATE_CHARS} characters")
        wait_ms = query_int(request, "wait_ms", 0, low=0, high=WAIT_MS_MAX)
        if held and await self._stands(held, wait_ms / 1000):
            return json_response(LockPage(state=held, cells=None))
        return json_response(await store.read(self._services.pool))

    async def _stands(self, held: str, wait_s: float) -> bool:
        """Whether what is held is this still, once the wait ran out or the process begins to leave."""
        bell, clock = self._services.locks, self._services.clock
        deadline = clock.monotonic_s() + wait_s
        with WAITERS.track_inprogress():
            while True:
                count = bell.count
                if await store.state(self._services.pool) != held:
                    return False
                left = deadline - clock.monotonic_s()
                if left <= 0 or bell.full or self._services.drain.begun:
                    return True
                await bell.beyond(count, min(left, LOOK_S))

    async def tell(self, request: Request, caller: Caller) -> Response:
        cell = _cell(request)
        if cell not in scoped(caller, "cell"):
            raise refuse(Code.FORBIDDEN, "a cell service tells of its own cell's locks")
        asked = await body_json(request, TellRequest)
        if twice(asked.locks):
            raise refuse(Code.BAD_REQUEST, "one lock stands twice in this request")
        told = await store.tell(self._services.pool, self._services.clock, cell, asked, actor=caller.actor)
        TOLD.labels(told.verdict.value).inc()
        match told.verdict:
            case Verdict.OTHERWISE:
                detail = "another telling is held; look at the locks again, then tell anew"
                raise refuse(Code.PRECONDITION_FAILED, detail, number=told.held.number, steps=told.held.steps)
            case Verdict.OVERFULL:
                log.error("locks_overfull", cell=cell, count=len(told.held.kept))
                raise refuse(Code.CONFLICT, f"this cell lost more than {LOCKS_MAX} locks that it told: forget it first")
            case Verdict.PARTED:
                log.error("locks_parted", cell=cell, seq=told.held.number, count=len(told.held.kept))
            case Verdict.TAKEN:
                log.info("locks_told", cell=cell, seq=told.held.number, count=len(asked.locks))
        self._services.locks.ring()
        return json_response(ToldAnswer(number=told.held.number, parted=told.verdict is Verdict.PARTED))

    async def forget(self, request: Request, caller: Caller) -> Response:
        cell, asked = _cell(request), await body_json(request, ForgetRequest)
        services = self._services
        number = await store.forget(
            services.pool, services.clock, cell, actor=caller.actor, reason=asked.reason, unknown=asked.unknown
        )
        if number is None:
            raise refuse(Code.NOT_FOUND, "nothing is held of this cell; where others have heard of it, say `unknown`")
        services.locks.ring()
        log.warning("locks_forgotten", cell=cell, seq=number, actor=caller.actor)
        return json_response(ToldAnswer(number=number))

    async def history(self, request: Request, _: Caller) -> Response:
        limit = limit_of(request)
        before = paging.decode_seq(request.query_params.get("cursor"))
        found = await store.history(self._services.pool, before=before, limit=limit + 1)
        page, following = paging.page_of(found, limit, "seq", lambda one: one.position)
        return json_response(LockHistoryPage(entries=page, next=following))


def operations(services: Services) -> list[Operation]:
    calls = LockCalls(services)
    return [
        Operation(
            method="GET",
            path="/v1/locks",
            name="locks",
            summary="Who is locked out of break-glass, by each cell's own word; waits while what the caller holds stands",
            roles=("cell:*", "operator"),
            handler=calls.page,
            parameters=(
                Parameter(
                    name="held",
                    schema={"type": "string", "minLength": STATE_CHARS, "maxLength": STATE_CHARS},
                    description="`state` of what the caller holds; not given: everything is told",
                ),
                Parameter(
                    name="wait_ms",
                    schema={"type": "integer", "minimum": 0, "maximum": WAIT_MS_MAX},
                    description="how long to wait for another state",
                ),
            ),
            answers={200: LockPage},
        ),
        Operation(
            method="GET",
            path="/v1/locks/history",
            name="lockHistory",
            summary="Which locks stood and were lifted, as cells told it",
            roles=("operator",),
            handler=calls.history,
            parameters=PAGED,
            answers={200: LockHistoryPage},
        ),
        Operation(
            method="PUT",
            path="/v1/locks/{cell}",
            name="tellLocks",
            summary=f"All locks that stand in the caller's cell, at most {LOCKS_MAX}; compare-and-set by the number held",
            roles=("cell:*",),
            handler=calls.tell,
            body=TellRequest,
            answers={200: ToldAnswer},
            refusals=(Code.CONFLICT, Code.PRECONDITION_FAILED),
        ),
        Operation(
            method="POST",
            path="/v1/locks/{cell}/forget",
            name="forgetLocks",
            summary="Let nothing stand that a cell told: it is gone for good, or was restored and may tell anew",
            roles=("operator",),
            handler=calls.forget,
            body=ForgetRequest,
            answers={200: ToldAnswer},
            refusals=(Code.NOT_FOUND,),
        ),
    ]


def _cell(request: Request) -> CellId:
    return CellId(parse_slug(request.path_params["cell"], "cell"))

"""`/v1/aliases`: claims and what becomes of them, keys under another blinding key, the population that decoys are drawn by."""

import re

from starlette.requests import Request
from starlette.responses import Response

from directory import paging
from directory.aliases import generations, population, store
from directory.aliases.answers import (
    ClaimAnswer,
    ClaimHistory,
    ClaimPage,
    ClaimRequest,
    GenerationsAnswer,
    PopulationAnswer,
    RetireRequest,
    SettleRequest,
    TwinsRequest,
)
from directory.aliases.core import Action, ClaimState
from directory.aliases.core import Request as Settlement
from directory.aliases.metrics import CLAIMS, SETTLED, TWINS
from directory.database import session
from directory.operations import scoped
from directory.paged import limit_of
from directory.services import Services
from foundation import logs
from foundation.http import Caller, body_json, json_response
from foundation.problems import Code, Problem, ProblemError, refuse
from foundation.words import CellId, SubjectId, parse_slug, parse_subject_id
from routing_rules.policy import Policy

log = logs.get(__name__)

_KID = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")


class AliasCalls:
    """Handlers; each is entered by a caller that holds one of the call's roles."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def claim(self, request: Request, caller: Caller) -> Response:
        asked = await body_json(request, ClaimRequest)
        parse_subject_id(asked.claim_id)
        if asked.subject_id is not None:
            parse_subject_id(asked.subject_id)
        if asked.cell not in scoped(caller, "cell"):
            raise refuse(Code.FORBIDDEN, "a cell service claims for its own cell")
        if len({one.key for one in asked.keys}) != len(asked.keys):
            raise refuse(Code.BAD_REQUEST, "a lookup key stands twice in this request")
        answer = await self._services.claims.claim(asked, actor=caller.actor)
        CLAIMS.labels(answer.code.value if isinstance(answer, Problem) else "claimed").inc()
        return _claimed(answer, 201)

    async def confirm(self, request: Request, caller: Caller) -> Response:
        return await self._settle(request, caller, Action.CONFIRM)

    async def release(self, request: Request, caller: Caller) -> Response:
        return await self._settle(request, caller, Action.RELEASE)

    async def _settle(self, request: Request, caller: Caller, action: Action) -> Response:
        asked = await body_json(request, SettleRequest)
        settlement = Settlement(
            action=action,
            cells=frozenset(CellId(one) for one in scoped(caller, "cell")),
            anyones="operator" in caller.roles,
            subject_id=None if asked.subject_id is None else parse_subject_id(asked.subject_id),
        )
        claim_id = parse_subject_id(asked.claim_id)
        answer = await self._services.claims.settle(claim_id, settlement, actor=caller.actor, reason=asked.reason)
        if isinstance(answer, ClaimAnswer):
            self._services.commits.committed(answer.as_of, answer.claim.subject_id)
            SETTLED.labels(answer.claim.state.value).inc()
            log.info(
                "claim_settled",
                cell=answer.claim.cell,
                claim=claim_id,
                state=answer.claim.state.value,
                seq=answer.as_of,
            )
        return _claimed(answer, 200)

    async def unsettled(self, request: Request, caller: Caller) -> Response:
        text = request.query_params.get("cell")
        cell = None if text is None else CellId(parse_slug(text, "cell"))
        if "operator" not in caller.roles and cell not in scoped(caller, "cell"):
            raise refuse(Code.FORBIDDEN, "a cell service lists its own claims: send cell=")
        limit = limit_of(request)
        after = paging.decode_subject(request.query_params.get("cursor"))
        async with session(self._services.pool) as connection:
            found = await store.unsettled(connection, cell=cell, state=_state(request), after=after, limit=limit + 1)
        page, following = paging.page_of(found, limit, "subject", lambda one: one.claim_id)
        return json_response(ClaimPage(claims=page, next=following))

    async def one(self, request: Request, caller: Caller) -> Response:
        claim_id: SubjectId = parse_subject_id(request.path_params["claim_id"])
        async with session(self._services.pool) as connection:
            found = await store.read(connection, claim_id)
            if found is None or ("operator" not in caller.roles and found[0].cell not in scoped(caller, "cell")):
                raise refuse(Code.NOT_FOUND, "no claim of yours has this id")
            entries = await store.history(connection, claim_id)
        return json_response(ClaimHistory(claim=found[0], entries=entries))

    async def add_twins(self, request: Request, caller: Caller) -> Response:
        asked = await body_json(request, TwinsRequest)
        rules = await self._services.rules.current()
        if isinstance(rules, Problem):
            raise ProblemError(rules)
        answer = await generations.add_twins(self._services.pool, asked.twins, _cells_of(caller, rules.policy))
        TWINS.inc(answer.added)
        return json_response(answer)

    async def generations(self, _request: Request, _: Caller) -> Response:
        return json_response(GenerationsAnswer(generations=await generations.count(self._services.pool)))

    async def retire(self, request: Request, caller: Caller) -> Response:
        asked = await body_json(request, RetireRequest)
        kid = request.path_params["kid"]
        if not _KID.match(kid):
            raise refuse(Code.BAD_REQUEST, "a kid is letters, digits, dots, hyphens and underscores, at most 64")
        act = generations.Act(
            actor=caller.actor, reason=asked.reason, at=self._services.clock.unix_s(), lose=asked.lose
        )
        answer = await generations.retire(self._services.pool, kid, act)
        if isinstance(answer, Problem):
            raise ProblemError(answer)
        log.info("blinding_key_retired", kid=kid, count=answer.removed, actor=caller.actor)
        return json_response(answer)

    async def population(self, _request: Request, _: Caller) -> Response:
        return json_response(PopulationAnswer(weights=await population.read(self._services.pool)))


def _claimed(answer: ClaimAnswer | Problem, status: int) -> Response:
    if isinstance(answer, Problem):
        raise ProblemError(answer)
    return json_response(answer, status)


def _state(request: Request) -> ClaimState | None:
    text = request.query_params.get("state")
    if text not in (None, ClaimState.CLAIMED, ClaimState.UNRESOLVED):
        raise refuse(Code.BAD_REQUEST, "claims that are not settled are claimed or unresolved")
    return None if text is None else ClaimState(text)


def _cells_of(caller: Caller, policy: Policy) -> frozenset[CellId]:
    """The cells that a caller speaks for: a cell service its own, a gateway those of its region."""
    regions = scoped(caller, "gateway")
    here = (name for name, stated in policy.cells.items() if stated.region in regions)
    return frozenset((*here, *(CellId(one) for one in scoped(caller, "cell"))))

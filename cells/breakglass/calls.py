"""Handlers of `/access`: parse, ask the desk, tell."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from cells.breakglass import replay
from cells.breakglass.book import Book, Grant
from cells.breakglass.desk import Desk
from cells.breakglass.issuing import Issuing
from cells.breakglass.keeper import Keeper
from cells.breakglass.locks.assembly import Locks
from cells.breakglass.locks.listing import listed
from cells.breakglass.roles import audited
from cells.breakglass.shapes import (
    AccessRequest,
    ApprovalRequest,
    AuthorityTold,
    CertificateRequest,
    CertificateTold,
    CheckRequest,
    CheckTold,
    EditRequest,
    ExceptionList,
    ExceptionRequest,
    ExceptionTold,
    GrantList,
    GrantTold,
    LockRequest,
    ReasonRequest,
    ReviewRequest,
    State,
)
from cells.breakglass.sign_in import EngineerAuth, person
from cells.breakglass.statements.reading import DoorLog
from cells.breakglass.steps import Exempted, Taken
from cells.breakglass.words import SECOND_US, GrantId, Phase, parse_engineer, parse_grant
from cells.shards.shard import Shard
from foundation.http import Caller, body_json, json_response, query_int
from foundation.problems import Code, refuse
from foundation.words import ShardId, parse_subject_id

LISTED_USUAL = 100
LISTED_MAX = 1_000
STATEMENTS_MAX = 10_000
"""In one report over HTTP; the command takes more from the ledger."""
_AT_MAX = 1 << 53
_FRESH = {"cache-control": "no-store"}


class AccessCalls:
    """Over one cell's desk. `logins`: database roles that are no person's, beside those of the shards' own settings. `door`: what was done
    there."""

    def __init__(
        self,
        *,
        auth: EngineerAuth,
        desk: Desk,
        issuing: Issuing,
        keeper: Keeper,
        shards: Mapping[ShardId, Shard],
        logins: Sequence[str],
        door: DoorLog,
        locks: Locks,
    ) -> None:
        self.auth = auth
        self._desk = desk
        self._issuing = issuing
        self._keeper = keeper
        self._shards = shards
        self._logins = logins
        self._door = door
        self._locks = locks

    # --- asking ----------------------------------------------------------------------------------------------------------

    async def request(self, request: Request, caller: Caller) -> Response:
        asker, asked = person(caller), await body_json(request, AccessRequest)
        proof = None if asked.on_call is None else await self.auth.on_call(asked.on_call, asker.id)
        return self._answer(await self._desk.request(asker, asked.terms, proof), status=201)

    async def edit(self, request: Request, caller: Caller) -> Response:
        asked = await body_json(request, EditRequest)
        return self._answer(await self._desk.edit(person(caller), _grant(request), asked.terms))

    async def close(self, request: Request, caller: Caller) -> Response:
        asked = await body_json(request, ReasonRequest)
        return self._answer(await self._desk.close(person(caller), _grant(request), asked.reason))

    async def certify(self, request: Request, caller: Caller) -> Response:
        asked = await body_json(request, CertificateRequest)
        issued = await self._issuing.certify(person(caller), _grant(request), asked.request, asked.shard)
        told = CertificateTold(
            certificate=issued.certificate, authority=issued.authority, told=self._told(issued.grant)
        )
        return json_response(told, 201, _FRESH)

    async def check(self, request: Request, caller: Caller) -> Response:
        asked = await body_json(request, CheckRequest)
        grant, intent = await self._issuing.check(person(caller), asked.certificate)
        told = CheckTold(told=self._told(grant), shard=intent.shard, until=intent.until_us / SECOND_US)
        return json_response(told, headers=_FRESH)

    # --- deciding --------------------------------------------------------------------------------------------------------

    async def approve(self, request: Request, caller: Caller) -> Response:
        asked = await body_json(request, ApprovalRequest)
        return self._answer(await self._desk.approve(person(caller), _grant(request), asked.version))

    async def deny(self, request: Request, caller: Caller) -> Response:
        asked = await body_json(request, ReasonRequest)
        return self._answer(await self._desk.deny(person(caller), _grant(request), asked.reason))

    async def revoke(self, request: Request, caller: Caller) -> Response:
        asked = await body_json(request, ReasonRequest)
        return self._answer(await self._desk.revoke(person(caller), _grant(request), asked.reason))

    async def review(self, request: Request, caller: Caller) -> Response:
        asked = await body_json(request, ReviewRequest)
        reviewed = await self._desk.review(person(caller), _grant(request), asked.verdict, asked.note)
        return self._answer(reviewed)

    # --- looking ---------------------------------------------------------------------------------------------------------

    async def listed(self, request: Request, caller: Caller) -> Response:
        asker, phase = person(caller), _phase(request)
        limit = query_int(request, "limit", LISTED_USUAL, low=1, high=LISTED_MAX)
        whole = self._desk.may(asker, "list")
        book, at_us = await self._desk.looked(asker)
        mine = [one for one in book.grants.values() if whole or one.engineer == asker.id]
        shown = sorted(mine, key=lambda one: (one.requested_at_us, one.id), reverse=True)
        told = [_told(one, at_us) for one in shown]
        found = [one for one in told if phase is None or one.phase is phase][:limit]
        return json_response(GrantList(grants=tuple(found)), headers=_FRESH)

    async def show(self, request: Request, caller: Caller) -> Response:
        return self._answer(await self._desk.shown(person(caller), _grant(request)))

    async def report(self, request: Request, caller: Caller) -> Response:
        _, at_us = await self._desk.allowed(person(caller), "report")
        history = await self._keeper.history()
        subject, engineer = (request.query_params.get(name) for name in ("subject", "engineer"))
        size = query_int(request, "size", -1, low=0, high=_AT_MAX)
        until_us = query_int(request, "until_us", at_us, low=0, high=_AT_MAX)
        asked = replay.Asked(
            until_us=until_us,
            size=size,
            steps=_steps(request, history, until_us),
            since_us=query_int(request, "since_us", 0, low=0, high=_AT_MAX),
            subject=None if subject is None else parse_subject_id(subject),
            engineer=None if engineer is None else parse_engineer(engineer),
            statements=query_int(request, "statements", 0, low=0, high=1) == 1,
        )
        door, counted = await self._door.told(None if size < 0 else size, asked.until_us, asked.scope)
        asked = msgspec.structs.replace(asked, size=counted)
        told = await asyncio.to_thread(partial(replay.report, history, door, asked))
        if sum(len(one.ran) for grant in told.grants for one in grant.sessions) > STATEMENTS_MAX:
            raise refuse(Code.TOO_LARGE, f"more than {STATEMENTS_MAX} statements; ask for one subject or engineer")
        return json_response(told, headers=_FRESH)

    async def state(self, _request: Request, caller: Caller) -> Response:
        await self._desk.allowed(person(caller), "report")
        history = await self._keeper.history()
        # Beside the loop, from steps that nobody changes: a long history takes its time.
        digest = await asyncio.to_thread(lambda: replay.fold(history).digest())
        return json_response(State(steps=len(history), digest=digest), headers=_FRESH)

    async def replayed(self, _request: Request, caller: Caller) -> Response:
        await self._desk.allowed(person(caller), "report")
        try:
            logged = await self._door.steps()
            recorded = await self._keeper.history()
            told = await asyncio.to_thread(partial(replay.held_against, logged, recorded))
        except replay.Unfit as exc:
            raise refuse(Code.CONFLICT, f"the ledger cannot be replayed: {exc}") from exc
        return json_response(told, headers=_FRESH)

    async def roles(self, _request: Request, caller: Caller) -> Response:
        await self._desk.allowed(person(caller), "audit_roles")
        return json_response(await audited(self._shards, self._logins), headers=_FRESH)

    async def authority(self, _request: Request, _caller: Caller) -> Response:
        return json_response(AuthorityTold(authority=self._issuing.authority_pem))

    # --- locks and exceptions --------------------------------------------------------------------------------------------

    async def locks(self, _request: Request, caller: Caller) -> Response:
        book, at_us = await self._desk.allowed(person(caller), "list")
        return json_response(listed(self._locks, book, at_us), headers=_FRESH)

    async def lock(self, request: Request, caller: Caller) -> Response:
        asked = await body_json(request, LockRequest)
        book = await self._desk.lock(person(caller), parse_engineer(asked.person), asked.reason)
        return json_response(listed(self._locks, book, book.at_us), headers=_FRESH)

    async def unlock(self, request: Request, caller: Caller) -> Response:
        asked = await body_json(request, LockRequest)
        book = await self._desk.unlock(person(caller), parse_engineer(asked.person), asked.reason)
        return json_response(listed(self._locks, book, book.at_us), headers=_FRESH)

    async def exceptions(self, _request: Request, caller: Caller) -> Response:
        book, at_us = await self._desk.allowed(person(caller), "list")
        return json_response(_exceptions(book, at_us), headers=_FRESH)

    async def exempt(self, request: Request, caller: Caller) -> Response:
        asked = await body_json(request, ExceptionRequest)
        kept = await self._desk.exempt(person(caller), asked.note)
        book, at_us = await self._keeper.book()
        return json_response(_exception(book, kept, at_us), 201, _FRESH)

    async def withdraw(self, request: Request, caller: Caller) -> Response:
        asked = await body_json(request, ReasonRequest)
        book = await self._desk.withdraw(person(caller), request.path_params["exception"], asked.reason)
        return json_response(_exceptions(book, book.at_us), headers=_FRESH)

    # --- telling ---------------------------------------------------------------------------------------------------------

    def _answer(self, grant: Grant, status: int = 200) -> Response:
        return json_response(self._told(grant), status, _FRESH)

    def _told(self, grant: Grant) -> GrantTold:
        return _told(grant, self._keeper.now_us())


def _told(grant: Grant, at_us: int) -> GrantTold:
    due = grant.review_due_us()
    overdue = due is not None and at_us >= due
    return GrantTold(at=at_us / SECOND_US, phase=grant.phase(at_us), review_overdue=overdue, grant=grant)


def _exceptions(book: Book, at_us: int) -> ExceptionList:
    return ExceptionList(exceptions=tuple(_exception(book, one, at_us) for one in book.exceptions.values()))


def _exception(book: Book, one: Exempted, at_us: int) -> ExceptionTold:
    counts = any(book.exempts(one.exception, one.rule, one.engineer, purpose, at_us) for purpose in one.purposes)
    return ExceptionTold(exception=one, counts=counts)


def _grant(request: Request) -> GrantId:
    return parse_grant(request.path_params["grant"])


def _steps(request: Request, history: Sequence[Taken], until_us: int) -> int:
    """Raises ProblemError."""
    asked = query_int(request, "steps", replay.steps_until(history, until_us), low=0, high=_AT_MAX)
    if asked > len(history):
        raise refuse(Code.BAD_REQUEST, f"there are {len(history)} steps")
    return asked


def _phase(request: Request) -> Phase | None:
    """Raises ProblemError."""
    text = request.query_params.get("phase")
    if text is None:
        return None
    try:
        return Phase(text)
    except ValueError as exc:
        known = ", ".join(phase.value for phase in Phase)
        raise refuse(Code.BAD_REQUEST, f"query parameter phase is one of {known}") from exc

"""A product service's way to its cell service: epochs, changes, sign-up, decisions for jobs, the records API.

Control answers are parsed strictly; whatever does not come or does not fit raises `CellSilent`. A refusal of the records API or of
sign-up raises `CellRefused`, which `pass_through` turns into the response of the product service, its `Domicile-*` headers kept, so
that the gateway can refresh and try again.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import msgspec
from starlette.requests import Request
from starlette.responses import Response

from cells.guard.core import Change, Known
from directory.placement.core import State
from foundation import trace
from foundation.clock import Clock
from foundation.decision import Decision
from foundation.decision_header import HEADER, DecisionRefused, ServiceVerifier
from foundation.http import HttpClient, problem_response
from foundation.problems import Code, Problem, ProblemError, refuse
from foundation.words import Epoch, ServiceId, SubjectId, Verb

REFUSAL_HEADER = "domicile-refusal"
EPOCH_HEADER = "domicile-epoch"
ANSWER_BYTES_MAX = 1 << 23
ASK_S_MAX = 2.0
_KEPT_HEADERS = ("content-type", "retry-after", REFUSAL_HEADER, EPOCH_HEADER)

A = TypeVar("A")
Row = dict[str, Any]


class CellSilent(Exception):
    """The cell service gave no usable answer; the message is the kind of failure, never its text."""


class CellRefused(Exception):
    """The cell service refused: its status, body and the headers worth passing on."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        super().__init__(f"the cell service answered {status}")
        self.status = status
        self.body = body
        self.headers = dict(headers)


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """A verified decision and the header that carries it to the records API."""

    decision: Decision
    header: str


class SignedUp(msgspec.Struct, frozen=True, kw_only=True):
    """A new subject, and the decision under which the rest of the request is done."""

    subject_id: SubjectId
    epoch: Epoch
    decided: Decided


class ChangesPage(msgspec.Struct, frozen=True, kw_only=True):
    """Wire form of `GET /cell/changes`: every change after the asked number up to `next`."""

    changes: tuple[Change, ...]
    next: int
    reset: bool
    lease_ms: int


class _EpochAnswer(msgspec.Struct, frozen=True, kw_only=True):
    subject_id: SubjectId
    epoch: Epoch
    state: State
    change: int
    lease_ms: int


class _SignUpAnswer(msgspec.Struct, frozen=True, kw_only=True):
    subject_id: SubjectId
    epoch: Epoch
    decision: str


class _JobAnswer(msgspec.Struct, frozen=True, kw_only=True):
    decision: str


class CellService:
    """Calls to the cell service of this product service. `http` has its base URL and presents the service's own token."""

    def __init__(self, http: HttpClient, verifier: ServiceVerifier, clock: Clock) -> None:
        self._http = http
        self._verifier = verifier
        self._clock = clock

    async def epoch(self, subject: SubjectId) -> Known | None:
        """The subject's home here, or None where the cell knows of none. Raises CellSilent."""
        response = await self._ask("GET", f"/cell/epochs/{subject}", wait_s=ASK_S_MAX)
        if response.status_code == 404:
            return None
        answer = _decoded(response, _EpochAnswer)
        if answer.subject_id != subject:
            raise CellSilent("answer about another subject")
        return Known(epoch=answer.epoch, state=answer.state, change=answer.change)

    async def changes(self, after: int, wait_ms: int) -> ChangesPage:
        """What changed after number `after`; waits up to `wait_ms` for something. Raises CellSilent."""
        params = {"after": str(after), "wait_ms": str(wait_ms)}
        response = await self._ask("GET", "/cell/changes", params=params, wait_s=wait_ms / 1000 + ASK_S_MAX)
        page = _decoded(response, ChangesPage)
        if page.lease_ms <= 0 or page.next < 0:
            raise CellSilent("answer out of range")
        return page

    async def sign_up(self, decided: Decided, services: Sequence[ServiceId]) -> SignedUp:
        """Claims, places and confirms the person whom a sign-up decision speaks of.

        Use `.decided` for the rest of the request. Raises CellRefused, or ProblemError where the cell service is silent.
        """
        response = await self.call("POST", "/cell/signup", decided.header, json={"services": list(services)})
        answer = _decoded_or_problem(response, _SignUpAnswer)
        own = self._verified(answer.decision)
        if own.decision.subject != answer.subject_id or own.decision.epoch != answer.epoch:
            raise refuse(Code.UPSTREAM_BROKEN, "the cell service's decision is not about the new subject")
        return SignedUp(subject_id=answer.subject_id, epoch=answer.epoch, decided=own)

    async def job_decision(self, subject: SubjectId, verb: Verb) -> Decided:
        """A decision for a background job, as policy's `jobs` allows; recorded by the cell. Raises as `sign_up`."""
        body = {"subject_id": subject, "verb": verb.value}
        response = await self.call("POST", "/cell/jobs/decisions", None, json=body)
        return self._verified(_decoded_or_problem(response, _JobAnswer).decision)

    def records(self, decided: Decided, traced: trace.Trace | None = None) -> "Records":
        """The records API under one decision."""
        return Records(self, decided, traced)

    async def call(
        self,
        method: str,
        path: str,
        header: str | None,
        *,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """One call on somebody's behalf: a 2xx answer. Raises CellRefused, or ProblemError where there was no answer."""
        sent = dict(headers or {})
        if header is not None:
            sent[HEADER] = header
        content = None
        if json is not None:
            content = msgspec.json.encode(json)
            sent["content-type"] = "application/json"
        try:
            response = await self._http.request(method, path, params=params, content=content, headers=sent)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, OSError) as exc:
            raise refuse(Code.NOT_READY, "the cell service cannot be reached", retry_after_s=1) from exc
        except httpx.TimeoutException as exc:
            raise refuse(Code.UPSTREAM_TIMEOUT, "the cell service did not answer in time") from exc
        except httpx.HTTPError as exc:
            raise refuse(Code.UPSTREAM_BROKEN, "the cell service broke off its answer") from exc
        if not response.is_success:
            kept = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
            raise CellRefused(response.status_code, response.content, kept)
        return response

    async def _ask(
        self, method: str, path: str, *, wait_s: float, params: Mapping[str, str] | None = None
    ) -> httpx.Response:
        try:
            return await self._http.request(method, path, params=params, timeout=wait_s)
        except (httpx.HTTPError, OSError) as exc:
            raise CellSilent(type(exc).__name__) from exc

    def _verified(self, header: str) -> Decided:
        try:
            return Decided(decision=self._verifier.verify(header, self._clock.unix_s()), header=header)
        except DecisionRefused as exc:
            raise refuse(Code.UPSTREAM_BROKEN, f"the cell service's decision does not hold: {exc.reason}") from exc


class Records:
    """The records API (PostgREST dialect) under one decision. Every call raises CellRefused or ProblemError.

    `where` holds filters of the dialect, such as `{"id": "eq.…"}`; rows and changes are JSON objects by column.
    """

    def __init__(self, cell: CellService, decided: Decided, traced: trace.Trace | None) -> None:
        self._cell = cell
        self.decided = decided
        self._trace = {trace.HEADER: traced.header()} if traced else {}

    async def read(self, table: str, where: Mapping[str, str] | None = None) -> list[Row]:
        """Rows; `where` may also hold `select`, `order`, `limit` and `offset`."""
        return await self._rows("GET", table, where, None)

    async def insert(self, table: str, row: Row) -> Row:
        """The row as stored. A key that is taken raises CellRefused with status 409."""
        rows = await self._rows("POST", table, None, row)
        if len(rows) != 1:
            raise refuse(Code.UPSTREAM_BROKEN, "the records API did not answer with the stored row")
        return rows[0]

    async def update(self, table: str, where: Mapping[str, str], changes: Row) -> list[Row]:
        """The rows as they are after the change."""
        return await self._rows("PATCH", table, where, changes)

    async def delete(self, table: str, where: Mapping[str, str]) -> list[Row]:
        """The rows that were deleted."""
        return await self._rows("DELETE", table, where, None)

    async def _rows(self, method: str, table: str, where: Mapping[str, str] | None, body: Row | None) -> list[Row]:
        headers = self._trace if method == "GET" else {**self._trace, "prefer": "return=representation"}
        path = f"/records/{quote(table, safe='')}"
        response = await self._cell.call(method, path, self.decided.header, params=where, json=body, headers=headers)
        return _decoded_or_problem(response, list[Row])


def pass_through(request: Request, exc: Exception) -> Response:
    """Starlette's exception handler for `CellRefused`: the cell service's refusal becomes this service's answer."""
    if not isinstance(exc, CellRefused):
        raise exc
    if exc.status in (401, 403) and REFUSAL_HEADER not in exc.headers:
        # This service's own credential or grant does not hold: nothing that its caller could mend.
        return problem_response(Problem(code=Code.NOT_READY, detail="the cell service refuses this service"))
    return Response(exc.body, status_code=exc.status, headers=exc.headers)


def _decoded(response: httpx.Response, shape: type[A]) -> A:
    if response.status_code != 200 or len(response.content) > ANSWER_BYTES_MAX:
        raise CellSilent(f"status {response.status_code}")
    try:
        return msgspec.json.decode(response.content, type=shape)
    except msgspec.MsgspecError as exc:
        raise CellSilent("answer not understood") from exc


def _decoded_or_problem(response: httpx.Response, shape: type[A]) -> A:
    try:
        return msgspec.json.decode(response.content, type=shape)
    except msgspec.MsgspecError as exc:
        raise ProblemError(
            Problem(code=Code.UPSTREAM_BROKEN, detail="the cell service's answer is not as documented")
        ) from exc

"""A cell service in memory: the second implementation of what guards ask for, which can be late, silent, reset or restarted.

`FakeCell.app` speaks HTTP (docs/architecture.md, "Cell service API") with a small form of the records API; `FakeCell` itself is the
`CellPort` of a keeper.
"""

import asyncio
import contextlib
import uuid
from typing import Any

import httpx
import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cells.guard.client import CellSilent, ChangesPage
from cells.guard.core import Change, Known
from directory.placement.core import State
from foundation.decision import Decision, RootKey
from foundation.decision_header import HEADER, CellVerifier, Minter, new_decision_id, service_key
from foundation.http import application, body_bytes, json_response, problem_response
from foundation.mute import Secret
from foundation.problems import Code, Problem
from foundation.words import CellId, Epoch, RulesDigest, ServiceId, SubjectId, Verb, mint_subject_id

CELL = CellId("eu-de")
SERVICE = ServiceId("orders")
ROOT = RootKey("k1", Secret(b"r" * 32))
DIGEST = RulesDigest("sha256:" + "0" * 64)
LEASE_MS = 5000


def minter(root: RootKey = ROOT, cell: CellId = CELL) -> Minter:
    return Minter(cell, root)


def service_keys(root: RootKey = ROOT, service: ServiceId = SERVICE) -> dict[str, Secret[bytes]]:
    return {root.kid: Secret(service_key(root.key.reveal(), service))}


def decision(
    subject: SubjectId | None,
    epoch: int | None,
    verb: Verb = Verb.READ,
    *,
    now: float,
    service: ServiceId = SERVICE,
    life: float = 15.0,
) -> Decision:
    return Decision(
        cell=CELL, service=service, subject=subject, actor=subject, epoch=None if epoch is None else Epoch(epoch), verb=verb,
        purpose="service", rules=DIGEST, expires=now + life, id=new_decision_id(),
    )  # fmt: skip


class FakeCell:
    """Homes, changes and rows in memory. `silent` makes it answer nothing, `gate` (an event) holds answers about epochs back."""

    def __init__(
        self, *, first: int = 1000, lease_ms: int = LEASE_MS, now: Any = None, service: ServiceId = SERVICE
    ) -> None:
        self.service = service
        self.homes: dict[SubjectId, tuple[int, State]] = {}
        self.log: list[tuple[int, SubjectId, int, State]] = []
        self.first = self.newest = first
        self.lease_ms = lease_ms
        self.silent = False
        self.gate: asyncio.Event | None = None
        self.asked = 0
        self.polled = 0
        self.now = now or (lambda: 0.0)
        self.rows: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.refuse_records: Problem | None = None
        self.refusal_epoch: int | None = None
        self.seen_headers: list[dict[str, str]] = []
        self._changed = asyncio.Event()
        self._cell_verifier = CellVerifier(CELL, (ROOT,))

    # --- what the cell does ---

    def put(self, subject: SubjectId, epoch: int, state: State = State.ACTIVE) -> None:
        self.homes[subject] = (epoch, state)
        self.newest += 1
        self.log.append((self.newest, subject, epoch, state))
        self._changed.set()
        self._changed = asyncio.Event()

    def restart(self) -> None:
        """Numbers start anew above the old ones; the log is lost, homes stay."""
        self.first = self.newest = self.newest + 1_000_000
        self.log.clear()
        self._changed.set()
        self._changed = asyncio.Event()

    # --- the port ---

    async def epoch(self, subject: SubjectId) -> Known | None:
        self.asked += 1
        if self.silent:
            raise CellSilent("silent")
        home = self.homes.get(subject)
        answer = Known(epoch=Epoch(home[0]), state=home[1], change=self.newest) if home else None
        if self.gate is not None:
            await self.gate.wait()
        return answer

    async def changes(self, after: int, wait_ms: int) -> ChangesPage:
        self.polled += 1
        if self.silent:
            raise CellSilent("silent")
        if after == self.newest and wait_ms:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), wait_ms / 1000)
        if self.silent:
            raise CellSilent("silent")
        return self.page(after)

    def page(self, after: int) -> ChangesPage:
        reset = not self.first <= after <= self.newest
        changes = [] if reset else [
            Change(subject_id=subject, epoch=Epoch(epoch), state=state) for number, subject, epoch, state in self.log if number > after
        ]  # fmt: skip
        return ChangesPage(changes=tuple(changes), next=self.newest, reset=reset, lease_ms=self.lease_ms)

    # --- the wire ---

    @property
    def app(self) -> Any:
        return application(
            [
                Route("/cell/epochs/{subject}", self._epochs),
                Route("/cell/changes", self._changes),
                Route("/cell/signup", self._signup, methods=["POST"]),
                Route("/cell/jobs/decisions", self._job, methods=["POST"]),
                Route("/records/{table}", self._records, methods=["GET", "POST", "PATCH", "DELETE"]),
            ],
            ready=lambda: None,
        )

    async def _epochs(self, request: Request) -> Response:
        try:
            known = await self.epoch(SubjectId(request.path_params["subject"]))
        except CellSilent:
            return Response(status_code=503)
        if known is None:
            return problem_response(Problem(code=Code.NO_HOME, detail="not here"))
        return json_response(
            {
                "subject_id": request.path_params["subject"],
                "epoch": known.epoch,
                "state": known.state,
                "change": known.change,
                "lease_ms": self.lease_ms,
            }
        )

    async def _changes(self, request: Request) -> Response:
        try:
            page = await self.changes(int(request.query_params["after"]), int(request.query_params["wait_ms"]))
        except CellSilent:
            return Response(status_code=503)
        return json_response(page)

    def _decision(self, request: Request) -> Decision:
        self.seen_headers.append(dict(request.headers))
        return self._cell_verifier.verify(request.headers[HEADER], self.now(), service=self.service)

    async def _signup(self, request: Request) -> Response:
        made = self._decision(request)
        if made.verb is not Verb.SIGNUP:
            return problem_response(Problem(code=Code.FORBIDDEN, detail="not a sign-up"))
        subject = mint_subject_id()
        self.put(subject, 7)
        return json_response(
            {"subject_id": subject, "epoch": 7, "decision": self._mint(subject, Verb.WRITE)},
            201,
        )

    def _mint(self, subject: SubjectId, verb: Verb) -> str:
        return minter().mint(decision(subject, self.homes[subject][0], verb, now=self.now(), service=self.service))

    async def _job(self, request: Request) -> Response:
        body = msgspec.json.decode(await body_bytes(request))
        return json_response({"decision": self._mint(SubjectId(body["subject_id"]), Verb(body["verb"]))})

    async def _records(self, request: Request) -> Response:
        made = self._decision(request)
        if self.refuse_records is not None:
            answer = problem_response(self.refuse_records)
            answer.headers["domicile-refusal"] = self.refuse_records.code.value
            if self.refusal_epoch is not None:
                answer.headers["domicile-epoch"] = str(self.refusal_epoch)
            return answer
        subject, table = str(made.subject), request.path_params["table"]
        wanted = request.query_params.get("id", "").removeprefix("eq.")
        found = [key for key in self.rows if key[0] == table and key[1] == subject and (not wanted or key[2] == wanted)]
        match request.method:
            case "GET":
                return json_response([self.rows[key] for key in found])
            case "POST":
                row = msgspec.json.decode(await body_bytes(request))
                key = (table, subject, row["id"])
                if key in self.rows:
                    return json_response({"code": "23505", "message": "duplicate key"}, 409)
                self.rows[key] = {"subject_id": subject, **row}
                return json_response([self.rows[key]], 201)
            case "PATCH":
                changes = msgspec.json.decode(await body_bytes(request))
                for key in found:
                    self.rows[key] |= changes
                return json_response([self.rows[key] for key in found])
            case _:
                return json_response([self.rows.pop(key) for key in found])


def http_to(app: Any, **options: Any) -> httpx.AsyncClient:  # noqa: TID251 - into an application, not onto a network
    """An httpx client straight into an ASGI application."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app, **options), base_url="http://test")  # noqa: TID251


def a_subject(number: int = 1) -> SubjectId:
    return SubjectId(str(uuid.UUID(int=number)))

"""Routes of the sample product. It holds no data itself: each route makes at most one write through the records API.

Refusals of the cell pass through as they are, so that the gateway can refresh its decision and try once more.
"""

import uuid
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from cells.guard.client import CellRefused, CellService, Decided, Records, Row, pass_through
from cells.guard.middleware import decided
from cells.guard.mount import Guarding
from deploy.local.orders.shapes import NewOrder, OrderChange, ProfileChange, SignUp, row_id, stated
from foundation.http import Ready, application, body_json, json_response, query_int, trace_of
from foundation.problems import Code, refuse
from foundation.words import ServiceId, Verb

PAGE_MAX = 200
STREAM_ROWS_MAX = 10_000_000
_STREAM_ROWS_A_CHUNK = 512
_PAD = "x" * 100


class Orders:
    """Handlers over the cell service."""

    def __init__(self, service: ServiceId, cell: CellService) -> None:
        self._service = service
        self._cell = cell

    def routes(self) -> list[Route]:
        at = f"/{self._service}"
        return [
            Route(f"{at}/health", health),
            Route(f"{at}/sign-up", self.sign_up, methods=["POST"]),
            Route(f"{at}/profile", self.profile, methods=["GET"]),
            Route(f"{at}/profile", self.change_profile, methods=["PATCH"]),
            Route(f"{at}/stream", stream, methods=["GET"]),
            Route(f"{at}/echo", echo, methods=["POST"]),
            Route(at, self.list_orders, methods=["GET"]),
            Route(at, self.create_order, methods=["POST"]),
            Route(f"{at}/{{id}}", self.order, methods=["GET"]),
            Route(f"{at}/{{id}}", self.change_order, methods=["PATCH"]),
            Route(f"{at}/{{id}}", self.delete_order, methods=["DELETE"]),
        ]

    def _records(self, request: Request, own: Decided | None = None) -> Records:
        return self._cell.records(own or decided(request), trace_of(request))

    async def sign_up(self, request: Request) -> Response:
        """Places the person and stores the profile; repeated, finishes what was left half done."""
        body = await body_json(request, SignUp)
        own = decided(request)
        if own.decision.verb is Verb.SIGNUP:
            own = (await self._cell.sign_up(own, [self._service])).decided
        profile, created = await self._keep_profile(self._records(request, own), body)
        answer = {
            "subject_id": own.decision.subject,
            "cell": own.decision.cell,
            "epoch": own.decision.epoch,
            "profile": profile,
        }
        return json_response(answer, 201 if created else 200)

    async def _keep_profile(self, records: Records, body: SignUp) -> tuple[Row, bool]:
        """The profile, and whether it is new. A subject has one, under the subject's own id, so two sign-ups at once make one."""
        subject = str(records.decided.decision.subject)
        columns = body.columns()
        if not await records.read("profiles", {"id": f"eq.{subject}", "select": "id"}):
            try:
                return await records.insert("profiles", {"id": subject, **columns}), True
            except CellRefused as exc:
                if not _key_taken(exc):
                    raise
        return _only(await records.update("profiles", {"id": f"eq.{subject}"}, columns), "profile"), False

    async def profile(self, request: Request) -> Response:
        records = self._records(request)
        return json_response(_only(await records.read("profiles", _own_profile(records)), "profile"))

    async def change_profile(self, request: Request) -> Response:
        records = self._records(request)
        changes = stated(await body_json(request, ProfileChange))
        return json_response(_only(await records.update("profiles", _own_profile(records), changes), "profile"))

    async def list_orders(self, request: Request) -> Response:
        """Newest first; `limit` and `offset` page."""
        limit = query_int(request, "limit", 50, low=1, high=PAGE_MAX)
        offset = query_int(request, "offset", 0, low=0, high=1_000_000)
        where = {"order": "placed_at.desc,id.asc", "limit": str(limit), "offset": str(offset)}
        return json_response({"orders": await self._records(request).read("orders", where)})

    async def create_order(self, request: Request) -> Response:
        new = await body_json(request, NewOrder)
        row: Row = {name: getattr(new, name) for name in new.__struct_fields__ if getattr(new, name) is not None}
        stored = await self._records(request).insert("orders", row | {"id": str(new.id or uuid.uuid4())})
        return json_response(stored, 201, {"location": f"/{self._service}/{stored['id']}"})

    async def order(self, request: Request) -> Response:
        where = _by_id(request)
        return json_response(_only(await self._records(request).read("orders", where), "order"))

    async def change_order(self, request: Request) -> Response:
        where = _by_id(request)
        changes = stated(await body_json(request, OrderChange))
        return json_response(_only(await self._records(request).update("orders", where, changes), "order"))

    async def delete_order(self, request: Request) -> Response:
        where = _by_id(request)
        _only(await self._records(request).delete("orders", where), "order")
        return Response(status_code=204)


async def health(request: Request) -> Response:
    """Open to everybody, speaks of nobody."""
    return json_response({"status": "ok"})


async def stream(request: Request) -> Response:
    """`?rows=N` lines of JSON, made as they are sent: for tests of bounded memory on the way."""
    rows = query_int(request, "rows", 1000, low=0, high=STREAM_ROWS_MAX)

    async def lines() -> AsyncIterator[bytes]:
        for first in range(0, rows, _STREAM_ROWS_A_CHUNK):
            last = min(first + _STREAM_ROWS_A_CHUNK, rows)
            yield b"".join(b'{"row":%d,"pad":"%s"}\n' % (row, _PAD.encode()) for row in range(first, last))

    return StreamingResponse(lines(), media_type="application/x-ndjson")


class Echo(Response):
    """Sends the request's body back piece by piece, holding one piece at a time."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's shape
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/octet-stream")]}
        )
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            more = message.get("more_body", False)
            await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": more})


async def echo(request: Request) -> Response:
    return Echo()


def _by_id(request: Request) -> dict[str, str]:
    return {"id": f"eq.{row_id(request.path_params['id'])}"}


def _own_profile(records: Records) -> dict[str, str]:
    return {"id": f"eq.{records.decided.decision.subject}"}


def _only(rows: list[Row], kind: str) -> Row:
    if not rows:
        raise refuse(Code.NOT_FOUND, f"there is no such {kind}")
    return rows[0]


def _key_taken(refused: CellRefused) -> bool:
    """A conflict on the key, and not one of epochs."""
    return refused.status == 409 and "domicile-refusal" not in refused.headers


def orders_app(service: ServiceId, guarding: Guarding, *, ready: Ready) -> ASGIApp:
    """The sample product behind its guard."""
    routes = Orders(service, guarding.cell).routes()
    return guarding.guard(
        application(routes, ready=ready, exception_handlers={CellRefused: pass_through}),
        anonymous=["/healthz", "/readyz", "/metrics", f"/{service}/health"],
        signup=[f"/{service}/sign-up"],
    )

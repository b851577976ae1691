"""A SIEM's HTTP collector for tests: takes lines, or fails as it is told to."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tests.stands.servers import serving


class Collector:
    """`script`: what each next request gets, in order: a status, `lost` (taken, and no answer) or `stalled` (until `released`). Then 200.

    `bytes_max`: a longer body gets 413.
    """

    def __init__(self) -> None:
        self.script: list[int | str] = []
        self.bytes_max = 1 << 30
        self.released = asyncio.Event()
        self.stalled = 0
        self.taken: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.authorizations: set[str | None] = set()
        self.port = 0
        self.app = Starlette(routes=[Route("/in", self._take, methods=["POST"])])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/in"

    @property
    def ids(self) -> list[str]:
        """Of the events that were taken, repeats too."""
        return [one["metadata"]["uid"] for one in self.taken]

    @property
    def sequence(self) -> list[int]:
        """Indexes of the events that were taken, each where it first came."""
        return list(dict.fromkeys(one["metadata"]["sequence"] for one in self.taken))

    async def _take(self, request: Request) -> Response:
        body = await request.body()
        self.keys.append(request.headers["idempotency-key"])
        self.authorizations.add(request.headers.get("authorization"))
        does = self.script.pop(0) if self.script else 200
        if len(body) > self.bytes_max:
            return Response(status_code=413)
        if does == "stalled":
            self.stalled += 1
            await self.released.wait()
            return Response(status_code=503)
        if does in (200, "lost"):
            assert request.headers["content-type"] == "application/x-ndjson"
            self.taken += [json.loads(line) for line in body.splitlines()]
        if does == "lost":
            return StreamingResponse(_broken_off())
        return Response(status_code=int(does), headers={"location": "/elsewhere"} if does == 302 else None)


async def _broken_off() -> AsyncIterator[bytes]:
    yield b"taken, "
    raise ConnectionResetError("and the rest is lost on its way")


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """On a real server of loopback."""
    made = Collector()
    async with serving(made.app) as made.port:
        yield made
        made.released.set()

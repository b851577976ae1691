"""Two cell services over one shard, alike but that one answers every request by a task; and what each answers."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.routing import Route

from cells.records import api, errors
from cells.records.lane import Door, Flight, Lane
from cells.records.limits import Limiter, Limits
from deploy.local.postgres import PostgresServer
from foundation import http
from foundation.wire import door
from foundation.words import RECORDS, Verb
from tests.stands.records import RecordsStand, fill, records_stand
from tests.stands.servers import serving
from tests.stands.shard import notes

LIMITS = Limits(subject_per_s=1_000, subject_burst=4_000)
ROWS_MAX = 3_000
ANSWER_BYTES_MAX = 1 << 22
_DATE = re.compile(rb"date: [^\r]+\r\n")
_TRACE = re.compile(rb"trace [0-9a-f]{32}")


class Counting(Lane):
    """How many went without a task after a strict reading, and how many because their like had come before."""

    departed = 0
    again = 0

    def depart_again(self, *sent: Any, **more: Any) -> Flight | None:
        flight = super().depart_again(*sent, **more)
        self.again += flight is not None
        return flight

    def depart(self, *sent: Any, **more: Any) -> Flight | None:
        flight = super().depart(*sent, **more)
        self.departed += flight is not None
        return flight


class Ways:
    """Both services; the same is sent to each."""

    def __init__(self, stand: RecordsStand, lane: Counting, ports: tuple[int, int]) -> None:
        self.stand = stand
        self.lane = lane
        self.ports = ports
        self._bearing = stand.headers("orders")["authorization"]

    def request(
        self, target: str, *lines: str, method: str = "GET", service: str = RECORDS, body: str = "", **who: Any
    ) -> bytes:
        verb = Verb.READ if method in ("GET", "HEAD") else Verb.WRITE
        sized = [f"Content-Length: {len(body)}"] if body else []
        headers = self.stand.headers(service, verb=verb, **who)
        if "authorization" in headers:
            headers["authorization"] = self._bearing  # known once it was shown
        return request_of(target, headers, *lines, *sized, method=method) + body.encode()

    async def settle(self) -> None:
        """A connection of the shard lies free, and the service's token is known."""
        told = await answer(self.ports[1], self.request("/records/notes?limit=0", service="orders"))
        assert told.startswith(b"HTTP/1.1 200 "), told

    async def alike(self, request: bytes, *, at_once: bool) -> bytes:
        """What both answer, without what differs by the time; `at_once`: whether the first goes without a task."""
        await self.settle()
        before = self.lane.departed
        told = [await answer(port, request) for port in self.ports]
        assert told[0] == told[1]
        assert self.lane.departed - before == at_once, told[0][:200]
        return told[0]


def request_of(target: str, headers: dict[str, str], *lines: str, method: str = "GET") -> bytes:
    named = [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: cell", *named, *lines, "", ""]).encode("latin-1")


async def answer(port: int, request: bytes) -> bytes:
    """What comes until the server closes."""
    read, write = await asyncio.open_connection("127.0.0.1", port)
    try:
        write.write(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        told = await read.read()
    finally:
        write.close()
        await write.wait_closed()
    return _TRACE.sub(b"trace", _DATE.sub(b"", told))


async def kept_open(port: int, request: bytes) -> bytes:
    """What comes on a connection that is to stay open: one answer."""
    read, write = await asyncio.open_connection("127.0.0.1", port, limit=ANSWER_BYTES_MAX)
    try:
        write.write(request)
        told = await read.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)\r\n", told)
        told += await (read.readexactly(int(length[1])) if length else read.readuntil(b"\r\n0\r\n\r\n"))
    finally:
        write.close()
        await write.wait_closed()
    return _TRACE.sub(b"trace", _DATE.sub(b"", told))


@asynccontextmanager
async def two_ways(server: PostgresServer, folder: Path) -> AsyncIterator[Ways]:
    async with (
        records_stand(server, folder, rows_max=ROWS_MAX) as stand,
        AsyncExitStack() as held,
    ):
        await fill(stand)
        apps = []
        for _ in range(2):
            routes = api.routes(stand.context, {"notes": notes()}, ROWS_MAX, LIMITS)
            apps.append(Counting(http.application(routes, ready=lambda: None, straight=routes[:1]), routes[0]))
        lane, walking = apps
        ports = (
            await held.enter_async_context(serving(lane, http=Door)),
            await held.enter_async_context(serving(walking, http=door.Door)),
        )
        yield Ways(stand, lane, ports)


@asynccontextmanager
async def one_way(
    stand: RecordsStand, limiter: Limiter, protocol: type[asyncio.Protocol] = Door
) -> AsyncIterator[tuple[Counting, int]]:
    """A further service over the stand's shard, under limits that the test holds as well; and its port."""
    table = api.Records(stand.context, {"notes": notes()}, ROWS_MAX, limiter)
    route = Route("/records/{table}", table, methods=list(errors.METHODS))
    lane = Counting(http.application([route], ready=lambda: None, straight=[route]), route)
    async with serving(lane, http=protocol) as port:
        yield lane, port

"""The closed load: each connection asks again once it is answered."""

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import httptools
import msgspec


class Failed(Exception):
    """An answer was none, or another than was asked for; the message says how."""


class Closed(asyncio.Protocol):
    """One keep-alive connection that sends the next request when the answer is there. `done`: whether nothing is left to be asked; False
    where an answer said that it is the last of its connection (RFC 9112 section 9.6)."""

    def __init__(self, requests: Iterator[bytes], answer: int, budget: list[int], done: asyncio.Future[bool]) -> None:
        self._requests = requests
        self._answer = answer
        self._budget = budget
        self._done = done
        self._came = 0
        self._answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._parser = httptools.HttpResponseParser(self)
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        how = "reset" if exc is not None else "closed"
        self._fail(f"{how} a connection under way, {self._came} bytes into the body of answer {self._answered + 1}")

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, piece: bytes) -> None:
        self._came += len(piece)

    def on_message_complete(self) -> None:
        status, came, self._came = self._parser.get_status_code(), self._came, 0
        if (status, came) != (200, self._answer):
            self._fail(f"answered {status} with {came} bytes")
        elif not self._parser.should_keep_alive():
            self._end(nothing_left=False)
        else:
            self._answered += 1
            self._next()

    def _next(self) -> None:
        if self._budget[0] > 0:
            self._budget[0] -= 1
            self._transport.write(next(self._requests))
        else:
            self._end(nothing_left=True)

    def _end(self, *, nothing_left: bool) -> None:
        if not self._done.done():
            self._done.set_result(nothing_left)
            self._transport.close()

    def _fail(self, how: str) -> None:
        if not self._done.done():
            self._done.set_exception(Failed(how))


class Closing(msgspec.Struct):
    """How often a proxy ended a connection and said so before."""

    count: int = 0


async def closed(
    port: int, requests: Sequence[bytes], count: int, connections: int, *, answer: int, closing: Closing | None = None
) -> float:
    """Sends `count` requests in turn over `connections`, each opened anew where the answer before was to be its last; the seconds that it
    took. Raises Failed on any answer but a 200 of `answer` bytes, and OSError where a connection is refused."""
    loop = asyncio.get_running_loop()
    budget, cycle = [count], itertools.cycle(requests)

    async def one() -> None:
        nothing_left = False
        while not nothing_left:
            done: asyncio.Future[bool] = loop.create_future()
            await loop.create_connection(partial(Closed, cycle, answer, budget, done), "127.0.0.1", port)
            nothing_left = await done
            if closing is not None and not nothing_left:
                closing.count += 1

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(one())
    return time.perf_counter() - started

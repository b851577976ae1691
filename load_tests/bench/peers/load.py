"""The load: closed (each connection asks again once it is answered) and open (requests come at a constant rate all the same)."""

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import httptools

OPEN_ENDS_S_MAX = 30


class Closed(asyncio.Protocol):
    """One keep-alive connection that sends the next request when the answer is there."""

    def __init__(self, requests: Iterator[bytes], answer: int, budget: list[int], done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._answer = answer
        self._budget = budget
        self._done = done
        self._came = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._parser = httptools.HttpResponseParser(self)
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionResetError("the proxy closed a connection under way"))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, piece: bytes) -> None:
        self._came += len(piece)

    def on_message_complete(self) -> None:
        status, came, self._came = self._parser.get_status_code(), self._came, 0
        if (status, came) != (200, self._answer):
            if not self._done.done():
                self._done.set_exception(RuntimeError(f"status {status} with {came} bytes"))
        else:
            self._next()

    def _next(self) -> None:
        if self._budget[0] > 0:
            self._budget[0] -= 1
            self._transport.write(next(self._requests))
        elif not self._done.done():
            self._done.set_result(None)
            self._transport.close()


async def closed(port: int, requests: Sequence[bytes], count: int, connections: int, *, answer: int) -> float:
    """Sends `count` requests in turn over `connections`; the seconds that it took. Raises on any answer but a 200 of `answer` bytes."""
    loop = asyncio.get_running_loop()
    budget, cycle = [count], itertools.cycle(requests)
    finished = [loop.create_future() for _ in range(connections)]
    started = time.perf_counter()
    for done in finished:
        await loop.create_connection(partial(Closed, cycle, answer, budget, done), "127.0.0.1", port)
    await asyncio.gather(*finished)
    return time.perf_counter() - started


class Free(asyncio.Protocol):
    """One connection of the open load: goes back among the free ones when its answer is whole."""

    def __init__(self, free: "asyncio.Queue[Free]", took: list[float]) -> None:
        self._free = free
        self._took = took
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._parser = httptools.HttpResponseParser(self)
        self._free.put_nowait(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._took.append((time.perf_counter() - self._due) * 1e3)
        self._free.put_nowait(self)

    def ask(self, request: bytes, due: float) -> None:
        self._due = due
        self._transport.write(request)

    def close(self) -> None:
        self._transport.close()


async def opened(port: int, requests: Sequence[bytes], *, rate: float, seconds: float, connections: int) -> list[float]:
    """Milliseconds from when each request was due to its whole answer, at `rate` a second; waiting for a free connection counts."""
    loop = asyncio.get_running_loop()
    free: asyncio.Queue[Free] = asyncio.Queue()
    took: list[float] = []
    for _ in range(connections):
        await loop.create_connection(partial(Free, free, took), "127.0.0.1", port)
    cycle = itertools.cycle(requests)
    began = time.perf_counter() + 0.05
    for number in range(int(rate * seconds)):
        due = began + number / rate
        wait = due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        (await free.get()).ask(next(cycle), due)
    async with asyncio.timeout(OPEN_ENDS_S_MAX):
        for one in [await free.get() for _ in range(connections)]:
            one.close()
    return took

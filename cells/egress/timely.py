"""Answers that are out in time or not at all: whoever says no is out of what leaves later than ANSWER_S_MAX after it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from foundation.wire.switch import LINE, Line

ANSWER_S_MAX = 5.0
"""Longest from when people are asked what they say until the client has taken the answer."""


class ClientGone(Exception):
    """Nobody hears the answer, or nobody takes it."""


def end_of_time() -> float:
    """By the loop's clock, of what begins now."""
    return asyncio.get_running_loop().time() + ANSWER_S_MAX


@asynccontextmanager
async def in_time(scope: Scope, end: float) -> AsyncIterator[None]:
    """What is sent inside has left the process when it ends. Raises ClientGone beyond `end`: the connection ends then, and what had not
    left by that time does not leave."""
    line: Line | None = scope.get("extensions", {}).get(LINE)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout_at(end):
            # The bound is only heard of where something waits: what has nothing to wait for looks itself.
            if loop.time() >= end:
                raise TimeoutError
            yield
            if loop.time() >= end:
                raise TimeoutError
            if line is not None:
                await line.emptied()
    except TimeoutError as exc:
        if line is not None:
            line.break_off()
        raise ClientGone from exc


class Timely(Response):
    """A whole answer, which is broken off where the client has not taken it by `end`."""

    def __init__(self, response: Response, end: float) -> None:
        super().__init__()
        self._response = response
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's
        answer = self._response
        await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers})
        try:
            async with in_time(scope, self._end):
                # The last piece, which is empty, comes once all else has left: until then the answer can be broken off.
                await send({"type": "http.response.body", "body": answer.body, "more_body": True})
        except ClientGone:
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})

"""Websockets behind a guard: opened under a decision to write, closed once the home changes or nobody says any more that it has not."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cells.guard.worker import EpochKeeper
from directory.placement.core import refusal
from foundation.clock import Clock
from foundation.words import Epoch, SubjectId, Verb

LOOK_S = 0.5
"""How often the lease is looked at while nothing is heard."""
LEAVE_S_MAX = 2.0
"""How long an application may take to end after it was told that its websocket is closed."""


class Close(NamedTuple):
    """RFC 6455 section 7.4."""

    code: int
    reason: str


CHANGED = Close(1008, "epoch changed")
UNHEARD = Close(1013, "the cell service has not been heard")


async def until_changed(keeper: EpochKeeper, clock: Clock, subject: SubjectId, epoch: Epoch) -> Close:
    """Waits until a websocket of the subject that was opened under `epoch` may stay open no longer."""
    while keeper.lease.holds(clock.monotonic_s()):
        if keeper.known(subject) is None:
            await keeper.ask(subject)
        known = keeper.known(subject)
        if known is None or known.epoch != epoch or refusal(known.state, Verb.WRITE) is not None:
            return CHANGED
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await keeper.heard()
    return UNHEARD


async def held(app: ASGIApp, scope: Scope, receive: Receive, send: Send, ends: Callable[[], Awaitable[Close]]) -> None:
    """Runs the application on its websocket until it ends, or `ends` does: then the websocket is closed, and the application told."""
    closed = False

    async def receives() -> Message:
        nonlocal closed
        message = await receive()
        closed = closed or message["type"] == "websocket.disconnect"
        return message

    async def sends(message: Message) -> None:
        nonlocal closed
        if not closed:
            closed = message["type"] == "websocket.close"
            await send(message)

    async def run() -> None:
        await app(scope, receives, sends)

    async def watch() -> Close:
        return await ends()

    async with asyncio.TaskGroup() as group:
        running, watching = group.create_task(run()), group.create_task(watch())
        await asyncio.wait((running, watching), return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            if not closed:
                closed = True
                code, reason = watching.result()
                with contextlib.suppress(OSError):  # the client has left just now
                    await send({"type": "websocket.close", "code": code, "reason": reason})
            await asyncio.wait((running,), timeout=LEAVE_S_MAX)
            running.cancel()
        watching.cancel()

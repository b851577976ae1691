"""The two sides of an exchange between client and upstream: body up, answer down. The same towards a service and another region.

A broken answer breaks off towards the client too: never a forged end. So does one that lasts while its subject's home changes; an answer
that another region carries on is ended there, where its home is.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from starlette.types import Send

from foundation import logs
from foundation.problems import Code, Problem
from foundation.wire.head import StatusHead
from foundation.wire.line import AnswerBroken
from foundation.wire.switch import Line
from foundation.words import Epoch, SubjectId
from gateway.edge.answers import client_fields
from gateway.edge.body import Body
from gateway.edge.lasting import Entry, Lasting, Why
from gateway.edge.observed import FAULTS
from gateway.edge.request import Request
from gateway.edge.upstream.exchange import Exchange
from gateway.edge.upstream.fault import Fault, UpstreamFailed
from gateway.edge.upstream.pouring import poured
from gateway.settings import Upstream

log = logs.get(__name__)

WATCH_AFTER_S = 0.05
"""A client's leaving is watched for once an answer takes longer than this; a watcher per request costs more than most answers."""
STALLED = Problem(code=Code.REQUEST_TIMEOUT, detail="the body did not arrive in time")


TOO_LARGE = Problem(code=Code.TOO_LARGE, detail="the body is larger than this gateway takes")


class ClientLeft(Exception):
    """The client closed its connection; there is nobody to answer."""


class Stay(NamedTuple):
    """Under what an exchange runs, and by which connection its client has it."""

    lasting: Lasting
    subject: SubjectId
    epoch: Epoch
    line: Line | None


class Helper:
    """The second task of an exchange, where it needs one: it sends a streamed body, or watches for the client's leaving.

    `stay`: None for what is nobody's, or not decided here.
    """

    __slots__ = ("_body", "_cut", "_entry", "_exchange", "_loop", "_stay", "_task", "_timer")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, body: Body, exchange: Exchange, stay: Stay | None = None
    ) -> None:
        self._loop = loop
        self._body = body
        self._exchange = exchange
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stay = stay
        self._entry: Entry | None = None
        self._cut: asyncio.TimerHandle | None = None
        if exchange.connection.request_done:
            self._timer = loop.call_later(WATCH_AFTER_S, self._watch)
        else:
            self._task = loop.create_task(body.pump(exchange.connection), name="edge body")
            self.lasts()

    def lasts(self) -> None:
        """The exchange is not over at once: from here on it ends when its subject's home changes."""
        stay = self._stay
        if stay is not None and self._entry is None:
            self._entry = stay.lasting.enter(stay.subject, stay.epoch, self._outdated)

    def answers(self, line: Line | None) -> None:
        """The answer has begun. What the client has not taken of it when all of the exchange's time has passed, it does not get."""
        if line is not None:
            self._cut = self._loop.call_at(self._exchange.connection.until, line.break_off)

    def _outdated(self, _why: Why) -> None:
        self._exchange.connection.fail(Fault.OUTDATED)
        if self._stay is not None and self._stay.line is not None:
            self._stay.line.break_off()

    def _watch(self) -> None:
        self._timer = None
        self._task = self._loop.create_task(self._body.watch(self._exchange.connection), name="edge watch")

    def drops(self) -> None:
        """What still comes of the body is for nobody; who leaves is noticed, and who is silent may be."""
        self.end()
        self._watch()

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def leave(self) -> None:
        """The exchange is over."""
        self.end()
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None
        if self._entry is not None and self._stay is not None:
            self._stay.lasting.leave(self._entry)
            self._entry = None


async def read_small(body: Body, limits: Upstream) -> Problem | None:
    """Reads a small body whole before a connection is taken. Raises ClientLeft."""
    if body.read or body.streams:
        return None
    if not await body.read_whole(stall_s=limits.stall_s, total_s=limits.total_s):
        if body.gone:
            raise ClientLeft
        return STALLED
    return None


async def relay(
    request: Request,
    head: StatusHead,
    stated: Sequence[tuple[bytes, bytes]],
    exchange: Exchange,
    body: Body,
    helper: Helper,
    send: Send,
    place: dict[str, Any],
) -> None:
    """Sends the answer on, with the `stated` fields added, while it arrives. `place` names the upstream in the log.

    Raises AnswerBroken once something was sent, UpstreamFailed(CLIENT_GONE).
    """
    connection = exchange.connection
    headers = client_fields(head, stated, method=request.method)
    early = not connection.request_done
    if early and head.status >= 300:
        # Refused before the body was read: no more of it is sent, and the connection ends with the answer.
        if request.line is not None:
            request.line.drops()
        helper.drops()
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": head.status, "headers": headers})
    helper.answers(request.line)
    while True:
        data = connection.take()
        done = connection.complete
        if done and early and not body.read:
            await send({"type": "http.response.body", "body": data, "more_body": True})
            helper.end()
            await body.linger()
            data = b""
        if data or done:
            await send({"type": "http.response.body", "body": data, "more_body": not done})
        if done:
            return
        helper.lasts()
        if not early and await poured(connection, request.line, exchange.pool.basin):
            continue
        try:
            await connection.arrived()
        except UpstreamFailed as exc:
            if exc.fault is Fault.CLIENT_GONE:
                raise
            FAULTS.labels(exc.fault.value).inc()
            log.warning("answer_broken", reason=exc.fault.value, trace_id=request.trace.trace_id, **place)
            raise AnswerBroken from exc

"""A stream of events: lines of NDJSON in, for each batch of them a line with its answer out, as long as the client sends and reads.

Batches are those that have arrived by then, so what is sent slowly is answered soon. Memory is bounded by a batch: nothing further is read
until the client has taken the answer to what it sent before.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import msgspec
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from cells.egress.asking import EgressAnswer
from cells.egress.events import Given, MalformedEvents, Read, of_lines
from cells.egress.timely import ClientGone, end_of_time, in_time
from foundation.problems import Code, ProblemError, refuse

EVENTS_MAX = 1_000
"""In one batch."""
BATCH_BYTES_MAX = 1 << 20
"""A batch is treated, however few its events, when it has so many bytes; no event is longer."""
BATCH_S_MAX = 1.0
"""Longest wait for more events of a batch."""
STREAMS_MAX = 16
"""At one time."""

Treat: TypeAlias = Callable[[list[Given]], Awaitable[EgressAnswer]]


class EgressEnd(msgspec.Struct, kw_only=True):
    """What became of a whole stream: `events` left, those that `stayed` by ground, field → what became of its values → how many, batches
    `held` by a finding, and lines that were no JSON object."""

    batches: int = 0
    events: int = 0
    stayed: dict[str, int] = {}
    counts: dict[str, dict[str, int]] = {}
    held: int = 0
    unreadable: int = 0

    def take(self, answer: EgressAnswer) -> None:
        self.batches += 1
        self.events += len(answer.events)
        self.held += bool(answer.held)
        _add(self.stayed, answer.stayed)
        for field, fates in answer.counts.items():
            _add(self.counts.setdefault(field, {}), fates)


def _add(sums: dict[str, int], more: dict[str, int]) -> None:
    for name, count in more.items():
        sums[name] = sums.get(name, 0) + count


class EgressLine(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One line of the answer. `batch`: an answer, as to a batch of its own. The last is `end`, or `problem` (RFC 9457) where the stream
    broke off; events after those of the last batch were not treated then, nor where neither comes."""

    batch: EgressAnswer | None = None
    end: EgressEnd | None = None
    problem: msgspec.Raw | None = None


class Streams:
    """How many are under way."""

    def __init__(self) -> None:
        self.open = 0


class Lines:
    """The body of a request, batch by batch."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._held = bytearray()
        self._ended = False

    async def batch(self) -> bytes | None:
        """Whole lines: as many as a batch has, or as came in its time; None at the end. Raises ProblemError, ClientGone."""
        while not self._whole() and not self._ended:
            if len(self._held) >= BATCH_BYTES_MAX:
                raise refuse(Code.TOO_LARGE, f"an event is one line of at most {BATCH_BYTES_MAX} bytes")
            await self._more(None)
        until = asyncio.get_running_loop().time() + BATCH_S_MAX
        while not self._full() and await self._more(until):
            continue
        return self._taken()

    def _whole(self) -> int:
        """The length of the whole lines that are there, of one batch at most."""
        return self._held.rfind(b"\n", 0, BATCH_BYTES_MAX) + 1

    def _full(self) -> bool:
        return self._ended or len(self._held) >= BATCH_BYTES_MAX or self._held.count(b"\n") >= EVENTS_MAX

    def _taken(self) -> bytes | None:
        """At the end the last line needs no end of its own."""
        size = self._whole() or len(self._held)
        taken = bytes(self._held[:size])
        if taken.count(b"\n") > EVENTS_MAX:
            taken = b"".join(line + b"\n" for line in taken.split(b"\n", EVENTS_MAX)[:EVENTS_MAX])
        del self._held[: len(taken)]
        return taken or None

    async def _more(self, until: float | None) -> bool:
        """Whether anything came by that time of the loop. Raises ClientGone."""
        try:
            async with asyncio.timeout_at(until):
                message = await self._receive()
        except TimeoutError:
            return False
        if message["type"] != "http.request":
            raise ClientGone
        self._held += message.get("body", b"")
        self._ended = not message.get("more_body", False)
        return True


class Streamed(Response):
    """Answers a stream. The client has to read while it sends: its answers are waited for before more of what it sends is read."""

    def __init__(self, treat: Treat, streams: Streams, read: Read = of_lines) -> None:
        """Raises ProblemError where too many are under way."""
        super().__init__()
        if streams.open >= STREAMS_MAX:
            raise refuse(Code.CELL_BUSY, f"{STREAMS_MAX} streams are under way", retry_after_s=1)
        self._treat = treat
        self._read = read
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._streams.open += 1
        try:
            await self._answered(scope, Lines(receive), send)
        except ClientGone:
            return
        finally:
            self._streams.open -= 1

    async def _answered(self, scope: Scope, lines: Lines, send: Send) -> None:
        """Raises ProblemError before the head, ClientGone."""
        raw = await lines.batch()  # before the head goes out: who expects a 100 Continue first gets it by this
        headers = [(b"content-type", b"application/x-ndjson"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        end = EgressEnd()
        try:
            while raw is not None:
                events, unreadable = readable(raw, self._read)
                end.unreadable += unreadable
                for start in range(0, len(events), EVENTS_MAX):
                    async with in_time(scope, end_of_time()):
                        answer = await self._treat(events[start : start + EVENTS_MAX])
                        await send(_piece(EgressLine(batch=answer)))
                    end.take(answer)
                raw = await lines.batch()
            last = EgressLine(end=end)
        except ProblemError as exc:
            last = EgressLine(problem=msgspec.Raw(exc.problem.encode()))
        async with in_time(scope, end_of_time()):
            await send(_piece(last))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _piece(line: EgressLine) -> Message:
    return {"type": "http.response.body", "body": msgspec.json.encode(line) + b"\n", "more_body": True}


def readable(raw: bytes, read: Read) -> tuple[list[Given], int]:
    """The objects, and how many lines were none. Lines without anything are no events. Pure."""
    try:
        return read(raw), 0
    except MalformedEvents:
        found: list[Given] = []
        unreadable = 0
        for line in raw.split(b"\n"):
            try:
                found += of_lines(line)
            except MalformedEvents:
                unreadable += 1
        return found, unreadable

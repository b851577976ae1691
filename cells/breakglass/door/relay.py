"""One session between a client and a shard: messages held back until they are on the record, answers counted, an end at any time.

Nothing waits without a bound: what a client sent ahead, and what one side does not take, stops the reading of the other.
"""

import asyncio
from collections import deque

import msgspec

from cells.breakglass.door import endings, frames
from cells.breakglass.door.answering import Answering
from cells.breakglass.door.answers import Answers, Budget
from cells.breakglass.door.asking import NOTHING, Asking, Intend, Leave, Limits, Send, Step, Wait
from cells.breakglass.door.frames import FLUSH, TERMINATE, Error, Malformed, Splitter
from cells.breakglass.door.metrics import ENDED, RECORDING, ROWS, STATEMENTS
from cells.breakglass.door.ports import Ending, NotRun, Record, Session, Statement, Wall
from cells.breakglass.door.state import Lost, State
from cells.breakglass.door.upstream import Upstream
from cells.breakglass.door.wire import Wire
from foundation import logs

log = logs.get(__name__)

UNTAKEN_BYTES_MAX = 262_144
"""What a client may have sent ahead before it is read no more."""
_LET_THROUGH = {kind: STATEMENTS.labels(kind) for kind in ("simple", "extended", "prepared")}
CLOSE_S_MAX = 0.5
"""How long a client that does not read keeps the last word waiting."""


class Relay:
    """`nobody`: a name that no client can know."""

    def __init__(
        self,
        *,
        session: Session,
        client: Wire,
        upstream: Upstream,
        wall: Wall,
        record: Record,
        budget: Budget,
        message_bytes_max: int,
        nobody: str,
    ) -> None:
        self._session = session
        self._client = client
        self._upstream = upstream
        self._wall = wall
        self._record = record
        self._state = State()
        self._asking = Asking(session.id, self._state, Limits(), nobody)
        self._answers = Answers(Answering(self._state), budget)
        self._splitter = Splitter(message_bytes_max)
        self._inbox: deque[bytes] = deque()
        self._untaken = 0
        self._out: list[bytes] = []
        self._more, self._answered, self._room, self._over = (asyncio.Event() for _ in range(4))
        self._room.set()
        self._last: Error | None = None
        self.why = ""

    # --- its life ------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until it ends; then nothing of it runs at the shard any more."""
        client, shard = self._client, self._upstream.wire
        client.full, client.room = shard.pause, shard.resume
        shard.full, shard.room = self._room.clear, self._room.set
        client.lost = lambda: self.end("left", None)
        shard.lost = lambda: self.end("shard_left", endings.SHARD_LEFT)
        try:
            if client.gone.is_set():
                client.lost()
            if shard.gone.is_set():
                shard.lost()
            shard.hand(self._heard_shard)
            client.hand(self._heard_client)
            async with asyncio.TaskGroup() as group:
                pump = group.create_task(self._pump())
                await self._over.wait()
                pump.cancel()
        finally:
            self.end("leaving", endings.LEAVING)
            await self._leave()

    def ending(self, ending: Ending) -> None:
        """As the record asks for it."""
        self.end(ending.value, endings.TOLD[ending])

    def end(self, why: str, last: Error | None) -> None:
        """Now: nothing goes to the shard any more, and the client gets the last word, unless it is in the middle of a row."""
        if self._over.is_set():
            return
        self.why, self._last = why, last
        self._over.set()
        self._more.set()
        self._answered.set()
        if last is not None and not self._state.fatal and self._answers.between:
            self._client.send(frames.error("FATAL", last))
        ENDED.labels(why).inc()

    async def _leave(self) -> None:
        busy = self._state.busy
        if self.why == "left" and not busy:
            self._upstream.wire.send(TERMINATE)
            self._upstream.wire.transport.close()
        else:
            self._upstream.wire.transport.abort()
        self._state.abandon("08006" if self._last is None else self._last.code)
        self._tell()
        async with asyncio.TaskGroup() as group:
            if busy:
                group.create_task(self._upstream.cancel())
            group.create_task(self._client.close(CLOSE_S_MAX))

    # --- from the client -----------------------------------------------------------------------------------------------------

    def _heard_client(self, data: bytes) -> None:
        if self._over.is_set():
            return
        try:
            messages = self._splitter.feed(data)
        except Malformed as exc:
            self.end("malformed", exc.error)
            return
        self._inbox.extend(messages)
        self._untaken += sum(map(len, messages))
        if self._untaken > UNTAKEN_BYTES_MAX:
            self._client.pause()
        self._more.set()

    async def _pump(self) -> None:
        try:
            while not self._over.is_set():
                if not self._inbox:
                    self._send()
                    self._more.clear()
                    await self._more.wait()
                    continue
                raw = self._inbox.popleft()
                self._untaken -= len(raw)
                if self._untaken <= UNTAKEN_BYTES_MAX:
                    self._client.resume()
                step = self._asking.take(raw)
                if isinstance(step, Send) and self._room.is_set():  # most: nothing to wait for
                    self._out.append(step.data)
                else:
                    await self._one(raw, step)
        except Malformed as exc:
            self.end("malformed", exc.error)
        except Lost as exc:
            self._lost(exc)
        except Exception as exc:  # noqa: BLE001 - one session's fault ends that session
            log.fault("door_session_failed", exc, shard=self._session.shard)
            self.end("broken", endings.BROKEN)

    async def _one(self, raw: bytes, step: Step) -> None:
        """Raises Malformed, Lost."""
        while isinstance(step, Wait):
            if step.flush:
                self._out.append(FLUSH)
            self._send()
            self._answered.clear()
            await self._answered.wait()
            if self._over.is_set():
                return
            step = self._asking.take(raw)
        if isinstance(step, Intend):
            step = await self._intend(step.statement)
        match step:
            case Send(data):
                self._out.append(data)
            case Leave():
                self._send()
                self.end("left", None)
            case _:
                pass
        if not self._room.is_set():
            self._send()
            await self._room.wait()

    async def _intend(self, statement: Statement) -> Step:
        """Raises Malformed, Lost."""
        self._send()
        try:
            with RECORDING.time():
                await self._record.intend(statement)
        except NotRun as exc:
            if exc.ending is Ending.NOT_RECORDED:
                return self._asking.refused(endings.TOLD[exc.ending])
            self.ending(exc.ending)
            return NOTHING
        if self._over.is_set():
            self._asking.withhold()
            return NOTHING
        _LET_THROUGH[statement.kind].inc()
        return self._asking.recorded()

    def _send(self) -> None:
        if self._out and not self._over.is_set():
            self._upstream.wire.send(self._out[0] if len(self._out) == 1 else b"".join(self._out))
        self._out.clear()

    # --- from the shard ------------------------------------------------------------------------------------------------------

    def _heard_shard(self, data: bytes) -> None:
        if self._over.is_set():
            return
        out: list[bytes] = []
        refused: Error | None = None
        lost: Lost | None = None
        try:
            self._answers.feed(data, out)
        except Malformed as exc:
            refused = exc.error
        except Lost as exc:
            lost = exc
        if out:
            self._client.send(out[0] if len(out) == 1 else b"".join(out))
        self._tell()
        if refused is not None:
            self.end("refused", refused)
        elif lost is not None:
            self._lost(lost)
        self._answered.set()

    def _lost(self, exc: Lost) -> None:
        log.fault("door_session_lost", exc, reason=str(exc), shard=self._session.shard)
        self.end("lost", endings.LOST)

    def _tell(self) -> None:
        """What came of runs goes on the record."""
        for outcome in self._state.outcomes():
            ROWS.inc(outcome.rows)
            known = self._wall.named(self._session, outcome.columns) if outcome.columns else ()
            self._record.ended(msgspec.structs.replace(outcome, columns=known))

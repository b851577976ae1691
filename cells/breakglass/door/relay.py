"""One session between a client and a shard: messages held back until they are on the record, answers counted, an end at any time.

Nothing waits without a bound: what a client sent ahead, and what one side does not take, stops the reading of the other. No task waits
either: whatever comes (from the client, the record, the shard, room to write) takes the session as far as it can go.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from time import perf_counter

import msgspec

from cells.breakglass.door import endings, frames
from cells.breakglass.door.answering import Answering
from cells.breakglass.door.answers import Answers, Budget
from cells.breakglass.door.asking import NOTHING, Asking, Intend, Leave, Limits, Send, Step, Wait
from cells.breakglass.door.frames import FLUSH, TERMINATE, Error, Malformed, Splitter
from cells.breakglass.door.metrics import ENDED, RECORDING, ROWS, STATEMENTS
from cells.breakglass.door.ports import Ending, Intent, NotRun, Record, Session, Statement, Wall
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


class _Asked(msgspec.Struct, frozen=True):
    """A statement that waits for its record."""

    kind: str
    intent: Intent
    begun_s: float


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
        # What the next message waits for: a record, an answer, room towards the shard.
        self._asked: _Asked | None = None
        self._unanswered = False
        self._full = False
        self._over, self._ended = asyncio.Event(), False
        self._last: Error | None = None
        self.why = ""

    # --- its life ------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until it ends; then nothing of it runs at the shard any more."""
        client, shard = self._client, self._upstream.wire
        client.full, client.room = shard.pause, shard.resume
        shard.full, shard.room = self._no_room, self._room
        client.lost = lambda: self.end("left", None)
        shard.lost = lambda: self.end("shard_left", endings.SHARD_LEFT)
        try:
            if client.gone.is_set():
                client.lost()
            if shard.gone.is_set():
                shard.lost()
            shard.hand(self._heard_shard)
            client.hand(self._heard_client)
            await self._over.wait()
        finally:
            self.end("leaving", endings.LEAVING)
            await self._leave()

    def ending(self, ending: Ending) -> None:
        """As the record asks for it."""
        self.end(ending.value, endings.TOLD[ending])

    def end(self, why: str, last: Error | None) -> None:
        """Now: nothing goes to the shard any more, and the client gets the last word, unless it is in the middle of a row."""
        if self._ended:
            return
        self.why, self._last = why, last
        self._ended = True
        self._over.set()
        if self._asked is not None:
            self._asked.intent.give_up()
            self._asked = None
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
        if self._ended:
            return
        try:
            messages = self._splitter.feed(data)
        except Malformed as exc:
            self.end("malformed", exc.error)
            return
        self._inbox += messages
        for raw in messages:
            self._untaken += len(raw)
        self._go_on()
        if self._untaken > UNTAKEN_BYTES_MAX:
            self._client.pause()

    def _go_on(self, first: Callable[[], Step] | None = None) -> None:
        """Takes messages up to one that has to wait, or the last; what goes to the shard goes together. `first`: what is to be done before
        that. Never raises."""
        try:
            if first is not None:
                self._do(first())
            while self._inbox and self._asked is None and not (self._unanswered or self._full or self._ended):
                step = self._asking.take(self._inbox[0])
                if isinstance(step, Wait):
                    self._wait(step)
                    break
                self._untaken -= len(self._inbox.popleft())
                self._do(step)
            self._send()
        except Malformed as exc:
            self.end("malformed", exc.error)
        except Lost as exc:
            self._lost(exc)
        except Exception as exc:  # noqa: BLE001 - one session's fault ends that session
            log.fault("door_session_failed", exc, shard=self._session.shard)
            self.end("broken", endings.BROKEN)
        if self._untaken <= UNTAKEN_BYTES_MAX:
            self._client.resume()

    def _wait(self, step: Wait) -> None:
        """For the next answer."""
        if step.flush:
            self._out.append(FLUSH)
        self._unanswered = True

    def _do(self, step: Step) -> None:
        """Raises Malformed, Lost."""
        if isinstance(step, Send):
            self._out.append(step.data)
        elif isinstance(step, Intend):
            self._intend(step.statement)
        elif isinstance(step, Leave):
            self._send()
            self.end("left", None)

    def _intend(self, statement: Statement) -> None:
        """Raises Malformed, Lost."""
        begun_s = perf_counter()
        try:
            intent = self._record.intend(statement, self._recorded)
        except NotRun as exc:
            RECORDING.observe(perf_counter() - begun_s)
            self._do(self._not_run(exc.ending))
        else:
            self._asked = _Asked(statement.kind, intent, begun_s)

    def _recorded(self, why: Ending | None) -> None:
        """`why`: it is not, or must not run."""
        asked, self._asked = self._asked, None
        if asked is None:
            return
        RECORDING.observe(perf_counter() - asked.begun_s)
        if why is not None:
            self._go_on(partial(self._not_run, why))
        else:
            _LET_THROUGH[asked.kind].inc()
            self._go_on(self._asking.recorded)

    def _not_run(self, why: Ending) -> Step:
        """Raises Malformed, Lost."""
        if why is Ending.NOT_RECORDED:
            return self._asking.refused(endings.TOLD[why])
        self.ending(why)
        return NOTHING

    def _send(self) -> None:
        if self._out and not self._ended:
            out, self._out = self._out, []
            self._upstream.wire.send(out[0] if len(out) == 1 else b"".join(out))

    # --- from the shard ------------------------------------------------------------------------------------------------------

    def _no_room(self) -> None:
        self._full = True

    def _room(self) -> None:
        self._full = False
        self._go_on()

    def _heard_shard(self, data: bytes) -> None:
        if self._ended:
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
        if self._unanswered:
            self._unanswered = False
            self._go_on()

    def _lost(self, exc: Lost) -> None:
        log.fault("door_session_lost", exc, reason=str(exc), shard=self._session.shard)
        self.end("lost", endings.LOST)

    def _tell(self) -> None:
        """What came of runs goes on the record."""
        if not self._state.told:
            return
        for outcome in self._state.outcomes():
            ROWS.inc(outcome.rows)
            known = self._wall.named(self._session, outcome.columns) if outcome.columns else ()
            self._record.ended(outcome if known is outcome.columns else msgspec.structs.replace(outcome, columns=known))

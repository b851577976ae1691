"""A log followed for ever into one sink: what was signed for is given on, in order, each entry at least once.

A sink that fails or stalls is tried again after growing waits, holds up neither the log nor another sink, and shows in the metrics. Nothing
is left out for it: a position moves when the sink has taken what lies before it, and never otherwise.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from foundation import logs
from foundation.ledger import metrics
from foundation.ledger.entries import MalformedEntry
from foundation.ledger.export.forms import Form
from foundation.ledger.export.position import SinkRefused
from foundation.ledger.export.sinks import Sink, SinkUnavailable
from foundation.ledger.export.taking import PASSED_MAX, Batch, batches, openings_in
from foundation.ledger.files import LogDamaged
from foundation.ledger.merkle import ProofRefused
from foundation.ledger.notes import NoteRefused, Verifier
from foundation.ledger.reading import CHECKPOINT, Absent, LogReader, of_folder
from foundation.ledger.tiles import MalformedTile
from foundation.tasks import Backoff

log = logs.get(__name__)

POLL_S = 0.5
"""Between two looks at a log in which nothing was new."""
RETRY_S_MAX = 60.0

_NOT_TAKEN = (SinkUnavailable, SinkRefused, OSError)
_UNREADABLE = (
    Absent,
    LogDamaged,
    MalformedEntry,
    MalformedTile,
    NoteRefused,
    ProofRefused,
    ValueError,
    RecursionError,
)
"""The last two for bytes that no log of this release holds."""

Counted = Callable[[], bytes | None]
"""The checkpoint as of which a log is given out, as a note; None while there is none that counts."""


class Follower:
    """One sink of one log."""

    def __init__(
        self,
        name: str,
        folder: Path,
        verifier: Verifier,
        form: Form,
        sink: Sink,
        *,
        since: int,
        counted: Counted | None = None,
    ) -> None:
        """`since`: where to begin with a sink that has nothing. `counted`: None for what the log itself has signed last."""
        self._name = name
        self._folder = folder
        self._verifier = verifier
        self._form = form
        self._sink = sink
        self._since = since
        self._counted = counted
        self._at: int | None = None
        self._taken = since

    async def run(self) -> None:
        """For ever."""
        backoff = Backoff(first_s=0.5, max_s=RETRY_S_MAX)
        failing = False
        while True:
            try:
                moved = await self.once()
            except (*_NOT_TAKEN, *_UNREADABLE) as exc:
                metrics.EXPORT_FAILURES.labels(self._name).inc()
                if not failing:
                    log.warning("ledger_export_held_up", source=self._name, error=_why(exc))
                failing = True
                await asyncio.sleep(backoff.next_s())
                continue
            if failing:
                log.info("ledger_export_goes_on", source=self._name)
                failing = False
            backoff.reset()
            if not moved:
                await asyncio.sleep(POLL_S)

    async def once(self) -> bool:
        """Gives one batch on, if there is one; whether there may be another. Raises what a sink and a log raise."""
        if self._at is None:
            held = await self._sink.following()
            self._at = self._taken = self._since if held is None else held
        batch, size = await asyncio.to_thread(self._next, self._at)
        metrics.EXPORT_BEHIND.labels(self._name).set(max(0, size - self._at))
        if batch is None:
            return False
        if batch.lines or batch.following - self._taken >= PASSED_MAX:
            await self._take(batch)
        self._at = batch.following
        metrics.EXPORTED.labels(self._name).set(batch.following)
        metrics.EXPORT_BEHIND.labels(self._name).set(size - batch.following)
        return bool(batch.lines) or batch.following < size

    async def _take(self, batch: Batch) -> None:
        try:
            await self._sink.take(batch)
        except BaseException:
            # In halves it may have taken some.
            self._at = None
            raise
        self._taken = batch.following

    def _next(self, at: int) -> tuple[Batch | None, int]:
        """The batch that begins at an entry, None where there is none yet, and how many entries are signed for."""
        fetch = of_folder(self._folder)
        try:
            reader = LogReader(fetch, self._verifier)
        except Absent as exc:
            if str(exc) == CHECKPOINT:
                return None, 0
            raise
        signed = reader.checkpoint.size
        if self._counted is not None:
            note = self._counted()
            if note is None:
                return None, signed
            reader = LogReader(fetch, self._verifier, note)
        openings = openings_in(self._folder if self._form.payloads else None)
        return next(batches(reader, self._form, openings, at), None), signed


def _why(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {exc}" if isinstance(exc, (SinkUnavailable, SinkRefused)) else type(exc).__name__

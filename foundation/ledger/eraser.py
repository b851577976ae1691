"""The erasures of one log, one after the other: asked for, begun once what was recorded before is taken in, recorded at their end.

A job covers what was recorded before it began, and nothing that is recorded after that: whoever asks then has another one queued.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from foundation import logs
from foundation.clock import Clock
from foundation.ledger import metrics
from foundation.ledger.draining import Writer
from foundation.ledger.erasing import Job, begin, digest_of, file_of, note, step, waiting_in
from foundation.ledger.files import LogDamaged, sync_path
from foundation.ledger.log import Log, LogBroken
from foundation.ledger.port import Event, Kind, RecordEvents
from foundation.problems import Code, ProblemError, refuse
from foundation.tasks import Backoff

log = logs.get(__name__)

EVENT_PREFIX = "erasure:"
"""What ids of these events begin with."""
JOBS_MAX = 100
"""At once. Whoever asks for more is refused."""
DONE_MAX = 1_000
"""Finished jobs that are remembered while the process lives."""
LOOK_S = 0.1
LOOKS = 2
"""Of the writer (`draining.Writer.looks`): one may have been under way."""


class Eraser:
    """The jobs of one log. `run` is a worker of the process that writes it."""

    def __init__(
        self, folder: Path, writer: Writer, record: RecordEvents, clock: Clock, *, chance: Callable[[], str]
    ) -> None:
        """`chance`: a new id that nobody guesses."""
        self._folder = folder
        self._writer = writer
        self._record = record
        self._clock = clock
        self._chance = chance
        self._some = asyncio.Event()
        self._some.set()
        self._turn = asyncio.Lock()
        """Held by whoever asks."""
        self._done: dict[str, Job] = {}

    async def ask(self, subject_id: str, actor: str) -> Job:
        """The job, durably noted, which covers all that was recorded before now: one that waits already, unless it has begun. Raises
        ProblemError."""
        subject = digest_of(subject_id)
        async with self._turn:
            try:
                waiting = await asyncio.to_thread(waiting_in, self._folder)
                same = next((job for job in waiting if job.subject == subject and not job.begun), None)
                if same is not None:
                    return same
                if len(waiting) >= JOBS_MAX:
                    raise refuse(Code.NOT_READY, "too many erasures wait for their turn", retry_after_s=5)
                job = Job(id=self._chance(), subject=subject, actor=actor)
                await asyncio.to_thread(begin, self._folder, job)
            except (OSError, LogDamaged) as exc:
                raise _unreadable() from exc
        self._some.set()
        return job

    def finished(self, job_id: str) -> Job | None:
        """None while it is not, and for one of another process or of long ago."""
        return self._done.get(job_id)

    async def known(self, job_id: str) -> bool:
        """Whether it waits for its turn, is under way, or is remembered. Raises ProblemError."""
        try:
            waiting = await asyncio.to_thread(waiting_in, self._folder)
        except (OSError, LogDamaged) as exc:
            raise _unreadable() from exc
        return job_id in self._done or any(job.id == job_id for job in waiting)

    async def wait(self, job_id: str, s_max: float) -> Job | None:
        """As `finished`, after at most so long."""
        try:
            async with asyncio.timeout(s_max):
                await _until(lambda: job_id in self._done)
        except TimeoutError:
            return None
        return self._done[job_id]

    async def run(self) -> None:
        """For ever. One job after the other."""
        backoff = Backoff(first_s=0.5, max_s=30.0)
        while True:
            await self._some.wait()
            self._some.clear()
            try:
                waiting = await asyncio.to_thread(waiting_in, self._folder)
                for left, job in enumerate(waiting):
                    metrics.ERASURES_WAITING.set(len(waiting) - left)
                    await self._finish(job)
                metrics.ERASURES_WAITING.set(0)
                backoff.reset()
            except (OSError, LogBroken, LogDamaged, ProblemError) as exc:
                log.fault("ledger_erasure_held_up", exc)
                self._some.set()
                await asyncio.sleep(backoff.next_s())

    async def _finish(self, job: Job) -> None:
        # Before it is looked how much there is: from now on nobody shares it. Also where it had begun: what a sync that failed has left
        # reads like what is on the disk.
        job = msgspec.structs.replace(job, begun=True)
        await asyncio.to_thread(note, self._folder, job)
        if job.through is None:
            job = msgspec.structs.replace(job, through=await self._taken_in())
        while not job.finished:
            job = await asyncio.to_thread(step, await self._opened(), self._folder, job)
        details = {"subject": job.subject, "erased": job.erased, "through": job.through}
        event = Event(
            id=f"{EVENT_PREFIX}{job.id}", at=self._clock.unix_s(), kind=Kind.ERASURE, actor=job.actor, details=details
        )
        await self._record([event])
        await asyncio.to_thread(_forget, file_of(self._folder, job.id))
        while len(self._done) >= DONE_MAX:
            self._done.pop(next(iter(self._done)))
        self._done[job.id] = job
        log.info("ledger_erased", count=job.erased, actor=job.actor)

    async def _taken_in(self) -> int:
        """How many entries there are once what was recorded before now is among them."""
        enough = self._writer.looks + LOOKS
        await _until(lambda: self._writer.looks >= enough)
        opened = await self._opened()
        # Payloads of entries that are durable and not published yet are in no file of payloads.
        return (await asyncio.to_thread(opened.publish)).size

    async def _opened(self) -> Log:
        while True:
            if self._writer.log is not None:
                return self._writer.log
            await asyncio.sleep(LOOK_S)


async def _until(holds: Callable[[], bool]) -> None:
    while True:
        if holds():
            return
        await asyncio.sleep(LOOK_S)


def _unreadable() -> ProblemError:
    return refuse(Code.NOT_READY, "the log's folder cannot be read or written just now", retry_after_s=5)


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)
    sync_path(path.parent)

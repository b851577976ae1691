"""Erasing by subject: every payload that speaks of somebody overwritten, resumed where a kill left it, and recorded without naming them.

A job is a file beside the log, written before the first payload goes: whose (as a digest: a subject id is 128 bits of chance, so that only
who knows one finds it), who asked, how far it came, and which payloads are being overwritten just now. Payloads are matched by the ids that
stand in them, so a job goes on without being told again whom it is about.

A job covers what was recorded before it began, and nothing that is recorded after that: whoever asks then has another one queued.
"""

import asyncio
import hashlib
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from foundation import logs
from foundation.clock import Clock
from foundation.ledger import metrics, payloads
from foundation.ledger.draining import Writer
from foundation.ledger.files import LogDamaged, replace_durably, sync_path
from foundation.ledger.log import Log, LogBroken
from foundation.ledger.port import Event, Kind, RecordEvents
from foundation.ledger.tiles import WIDTH
from foundation.problems import Code, ProblemError, refuse
from foundation.tasks import Backoff

log = logs.get(__name__)

FOLDER = "erasing"
EVENT_PREFIX = "erasure:"
"""What ids of these events begin with."""
STRIDE = 64
"""Bundles looked through between two notes of how far a job came."""
JOBS_MAX = 100
"""At once. Whoever asks for more is refused."""
DONE_MAX = 1_000
"""Finished jobs that are remembered while the process lives."""
LOOK_S = 0.1
LOOKS = 2
"""Of the writer (`draining.Writer.looks`): one may have been under way."""

_ID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`subject`: SHA-256 of the id. `through`: the entries below it are looked through; None until what was recorded before is taken in.
    `following`: the bundle to go on at. `at_hand`: entries whose payloads are being overwritten, of a sheaf as far as they speak of the
    subject. `erased`: those that are."""

    id: str
    subject: str
    actor: str
    through: int | None = None
    following: int = 0
    at_hand: tuple[int, ...] = ()
    erased: int = 0

    @property
    def finished(self) -> bool:
        return self.through is not None and not self.at_hand and self.following * WIDTH >= self.through


def digest_of(subject_id: str) -> str:
    """By which a job, and its record, name somebody."""
    return hashlib.sha256(subject_id.encode()).hexdigest()


def speaks_of(opening: bytes, subject: str) -> bool:
    """Whether a payload holds the id with this digest anywhere."""
    return any(hashlib.sha256(one).hexdigest() == subject for one in set(_ID.findall(opening)))


def step(opened: Log, folder: Path, job: Job) -> Job:
    """One stride further, durably noted. Raises OSError, LogBroken, LogDamaged."""
    if job.at_hand:
        # Counted when it is done: one that was overwritten before a kill is overwritten, and counted, again.
        opened.erase(*job.at_hand, speaking=lambda held: speaks_of(held, job.subject))
        after = msgspec.structs.replace(
            job, at_hand=(), erased=job.erased + len(job.at_hand), following=job.following + STRIDE
        )
    else:
        found = _found(folder, job)
        after = msgspec.structs.replace(job, at_hand=found) if found else _passed(job)
    _note(folder, after)
    return after


def _note(folder: Path, job: Job) -> None:
    """Raises OSError."""
    replace_durably(file_of(folder, job.id), msgspec.json.encode(job))


def _begin(folder: Path, job: Job) -> None:
    """Raises OSError, and then there is none: nobody shares one that may be in memory alone."""
    try:
        _note(folder, job)
    except OSError:
        with suppress(OSError):
            file_of(folder, job.id).unlink(missing_ok=True)
        raise


def _passed(job: Job) -> Job:
    return msgspec.structs.replace(job, following=job.following + STRIDE)


def _found(folder: Path, job: Job) -> tuple[int, ...]:
    """Entries of the job's next stride whose payloads speak of its subject."""
    through = job.through or 0
    found = list[int]()
    for number in range(job.following, min(job.following + STRIDE, (through + WIDTH - 1) // WIDTH)):
        openings = payloads.in_bundle(folder, number, min(WIDTH, through - number * WIDTH))
        found += [
            number * WIDTH + at
            for at, opening in enumerate(openings)
            if opening is not None and speaks_of(opening, job.subject)
        ]
    return tuple(found)


def file_of(folder: Path, job_id: str) -> Path:
    return folder / FOLDER / f"{job_id}.json"


def waiting_in(folder: Path) -> list[Job]:
    """Jobs that are not finished, in no order that matters. Raises LogDamaged, OSError."""
    try:
        return [msgspec.json.decode(path.read_bytes(), type=Job) for path in sorted((folder / FOLDER).glob("*.json"))]
    except msgspec.MsgspecError as exc:
        raise LogDamaged(f"{FOLDER}: {exc}") from exc


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
        """Held by whoever asks, and while a job begins."""
        self._begun = ""
        """The job that began last: it covers what was recorded before that, and nobody shares it any more."""
        self._done: dict[str, Job] = {}

    async def ask(self, subject_id: str, actor: str) -> Job:
        """The job, durably noted, which covers all that was recorded before now: one that waits already, unless it has begun. Raises
        ProblemError."""
        subject = digest_of(subject_id)
        async with self._turn:
            try:
                waiting = await asyncio.to_thread(waiting_in, self._folder)
                same = next((job for job in waiting if job.subject == subject and self._is_to_begin(job)), None)
                if same is not None:
                    return same
                if len(waiting) >= JOBS_MAX:
                    raise refuse(Code.NOT_READY, "too many erasures wait for their turn", retry_after_s=5)
                job = Job(id=self._chance(), subject=subject, actor=actor)
                await asyncio.to_thread(_begin, self._folder, job)
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

    def _is_to_begin(self, job: Job) -> bool:
        return job.through is None and job.id != self._begun

    async def _finish(self, job: Job) -> None:
        async with self._turn:
            self._begun = job.id
        # What a sync that failed has left reads like what is on the disk.
        await asyncio.to_thread(_note, self._folder, job)
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

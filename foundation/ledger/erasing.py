"""Erasing by subject: every payload that speaks of somebody overwritten, resumed where a kill left it, and recorded without naming them.

A job is a file beside the log, written before the first payload goes: whose (as a digest: a subject id is 128 bits of chance, so that only
who knows one finds it), who asked, how far it came, and which payloads are being overwritten just now. Payloads are matched by the ids that
stand in them, so a job goes on without being told again whom it is about.
"""

import hashlib
import re
from contextlib import suppress
from pathlib import Path

import msgspec

from foundation.ledger import payloads
from foundation.ledger.files import LogDamaged, replace_durably
from foundation.ledger.log import Log
from foundation.ledger.tiles import WIDTH

FOLDER = "erasing"
STRIDE = 64
"""Bundles looked through between two notes of how far a job came."""

_ID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`subject`: SHA-256 of the id. `begun`: it covers what was recorded before, and nothing since. `through`: the entries below it are
    looked through; None until what was recorded before it began is taken in. `following`: the bundle to go on at. `at_hand`: entries whose
    payloads are being overwritten, of a sheaf as far as they speak of the subject. `erased`: those that are."""

    id: str
    subject: str
    actor: str
    begun: bool = False
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
    note(folder, after)
    return after


def note(folder: Path, job: Job) -> None:
    """How far it is, durably. Raises OSError."""
    replace_durably(file_of(folder, job.id), msgspec.json.encode(job))


def begin(folder: Path, job: Job) -> None:
    """Raises OSError, and then there is none: nobody shares one that may be in memory alone."""
    try:
        note(folder, job)
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

"""Hears other processes' commits: one LISTEN connection, reconnecting, with a poll as a fallback. Also tells whether the database lives,
and whether it still holds what it held: a process that outlives a restoration from an older backup begins a new history."""

import asyncio
from contextlib import suppress
from typing import Any

from directory.database import DatabaseUnavailable, alive, translated
from directory.feed import histories, store
from directory.feed.commits import Commits
from directory.feed.marks import Claim
from directory.locks.bell import LockBell
from directory.locks.store import CHANNEL as LOCKS
from directory.metrics import FEED_HEAD
from foundation import logs
from foundation.mute import Secret
from foundation.postgres import Connection, connect
from foundation.tasks import Backoff
from foundation.words import FeedSeq, SubjectId

log = logs.get(__name__)

POLL_S = 1.0
ANSWER_S_MAX = 2.0


async def listen(dsn: Secret[str], commits: Commits, locks: LockBell) -> None:
    """Runs for the process's life. The database's absence is waited out; anything else raises, which ends the process."""
    backoff = Backoff(first_s=0.05, max_s=1.0)
    seen = _Seen()
    while True:
        try:
            await _hear(dsn, commits, locks, seen, backoff)
        except DatabaseUnavailable as exc:
            log.warning("feed_listener_lost", error=str(exc))
        finally:
            commits.hearing(False)
        await asyncio.sleep(backoff.next_s())


class _Seen:
    """The newest event that this process has seen in the database, and its mark."""

    def __init__(self) -> None:
        self.seq = FeedSeq(0)
        self.mark = ""


async def _hear(dsn: Secret[str], commits: Commits, locks: LockBell, seen: _Seen, backoff: Backoff) -> None:
    """Until the connection breaks. Raises DatabaseUnavailable."""
    async with translated(), connect(dsn, application_name="domicile-feed") as connection, alive(connection):
        lost = asyncio.Event()

        def heard(_: Any, pid: int, channel: str, payload: object) -> None:
            seq, subject_id = parse(str(payload))
            commits.committed(seq, subject_id)

        def stirred(_: Any, pid: int, channel: str, payload: object) -> None:
            locks.ring()

        def closed(_: Any) -> None:
            lost.set()

        connection.add_termination_listener(closed)
        await connection.add_listener(store.CHANNEL, heard)
        await connection.add_listener(LOCKS, stirred)
        while True:
            await _poll(connection, commits, seen)
            commits.hearing(True)
            backoff.reset()
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await lost.wait()
            if connection.is_closed():
                raise DatabaseUnavailable("connection closed")


async def _poll(connection: Connection, commits: Commits, seen: _Seen) -> None:
    async with asyncio.timeout(ANSWER_S_MAX):
        found = await store.look(connection, seen.seq, 0, mark=seen.mark)
        if found.claim is Claim.LOST:
            async with connection.transaction():
                await histories.begin_on(connection, seen.seq, seen.mark)
            found = await store.look(connection, FeedSeq(0), 0)
    seen.seq, seen.mark = found.page.head, found.page.mark
    FEED_HEAD.set(seen.seq)
    commits.confirmed(seen.seq)


def parse(payload: str) -> tuple[FeedSeq, SubjectId | None]:
    """`<seq> <subject id or nothing>`, as the append wrote it."""
    seq, _, subject_id = payload.partition(" ")
    return FeedSeq(int(seq)), SubjectId(subject_id) if subject_id else None

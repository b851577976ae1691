"""Processor time while tables grow: who took it, looked at each second, and told by fifths of what was placed."""

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from foundation.mute import Secret
from foundation.postgres import Connection, connect

TICKS = os.sysconf("SC_CLK_TCK")
LOOK_S = 1.0
FIFTHS = 5

_PROCESSES = """
SELECT pid, CASE backend_type WHEN 'client backend' THEN 'Postgres: ' || datname WHEN 'autovacuum worker' THEN 'Postgres: autovacuum'
    ELSE 'Postgres: writers' END AS name
FROM pg_stat_activity
"""
_STATE = """
SELECT (SELECT coalesce(sum(placed), 0)::bigint FROM directory.bulk_batch) AS placed,
    (pg_current_wal_insert_lsn() - '0/0')::bigint AS wal_bytes,
    (SELECT num_timed + num_requested FROM pg_stat_checkpointer) AS checkpoints
"""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """A moment: seconds since the first, and what was placed, written and taken until then (`cpu_s`: by name)."""

    at_s: float
    placed: int
    wal_bytes: int
    checkpoints: int
    cpu_s: dict[str, float]


def cpu_s(pid: int) -> float:
    """Processor seconds that a process has taken so far, with those children that it waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(fields[at]) for at in (11, 12, 13, 14)) / TICKS


class Watch:
    """Looks at the processes of `pids` and at those of Postgres. One that has ended counts as it was last seen."""

    def __init__(self, dsn: Secret[str], pids: Mapping[str, int]) -> None:
        self.looks: list[Look] = []
        self._dsn = dsn
        self._pids = pids
        self._seen: dict[int, tuple[str, float]] = {}

    async def run(self, done: asyncio.Event) -> None:
        """Until `done`, and once more after it."""
        async with connect(self._dsn) as connection:
            await self._look(connection)
            while not done.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await done.wait()
                await self._look(connection)

    async def _look(self, connection: Connection) -> None:
        named = [(pid, name) for name, pid in self._pids.items()]
        named += [(row["pid"], row["name"]) for row in await connection.fetch(_PROCESSES)]
        for pid, name in named:
            with contextlib.suppress(OSError):
                self._seen[pid] = (name, cpu_s(pid))
        taken: dict[str, float] = {}
        for name, seconds in self._seen.values():
            taken[name] = taken.get(name, 0.0) + seconds
        row = await connection.fetchrow(_STATE)
        if row is None:
            raise RuntimeError("a statement without FROM has one row")
        now = asyncio.get_running_loop().time()
        self.looks.append(Look(at_s=now, cpu_s=taken, **row))


def spent(looks: Sequence[Look]) -> dict[str, float]:
    """Processor seconds between the first look and the last, by name. Who came in between began at nothing."""
    first, last = looks[0].cpu_s, looks[-1].cpu_s
    return {name: seconds - first.get(name, 0.0) for name, seconds in last.items()}


def fifths(looks: Sequence[Look]) -> list[tuple[Look, Look]]:
    """Where each fifth of what was placed begins and ends; the last one ends with the last look."""
    count = looks[-1].placed
    ends = [next(look for look in looks if look.placed >= count * nth / FIFTHS) for nth in range(1, FIFTHS)]
    return list(zip([looks[0], *ends], [*ends, looks[-1]], strict=True))


def table(looks: Sequence[Look]) -> str:
    """µs of processor time a subject, fifth by fifth."""
    names = sorted(looks[-1].cpu_s)
    lines = [
        f"| placed so far | subjects/s | {' | '.join(names)} | together | bytes of WAL a subject | checkpoints |",
        f"| ---: |{' ---: |' * (len(names) + 4)}",
    ]
    for start, end in fifths(looks):
        count = max(end.placed - start.placed, 1)
        took = [end.cpu_s.get(name, 0.0) - start.cpu_s.get(name, 0.0) for name in names]
        cells = " | ".join(f"{seconds / count * 1e6:.1f}" for seconds in took)
        lines.append(
            f"| {end.placed:,} | {count / max(end.at_s - start.at_s, 1e-3):,.0f} | {cells} | {sum(took) / count * 1e6:.1f}"
            f" | {(end.wal_bytes - start.wal_bytes) / count:,.0f} | {end.checkpoints - start.checkpoints} |"
        )
    return "\n".join(lines)

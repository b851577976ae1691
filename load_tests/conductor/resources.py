"""Memory, file descriptors and processor time of a stack's processes over a run, and whether they stay flat."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
import psutil

from load_tests.report.findings import Grown

WARM_UP = 0.25
"""Share of the samples that come before anything is judged."""
FLAT = 0.05
MEMORY_SLACK_MB = 0.1
"""What the smallest may gain beside `FLAT`: a run of the allocator's pages."""
DESCRIPTORS_SLACK = 6
"""What a small one may gain or lose likewise: connections of pools; of a gateway's, 5 were seen to go within half an hour."""
THIRD_MIN = 2
PROCESSES_SLACK = 4
"""Sessions of a database that the pools of its clients open within their bounds."""
POINTS_MAX = 240


class Member(NamedTuple):
    """One process by itself, as of `Sample`."""

    memory_mb: float
    descriptors: int


_Taken = TypeVar("_Taken")


class Sample(NamedTuple):
    """Of one process with its children: memory that is its own alone (MB), open descriptors, processor time (s) that those alive have used;
    `at` in Unix seconds, how many there were, what is resident of them (MB, what they share counted for each), and each by itself
    (by its number and when it started)."""

    memory_mb: float
    descriptors: int
    cpu_s: float = 0.0
    at: float = 0.0
    processes: int = 1
    resident_mb: float = 0.0
    members: Mapping[str, Member] = {}


class Resources:
    """Samples by process name. Each is written to `file` as it is taken, so that a run that is broken off leaves them."""

    def __init__(self, file: Path) -> None:
        self._samples: dict[str, list[Sample]] = {}
        self._file = file

    def take(self, processes: Mapping[str, Mapping[str, Any]], at: float) -> None:
        """One sample of each that runs."""
        taken = {name: found for name, one in processes.items() if (found := _sample(one.get("pid"), at)) is not None}
        for name, found in taken.items():
            self._samples.setdefault(name, []).append(found)
        with self._file.open("ab") as out:
            for name, found in taken.items():
                out.write(msgspec.json.encode({"process": name, **found._asdict()}) + b"\n")

    def judged(self) -> list[Grown]:
        return [one for name, samples in self._samples.items() if (one := grown(name, samples)) is not None]

    def memory(self) -> dict[str, list[float]]:
        return {name: [round(one.memory_mb, 2) for one in held[:POINTS_MAX]] for name, held in self._samples.items()}


def grown(name: str, samples: Sequence[Sample]) -> Grown | None:
    """The median of the first third after warm-up beside that of the last third; None for too few samples. Pure.

    A process counts with its children, as a database with its sessions: what all hold together must be flat, and how many they are. By how
    much one of them changed, that lived long enough after a warm-up of its own, is told beside it.
    """
    warm_up = int(len(samples) * WARM_UP)
    warm = samples[warm_up:]
    parts = _thirds(warm)
    if parts is None:
        return None
    memory = [statistics.median(one.memory_mb for one in part) for part in parts]
    held = [statistics.median(one.descriptors for one in part) for part in parts]
    number = [statistics.median(one.processes for one in part) for part in parts]
    alone = _alone(samples, warm_up)
    flat = _flat(memory, MEMORY_SLACK_MB) and _flat(held, DESCRIPTORS_SLACK) and _flat(number, PROCESSES_SLACK)
    return Grown(
        process=name,
        memory_start_mb=round(memory[0], 2),
        memory_end_mb=round(memory[1], 2),
        descriptors_start=round(held[0]),
        descriptors_end=round(held[1]),
        processes_start=round(number[0]),
        processes_end=round(number[1]),
        alone=len(alone),
        alone_change=max(alone, key=abs, default=0.0),
        cpu_share=_cpu_share(warm),
        flat=flat,
    )


def _alone(samples: Sequence[Sample], warm_up: int) -> list[float]:
    """By how much, as a share, the memory changed of each process that lived long enough after a warm-up of its own."""
    lives: dict[str, list[float]] = {}
    for one in samples:
        for which, member in one.members.items():
            lives.setdefault(which, []).append(member.memory_mb)
    found = []
    for life in lives.values():
        parts = _thirds(life[warm_up:])
        if parts is not None:
            before, after = (statistics.median(part) for part in parts)
            found.append(round(after / before - 1, 4) if before else 0.0)
    return found


def _thirds(taken: Sequence[_Taken]) -> tuple[Sequence[_Taken], Sequence[_Taken]] | None:
    """The first and the last; None for too few."""
    third = len(taken) // 3
    return (taken[:third], taken[-third:]) if third >= THIRD_MIN else None


def _flat(pair: Sequence[float], slack: float) -> bool:
    before, after = pair
    return abs(after - before) <= max(slack, FLAT * before)


def _cpu_share(samples: Sequence[Sample]) -> float:
    """Share of one core: the median over neighbours, since a session that ends takes its time with it."""
    shares = [
        max(0.0, after.cpu_s - before.cpu_s) / (after.at - before.at)
        for before, after in itertools.pairwise(samples)
        if after.at > before.at
    ]
    return round(statistics.median(shares), 3) if shares else 0.0


def _sample(pid: int | None, at: float) -> Sample | None:
    if pid is None:
        return None
    try:
        root = psutil.Process(pid)
        tree = [root, *root.children(recursive=True)]
    except psutil.Error:
        return None
    resident, cpu_s = 0.0, 0.0
    members: dict[str, Member] = {}
    for process in tree:
        try:
            times = process.cpu_times()
            held = process.memory_full_info()
            which = f"{process.pid} {process.create_time():.2f}"
            members[which] = Member(round(held.uss / 1e6, 3), process.num_fds())
        except psutil.Error:
            continue  # a database session that has just ended
        resident += held.rss / 1e6
        cpu_s += times.user + times.system
    if not members:
        return None
    return Sample(
        memory_mb=sum(one.memory_mb for one in members.values()),
        descriptors=sum(one.descriptors for one in members.values()),
        cpu_s=round(cpu_s, 2),
        at=round(at, 2),
        processes=len(members),
        resident_mb=round(resident, 2),
        members=members,
    )

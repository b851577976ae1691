"""Memory and file descriptors of a stack's processes over a run, and whether they stay flat."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import psutil

from load_tests.report.findings import Grown

WARM_UP = 0.25
"""Share of the samples that come before anything is judged."""
FLAT = 0.05
MEMORY_SLACK_MB = 2.0
DESCRIPTORS_SLACK = 8
"""What a small process may gain beside `FLAT`: an allocator's arena, the connections of a pool."""
POINTS_MAX = 240


class Sample(NamedTuple):
    """Of one process with its children: memory that is its own alone (MB), open descriptors."""

    memory_mb: float
    descriptors: int


class Resources:
    """Samples by process name."""

    def __init__(self) -> None:
        self._samples: dict[str, list[Sample]] = {}

    def take(self, processes: Mapping[str, Mapping[str, Any]]) -> None:
        """One sample of each that runs."""
        for name, one in processes.items():
            found = _sample(one.get("pid"))
            if found is not None:
                self._samples.setdefault(name, []).append(found)

    def judged(self) -> list[Grown]:
        return [one for name, samples in self._samples.items() if (one := grown(name, samples)) is not None]

    def memory(self) -> dict[str, list[float]]:
        return {name: [round(one.memory_mb, 2) for one in held[:POINTS_MAX]] for name, held in self._samples.items()}


def grown(name: str, samples: Sequence[Sample]) -> Grown | None:
    """The median of the first third after warm-up beside that of the last third; None for too few samples. Pure."""
    warm = samples[int(len(samples) * WARM_UP) :]
    third = len(warm) // 3
    if third < 2:
        return None
    memory = [statistics.median(one.memory_mb for one in part) for part in (warm[:third], warm[-third:])]
    held = [round(statistics.median(one.descriptors for one in part)) for part in (warm[:third], warm[-third:])]
    memory_flat = abs(memory[1] - memory[0]) <= max(MEMORY_SLACK_MB, FLAT * memory[0])
    descriptors_flat = abs(held[1] - held[0]) <= max(DESCRIPTORS_SLACK, FLAT * held[0])
    return Grown(
        process=name,
        memory_start_mb=round(memory[0], 2),
        memory_end_mb=round(memory[1], 2),
        descriptors_start=held[0],
        descriptors_end=held[1],
        flat=memory_flat and descriptors_flat,
    )


def _sample(pid: int | None) -> Sample | None:
    if pid is None:
        return None
    try:
        root = psutil.Process(pid)
        tree = [root, *root.children(recursive=True)]
    except psutil.Error:
        return None
    memory, descriptors = 0.0, 0
    for process in tree:
        try:
            memory += process.memory_full_info().uss / 1e6
            descriptors += process.num_fds()
        except psutil.Error:
            continue  # a database session that has just ended
    return Sample(memory, descriptors)

"""The findings of a run, as its JSON holds them."""

from typing import Any

import msgspec

from load_tests.faults.window import Window
from load_tests.oracle.violations import PROMISES, Violation
from load_tests.report.histogram import Histogram

DETAILS_MAX = 8


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds."""

    name: str
    count: int
    p50: float
    p90: float
    p99: float
    p999: float
    highest: float

    @classmethod
    def of(cls, name: str, each: Histogram) -> "Latency":
        p50, p90, p99, p999 = (round(each.quantile(share), 2) for share in (0.5, 0.9, 0.99, 0.999))
        return cls(name=name, count=each.count, p50=p50, p90=p90, p99=p99, p999=p999, highest=round(each.highest_ms, 2))


class Second(msgspec.Struct, frozen=True, kw_only=True):
    """One second of the run. `excused`: refusals that a fault explains; `errors`: those that none does."""

    at: int
    served: int
    excused: int
    errors: int
    p50_ms: float
    p99_ms: float


class Errors(msgspec.Struct, kw_only=True):
    """Refusals and broken connections of one code, and the fault that excuses them, if one does."""

    code: str
    status: int
    excused_by: str | None
    count: int = 0
    actions: dict[str, int] = {}
    details: dict[str, int] = {}
    """How often which words of the refusals came, `DETAILS_MAX` different ones at most."""

    def add(self, action: str, detail: str | None) -> None:
        self.count += 1
        self.actions[action] = self.actions.get(action, 0) + 1
        if detail is not None and (detail in self.details or len(self.details) < DETAILS_MAX):
            self.details[detail] = self.details.get(detail, 0) + 1


class Grown(msgspec.Struct, frozen=True, kw_only=True):
    """Memory and file descriptors of one process after warm-up and at the end."""

    process: str
    memory_start_mb: float
    memory_end_mb: float
    descriptors_start: int
    descriptors_end: int
    processes_start: int = 1
    processes_end: int = 1
    """It and its children."""
    alone: int = 0
    """How many of them lived long enough to be judged by themselves."""
    alone_change: float = 0.0
    """What the memory of that one changed by that changed most, as a share."""
    cpu_share: float = 0.0
    """Of one core, in the median."""
    flat: bool


class Findings(msgspec.Struct, kw_only=True):
    """Everything."""

    violations: list[Violation]
    people: dict[str, int]
    latency: list[Latency]
    actions: list[Latency]
    seconds: list[Second]
    errors: list[Errors]
    writes: dict[str, int]
    crossings: list[dict[str, Any]]
    crossings_seen: int
    windows: list[Window]
    cuts: int
    swept: bool
    scenario: str = ""
    about: str = ""
    began: float = 0.0
    ended: float = 0.0
    faults_failed: list[str] = []
    unproven: list[str] = []
    """What keeps the run from proving anything, in words."""
    open_loop: Latency | None = None
    processes: list[Grown] = []
    memory: dict[str, list[float]] = {}
    """MB by process, each `memory_step_s` over the run."""
    memory_step_s: float = 1.0
    notes: list[str] = []

    @property
    def answers(self) -> int:
        return sum(one.count for one in self.actions)

    @property
    def unexplained(self) -> int:
        return sum(one.count for one in self.errors if one.excused_by is None)

    @property
    def held(self) -> bool:
        """Whether every promise was kept, and every process stayed flat where that was asked."""
        return not self.violations and all(one.flat for one in self.processes)

    @property
    def as_asked(self) -> bool:
        """Whether all of it was played, and there was enough of it to prove something."""
        return not self.faults_failed and not self.unproven

    def by_kind(self) -> dict[str, list[str]]:
        """What was seen of each broken promise, by the promise's name."""
        found: dict[str, list[str]] = {}
        for one in self.violations:
            found.setdefault(one.kind.value, []).append(one.words)
        return found


def promise(kind: str) -> str:
    return next(words for name, words in PROMISES.items() if name.value == kind)

"""Over any schedule of asks and leases, processes that share a budget grant no more than what `gateway.edge.limits.core` states."""

import asyncio
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.clock import ManualClock
from foundation.mute import Secret
from gateway.edge.limits.core import AGAIN_MS, LEASE_MS, Terms, terms_of
from gateway.edge.limits.table import Table, Wanting
from gateway.edge.limits.worker import Lessor
from tests.stands.memory_region import MemoryRegion

NAME = "somebody"


class Processes:
    """Gateways that share a region; what was granted to one name, by when."""

    def __init__(self, count: int, terms: Terms) -> None:
        self.clock = ManualClock()
        self.region = MemoryRegion(self.clock)
        self.terms = terms
        self.granted_ms: list[float] = []
        self._each: list[tuple[Table, Wanting, Lessor]] = []
        for _ in range(count):
            wanting = Wanting()
            lessor = Lessor(self.region, wanting, Secret(b"k" * 32), self.clock)
            self._each.append((Table("subject", terms, wanting), wanting, lessor))

    @property
    def now_ms(self) -> float:
        return self.clock.monotonic_s() * 1_000

    def ask(self, process: int, times: int) -> int:
        table = self._each[process % len(self._each)][0]
        granted = sum(table.take(NAME, self.now_ms) == 0 for _ in range(times))
        self.granted_ms.extend([self.now_ms] * granted)
        return granted

    def lease(self, process: int) -> None:
        _, wanting, lessor = self._each[process % len(self._each)]
        if wanting.wake.is_set():
            asyncio.run(lessor.lease_some())


@dataclass(frozen=True)
class Step:
    process: int
    asks: int
    leases: bool
    gap_ms: float


TERMS = st.builds(
    lambda per_s, seconds, parts: terms_of(per_s=per_s, burst=per_s * seconds, parts=parts),
    st.sampled_from([1, 4, 25, 100]),
    st.integers(1, 4),
    st.sampled_from([1, 2, 4, 8]),
)
STEPS = st.lists(
    st.builds(
        Step,
        st.integers(0, 3),
        st.integers(0, 60),
        st.booleans(),
        st.sampled_from([0.0, 0.0, 1.0, 20.0, 150.0, 400.0, 990.0, 1_500.0]),
    ),
    max_size=60,
)


@given(TERMS, st.integers(1, 4), STEPS, st.sets(st.integers(0, 59)))
@settings(deadline=None, max_examples=200)
def test_no_window_grants_more_than_is_stated(terms: Terms, count: int, steps: list[Step], outages: set[int]) -> None:
    """(B + r·(t + lease)) + N·(A + r·t·A/B), for every window of every schedule, with the region away at any steps."""
    processes = Processes(count, terms)
    for number, step in enumerate(steps):
        processes.region.down = number in outages
        processes.clock.advance(step.gap_ms / 1_000)
        processes.ask(step.process, step.asks)
        if step.leases:
            processes.lease(step.process)
    at = processes.granted_ms
    (interval_ms, burst), own = terms.region, terms.own
    for first in range(len(at)):
        for last in range(first, len(at), 7):
            window = at[last] - at[first]
            leased = burst + (window + LEASE_MS) / interval_ms
            alone = count * (own.burst + window / own.interval_ms)
            assert last - first + 1 <= leased + alone + 0.01


@given(TERMS, st.integers(1, 4), st.integers(1, 40), st.integers(1, 30))
@settings(deadline=None, max_examples=100)
def test_who_asks_for_more_all_the_time_gets_the_budget_and_little_more(
    terms: Terms, count: int, rounds: int, pace_ms: int
) -> None:
    """What is told of counts: the overshoot is at most twice each process's own part and does not grow with time, as long as there are no
    more processes than parts."""
    parts = max(1, terms.region.burst // terms.own.burst)
    count = min(count, parts)
    processes = Processes(count, terms)
    for _ in range(rounds * 10):
        processes.clock.advance(pace_ms / 1_000)
        for process in range(count):
            processes.ask(process, 1 + 2 * terms.own.burst)
            processes.lease(process)
    budget = terms.region.burst + processes.now_ms / terms.region.interval_ms
    granted, own = len(processes.granted_ms), count * terms.own.burst
    assert granted <= budget + 2 * own + 0.01
    if rounds * 10 * own < 2 * budget:
        return  # there were not as many leases as would bring it all
    # What is leased is not yet spent, or was not asked for again a moment ago: else nothing of the budget is kept from whoever asks.
    assert granted >= budget - own - 2 * max(AGAIN_MS, pace_ms) / terms.region.interval_ms - count


@given(TERMS, st.integers(1, 4), STEPS)
@settings(deadline=None, max_examples=100)
def test_after_quiet_time_the_full_burst_is_back(terms: Terms, count: int, steps: list[Step]) -> None:
    processes = Processes(count, terms)
    for step in steps:
        processes.clock.advance(step.gap_ms / 1_000)
        processes.ask(step.process, step.asks)
        if step.leases:
            processes.lease(step.process)
    for process in range(count):
        processes.lease(process)
    # as long as a bucket takes that owes a whole burst, and as any lease is good
    processes.clock.advance(2 * terms.region.burst * terms.region.interval_ms / 1_000 + LEASE_MS / 1_000)
    granted = 0
    for _ in range(2 * terms.region.burst + 2):
        granted += processes.ask(0, terms.own.burst)
        processes.lease(0)
    assert terms.region.burst <= granted <= terms.region.burst + terms.own.burst
    # With time standing still, nothing is left to be leased: what is refused now stays refused.
    assert processes.ask(0, terms.own.burst) == 0

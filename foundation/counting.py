"""Metrics of what happens for each request: counted by the thread of the event loop alone, so without a lock, and read when asked for.

What `/metrics` says of them is what it says of prometheus_client's own, which take a lock and several calls for each count.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client import REGISTRY, CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from foundation.clock import SystemClock


class Count:
    """One counter."""

    __slots__ = ("since", "value")

    def __init__(self) -> None:
        self.value = 0
        self.since = SystemClock().unix_s()

    def inc(self, by: int = 1) -> None:
        self.value += by


class Counts(Collector):
    """Counters by their labels. `name` without `_total`."""

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str], registry: CollectorRegistry = REGISTRY
    ) -> None:
        self._stated = name, documentation, tuple(labels)
        self._counts: dict[tuple[str, ...], Count] = {}
        registry.register(self)

    def labels(self, *values: str) -> Count:
        found = self._counts.get(values)
        if found is None:
            found = self._counts[values] = Count()
        return found

    def collect(self) -> Iterator[Metric]:
        name, documentation, labels = self._stated
        family = CounterMetricFamily(name, documentation, labels=labels)
        for values, count in self._counts.items():
            family.add_metric(values, count.value, created=count.since)
        yield family


class Spread:
    """One histogram: how many seconds came under which bound, and their sum."""

    __slots__ = ("_bounds", "counts", "since", "sum_s")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum_s = 0.0
        self.since = SystemClock().unix_s()

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self._bounds, seconds)] += 1
        self.sum_s += seconds


class Spreads(Collector):
    """Histograms by their labels, all with the same `bounds` in seconds."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        *,
        bounds: tuple[float, ...],
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self._stated = name, documentation, tuple(labels)
        self._bounds = bounds
        self._spreads: dict[tuple[str, ...], Spread] = {}
        registry.register(self)

    def labels(self, *values: str) -> Spread:
        found = self._spreads.get(values)
        if found is None:
            found = self._spreads[values] = Spread(self._bounds)
        return found

    def collect(self) -> Iterator[Metric]:
        name, documentation, labels = self._stated
        family = HistogramMetricFamily(name, documentation, labels=labels)
        bounds = [*map(str, self._bounds), "+Inf"]
        for values, spread in self._spreads.items():
            below, buckets = 0, []
            for bound, count in zip(bounds, spread.counts, strict=True):
                below += count
                buckets.append((bound, float(below)))
            family.add_metric(values, buckets, spread.sum_s)
            family.add_sample(f"{name}_created", dict(zip(labels, values, strict=True)), spread.since)
        yield family

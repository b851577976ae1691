"""Latencies counted in buckets that grow with the value: any number of them in little memory, every quantile within 3 %. Pure."""

from collections import Counter

_SUB = 32
"""Buckets in each doubling."""


class Histogram:
    """Milliseconds in, milliseconds out; kept as whole microseconds."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.count = 0
        self.highest_ms = 0.0

    def add(self, ms: float) -> None:
        self._buckets[_index(max(0, round(ms * 1000)))] += 1
        self.count += 1
        self.highest_ms = max(self.highest_ms, ms)

    def join(self, other: "Histogram") -> None:
        """Takes in all that the other counted."""
        self._buckets.update(other._buckets)  # noqa: SLF001 - another of this class
        self.count += other.count
        self.highest_ms = max(self.highest_ms, other.highest_ms)

    def quantile(self, share: float) -> float:
        """The value under which `share` of all lie; 0 where there is none."""
        wanted, seen = share * self.count, 0
        for index in sorted(self._buckets):
            seen += self._buckets[index]
            if seen >= wanted:
                return min(_value(index) / 1000, self.highest_ms)
        return 0.0


def _index(us: int) -> int:
    shift = max(0, us.bit_length() - 6)
    return shift * _SUB + (us >> shift)


def _value(index: int) -> float:
    """The middle of a bucket."""
    if index < 2 * _SUB:
        return float(index)
    shift = index // _SUB - 1
    return float((index - shift * _SUB) << shift) + (1 << shift) / 2

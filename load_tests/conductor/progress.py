"""What workers have written so far, for the terminal and for faults that need people."""

from collections import Counter, deque
from pathlib import Path

from load_tests.oracle.ledger import Answered, SignedUp, Tail

LATEST = 2_000


class Progress:
    """Grows with each `read`."""

    def __init__(self, folder: Path) -> None:
        self._tail = Tail(folder)
        self._ms: deque[float] = deque(maxlen=LATEST)
        self._codes: Counter[str] = Counter()
        self.people: list[SignedUp] = []
        self.answers = 0
        self.violations = 0
        self._before = 0
        self._at = 0.0

    def read(self) -> None:
        for line in self._tail.read():
            if isinstance(line, SignedUp):
                self.people.append(line)
            elif isinstance(line, Answered):
                self.answers += 1
                self._ms.append(line.ms)
                self.violations += len(line.violations)
                if not line.expected and not 200 <= line.status < 300:
                    self._codes[line.code or str(line.status)] += 1

    def line(self, second: float, holding: list[str]) -> str:
        """One line of the summary; `holding`: faults that hold just now."""
        ordered = sorted(self._ms)
        p50, p99 = (ordered[int(share * (len(ordered) - 1))] if ordered else 0.0 for share in (0.5, 0.99))
        rate = (self.answers - self._before) / max(0.1, second - self._at)
        self._before, self._at = self.answers, second
        codes = ", ".join(f"{code} {count}" for code, count in self._codes.most_common(3))
        told = (
            f"{second:5.0f} s  {len(self.people):4d} people  {rate:5.0f} answers/s  p50 {p50:6.1f}  p99 {p99:7.1f} ms"
        )
        told += f"  violations {self.violations}"
        return told + (f"  refused: {codes}" if codes else "") + (f"  [{'; '.join(holding)}]" if holding else "")

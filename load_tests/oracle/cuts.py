"""Answers under epochs beside the cuts that were seen. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from load_tests.faults.window import CUT_LOOKS_BACK_S, Cut
from load_tests.oracle.ledger import Answered, writes_of
from load_tests.oracle.violations import Kind, Violation

LOOK_MARGIN_S = 10.0
"""Clocks of databases and workers may differ, and a write is stored after it was sent."""


class Cuts:
    """The fences that were seen, by subject."""

    def __init__(self, cuts: Iterable[Cut]) -> None:
        self._of: dict[str, list[Cut]] = defaultdict(list)
        for cut in cuts:
            self._of[cut.subject].append(cut)

    def broken(self, line: Answered) -> Iterator[Violation]:
        """A served request about rows: none sent after a cut, and no write stored after it, comes under an older epoch."""
        if not (line.fenced and 200 <= line.status < 300 and line.epoch is not None and line.subject is not None):
            return
        for cut in self._of.get(line.subject, ()):
            if line.at > cut.at and line.epoch < cut.epoch:
                yield Violation(
                    kind=Kind.STALE_EPOCH_SERVED,
                    words=f"{line.action} of {line.subject} under {line.epoch}, sent {line.at - cut.at:.3f} s after {cut.epoch}",
                )
            if line.outcome == "acknowledged" and line.epoch < cut.epoch and _came_late(line, cut):
                yield Violation(
                    kind=Kind.LATE_WRITE,
                    words=f"{line.action} {line.write} of {line.subject} under {line.epoch}, after the cut {cut.epoch}",
                )
            if cut.frozen and line.epoch == cut.epoch and line.outcome == "acknowledged":
                yield Violation(
                    kind=Kind.WRITTEN_WHILE_FROZEN, words=f"{line.action} of {line.subject} under {cut.epoch}"
                )


def _came_late(line: Answered, cut: Cut) -> bool:
    """Whether the shard did not hold the write when the fence stood. Of writes long before nothing was kept."""
    return line.at > cut.at - CUT_LOOKS_BACK_S + LOOK_MARGIN_S and not cut.stored.issuperset(writes_of(line))

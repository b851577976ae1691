"""Answers under epochs beside the cuts that were seen. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from load_tests.faults.window import Cut
from load_tests.oracle.ledger import Answered
from load_tests.oracle.violations import Kind, Violation


class Cuts:
    """The fences that were seen, by subject."""

    def __init__(self, cuts: Iterable[Cut]) -> None:
        self._of: dict[str, list[Cut]] = defaultdict(list)
        for cut in cuts:
            self._of[cut.subject].append(cut)

    def broken(self, line: Answered) -> Iterator[Violation]:
        """A served request about rows: none sent after a cut comes under an older epoch, no write under a frozen one."""
        if not (line.fenced and 200 <= line.status < 300 and line.epoch is not None and line.subject is not None):
            return
        for cut in self._of.get(line.subject, ()):
            if line.at > cut.at and line.epoch < cut.epoch:
                yield Violation(
                    kind=Kind.STALE_EPOCH_SERVED,
                    words=f"{line.action} of {line.subject} under {line.epoch}, sent {line.at - cut.at:.3f} s after {cut.epoch}",
                )
            if cut.frozen and line.epoch == cut.epoch and line.outcome == "acknowledged":
                yield Violation(
                    kind=Kind.WRITTEN_WHILE_FROZEN, words=f"{line.action} of {line.subject} under {cut.epoch}"
                )

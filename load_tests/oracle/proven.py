"""Whether a run was worth its verdict: who was served at all, and how much failed that no fault explains. Pure."""

from collections import Counter
from collections.abc import Collection, Iterator

from load_tests.oracle.ledger import Answered, SignedUp

UNEXPLAINED_MAX = 0.05
"""The share of all answers that may be errors which no fault explains; beyond it a run proves nothing."""
READS = frozenset({"read_orders", "read_profile", "read_notes", "read_many"})
WRITES = frozenset({"write_order", "write_note"})
"""Actions of a mix by which it asks for reads and writes of everybody."""
_SERVED = READS | {"travel_read"}
_SIGNING_UP = frozenset({"preview", "sign_up"})


class Proven:
    """Counts what was served, by jurisdiction."""

    def __init__(self) -> None:
        self._jurisdictions: dict[str, str] = {}
        self._came: set[str] = set()
        self._reads: Counter[str] = Counter()
        self._writes: Counter[str] = Counter()

    def signed_up(self, line: SignedUp) -> None:
        self._jurisdictions.setdefault(line.country, line.jurisdiction)

    def answered(self, line: Answered) -> None:
        if line.action in _SIGNING_UP:
            self._came.add(line.country)
        self._reads[line.country] += line.action in _SERVED and 200 <= line.status < 300
        self._writes[line.country] += line.outcome == "acknowledged"

    def missing(
        self, mix: Collection[str], *, answers: int, unexplained: int, unexplained_max: float = UNEXPLAINED_MAX
    ) -> Iterator[str]:
        """What keeps the run from proving anything, in words: of everybody, of a country, of a jurisdiction, or of all answers."""
        if not self._jurisdictions:
            yield "nothing was proven of anybody: nobody got a home"
            return
        for country in sorted(self._came - set(self._jurisdictions)):
            yield f"nothing was proven of people of {country}: nobody of them got a home"
        for asked, served, words in (
            (READS, self._reads, "not one read was served"),
            (WRITES, self._writes, "not one write was acknowledged"),
        ):
            if asked.isdisjoint(mix):
                continue
            reached = {name for country, name in self._jurisdictions.items() if served[country]}
            for jurisdiction in sorted(set(self._jurisdictions.values()) - reached):
                yield f"nothing was proven of {jurisdiction}: {words}"
        if unexplained > unexplained_max * answers:
            share = f"{unexplained:,} of {answers:,} answers"
            yield f"little was proven of anybody: {share} are errors that no fault explains, more than {unexplained_max:.1%}"

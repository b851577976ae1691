"""What is known of every write, and what the sweep found of it. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from load_tests.oracle.ledger import Answered, Sending, SignedUp, writes_of
from load_tests.oracle.violations import Kind, Violation
from load_tests.sweep.found import Row

SIGN_UPS = "profiles"
"""The table in which a sign-up stores one row a subject."""


class Write(msgspec.Struct):
    """All answers about one write. Unknown in any of its tries means that it may stand."""

    subject: str
    table: str
    tries: int = 0
    acknowledged: int = 0
    stands: bool = False
    refused: int = 0


class Writes:
    """By id."""

    def __init__(self) -> None:
        self.known: dict[str, Write] = {}

    def sending(self, line: Sending) -> None:
        for name in writes_of(line):
            write = self._of(name, line.subject)
            write.table = line.table or ""
            write.tries += 1

    def _of(self, name: str, subject: str) -> Write:
        return self.known.setdefault(name, Write(subject, ""))

    def answered(self, line: Answered) -> None:
        if line.subject is None:
            return
        for name in writes_of(line):
            write = self._of(name, line.subject)
            write.acknowledged += line.outcome == "acknowledged"
            write.stands |= line.outcome in ("acknowledged", "repeated")
            write.refused += line.outcome == "refused"

    def twice(self) -> Iterator[Violation]:
        for name, write in self.known.items():
            if write.acknowledged > 1:
                yield Violation(
                    kind=Kind.ACKNOWLEDGED_TWICE,
                    words=f"{write.table} {name} of {write.subject}, {write.acknowledged} times",
                )

    def swept(self, rows: Iterable[Row], subjects: Mapping[str, object]) -> Iterator[Violation]:
        """Rows of `subjects`, whose writes are known, against what was said of them."""
        stored: Counter[str] = Counter()
        for row in rows:
            if row.table == SIGN_UPS or row.subject not in subjects:
                continue
            stored[row.id] += 1
            write = self.known.get(row.id)
            if write is None or write.subject != row.subject:
                yield Violation(
                    kind=Kind.NEVER_SENT, words=f"{row.table} {row.id} of {row.subject} in {row.cell}/{row.shard}"
                )
        for name, write in self.known.items():
            told = f"{write.table} {name} of {write.subject}"
            if write.stands and not stored[name]:
                yield Violation(kind=Kind.LOST_WRITE, words=told)
            if stored[name] > 1:
                yield Violation(kind=Kind.DOUBLED_WRITE, words=f"{told}, {stored[name]} times")
            if stored[name] and write.tries and write.refused == write.tries:
                yield Violation(kind=Kind.REFUSED_BUT_STORED, words=told)


def signed_up(rows: Iterable[Row], subjects: Mapping[str, SignedUp]) -> Iterator[Violation]:
    """Each acknowledged sign-up stored its row, once. In which cell they lie is the homes' question."""
    stored = Counter(row.subject for row in rows if row.table == SIGN_UPS)
    for subject, person in subjects.items():
        told = f"sign-up of {subject} in {person.cell}"
        if not stored[subject]:
            yield Violation(kind=Kind.LOST_WRITE, words=told)
        if stored[subject] > 1:
            yield Violation(kind=Kind.DOUBLED_WRITE, words=f"{told}, {stored[subject]} times")

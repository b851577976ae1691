"""Requests from abroad as they were sent and answered, beside the crossings that home cells recorded. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from load_tests.oracle.answers import CARRIED
from load_tests.oracle.ledger import Answered, Sending, SignedUp
from load_tests.oracle.violations import Kind, Violation
from load_tests.sweep.found import Crossing

TURNED_AWAY = frozenset({401, 403, 421, 451})
"""What a gateway refuses at the head, before anything is booked."""
GROUND_CHARS_MAX = 1000
"""As much of a ground a crossing holds."""
REPEATED = "read"
"""The verb of requests that a gateway sends once more where the other region's broke off: each hop is booked by itself."""

Broken = tuple[Violation, Answered | None]
"""A violation, and the answer whose time may excuse it; None where none may."""


class Crossings:
    """By trace, of which each request has one of its own.

    A request that came from a cell under `hairpin`, whatever its status, must be recorded: nothing is forwarded before it is booked. One
    that was turned away at the head (`TURNED_AWAY`) must not be. Any other answer, or none, leaves both open: a gateway may break between
    booking and forwarding, and a home may be frozen, moved or silent by then. No request is recorded more than once, and each is as
    it was sent: whose, from which region, with which verb, into which home, on the ground that the rules state.
    """

    def __init__(self) -> None:
        self._sent: dict[str, Sending] = {}
        self._answered: dict[str, Answered] = {}

    def sending(self, line: Sending) -> None:
        if line.trace is not None and line.asked is not None:
            self._sent[line.trace] = line

    def answered(self, line: Answered) -> None:
        if line.trace is not None and line.asked != line.home:
            self._answered[line.trace] = line

    @property
    def seen(self) -> int:
        """Requests that were carried."""
        return sum(map(_carried, self._answered.values()))

    def swept(
        self, found: Iterable[Crossing], subjects: Mapping[str, SignedUp], grounds: Mapping[str, str]
    ) -> Iterator[Broken]:
        """`grounds` as of `key`; empty where nobody knows the rules."""
        booked: dict[str, list[Crossing]] = defaultdict(list)
        for one in found:
            if one.subject in subjects or one.trace in self._sent:
                booked[one.trace].append(one)
        for trace, records in booked.items():
            sent = self._sent.get(trace)
            if sent is None:
                yield from ((Violation(kind=Kind.CROSSING_NOT_SEEN, words=_words(one)), None) for one in records)
            else:
                yield from self._recorded(sent, records, subjects, grounds)
        for trace, answer in self._answered.items():
            if _carried(answer) and trace not in booked:
                yield Violation(kind=Kind.CROSSING_NOT_RECORDED, words=f"trace {trace} of {answer.subject}"), None

    def _recorded(
        self,
        sent: Sending,
        records: Sequence[Crossing],
        subjects: Mapping[str, SignedUp],
        grounds: Mapping[str, str],
    ) -> Iterator[Broken]:
        answer = self._answered.get(records[0].trace)
        if len(records) > 1:
            told = Violation(kind=Kind.CROSSING_DOUBLED, words=f"{_words(records[0])}, {len(records)} times")
            yield told, answer if sent.verb == REPEATED and len(records) == 2 else None
        if answer is not None and answer.status in TURNED_AWAY and not _carried(answer):
            words = f"{_words(records[0])}: answered {answer.status} {answer.code}"
            yield Violation(kind=Kind.CROSSING_THOUGH_REFUSED, words=words), answer
        person = subjects.get(sent.subject)
        if person is None:
            return
        stated = (sent.subject, sent.asked, sent.verb, person.cell)
        for one in records:
            if (one.subject, one.from_region, one.verb, one.cell) != stated:
                words = f"{_words(one)}: sent was a {sent.verb} of {sent.subject} from {sent.asked} to {person.cell}"
                yield Violation(kind=Kind.CROSSING_DIFFERS, words=words), None
            ground = grounds.get(key(person.country, one.cell, one.from_region), "")[:GROUND_CHARS_MAX]
            if not one.ground or (grounds and one.ground != ground):
                words = f"{_words(one)}: on {one.ground or 'no ground'!r}, the rules state {ground or 'none'!r}"
                yield Violation(kind=Kind.CROSSING_WITHOUT_GROUND, words=words), answer if one.ground else None


def key(country: str, cell: str, region: str) -> str:
    """Of the ground on which people of `country` with a home in `cell` are carried there from `region`."""
    return f"{country} {cell} {region}"


def _carried(answer: Answered) -> bool:
    return answer.verdict == CARRIED


def _words(one: Crossing) -> str:
    return f"trace {one.trace} of {one.subject}, a {one.verb} from {one.from_region} in {one.cell}/{one.shard}"

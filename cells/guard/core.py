"""Verdicts of a guard, and what it knows of epochs. Pure: time is an argument, nothing here waits.

Rules that `verdict` enforces, in this order: the decision is whole (a subject and an epoch, or neither and verb `signup`); sign-up
decisions pass on sign-up routes only; a `read` decision passes no unsafe method; the lease holds; the subject's epoch is known; it is
the decision's; its state allows the verb. Everything else is refused, unknown too.

A lease counts from the moment at which the question was *sent* whose answer renewed it: what a guard holds was true at that moment or
later, however late the answer came. Only answers about changes renew it, since only these say that nothing else happened.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import assert_never

import msgspec

from directory.placement.core import State, refusal
from foundation.decision import Decision
from foundation.problems import Code, Problem
from foundation.words import Epoch, SubjectId, Verb, verb_of_method

ENTRIES_MAX = 100_000
LEASE_MS_MAX = 30_000
CHANGES_PAGE = 1_000
"""An answer about changes holds at most so many; one that is full may not be the last, so it renews no lease."""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A subject's home as the cell service stated it; `change` is the number up to which the statement holds."""

    epoch: Epoch
    state: State
    change: int


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One subject whose home changed, as it stands after the change."""

    subject_id: SubjectId
    epoch: Epoch
    state: State


class Pass(msgspec.Struct, frozen=True):
    """The request may go to the application."""


class Ask(msgspec.Struct, frozen=True):
    """What is held does not suffice: ask the cell service about the subject once, then call again with `asked`."""

    subject: SubjectId


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """The request does not pass. `epoch` is the current one where the decision's is older."""

    problem: Problem
    epoch: Epoch | None = None


Verdict = Pass | Ask | Refusal


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a verdict needs to know of a request: its method (RFC 9110), and whether the service named its path as a sign-up route."""

    method: str
    signup_route: bool


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """What is held may be trusted until this moment of the process's monotonic clock. `NO_LEASE` never holds."""

    until_s: float

    def holds(self, now_s: float) -> bool:
        return now_s < self.until_s


NO_LEASE = Lease(until_s=float("-inf"))


def wait_ms(lease_ms: int, *, late_ms: int) -> int:
    """How long the next question for changes may wait: with what the last answer came late, a third of the lease. An answer may then be
    late by as much before the lease runs out, and a slow cell service is asked no more often than a quick one."""
    return max(0, lease_ms // 3 - late_ms)


def verdict(
    decision: Decision, request: Request, *, known: Known | None, lease: Lease, now_s: float, asked: bool
) -> Verdict:
    """Whether a request under a verified `decision` passes. `known` is None where nothing is held of the subject. Total."""
    refused = _shape(decision, request)
    if refused is not None:
        return refused
    if not lease.holds(now_s):
        return _refusal(Code.NOT_READY, "the cell service has not been heard within the lease", retry_after_s=1)
    if decision.subject is None or decision.epoch is None:
        return Pass()
    if known is None or known.epoch < decision.epoch:
        return _behind() if asked else Ask(decision.subject)
    if known.epoch > decision.epoch:
        problem = Problem(code=Code.STALE_EPOCH, detail="the home changed since the decision; resolve again")
        return Refusal(problem=problem, epoch=known.epoch)
    code = refusal(known.state, decision.verb)
    if code is Code.CELL_BEHIND and not asked:
        return Ask(decision.subject)
    return Pass() if code is None else _refusal(code, f"the home is {known.state.value}", retry_after_s=1)


def _shape(decision: Decision, request: Request) -> Refusal | None:
    """Refuses decisions that do not fit together or do not fit the request."""
    whole = decision.subject is not None and decision.epoch is not None
    empty = decision.subject is None and decision.epoch is None
    match decision.verb:
        case Verb.SIGNUP:
            if not empty or not request.signup_route:
                return _refusal(Code.FORBIDDEN, "a decision for sign-up opens sign-up routes only")
        case Verb.READ:
            if not whole or verb_of_method(request.method) is not Verb.READ:
                return _refusal(
                    Code.FORBIDDEN, "a decision to read opens safe methods on a subject's own requests only"
                )
        case Verb.WRITE:
            if not whole:
                return _refusal(Code.FORBIDDEN, "a decision to write names its subject and epoch")
        case _:
            assert_never(decision.verb)
    return None


def _behind() -> Refusal:
    return _refusal(Code.CELL_BEHIND, "the cell service does not know this epoch yet", retry_after_s=1)


def _refusal(code: Code, detail: str, *, retry_after_s: int | None = None) -> Refusal:
    status_503 = Problem(code=code, detail=detail).status == 503
    return Refusal(problem=Problem(code=code, detail=detail, retry_after_s=retry_after_s if status_503 else None))


class Question(msgspec.Struct, frozen=True):
    """A question under way about one subject; it is void once the cell service starts its numbers anew."""

    subject: SubjectId
    generation: int


class EpochBook:
    """Which epochs a guard holds, bounded, least recently used out first; fed by answers to questions and by changes.

    Newer knowledge is never replaced by older: an answer counts only if no later change of its subject came while it was under way,
    and not at all if the cell service reset its numbers meanwhile.
    """

    def __init__(self, entries_max: int = ENTRIES_MAX) -> None:
        self._entries_max = entries_max
        self._entries: OrderedDict[SubjectId, Known] = OrderedDict()
        self._under_way: dict[SubjectId, Known | None] = {}
        self._generation = 0
        self.position = 0
        self.lease = NO_LEASE

    def __len__(self) -> int:
        return len(self._entries)

    def known(self, subject: SubjectId) -> Known | None:
        found = self._entries.get(subject)
        if found is not None:
            self._entries.move_to_end(subject)
        return found

    def begin(self, subject: SubjectId) -> Question:
        """Call before asking; from here on changes of the subject are kept until `end`. One question a subject at a time."""
        self._under_way[subject] = None
        return Question(subject, self._generation)

    def end(self, question: Question, answer: Known | None) -> None:
        """Takes in the answer, None where there was none or it said that no home is here."""
        seen = self._under_way.pop(question.subject, None)
        if answer is None or question.generation != self._generation:
            return
        held = self._entries.get(question.subject)
        newest = max((one for one in (held, seen, answer) if one is not None), key=_order)
        self._put(question.subject, newest)

    def heard(self, changes: Sequence[Change], *, upto: int, reset: bool, sent_s: float, lease_ms: int) -> None:
        """Takes in every change after `position` up to `upto`.

        Renews the lease from `sent_s`, when the question was sent, unless there may be more changes than these.
        """
        if reset or upto < self.position:
            self._forget()
        for change in changes:
            known = Known(epoch=change.epoch, state=change.state, change=upto)
            if change.subject_id in self._under_way:
                self._under_way[change.subject_id] = known
            held = self._entries.get(change.subject_id)
            # Of a subject never asked about nothing is kept: it would push out those in use.
            if held is not None and _order(held) <= _order(known):
                self._entries[change.subject_id] = known
        self.position = upto
        if len(changes) < CHANGES_PAGE:
            self.lease = Lease(until_s=sent_s + min(lease_ms, LEASE_MS_MAX) / 1000)

    def _forget(self) -> None:
        self._entries.clear()
        self._under_way = dict.fromkeys(self._under_way)
        self._generation += 1

    def _put(self, subject: SubjectId, known: Known) -> None:
        self._entries[subject] = known
        self._entries.move_to_end(subject)
        while len(self._entries) > self._entries_max:
            self._entries.popitem(last=False)


def _order(known: Known) -> tuple[Epoch, int]:
    """What is newer of one subject. Epochs first: two cell services behind one address number their changes each for itself."""
    return known.epoch, known.change

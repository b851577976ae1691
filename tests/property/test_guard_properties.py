"""For every decision, knowledge and time: nothing passes but the current epoch under a lease that holds."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cells.guard.client import ChangesPage
from cells.guard.core import Ask, EpochBook, Known, Lease, Pass, Question, Refusal, Request, verdict
from directory.placement.core import State, refusal
from foundation.problems import Code
from foundation.words import Epoch, SubjectId, Verb, verb_of_method
from tests.stands.fake_cell import LEASE_MS, FakeCell, a_subject, decision

epochs = st.integers(1, 6)
times = st.floats(-100, 100)
knowledge = st.none() | st.builds(
    Known, epoch=epochs.map(Epoch), state=st.sampled_from(State), change=st.integers(0, 50)
)


@given(
    subject=st.none() | st.integers(1, 3).map(a_subject),
    epoch=st.none() | epochs,
    verb=st.sampled_from(Verb),
    method=st.sampled_from(["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "x"]),
    signup_route=st.booleans(),
    known=knowledge,
    until_s=times | st.just(float("-inf")),
    now_s=times,
    asked=st.booleans(),
)
@settings(max_examples=500, deadline=None)
def test_nothing_passes_but_the_current_epoch_under_a_lease_that_holds(
    subject: SubjectId | None,
    epoch: int | None,
    verb: Verb,
    method: str,
    signup_route: bool,
    known: Known | None,
    until_s: float,
    now_s: float,
    asked: bool,
) -> None:
    made = decision(subject, epoch, verb, now=0.0)
    request = Request(method=method, signup_route=signup_route)
    outcome = verdict(made, request, known=known, lease=Lease(until_s=until_s), now_s=now_s, asked=asked)
    if isinstance(outcome, Refusal):
        assert (outcome.epoch is not None) == (outcome.problem.code is Code.STALE_EPOCH)
        return
    assert now_s < until_s
    if isinstance(outcome, Ask):
        assert outcome.subject == subject
        assert not asked
        return
    assert outcome == Pass()
    if verb is Verb.SIGNUP:
        assert signup_route
        assert subject is None
        return
    assert known is not None
    assert known.epoch == epoch
    assert refusal(known.state, verb) is None
    assert verb is Verb.WRITE or verb_of_method(method) is Verb.READ


SUBJECTS = [a_subject(number) for number in (1, 2, 3)]


class GuardAgainstACell(RuleBasedStateMachine):
    """A guard's book against a cell whose answers come late, get lost, and whose process restarts.

    Invariant: an epoch that would pass now was the fence's own at some moment within one lease.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cell = FakeCell()
        self.book = EpochBook(entries_max=2)
        self.now_s = 0.0
        self.epoch = 10
        self.history: dict[SubjectId, list[tuple[float, int, State]]] = {subject: [] for subject in SUBJECTS}
        self.poll: tuple[float, ChangesPage] | None = None
        self.polling_since: float | None = None
        self.questions: dict[SubjectId, tuple[Question, Known | None]] = {}
        for subject in SUBJECTS:
            self.change(subject, State.ACTIVE)

    @rule(seconds=st.sampled_from([0.1, 1.0, 2.5, 6.0]))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(subject=st.sampled_from(SUBJECTS), state=st.sampled_from([State.ACTIVE, State.FROZEN, State.MOVED]))
    def change(self, subject: SubjectId, state: State) -> None:
        self.epoch += 1
        self.cell.put(subject, self.epoch, state)
        self.history[subject].append((self.now_s, self.epoch, state))

    @rule()
    def restart(self) -> None:
        self.cell.restart()

    @rule()
    def poll_is_sent(self) -> None:
        if self.polling_since is None:
            self.polling_since = self.now_s

    @rule()
    def poll_is_answered(self) -> None:
        if self.polling_since is not None and self.poll is None:
            self.poll = (self.polling_since, self.cell.page(self.book.position))

    @rule()
    def poll_arrives(self) -> None:
        if self.poll is not None:
            sent_s, page = self.poll
            self.book.heard(page.changes, upto=page.next, reset=page.reset, sent_s=sent_s, lease_ms=page.lease_ms)
            self.poll = self.polling_since = None

    @rule()
    def poll_is_lost(self) -> None:
        self.poll = self.polling_since = None

    @rule(subject=st.sampled_from(SUBJECTS))
    def question_is_answered(self, subject: SubjectId) -> None:
        """The answer is made now and stays on its way until it arrives."""
        if subject not in self.questions:
            epoch, state = self.cell.homes[subject]
            answer = Known(epoch=Epoch(epoch), state=state, change=self.cell.newest)
            self.questions[subject] = (self.book.begin(subject), answer)

    @rule(subject=st.sampled_from(SUBJECTS), lost=st.booleans())
    def answer_arrives(self, subject: SubjectId, lost: bool) -> None:
        if subject in self.questions:
            question, answer = self.questions.pop(subject)
            self.book.end(question, None if lost else answer)

    @invariant()
    def what_would_pass_was_true_within_one_lease(self) -> None:
        for subject in SUBJECTS:
            held = self.book.known(subject)
            if held is None or not self.book.lease.holds(self.now_s):
                continue
            history = self.history[subject]
            for index, (_, epoch, state) in enumerate(history):
                if (epoch, state) == (held.epoch, held.state):
                    replaced_at = history[index + 1][0] if index + 1 < len(history) else float("inf")
                    assert replaced_at >= self.now_s - LEASE_MS / 1000, "an epoch outlived its lease"
                    break
            else:
                raise AssertionError("an epoch that never was")

    @invariant()
    def the_book_is_bounded(self) -> None:
        assert len(self.book) <= 2


class ForgetsWhatCameMeanwhile(GuardAgainstACell):
    """The planted fault: a book that drops changes of subjects under question. The machine must find it out."""

    def __init__(self) -> None:
        super().__init__()
        heard = self.book.heard

        def deaf(*args: Any, **kwargs: Any) -> None:
            under_way, self.book._under_way = self.book._under_way, {}
            heard(*args, **kwargs)
            self.book._under_way = under_way

        self.book.heard = deaf  # type: ignore[method-assign]


GuardAgainstACell.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestGuardAgainstACell = GuardAgainstACell.TestCase


def test_the_machine_catches_a_book_that_is_deaf_while_it_asks() -> None:
    machine = ForgetsWhatCameMeanwhile()
    subject = SUBJECTS[0]
    machine.poll_is_sent()
    machine.poll_is_answered()
    machine.poll_arrives()
    machine.question_is_answered(subject)
    machine.change(subject, State.ACTIVE)
    machine.time_passes(6.0)
    machine.poll_is_sent()
    machine.poll_is_answered()
    machine.poll_arrives()
    machine.answer_arrives(subject, lost=False)
    with pytest.raises(AssertionError, match="outlived"):
        machine.what_would_pass_was_true_within_one_lease()

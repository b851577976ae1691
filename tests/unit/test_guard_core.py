"""Promises of a guard's verdicts and of what it holds of epochs."""

import pytest

from cells.guard.core import (
    CHANGES_PAGE,
    NO_LEASE,
    Ask,
    Change,
    EpochBook,
    Known,
    Lease,
    Pass,
    Refusal,
    Request,
    Verdict,
    verdict,
)
from directory.placement.core import State
from foundation.decision import Decision
from foundation.problems import Code
from foundation.words import Epoch, SubjectId, Verb
from tests.stands.fake_cell import a_subject, decision

ANNA = a_subject(1)
GET = Request(method="GET", signup_route=False)
POST = Request(method="POST", signup_route=False)
SIGN_UP = Request(method="POST", signup_route=True)
HELD = Lease(until_s=10.0)


def judge(
    made: Decision,
    request: Request = GET,
    *,
    known: Known | None = None,
    lease: Lease = HELD,
    now_s: float = 0.0,
    asked: bool = False,
) -> Verdict:
    return verdict(made, request, known=known, lease=lease, now_s=now_s, asked=asked)


def made(verb: Verb = Verb.READ, epoch: int | None = 5, subject: SubjectId | None = ANNA) -> Decision:
    return decision(subject, epoch, verb, now=0.0)


def known(epoch: int = 5, state: State = State.ACTIVE, change: int = 1) -> Known:
    return Known(epoch=Epoch(epoch), state=state, change=change)


def code(outcome: Verdict) -> Code | None:
    return outcome.problem.code if isinstance(outcome, Refusal) else None


def test_the_current_epoch_passes() -> None:
    assert judge(made(), known=known()) == Pass()
    assert judge(made(Verb.WRITE), POST, known=known()) == Pass()


def test_an_older_epoch_is_refused_and_told_the_current_one() -> None:
    outcome = judge(made(epoch=4), known=known(5))
    assert code(outcome) is Code.STALE_EPOCH
    assert isinstance(outcome, Refusal)
    assert outcome.epoch == 5


def test_a_newer_epoch_is_asked_about_once_and_then_refused() -> None:
    assert judge(made(epoch=6), known=known(5)) == Ask(ANNA)
    assert code(judge(made(epoch=6), known=known(5), asked=True)) is Code.CELL_BEHIND


def test_an_unknown_subject_is_asked_about_once_and_then_refused() -> None:
    assert judge(made()) == Ask(ANNA)
    assert code(judge(made(), asked=True)) is Code.CELL_BEHIND


def test_an_outlived_lease_refuses_even_the_current_epoch() -> None:
    assert code(judge(made(), known=known(), now_s=10.0)) is Code.NOT_READY
    assert code(judge(made(), known=known(), lease=NO_LEASE)) is Code.NOT_READY


def test_an_outlived_lease_refuses_sign_up_too() -> None:
    assert code(judge(made(Verb.SIGNUP, None, None), SIGN_UP, lease=NO_LEASE)) is Code.NOT_READY


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PROPFIND", "get"])
def test_a_decision_to_read_opens_no_unsafe_method(method: str) -> None:
    assert code(judge(made(), Request(method=method, signup_route=False), known=known())) is Code.FORBIDDEN


def test_a_sign_up_decision_opens_sign_up_routes_only() -> None:
    sign_up = made(Verb.SIGNUP, None, None)
    assert judge(sign_up, SIGN_UP) == Pass()
    assert code(judge(sign_up, POST)) is Code.FORBIDDEN
    assert code(judge(sign_up, GET)) is Code.FORBIDDEN


def test_an_ordinary_write_decision_may_repeat_a_sign_up() -> None:
    assert judge(made(Verb.WRITE), SIGN_UP, known=known()) == Pass()


@pytest.mark.parametrize("verb", list(Verb))
@pytest.mark.parametrize(("subject", "epoch"), [(ANNA, None), (None, 5)])
def test_half_a_decision_opens_nothing(verb: Verb, subject: SubjectId | None, epoch: int | None) -> None:
    assert code(judge(made(verb, epoch, subject), SIGN_UP, known=known())) is Code.FORBIDDEN


@pytest.mark.parametrize("verb", [Verb.READ, Verb.WRITE])
def test_a_decision_about_nobody_opens_nothing_but_sign_up(verb: Verb) -> None:
    assert code(judge(made(verb, None, None), SIGN_UP)) is Code.FORBIDDEN


@pytest.mark.parametrize(
    ("state", "verb", "expected"),
    [
        (State.FROZEN, Verb.READ, None),
        (State.FROZEN, Verb.WRITE, Code.SUBJECT_FROZEN),
        (State.MOVING_IN, Verb.READ, Code.SUBJECT_MOVING),
        (State.MOVED, Verb.READ, Code.SUBJECT_GONE),
        (State.ERASED, Verb.WRITE, Code.SUBJECT_GONE),
        (State.RESERVED, Verb.READ, Code.CELL_BEHIND),
    ],
)
def test_a_state_decides_which_verbs_pass(state: State, verb: Verb, expected: Code | None) -> None:
    request = GET if verb is Verb.READ else POST
    assert code(judge(made(verb), request, known=known(state=state), asked=True)) is expected


def test_a_decision_to_write_does_not_pass_as_a_safe_method_while_frozen() -> None:
    assert code(judge(made(Verb.WRITE), GET, known=known(state=State.FROZEN))) is Code.SUBJECT_FROZEN


def test_a_reserved_home_is_asked_about_again() -> None:
    assert judge(made(), known=known(state=State.RESERVED)) == Ask(ANNA)


# --- the book ----------------------------------------------------------------------------------------------------------------


def change(epoch: int, subject: SubjectId = ANNA, state: State = State.ACTIVE) -> Change:
    return Change(subject_id=subject, epoch=Epoch(epoch), state=state)


def hear(book: EpochBook, *changes: Change, upto: int, reset: bool = False, sent_s: float = 0.0) -> None:
    book.heard(changes, upto=upto, reset=reset, sent_s=sent_s, lease_ms=5000)


def test_a_change_replaces_what_is_held() -> None:
    book = EpochBook()
    book.end(book.begin(ANNA), known(5, change=1))
    hear(book, change(6), upto=2)
    assert book.known(ANNA) == known(6, change=2)


def test_a_late_answer_does_not_replace_a_change_that_came_meanwhile() -> None:
    book = EpochBook()
    question = book.begin(ANNA)
    hear(book, change(6), upto=2)
    book.end(question, known(5, change=1))
    assert book.known(ANNA) == known(6, change=2)


def test_a_late_page_does_not_replace_a_newer_answer() -> None:
    book = EpochBook()
    book.end(book.begin(ANNA), known(7, change=9))
    hear(book, change(6), upto=8)
    assert book.known(ANNA) == known(7, change=9)


def test_a_reset_forgets_all_and_voids_questions_under_way() -> None:
    book = EpochBook()
    book.end(book.begin(ANNA), known(5, change=1))
    question = book.begin(a_subject(2))
    hear(book, upto=900, reset=True)
    book.end(question, known(5, change=2))
    assert book.known(ANNA) is None
    assert book.known(a_subject(2)) is None


def test_a_number_that_goes_back_is_taken_for_a_reset() -> None:
    book = EpochBook()
    hear(book, upto=100)
    book.end(book.begin(ANNA), known(5, change=100))
    hear(book, upto=50)
    assert book.known(ANNA) is None


def test_the_lease_counts_from_when_the_question_was_sent() -> None:
    book = EpochBook()
    assert not book.lease.holds(0.0)
    hear(book, upto=1, sent_s=100.0)
    assert book.lease.holds(104.9)
    assert not book.lease.holds(105.0)


def test_an_answer_about_one_subject_renews_no_lease() -> None:
    book = EpochBook()
    book.end(book.begin(ANNA), known())
    assert not book.lease.holds(0.0)


def test_a_full_page_renews_no_lease() -> None:
    book = EpochBook()
    hear(book, *(change(5, a_subject(n)) for n in range(CHANGES_PAGE)), upto=CHANGES_PAGE)
    assert not book.lease.holds(0.0)
    assert book.position == CHANGES_PAGE


def test_a_lease_longer_than_the_bound_is_cut() -> None:
    book = EpochBook()
    book.heard((), upto=1, reset=False, sent_s=0.0, lease_ms=10**9)
    assert not book.lease.holds(30.0)


def test_the_book_is_bounded_and_keeps_those_in_use() -> None:
    book = EpochBook(entries_max=3)
    for number in range(10):
        book.end(book.begin(a_subject(number)), known(5))
        assert book.known(a_subject(0)) is not None
    assert len(book) == 3


def test_changes_of_subjects_never_asked_about_take_no_room() -> None:
    book = EpochBook()
    hear(book, *(change(5, a_subject(n)) for n in range(100)), upto=100)
    assert len(book) == 0


def test_an_epoch_heard_from_one_cell_service_outranks_an_older_one_that_another_numbered_higher() -> None:
    book = EpochBook()
    hear(book, upto=10)
    book.end(book.begin(ANNA), known(5, change=9_000))
    hear(book, change(6, ANNA), upto=11)
    held = book.known(ANNA)
    assert held is not None
    assert held.epoch == 6


def test_an_answer_of_one_cell_service_outranks_an_older_one_that_another_numbered_higher() -> None:
    book = EpochBook()
    book.end(book.begin(ANNA), known(5, change=9_000))
    book.end(book.begin(ANNA), known(6, change=12))
    held = book.known(ANNA)
    assert held is not None
    assert held.epoch == 6

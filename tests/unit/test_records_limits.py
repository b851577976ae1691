"""Who begins without waiting is let in as whoever waits would be, or leaves no trace."""

import pytest

from cells.records.limits import Limiter, Limits
from foundation.clock import ManualClock
from foundation.problems import ProblemError
from foundation.words import mint_subject_id

pytestmark = pytest.mark.anyio

ANN, BEN = mint_subject_id(), mint_subject_id()


def limiter(**limits: int) -> Limiter:
    return Limiter(Limits(**limits), ManualClock())


async def test_a_place_that_was_begun_at_once_is_given_back() -> None:
    ours = limiter(requests=1, subject_statements=1)
    for _ in range(3):
        turn = ours.begin_now(ANN)
        assert turn is not None
        assert ours.begin_now(BEN) is None
        async with turn:
            pass
        ours.end()
    ours.begin()


async def test_a_subject_whose_turns_are_taken_waits_and_others_begin() -> None:
    ours = limiter(subject_statements=1)
    async with ours.statement(ANN):
        assert ours.begin_now(ANN) is None
        assert ours.begin_now(BEN) is not None
    assert ours.begin_now(ANN) is not None


async def test_looking_for_room_counts_nothing_and_says_what_beginning_would_do() -> None:
    ours = limiter(requests=3, subject_statements=1, subject_per_s=1, subject_burst=2)
    for _ in range(3):
        assert ours.room(ANN)
    first = ours.begin_now(ANN)
    assert first is not None
    assert not ours.room(ANN)  # its turn is taken
    assert ours.room(BEN)
    first.leave()
    assert ours.room(ANN)
    assert ours.begin_now(ANN) is not None
    assert not ours.room(ANN)  # and its rate is used up
    assert ours.room(BEN)
    assert ours.begin_now(BEN) is not None
    assert not ours.room(mint_subject_id())  # all places are taken


async def test_one_rate_counts_for_both() -> None:
    ours = limiter(subject_per_s=1, subject_burst=2)
    assert ours.begin_now(ANN) is not None
    ours.count(ANN)
    assert ours.begin_now(ANN) is None
    with pytest.raises(ProblemError):
        ours.count(ANN)


async def test_who_is_not_let_in_is_not_counted() -> None:
    ours = limiter(requests=1, subject_per_s=1, subject_burst=1)
    ours.begin()
    for _ in range(3):
        assert ours.begin_now(ANN) is None
    ours.end()
    assert ours.begin_now(ANN) is not None

"""How often a request is tried: bounded for every sequence of refusals and faults."""

from hypothesis import given
from hypothesis import strategies as st

from foundation.problems import Code
from gateway.edge.tries import BEHIND_WAITS_S, Tries


def test_a_stale_epoch_is_tried_once_more_at_once() -> None:
    tries = Tries()
    assert tries.again_after(Code.STALE_EPOCH) == 0.0
    assert tries.again_after(Code.STALE_EPOCH) is None


def test_a_cell_that_is_behind_is_waited_for_after_a_stale_epoch_too() -> None:
    tries = Tries()
    tries.again_after(Code.STALE_EPOCH)
    assert [tries.again_after(Code.CELL_BEHIND) for _ in range(6)] == [*BEHIND_WAITS_S, None]
    assert sum(BEHIND_WAITS_S) < 1.0


def test_no_other_refusal_is_tried_again() -> None:
    assert {code for code in Code if Tries().again_after(code) is not None} == {Code.STALE_EPOCH, Code.CELL_BEHIND}


def test_a_broken_connection_is_followed_by_one_fresh_one() -> None:
    tries = Tries()
    assert (tries.after_fault, tries.again_after_fault(), tries.after_fault) == (False, True, True)
    assert not tries.again_after_fault()


@given(st.lists(st.sampled_from([Code.STALE_EPOCH, Code.CELL_BEHIND, None]), max_size=60))
def test_no_sequence_of_failures_is_tried_more_than_seven_times_more(failures: list[Code | None]) -> None:
    tries = Tries()
    again = [tries.again_after_fault() if one is None else tries.again_after(one) is not None for one in failures]
    assert sum(again) <= 2 + len(BEHIND_WAITS_S)

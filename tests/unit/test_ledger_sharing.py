"""Those who ask for one thing after another are waited for where others wait already: briefly, and not where that was in vain."""

from hypothesis import given
from hypothesis import strategies as st

from foundation.ledger.sharing import IN_VAIN_MAX, WAIT_S_MAX, WAIT_S_MIN, Sharing

SOON = WAIT_S_MIN / 2


def test_whoever_asks_alone_waits_for_nobody() -> None:
    sharing = Sharing()
    for turn in range(5):
        sharing.came()
        assert not sharing.waits(turn)
        sharing.let_go(1, turn, 0.0)
        assert sharing.waits(turn + SOON)


def test_all_who_were_let_go_are_waited_for_and_no_longer() -> None:
    sharing = Sharing()
    sharing.let_go(3, 10.0, 0.0)
    for _ in range(2):
        sharing.came()
        assert sharing.waits(10.0 + SOON)
    assert not sharing.waits(sharing.until_s)
    sharing.came()
    assert not sharing.waits(10.0 + SOON)


def test_they_are_waited_for_as_long_as_their_write_took_within_bounds() -> None:
    sharing, found = Sharing(), list[float]()
    for took_s in (0.0, 0.01, 5.0):
        sharing.let_go(1, 0.0, took_s)
        found.append(sharing.until_s)
    assert found == [WAIT_S_MIN, 0.01, WAIT_S_MAX]


def unshared_after(sharing: Sharing) -> int:
    """How many writes wait for nobody."""
    count = 0
    sharing.let_go(2, 0.0, 0.0)
    while not sharing.waits(SOON):
        count += 1
        sharing.let_go(2, 0.0, 0.0)
    return count


def test_after_each_wait_in_vain_twice_as_many_writes_wait_for_nobody_until_all_come_back_once() -> None:
    sharing, found = Sharing(), list[int]()
    for _ in range(9):
        found.append(unshared_after(sharing))
        sharing.waited_in_vain()
    assert found == [0, 1, 2, 4, 8, 16, 32, 64, IN_VAIN_MAX]
    assert unshared_after(sharing) == IN_VAIN_MAX
    for _ in range(2):
        sharing.came()
    sharing.let_go(2, 0.0, 0.0)
    sharing.waited_in_vain()
    assert unshared_after(sharing) == 1


@given(st.lists(st.sampled_from(("came", "let_go", "vain")), max_size=60), st.integers(0, 9), st.floats(0, 60))
def test_whatever_happens_nobody_is_waited_for_beyond_the_bound(calls: list[str], count: int, took_s: float) -> None:
    sharing, let_go_s = Sharing(), 0.0
    for at_s, call in enumerate(calls):
        if call == "let_go":
            sharing.let_go(count, at_s, took_s)
            let_go_s = at_s
        elif call == "came":
            sharing.came()
        else:
            sharing.waited_in_vain()
        assert not sharing.waits(let_go_s + WAIT_S_MAX)

"""Whatever exchanges come and go, in whatever order they end: a breaker never lets two probes out, never stays open, and is opened by
nothing but failures."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.edge.upstream.breaker import Bounds, Breaker, State

BOUNDS = Bounds(failures=2, open_s=1.0, open_s_max=8.0, probe_s_max=20.0)
CHANCES = st.floats(min_value=0.0, max_value=1.0, exclude_max=True)


class Exchanges(RuleBasedStateMachine):
    """Exchanges that are let through and end in any order, on a clock that only goes forward."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.chance = 0.0
        self.breaker = Breaker(BOUNDS, chance=lambda: self.chance)
        self.under_way: list[int] = []
        self.probes: dict[int, float] = {}
        """Tickets of probes that nobody has said the end of, with when they went."""
        self.in_a_row = 0
        """Failures since the last answer: an upper bound of what the breaker may count."""

    @initialize(asked=st.integers(0, 6), broken=st.integers(0, 3))
    def some_are_under_way(self, asked: int, broken: int) -> None:
        """Most that goes wrong goes wrong with what was under way before an opening."""
        for _ in range(asked):
            self.one_asks()
        for ticket in self.under_way[:broken]:
            self.under_way.remove(ticket)
            self.in_a_row += 1
            self.breaker.failed(ticket, self.now)

    @rule(seconds=st.sampled_from([0.25, 1.0, 8.0, 20.0]) | st.floats(min_value=0.0, max_value=30.0))
    def time_goes_by(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def one_asks(self) -> None:
        before, may = self.breaker.state, self.breaker.admits(self.now)
        ticket = self.breaker.admit(self.now)
        assert (ticket is not None) == may
        if ticket is None:
            assert self.breaker.state is before is not State.CLOSED
            return
        self.under_way.append(ticket)
        if before is not State.CLOSED:
            self.probes = {one: at for one, at in self.probes.items() if self.now < at + BOUNDS.probe_s_max}
            assert self.probes == {}
            self.probes[ticket] = self.now

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def one_is_answered(self, data: st.DataObject) -> None:
        self._ended(data)
        self.breaker.succeeded()
        assert self.breaker.state is State.CLOSED
        self.in_a_row = 0
        self.probes.clear()

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), chance=CHANCES)
    def one_breaks(self, data: st.DataObject, chance: float) -> None:
        before, left, self.chance = self.breaker.state, self.breaker.left_s(self.now), chance
        ticket = self._ended(data)
        self.in_a_row += 1
        self.breaker.failed(ticket, self.now)
        if before is State.OPEN:
            assert self.breaker.left_s(self.now) == left
        elif self.breaker.state is State.OPEN:
            assert self.in_a_row >= BOUNDS.failures
            assert BOUNDS.open_s / 2 <= self.breaker.left_s(self.now) + 1e-6
            assert self.breaker.left_s(self.now) <= BOUNDS.open_s_max

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def one_is_given_back(self, data: st.DataObject) -> None:
        before, may, probes = self.breaker.state, self.breaker.admits(self.now), dict(self.probes)
        ticket = self._ended(data)
        self.breaker.gave_back(ticket)
        assert self.breaker.state is before
        assert self.breaker.admits(self.now) == (may or ticket in probes)

    @invariant()
    def it_comes_to_half_open_by_waiting_alone(self) -> None:
        if self.breaker.state is State.OPEN:
            assert self.breaker.admits(self.now + self.breaker.left_s(self.now) + 1e-6)
            assert self.breaker.admits(self.now + BOUNDS.open_s_max)
        assert self.breaker.admits(self.now + BOUNDS.probe_s_max)

    def _ended(self, data: st.DataObject) -> int:
        ticket = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        if ticket not in self.under_way:
            self.probes.pop(ticket, None)
        return ticket


TestExchanges = Exchanges.TestCase


@given(
    st.lists(
        st.tuples(st.sampled_from(["answered", "given back"]), st.floats(min_value=0.0, max_value=100.0)), max_size=50
    )
)
def test_without_a_failure_it_is_never_open(ends: list[tuple[str, float]]) -> None:
    breaker, now = Breaker(BOUNDS), 0.0
    for end, seconds in ends:
        now += seconds
        ticket = breaker.admit(now)
        assert ticket is not None
        breaker.succeeded() if end == "answered" else breaker.gave_back(ticket)
        assert breaker.state is State.CLOSED

"""The breaker of an address, step by step: what opens it, who probes, what a ticket counts for, which faults count."""

import asyncio
from collections.abc import Iterator

import pytest

from foundation.words import CellId, ServiceId
from gateway.edge.bulkhead import Bulkheads
from gateway.edge.upstream.breaker import Bounds, Breaker, State
from gateway.edge.upstream.fault import Fault
from gateway.edge.upstream.health import Health
from gateway.settings import Upstream

BOUNDS = Bounds(failures=3, open_s=1.0, open_s_max=4.0, probe_s_max=30.0)


def breaker() -> Breaker:
    """Its waits are whole: chance cuts nothing off."""
    return Breaker(BOUNDS, chance=lambda: 1.0)


def admitted(one: Breaker, at: float = 0.0) -> int:
    ticket = one.admit(at)
    assert ticket is not None
    return ticket


def state(one: Breaker) -> State:
    return one.state


def opened(at: float = 0.0) -> Breaker:
    one = breaker()
    for _ in range(BOUNDS.failures):
        one.failed(admitted(one, at), at)
    assert state(one) is State.OPEN
    return one


def test_failures_in_a_row_open_it_and_an_answer_between_them_begins_the_row_anew() -> None:
    one = breaker()
    for outcome in ("failed", "failed", "answered", "failed", "failed"):
        ticket = admitted(one)
        one.failed(ticket, 0.0) if outcome == "failed" else one.succeeded()
        assert state(one) is State.CLOSED
    one.failed(admitted(one), 0.0)
    assert state(one) is State.OPEN


def test_what_says_nothing_of_the_address_neither_counts_nor_begins_the_row_anew() -> None:
    one = breaker()
    for _ in range(BOUNDS.failures - 1):
        one.failed(admitted(one), 0.0)
    for _ in range(10):
        one.gave_back(admitted(one))
    assert state(one) is State.CLOSED
    one.failed(admitted(one), 0.0)
    assert state(one) is State.OPEN


@pytest.mark.parametrize(("at", "left"), [(0.0, 1.0), (0.25, 0.75), (0.99, 0.01)])
def test_while_it_is_open_nobody_may_ask_and_the_time_left_is_known(at: float, left: float) -> None:
    one = opened()
    assert (one.admits(at), one.admit(at), state(one)) == (False, None, State.OPEN)
    assert one.left_s(at) == pytest.approx(left)


def test_after_the_wait_one_probe_goes_and_its_answer_lets_everybody_in() -> None:
    one = opened()
    admitted(one, 1.0)
    assert state(one) is State.HALF_OPEN
    assert [one.admit(at) for at in (1.0, 2.0, 30.9)] == [None, None, None]
    one.succeeded()
    assert [one.admit(31.0) is None for _ in range(3)] == [False, False, False]


def test_each_probe_that_breaks_doubles_the_wait_up_to_its_bound_and_an_answer_sets_it_back() -> None:
    one, now, waits = opened(), 0.0, []
    for _ in range(4):
        waits.append(one.left_s(now))
        now += waits[-1]
        one.failed(admitted(one, now), now)
    assert waits == [1.0, 2.0, 4.0, 4.0]
    one.succeeded()
    for _ in range(BOUNDS.failures):
        one.failed(admitted(one, now), now)
    assert one.left_s(now) == 1.0


@pytest.mark.parametrize(("chance", "wait_s"), [(0.0, 0.5), (0.5, 0.75), (1.0, 1.0)])
def test_chance_takes_up_to_half_of_the_wait(chance: float, wait_s: float) -> None:
    one = Breaker(BOUNDS, chance=lambda: chance)
    for _ in range(BOUNDS.failures):
        one.failed(admitted(one), 0.0)
    assert one.left_s(0.0) == wait_s


def test_a_probe_that_proves_nothing_leaves_its_turn_to_the_next() -> None:
    one = opened()
    first = admitted(one, 1.0)
    one.gave_back(first)
    second = admitted(one, 1.0)
    one.gave_back(first)
    assert one.admit(1.0) is None
    one.failed(second, 1.0)
    assert state(one) is State.OPEN


def test_a_probe_that_takes_too_long_keeps_nobody_out_any_more_and_its_end_judges_nothing() -> None:
    one = opened()
    lost = admitted(one, 1.0)
    held = admitted(one, 1.0 + BOUNDS.probe_s_max)
    one.failed(lost, 40.0)
    assert state(one) is State.HALF_OPEN
    one.failed(held, 40.0)
    assert state(one) is State.OPEN


def test_exchanges_from_before_the_opening_neither_prolong_it_nor_judge_the_probe_but_their_answers_count() -> None:
    one = breaker()
    old = [admitted(one) for _ in range(10)]
    for ticket in old[: BOUNDS.failures]:
        one.failed(ticket, 0.0)
    one.failed(old[4], 0.9)
    assert one.left_s(0.9) == pytest.approx(0.1)
    admitted(one, 1.0)
    for ticket in old[5:9]:
        one.failed(ticket, 1.0)
    assert state(one) is State.HALF_OPEN
    one.succeeded()
    for ticket in old:
        one.failed(ticket, 1.0)
    assert state(one) is State.CLOSED


# --- which faults count ------------------------------------------------------------------------------------------------------


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Only its clock is used."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.mark.parametrize(
    ("fault", "used", "opens"),
    [
        (Fault.CONNECT, False, True),
        (Fault.TIMEOUT, False, True),
        (Fault.TIMEOUT, True, True),
        (Fault.RESET, False, True),
        (Fault.RESET, True, False),
        (Fault.PROTOCOL, False, False),
        (Fault.BUSY, False, False),
        (Fault.OPEN, False, False),
        (Fault.CLIENT_GONE, False, False),
        (Fault.CLIENT_STALLED, False, False),
    ],
)
def test_only_what_the_address_did_opens_its_breaker(
    loop: asyncio.AbstractEventLoop, fault: Fault, used: bool, opens: bool
) -> None:
    health = Health("127.0.0.1:1", Upstream(breaker_failures=2, breaker_open_s=60.0, breaker_open_s_max=60.0), loop)
    for _ in range(2):
        ticket = health.admit()
        assert ticket is not None
        health.broke(ticket, fault, used=used)
    assert (health.state is State.OPEN, health.admits(), health.admit() is None) == (opens, not opens, opens)
    assert (health.left_s() > 0) == opens


# --- the bulkhead ------------------------------------------------------------------------------------------------------------


def test_each_cells_service_has_places_of_its_own() -> None:
    bulkheads = Bulkheads(2)
    berlin, orders, records = CellId("eu-de"), ServiceId("orders"), ServiceId("records")
    assert [bulkheads.of(berlin, orders).enter() for _ in range(4)] == [True, True, False, False]
    assert bulkheads.of(berlin, records).enter()
    assert bulkheads.of(CellId("eu-fr"), orders).enter()
    bulkheads.of(berlin, orders).leave()
    assert not bulkheads.of(berlin, orders).refuses()
    assert [bulkheads.of(berlin, orders).enter() for _ in range(2)] == [True, False]
    assert {(one.cell, one.service): one.under_way for one in bulkheads.all()} == {
        (berlin, orders): 2,
        (berlin, records): 1,
        (CellId("eu-fr"), orders): 1,
    }


def test_the_log_is_told_of_a_full_bulkhead_once_until_it_is_half_empty(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="gateway.edge.bulkhead")
    bulkhead = Bulkheads(4).of(CellId("eu-de"), ServiceId("orders"))
    for _ in range(6):
        bulkhead.enter()
    for _ in range(5):
        bulkhead.leave()
        bulkhead.enter()
        bulkhead.refuses()
    assert [line.getMessage() for line in caplog.records] == ["bulkhead_full"]
    for _ in range(4):
        bulkhead.leave()
    assert [line.getMessage() for line in caplog.records] == ["bulkhead_full", "bulkhead_free"]

"""What one process grants of a shared budget, step by step: its own part, leases, what it tells of, whom it forgets."""

import pytest

from foundation.clock import ManualClock
from foundation.mute import Secret
from foundation.problems import Code
from foundation.rates import Rate
from foundation.settings import SettingsError
from gateway.edge.headers import RequestFields
from gateway.edge.limits.assembly import gate_of, unlimited
from gateway.edge.limits.callers import KNOWN_MAX, Callers
from gateway.edge.limits.core import AGAIN_MS, LEASE_MS, Share, Terms, terms_of
from gateway.edge.limits.table import Table, Wanting
from gateway.edge.limits.worker import Lessor
from gateway.identity.address import networks
from gateway.settings import Budget, Limits
from tests.stands.memory_region import MemoryRegion

pytestmark = pytest.mark.anyio

TEN = terms_of(per_s=10, burst=40, parts=4)


def granted(share: Share, terms: Terms, asks: int, now_ms: float) -> int:
    return [share.take(terms, now_ms) for _ in range(asks)].count(0.0)


@pytest.mark.parametrize(
    ("per_s", "burst", "parts", "own"),
    [
        (10, 40, 4, Rate(400.0, 10)),
        (1_000, 2_000, 4, Rate(4.0, 500)),
        (1, 1, 4, Rate(1_000.0, 1)),
        (3, 7, 2, Rate(1_000 / 3 * 7 / 3, 3)),
        (10, 40, 1, Rate(100.0, 40)),
    ],
)
def test_a_process_grants_its_part_by_itself(per_s: int, burst: int, parts: int, own: Rate) -> None:
    terms = terms_of(per_s=per_s, burst=burst, parts=parts)
    assert terms.region == Rate(1_000 / per_s, burst)
    assert terms.own.burst == own.burst
    assert terms.own.interval_ms == pytest.approx(own.interval_ms)


def test_beyond_its_part_it_grants_what_it_holds_while_that_is_good() -> None:
    share = Share(0.0)
    assert granted(share, TEN, 12, 0.0) == 10
    share.leased(5, wanted=5, told=10, wait_ms=0.0, asked_ms=0.0, now_ms=50.0)
    assert granted(share, TEN, 2, 50.0) == 2
    assert granted(share, TEN, 9, LEASE_MS - 1) == 3 + 2  # and what the own part has earned in a second
    share.leased(5, wanted=5, told=0, wait_ms=0.0, asked_ms=1_000.0, now_ms=1_000.0)
    assert granted(share, TEN, 9, 1_000.0 + LEASE_MS) == 5 - 2  # earned in two seconds, less what went before
    assert share.held == 0


@pytest.mark.parametrize(("asks", "wants"), [(0, False), (5, False), (6, True), (30, True)])
def test_a_lease_is_wanted_once_half_of_its_part_is_gone(asks: int, wants: bool) -> None:
    share = Share(0.0)
    granted(share, TEN, asks, 0.0)
    assert share.wants(TEN, 0.0) is wants


def test_a_part_that_holds_one_alone_wants_a_lease_until_it_is_whole_again() -> None:
    terms, share = terms_of(per_s=1, burst=4, parts=4), Share(0.0)
    assert granted(share, terms, 2, 0.0) == 1
    assert [share.wants(terms, at) for at in (0.0, 2_001.0, 3_999.0, 4_000.0)] == [True, True, True, False]


def test_no_lease_is_wanted_while_one_is_held_or_asked_for_or_was_short_a_moment_ago() -> None:
    share = Share(0.0)
    granted(share, TEN, 10, 0.0)
    share.wanting = True
    assert not share.wants(TEN, 0.0)
    share.leased(1, wanted=10, told=10, wait_ms=70.0, asked_ms=0.0, now_ms=0.0)
    assert not share.wants(TEN, 0.0)
    assert granted(share, TEN, 1, 0.0) == 1
    assert [share.wants(TEN, at) for at in (0.0, 69.0, 71.0)] == [False, False, True]
    share.leased(0, wanted=10, told=0, wait_ms=0.0, asked_ms=71.0, now_ms=71.0)
    assert [share.wants(TEN, 71.0 + more) for more in (0.0, AGAIN_MS)] == [False, True]


@pytest.mark.parametrize(
    ("asks", "elapsed_ms", "want"), [(6, 0.0, 10), (6, 3_000.0, 1), (6, 1_000.0, 3), (60, 1_000.0, 10)]
)
def test_what_is_wanted_follows_the_pace_of_late(asks: int, elapsed_ms: float, want: int) -> None:
    share = Share(0.0)
    granted(share, TEN, asks, 0.0)
    assert share.want(TEN, elapsed_ms) == want


def test_what_it_granted_by_itself_is_told_of_unless_its_part_is_whole_again() -> None:
    share = Share(0.0)
    granted(share, TEN, 7, 0.0)
    assert share.told == 7
    share.leased(0, wanted=1, told=7, wait_ms=0.0, asked_ms=0.0, now_ms=0.0)
    assert share.told == 0
    granted(share, TEN, 30, 0.0)
    assert share.told == 3
    granted(share, TEN, 1, 1_000_000.0)
    assert share.told == 1
    for at in range(1_000):
        granted(share, TEN, 10, 1_000_000.0 + at * 500)
    assert share.told == TEN.own.burst


def test_the_wait_that_is_told_is_enough() -> None:
    share = Share(0.0)
    granted(share, TEN, 10, 0.0)
    wait = share.take(TEN, 100.0)
    assert share.take(TEN, 100.0 + wait) == 0.0


def test_the_name_asked_for_longest_ago_is_forgotten_first() -> None:
    table = Table("subject", terms_of(per_s=1, burst=1, parts=1), Wanting(), names_max=2)
    assert [bool(table.take(name, 0.0)) for name in ("a", "b", "a", "c", "a", "b")] == [0, 0, 1, 0, 1, 0]
    assert len(table) == 2


async def test_leases_are_asked_for_together_and_names_are_blinded() -> None:
    clock, wanting = ManualClock(), Wanting()
    region = MemoryRegion(clock)
    subjects, addresses = Table("subject", TEN, wanting), Table("address", TEN, wanting)
    lessor = Lessor(region, wanting, Secret(b"k" * 32), clock)
    for _ in range(6):
        subjects.take("203.0.113.9", 0.0)
        addresses.take("203.0.113.9", 0.0)
    assert wanting.wake.is_set()
    assert await lessor.lease_some()
    assert (region.asked, len(region.leased), wanting.wake.is_set()) == (1, 2, False)
    assert not any("203" in name for name in region.leased)
    other = Lessor(MemoryRegion(clock), wanting, Secret(b"o" * 32), clock)
    assert other._blinded("subject", "203.0.113.9") not in region.leased
    assert lessor._blinded("subject", "203.0.113.9") in region.leased


async def test_while_the_region_is_away_a_process_keeps_to_its_part_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, wanting = ManualClock(), Wanting()
    region = MemoryRegion(clock)
    table = Table("subject", TEN, wanting)
    lessor = Lessor(region, wanting, Secret(b"k" * 32), clock)
    region.down = True
    with caplog.at_level("INFO", logger="gateway"):
        passed = 0
        for _ in range(100):
            clock.advance(0.1)
            for _ in range(5):
                passed += table.take("a", clock.monotonic_s() * 1_000) == 0
            if wanting.wake.is_set():
                assert not await lessor.lease_some()
        assert 10 + 24 <= passed <= 10 + 25
        region.down = False
        for _ in range(5):
            table.take("a", clock.monotonic_s() * 1_000)
        assert await lessor.lease_some()
        assert table.take("a", clock.monotonic_s() * 1_000) == 0
    assert [record.message for record in caplog.records] == ["limits_kept_alone", "limits_shared_again"]


# --- addresses ---------------------------------------------------------------------------------------------------------------

PROXIES = networks(["10.0.0.0/8", "fd00::/8"])


@pytest.mark.parametrize(
    ("peer", "said", "counted"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", [b"198.51.100.7"], "203.0.113.9"),
        ("::ffff:203.0.113.9", [], "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", [], "20010db800010002"),
        ("2001:db8:1:2::9", [b"10.0.0.1"], "20010db800010002"),
        ("10.0.0.1", [b"198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", [b"192.0.2.1, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", [b"192.0.2.1", b"198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", [b"198.51.100.7, 10.9.9.9"], "198.51.100.7"),
        ("10.0.0.1", [b"192.0.2.1, " * 8 + b"198.51.100.7"], "198.51.100.7"),
        ("fd00::1", [b"2001:db8:1:2::9"], "20010db800010002"),
        ("10.0.0.1", [], None),
        ("10.0.0.1", [b"10.0.0.2"], None),
        ("10.0.0.1", [b"garbage"], None),
        ("10.0.0.1", [b"198.51.100.7, garbage"], None),
        ("", [], "None"),
        ("", [b"198.51.100.7"], "None"),
    ],
)
def test_a_request_counts_for_the_nearest_address_that_is_no_trusted_proxy(
    peer: str, said: list[bytes], counted: str | None
) -> None:
    callers = Callers(PROXIES)
    assert [callers.of(peer, said), callers.of(peer, said)] == [counted, counted]


def test_what_is_remembered_of_addresses_is_bounded() -> None:
    callers = Callers(PROXIES)
    for number in range(KNOWN_MAX + 10):
        address = f"192.0.{number >> 8}.{number & 255}"
        assert callers.of(address, []) == address
        assert callers.of("10.0.0.1", [address.encode()]) == address
    assert len(callers._peers) <= KNOWN_MAX
    assert len(callers._said) <= KNOWN_MAX


# --- settings ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limits",
    [
        Limits(subject=Budget(per_s=0, burst=10)),
        Limits(address=Budget(per_s=10, burst=9)),
        Limits(actor=Budget(per_s=10_001, burst=20_000)),
        Limits(subject=Budget(per_s=1, burst=1_000_001)),
        Limits(parts=0),
        Limits(parts=65),
    ],
)
def test_limits_that_cannot_be_meant_are_refused_at_start(limits: Limits) -> None:
    with pytest.raises(SettingsError, match="limits"):
        gate_of(limits, Wanting(), (), ManualClock())


def test_without_limits_nobody_asks_too_often() -> None:
    gate = unlimited(ManualClock())
    assert {gate.by_address("203.0.113.9", RequestFields()) for _ in range(10_000)} == {None}


def test_a_refusal_says_when_to_come_again() -> None:
    clock = ManualClock()
    gate = gate_of(Limits(address=Budget(per_s=1, burst=8)), Wanting(), (), clock)
    fields = RequestFields()
    answers = [gate.by_address("203.0.113.9", fields) for _ in range(3)]
    assert answers[:2] == [None, None]
    refused = answers[2]
    assert refused is not None
    assert (refused.code, refused.retry_after_s) == (Code.RATE_LIMITED, 4)
    clock.advance(4)
    assert gate.by_address("203.0.113.9", fields) is None

"""Sign-in hints: an observer cannot tell members from strangers, by what is answered, how long it is, or when it comes.

Everything here is drawn from a fixed seed and a clock of its own, so nothing depends on the machine; `load_tests.bench.hints` measures
real time.
"""

import asyncio
import math
import random
from collections import Counter
from collections.abc import Sequence

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from directory.placement.core import Placement, State
from foundation.blinding import Blinder, BlindingKey
from foundation.clock import ManualClock
from foundation.http import HttpClient, application
from foundation.identifiers import IdentifierKind, parse
from foundation.mute import Secret
from foundation.rates import per_minute
from foundation.words import CellId, FeedSeq, LookupKey, RegionId
from gateway.edge.book import Book
from gateway.edge.ports import Home, Homeless
from gateway.hints.api import PATH, Hints, times_of
from gateway.hints.core import decoy, encode, own_region, region_shares
from gateway.hints.limiter import Ask, CounterDown, Limiter, LocalCounter
from routing_rules.rules import load
from tests.stands.edge import CLOCK, REGION_ROOT, MemoryHomes, placement, policy_text

RULES = load(
    policy_text({"eu-de": "127.0.0.1:1", "us-va": "127.0.0.1:1"}, {"eu-de": "127.0.0.1:2", "us-va": "127.0.0.1:2"})
)
POLICY = RULES.policy
BOOK = Book(RULES, FeedSeq(1), region=RegionId("eu"), root=("r1", Secret(REGION_ROOT)), clock=CLOCK)
BLINDER = Blinder((BlindingKey("k2", Secret(b"n" * 32)), BlindingKey("k1", Secret(b"o" * 32))))
DRAWING = Blinder((BlindingKey("h1", Secret(b"h" * 32)),))
SHARES = {CellId("eu-de"): 0.7, CellId("us-va"): 0.3}


def address(number: int) -> str:
    return f"person{number}@example.org"


def drawn(number: int) -> RegionId | None:
    return decoy(parse(IdentifierKind.EMAIL, address(number)), DRAWING, region_shares(SHARES, POLICY))


def test_decoys_lie_as_members_lie() -> None:
    """Over 10,000 strangers; the statistic is of fixed keys, so it is one number. 10.83 is the 0.1 % bound of chi-square, one degree."""
    counted = Counter(drawn(number) for number in range(10_000))
    expected = {"eu": 7_000, "us": 3_000}
    assert sum((counted[RegionId(name)] - count) ** 2 / count for name, count in expected.items()) < 10.83


def test_what_is_answered_says_nothing_of_who_is_a_member() -> None:
    """Half of 10,000 are members, at home by the population's shares. The best guess from region and length is right no more often
    than chance allows: 3.29 standard deviations, the 0.1 % bound."""
    chance = random.Random(20_260_401)
    seen: Counter[tuple[bytes, bool]] = Counter()
    for number in range(10_000):
        member = chance.random() < 0.5
        own = RegionId("eu") if chance.random() < 0.7 else RegionId("us")
        stranger = drawn(number)
        assert stranger is not None
        seen[encode(own if member else stranger, POLICY), member] += 1
    told = {answer for answer, _ in seen}
    assert len({len(answer) for answer in told}) == 1
    right = sum(max(seen[answer, True], seen[answer, False]) for answer in told)
    members = sum(count for (_, member), count in seen.items() if member)
    assert right - max(members, 10_000 - members) < 3.29 * math.sqrt(10_000) / 2


@given(st.integers(0, 10**9), st.floats(0.01, 1.0), st.floats(0.01, 1.0), st.sampled_from([0.0, 0.01, 0.05]))
@settings(deadline=None)
def test_a_decoy_moves_only_towards_a_share_that_grew(number: int, eu: float, us: float, more: float) -> None:
    identifier = parse(IdentifierKind.EMAIL, address(number))
    before = decoy(identifier, DRAWING, {RegionId("eu"): eu, RegionId("us"): us})
    after = decoy(identifier, DRAWING, {RegionId("eu"): eu + more, RegionId("us"): us})
    assert after in (before, "eu")


def test_a_region_where_nobody_is_gets_no_decoys_and_an_empty_population_is_even() -> None:
    assert region_shares({CellId("eu-de"): 1.0, CellId("gone"): 0.5}, POLICY) == {"eu": 1.0}
    assert region_shares({}, POLICY) == {"eu": 1.0, "us": 1.0}


def test_only_a_home_that_all_keys_agree_on_is_told() -> None:
    one, other = placement("us-va"), placement("eu-de")
    assert own_region([one, Homeless.NONE], POLICY) == "us"
    assert own_region([one, Homeless.UNKNOWN], POLICY) == "us"
    assert own_region([one, other], POLICY) is None
    assert own_region([Homeless.NONE], POLICY) is None
    assert own_region([placement("us-va", state=State.ERASED)], POLICY) is None


# --- the handler ---------------------------------------------------------------------------------------------------------


class Loop:
    """Virtual time: sleeping moves the clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = ManualClock()
        self.woken_at: list[float] = []
        monkeypatch.setattr("gateway.hints.api.asyncio.sleep", self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.woken_at.append(self.clock.monotonic_s())


class SlowHomes(MemoryHomes):
    """Answers after `seconds` of the virtual clock; counts what was asked."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self.clock = clock
        self.seconds = 0.0
        self.never = False

    async def ask(self, key: LookupKey) -> Home:
        if self.never:
            await asyncio.Event().wait()
        self.clock.advance(self.seconds)
        return await self.resolve(key)


class NoLimits:
    def __init__(self) -> None:
        self.asked: list[Sequence[Ask]] = []
        self.wait = 0

    async def wait_s(self, asks: Sequence[Ask]) -> int:
        self.asked.append(asks)
        return self.wait


class Stand:
    def __init__(self, loop: Loop, *, answer_ms: int = 250) -> None:
        self.clock = loop.clock
        self.homes = SlowHomes(loop.clock)
        self.limits = NoLimits()
        self.shares: dict[CellId, float] | None = SHARES
        self.hints = Hints(
            book=lambda: BOOK,
            blinder=lambda: BLINDER,
            drawing=DRAWING,
            homes=self.homes,
            shares=lambda: self.shares,
            limits=self.limits,
            proxies=(),
            clock=loop.clock,
            times=times_of(answer_ms),
            per_address=per_minute(30),
            per_key=per_minute(10),
        )
        self.app = application(self.hints.routes(), ready=lambda: None)

    def settle(self, number: int, home: Placement) -> None:
        self.homes.truth[BLINDER.email(address(number))[1]] = home

    async def ask(self, **body: object) -> httpx.Response:
        async with HttpClient(transport=httpx.ASGITransport(app=self.app), base_url="http://gateway") as http:
            return await http.post(PATH, json=body)

    async def email(self, number: int) -> httpx.Response:
        return await self.ask(kind="email", value=address(number))


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    return Loop(monkeypatch)


@pytest.mark.anyio
async def test_members_get_their_home_and_strangers_always_the_same_decoy(loop: Loop) -> None:
    stand = Stand(loop)
    stand.settle(1, placement("us-va"))
    stand.settle(2, placement("eu-de"))
    assert (await stand.email(1)).json() == {"region": "us", "home": "https://us.example.com"}
    assert (await stand.email(2)).json() == {"region": "eu", "home": "https://eu.example.com"}
    for number in range(3, 23):
        assert {(await stand.email(number)).json()["region"] for _ in range(2)} == {drawn(number)}


@pytest.mark.anyio
async def test_status_headers_length_work_and_time_are_the_same_for_everybody(loop: Loop) -> None:
    stand = Stand(loop)
    stand.settle(1, placement("us-va"))
    seen = []
    for number, seconds in [(1, 0.0), (1, 0.08), (2, 0.0), (2, 0.05), (3, 0.003)]:
        stand.homes.seconds, asked, at = seconds, stand.homes.resolved, loop.clock.monotonic_s()
        answer = await stand.email(number)
        took = loop.clock.monotonic_s() - at
        seen.append(
            (answer.status_code, answer.headers.raw, len(answer.content), stand.homes.resolved - asked, round(took, 6))
        )
    assert all(one == seen[0] for one in seen)
    assert seen[0][3] == len(BLINDER.kids)
    assert seen[0][4] == 0.25


@pytest.mark.anyio
async def test_while_the_directory_does_not_answer_nobody_is_told_anything_whatever_is_known_of_them(
    loop: Loop,
) -> None:
    stand = Stand(loop, answer_ms=20)
    for number in (1, 2):
        stand.settle(number, placement("us-va" if drawn(number) == "eu" else "eu-de"))
    before = [(await stand.email(number)).content for number in (1, 3)]  # known here from now on; 2 and 4 never were
    assert stand.homes.cached
    for never, dark in ((True, False), (False, True)):
        stand.homes.never, stand.homes.dark = never, dark
        told, took = set(), set()
        for number in (1, 2, 3, 4):
            at = loop.clock.monotonic_s()
            answer = await stand.email(number)
            told.add((answer.status_code, answer.json()["code"], answer.headers["retry-after"], len(answer.content)))
            took.add(round(loop.clock.monotonic_s() - at, 6))
        assert told == {(503, "home_unknown", "1", len(answer.content))}
        assert took == {0.02}
    stand.homes.dark = False
    assert [(await stand.email(number)).content for number in (1, 3)] == before


@pytest.mark.anyio
async def test_every_limit_is_asked_before_anybody_is_looked_for(loop: Loop) -> None:
    stand = Stand(loop)
    stand.limits.wait = 7
    refused = await stand.email(1)
    assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (429, "rate_limited", "7")
    assert stand.homes.resolved == 0
    (asks,) = stand.limits.asked
    assert [ask.rate.burst for ask in asks] == [30, 10]
    await stand.ask(kind="email", value=" PERSON1@example.org ")
    assert stand.limits.asked[1] == asks
    await stand.email(2)
    assert (stand.limits.asked[2][0], stand.limits.asked[2][1] == asks[1]) == (asks[0], False)
    assert not any("127.0.0.1" in ask.name or "person" in ask.name for ask in asks)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "body",
    [{"kind": "email", "value": "no address"}, {"kind": "phone", "value": "030 1234"}, {"kind": "login", "value": "x"}, {"value": "x"},
     {"kind": "external", "value": "4"}, {"kind": "email", "value": "a@b.de", "more": 1}, {"kind": "email", "value": "l" * 300}],
)  # fmt: skip
async def test_what_is_no_identifier_is_refused_with_what_to_write(loop: Loop, body: dict[str, object]) -> None:
    answer = await Stand(loop).ask(**body)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


@pytest.mark.anyio
async def test_nothing_is_told_before_the_population_is_known(loop: Loop) -> None:
    stand = Stand(loop)
    stand.shares = None
    assert (await stand.email(1)).status_code == 503


# --- limits --------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 20)), max_size=80), st.integers(1, 40))
@settings(deadline=None)
def test_no_name_is_allowed_more_than_its_burst_and_its_rate(asks: list[tuple[str, float]], count: int) -> None:
    clock, rate = ManualClock(), per_minute(count)
    counter = LocalCounter(clock)
    allowed: dict[str, list[float]] = {"a": [], "b": []}
    for name, pause in asks:
        clock.advance(pause)
        (wait,) = asyncio.run(counter.take([Ask(name, rate)]))
        now = clock.monotonic_s()
        if wait == 0:
            allowed[name].append(now)
        else:
            assert 0 < wait <= rate.interval_ms + 1
    for times in allowed.values():
        for index, start in enumerate(times):
            inside = sum(1 for one in times[index:] if one < start + 60)
            assert inside <= 2 * rate.burst


def test_the_local_counter_is_bounded_and_forgets_the_oldest() -> None:
    counter, rate = LocalCounter(ManualClock(), names_max=10), per_minute(1)
    for number in range(50):
        assert asyncio.run(counter.take([Ask(str(number), rate)])) == [0]
    assert asyncio.run(counter.take([Ask("49", rate)])) != [0]
    assert asyncio.run(counter.take([Ask("0", rate)])) == [0]


class Dead:
    async def take(self, asks: Sequence[Ask]) -> list[float]:
        raise CounterDown("gone")


def test_without_the_shared_counter_a_process_allows_less() -> None:
    limiter = Limiter(Dead(), ManualClock())

    async def many() -> list[int]:
        return [await limiter.wait_s([Ask("a", per_minute(20))]) for _ in range(20)]

    waits = asyncio.run(many())
    assert waits[:5] == [0] * 5
    assert all(waits[5:])
